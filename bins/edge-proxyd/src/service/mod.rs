//! Integration with the service manager: notifications, inherited sockets, the control socket, and takeover by a new
//! process.

pub(crate) mod control;
pub(crate) mod descriptors;
mod launcher;
pub(crate) mod maintenance;
mod notify;
mod sockets;
mod store;
mod successor;
mod takeover;

pub(crate) use launcher::{Launcher, serve_as_launcher};
pub(crate) use notify::Notifier;
pub(crate) use sockets::{MatchedSockets, PassedSockets};
pub(crate) use store::SocketStore;
pub(crate) use takeover::{HandOver, LastRequest, Predecessor};
