//! HTTP/3: one engine a worker, which drives the QUIC state machine over a UDP socket and hands requests to a
//! [`Service`].
//!
//! The engine is one task. It takes what the socket has, feeds the connections, lets the tasks of the requests run, and
//! only then sends what all of them wrote, in as few system calls as it takes. Connections and streams are shared
//! between the engine and the tasks of one thread, so nothing is locked.

mod amplification;
mod cid;
mod config;
mod congestion;
mod conn;
mod control;
mod engine;
mod engine_state;
mod event;
mod first_flight;
mod limits;
mod packet_keys;
mod paths;
mod pending_handshakes;
mod requests;
mod service;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod uni;

pub(crate) use cid::Handover;
pub(crate) use config::{EngineConfig, server_config};
pub(crate) use control::{ControlReceiver, EngineControl};
pub(crate) use engine::open;
pub(crate) use event::{AcceptedConnection, CloseReason, DropReason, HelloVerdict, RejectedHeads};
pub(crate) use limits::QuicLimits;
pub(crate) use service::Service;
pub(crate) use stream::H3Stream;
