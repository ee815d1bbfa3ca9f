//! The program as a service: what it tells its manager, and the sockets that it gets and hands on.

mod launcher;
mod notify;
mod sockets;
mod successor;
mod takeover;

pub(crate) use launcher::{Launcher, serve_as_launcher};
pub(crate) use notify::Notifier;
pub(crate) use sockets::inherited;
pub(crate) use takeover::{Predecessor, hand_over};
