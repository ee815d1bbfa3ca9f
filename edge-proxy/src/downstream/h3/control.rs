//! Commands to a running engine.

use super::{QuicLimits, QuicServerConfig, Router};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A command to a running engine.
pub(super) enum EngineCommand {
    /// Use these QUIC configurations for new connections, and these limits for all.
    Reload(Arc<QuicServerConfig>, Box<QuicLimits>),
    /// Shut down, within this duration at most.
    Shutdown(Duration),
    /// Pass datagrams of unknown clients to these engines.
    Successor(Router),
    /// Pass datagrams of connections of these engines to them.
    Predecessor(Router),
}

/// A sender of commands to an engine, usable from any thread.
#[derive(Clone)]
pub(crate) struct EngineControl(mpsc::UnboundedSender<EngineCommand>);

/// The receiving end of an [`EngineControl`].
pub(crate) struct ControlReceiver(pub(super) mpsc::UnboundedReceiver<EngineCommand>);

impl EngineControl {
    /// Creates a control and its receiving end.
    pub(crate) fn new() -> (Self, ControlReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ControlReceiver(receiver))
    }

    /// Sends the command to accept further connections with these settings. The limits also apply to existing
    /// connections, except those that were negotiated at their start. No effect if the engine has ended.
    pub(crate) fn reload(&self, server: Arc<QuicServerConfig>, limits: QuicLimits) {
        // An engine that has ended needs no configuration.
        let _ = self.0.send(EngineCommand::Reload(server, Box::new(limits)));
    }

    /// Sends the command to shut down: no new connections are accepted, and after at most
    /// [`FIRST_REQUEST_GRACE`](crate::deadline::FIRST_REQUEST_GRACE), which is for requests already sent, no new
    /// requests. The engine ends when all requests have finished, or after `within`. No effect if the engine has
    /// ended.
    pub(crate) fn shutdown(&self, within: Duration) {
        let _ = self.0.send(EngineCommand::Shutdown(within));
    }

    /// Sends the command to pass datagrams of unknown clients to these engines at the same address. For an engine that
    /// shuts down. No effect if the engine has ended.
    pub(crate) fn set_successor(&self, engines: Router) {
        let _ = self.0.send(EngineCommand::Successor(engines));
    }

    /// Sends the command to pass datagrams of the connections of these other engines at the same address to them,
    /// until they have ended. No effect if the engine has ended.
    pub(crate) fn add_predecessor(&self, engines: Router) {
        let _ = self.0.send(EngineCommand::Predecessor(engines));
    }
}
