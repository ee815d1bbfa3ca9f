//! Test servers, mocks and helpers for the integration tests. A missing prerequisite is a panic, never a passing test.

mod acme_dns;
pub mod authoritative;
mod authority;
pub mod cloudflare;
mod fault_proxy;
mod findings;
mod guest;
mod left_out;
pub mod mail;
pub mod mistakes;
mod origin;
mod pebble;
mod ports;
pub mod postgres;
mod powerdns;
mod process;
mod resume;
mod terminal;

pub use acme_dns::AcmeDnsMock;
pub use authoritative::KnotServer;
pub use authority::{Authority, tls_client};
pub use cloudflare::CloudflareMock;
pub use fault_proxy::{Fault, FaultProxy};
pub use findings::{document, findings};
pub use guest::Guest;
pub use left_out::needs_root;
pub use origin::{Origin, answer};
pub use pebble::{Pebble, PebbleVersion};
pub use ports::{free_port, nobody};
pub use postgres::tools;
pub use powerdns::PowerDnsMock;
pub use process::{
    Memory, Process, assert_ends_quietly_without_a_reader, role, say, serve_until_parent_ends,
};
pub use resume::{RequestError, RequestOutcome, ResumingClient, replay};
pub use terminal::TerminalOutput;
