//! Tests: vectors from the RFCs, refused input, and properties.

mod first_flight;
mod frames;
mod messages;
mod qpack;
