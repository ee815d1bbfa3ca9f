//! HTTP/3: one engine per worker and listener, which drives the QUIC state machine over a UDP socket and passes
//! requests to a [`Service`].
//!
//! The engine is one task. It receives the available datagrams, drives the connections, lets the tasks of the requests
//! run, and then sends the output of all of them in few system calls. Connections and streams are shared between the
//! engine and the tasks of one thread, so nothing is locked.

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
pub(crate) mod link;
mod packet_keys;
mod paths;
mod pending_handshakes;
mod receive_window;
mod received_hello;
mod requests;
mod service;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod uni;

pub(crate) use cid::{Handover, Owner as ConnectionIdOwner, Router};
pub(crate) use config::{EngineConfig, QuicServerConfig, server_config};
pub(crate) use control::{ControlReceiver, EngineControl};
pub(crate) use engine::open;
pub(crate) use event::{AcceptedConnection, CloseReason, DropReason, HelloVerdict, RejectedHeads};
pub(crate) use limits::QuicLimits;
pub(crate) use service::Service;
pub(crate) use socket::Datagram;
pub(crate) use stream::H3Stream;
