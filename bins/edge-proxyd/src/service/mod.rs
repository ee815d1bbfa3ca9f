//! Integration with the service manager: notifications, inherited sockets, and takeover by a new process.

pub(crate) mod descriptors;
mod launcher;
mod notify;
mod sockets;
mod successor;
mod takeover;

pub(crate) use launcher::{Launcher, serve_as_launcher};
pub(crate) use notify::Notifier;
pub(crate) use sockets::inherited;
pub(crate) use takeover::{Predecessor, hand_over};
