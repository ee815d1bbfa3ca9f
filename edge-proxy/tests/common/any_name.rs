//! TLS sessions that a client shows under another name than the one that it got them under.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Sessions that a client shows under whatever name, and how often it had one to show.
#[derive(Debug)]
pub(crate) struct AnyName {
    sessions: ClientSessionMemoryCache,
    shown: AtomicUsize,
}

impl AnyName {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { sessions: ClientSessionMemoryCache::new(64), shown: AtomicUsize::new(0) })
    }

    /// Returns how often there was a session to show.
    pub(crate) fn shown(&self) -> usize {
        self.shown.load(SeqCst)
    }
}

/// The one name that all sessions are kept under.
fn name() -> ServerName<'static> {
    ServerName::try_from("any.test").unwrap()
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(&name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(&name()).inspect(|_| {
            self.shown.fetch_add(1, SeqCst);
        })
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        // A client that attacks shows it again.
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(&name()).inspect(|_| {
            self.shown.fetch_add(1, SeqCst);
        })
    }
}
