//! Real servers 15, 17 and 18.

mod common;
mod objects;
