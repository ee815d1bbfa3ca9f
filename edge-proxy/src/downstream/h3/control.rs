//! Commands to an engine while it runs.

use super::QuicLimits;
use quinn_proto as quic;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A command to a running engine.
pub(super) enum EngineCommand {
    Reload(Arc<quic::ServerConfig>, Box<QuicLimits>),
    Shutdown(Duration),
}

/// Tells an engine what to do, from any thread.
#[derive(Clone)]
pub(crate) struct EngineControl(mpsc::UnboundedSender<EngineCommand>);

/// The engine's end of a [`EngineControl`].
pub(crate) struct ControlReceiver(pub(super) mpsc::UnboundedReceiver<EngineCommand>);

impl EngineControl {
    /// A control, and what the engine takes.
    pub(crate) fn new() -> (Self, ControlReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ControlReceiver(receiver))
    }

    /// Connections that come from now on are accepted so; those that are there stay, and have these limits too, as far as they
    /// were not agreed on with the client.
    pub(crate) fn reload(&self, server: Arc<quic::ServerConfig>, limits: QuicLimits) {
        // An engine that has ended needs no configuration.
        let _ = self.0.send(EngineCommand::Reload(server, Box::new(limits)));
    }

    /// Stop accepting connections and, after a moment for requests already sent, new requests; end when all requests
    /// have finished, or after this time.
    pub(crate) fn shutdown(&self, within: Duration) {
        let _ = self.0.send(EngineCommand::Shutdown(within));
    }
}
