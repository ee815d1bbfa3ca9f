//! The passing of a session that was taken from the store to the handshake that resumes it.

use aws_lc_rs::digest::{SHA256, digest};
use std::cell::RefCell;
use zeroize::Zeroizing;

/// The length in bytes of the identity that rustls creates for a stored session.
pub(super) const IDENTITY: usize = 32;

thread_local! {
    /// The session for the handshake that runs on this thread. `None` if there is none or it was taken.
    static CLAIM: RefCell<Option<SessionClaim>> = const { RefCell::new(None) };
}

/// A session that was taken from the store, for one handshake.
pub(crate) struct SessionClaim {
    /// The identity that the client offered.
    identity: [u8; IDENTITY],
    /// The session, in the encoding of rustls.
    session: Zeroizing<Vec<u8>>,
}

impl SessionClaim {
    /// Creates a claim of the session, in the encoding of rustls, for the handshake that offers this identity.
    pub(super) fn new(identity: [u8; IDENTITY], session: Vec<u8>) -> Self {
        Self { identity, session: Zeroizing::new(session) }
    }
}

/// Removes and returns the session that is available to the handshake on this thread. `None` if there is none or its
/// identity is another one, which leaves it in place.
pub(super) fn take_claimed(identity: &[u8]) -> Option<Vec<u8>> {
    CLAIM
        .with_borrow_mut(|claim| claim.take_if(|claim| claim.identity == identity))
        .map(|mut claim| std::mem::take(&mut *claim.session))
}

/// Calls `handshake` with this session available to rustls on this thread, and returns its result. A session that
/// rustls did not take is discarded.
pub(crate) fn with_claim<T>(claim: Option<SessionClaim>, handshake: impl FnOnce() -> T) -> T {
    struct ClearOnDrop;
    impl Drop for ClearOnDrop {
        fn drop(&mut self) {
            CLAIM.with_borrow_mut(Option::take);
        }
    }
    if claim.is_none() {
        return handshake();
    }
    CLAIM.set(claim);
    let _clear = ClearOnDrop;
    handshake()
}

/// Returns the key of a session in the store: the SHA-256 of its identity, from which the identity cannot be computed.
pub(super) fn session_id(identity: &[u8; IDENTITY]) -> [u8; 32] {
    digest(&SHA256, identity).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
