//! Who a request is from, where that is asked before it is passed on: by a password ([`basic`]), or by a service that
//! knows ([`forward`]). What is here reads and writes heads; asking is the shell's.

pub mod basic;
pub mod forward;
