//! The session storage of rustls above the store, so that one handshake of all edges can resume a session.

use super::session_claim::{IDENTITY, session_id, take_claimed};
use super::store::StoreClient;
use super::{SealedSession, key_ring::SealedKind};
use edge_http::h3::client_hello::{self, ClientHello};
use rustls::server::StoresServerSessions;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The parts of a ClientHello that determine which session it can resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfferedSession {
    /// True if the client offers TLS 1.3.
    pub(crate) tls13: bool,
    /// The identity of the first session that is offered, the only one that can have early data. `None` if none is
    /// offered, or the identity has a length other than 32 bytes.
    pub(crate) identity: Option<[u8; IDENTITY]>,
}

impl OfferedSession {
    /// Parses the offer from the plaintext records of a ClientHello that rustls has accepted. The default, an empty
    /// offer, if they cannot be parsed.
    pub(crate) fn of(records: &[u8]) -> Self {
        let mut message = Vec::with_capacity(records.len());
        let mut rest = records;
        // RFC 8446 §5.1: type 22, a version, a length.
        while let Some((&[22, _, _, high, low], behind)) = rest.split_first_chunk::<5>() {
            let Some((content, more)) = behind.split_at_checked(usize::from(u16::from_be_bytes([high, low])))
            else {
                break;
            };
            message.extend_from_slice(content);
            rest = more;
        }
        client_hello::parse(&message).ok().flatten().map(|hello| Self::from(&hello)).unwrap_or_default()
    }
}

impl From<&ClientHello<'_>> for OfferedSession {
    fn from(hello: &ClientHello<'_>) -> Self {
        Self { tls13: hello.tls13, identity: hello.identity.and_then(|identity| identity.try_into().ok()) }
    }
}

/// The session storage of rustls: it queues sessions for the store, and returns the session that was claimed for the
/// current handshake.
pub(crate) struct Sessions(Arc<StoreClient>);

impl Sessions {
    /// Creates a storage above this client of the store.
    pub(crate) const fn new(link: Arc<StoreClient>) -> Self {
        Self(link)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let value = Zeroizing::new(value);
        let Ok(identity) = <[u8; IDENTITY]>::try_from(key) else { return false };
        let id = session_id(&identity);
        let Some(sealed) = self.0.seal(SealedKind::Session(&id), &value) else { return self.0.count_lost() };
        self.0.put(SealedSession { id, lifetime: self.0.schedule().lifetime(), sealed })
    }

    /// Returns `None`: TLS 1.2 resumes by tickets.
    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        take_claimed(key)
    }

    fn can_cache(&self) -> bool {
        false
    }
}
