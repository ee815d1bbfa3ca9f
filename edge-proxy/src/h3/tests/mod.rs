//! Vectors from the RFCs, what must be refused, and properties.

mod first_flight;
mod frames;
mod messages;
mod qpack;
