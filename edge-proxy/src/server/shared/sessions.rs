//! Sessions that one handshake of all edges can resume.

use super::link::Link;
use super::{SealedSession, ring::What};
use crate::h3::client_hello::{self, ClientHello};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::server::StoresServerSessions;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The length of an identity that rustls makes for a session which is stored.
const IDENTITY: usize = 32;

thread_local! {
    /// The session of the handshake that this thread is in.
    static TAKEN: RefCell<Option<Taken>> = const { RefCell::new(None) };
}

/// A session that was taken from the store, for one handshake.
pub(crate) struct Taken {
    identity: [u8; IDENTITY],
    session: Zeroizing<Vec<u8>>,
}

impl Taken {
    pub(super) fn new(identity: [u8; IDENTITY], session: Vec<u8>) -> Self {
        Self { identity, session: Zeroizing::new(session) }
    }
}

/// Has rustls find this session while `handshake` runs, and no other. Where it is not looked for, it is gone.
pub(crate) fn with<T>(taken: Option<Taken>, handshake: impl FnOnce() -> T) -> T {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            TAKEN.with_borrow_mut(Option::take);
        }
    }
    if taken.is_none() {
        return handshake();
    }
    TAKEN.set(taken);
    let _clear = Clear;
    handshake()
}

/// What a ClientHello offers, as far as it matters for sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    /// TLS 1.3.
    pub(crate) tls13: bool,
    /// What it would resume. Only the first can have early data, and clients offer but one.
    pub(crate) identity: Option<[u8; IDENTITY]>,
}

impl Offered {
    /// Of the records that a connection began with, in which rustls has found a ClientHello.
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

impl From<&ClientHello<'_>> for Offered {
    fn from(hello: &ClientHello<'_>) -> Self {
        Self { tls13: hello.tls13, identity: hello.identity.and_then(|identity| identity.try_into().ok()) }
    }
}

/// By what the store knows a session: nobody who reads it there can show it.
pub(super) fn id(identity: &[u8; IDENTITY]) -> [u8; 32] {
    digest(&SHA256, identity).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Gives sessions to the store, and has those that were taken for the handshake that runs.
pub(crate) struct Sessions(Arc<Link>);

impl Sessions {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
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
        let id = id(&identity);
        let Some(sealed) = self.0.seal(What::Session(&id), &value) else { return self.0.lose() };
        self.0.put(SealedSession { id, lifetime: self.0.schedule().lifetime(), sealed })
    }

    /// TLS 1.2 resumes by tickets.
    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        TAKEN
            .with_borrow_mut(|taken| taken.take_if(|taken| taken.identity == key))
            .map(|mut taken| std::mem::take(&mut *taken.session))
    }

    fn can_cache(&self) -> bool {
        false
    }
}
