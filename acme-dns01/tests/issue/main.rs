//! Issuance against real servers: Pebble and knot.

mod basics;
mod lab;
