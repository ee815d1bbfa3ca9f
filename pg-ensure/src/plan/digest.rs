//! Digest that binds a plan to the state for which it was made.

use super::{BlockedChange, Step};
use crate::current::{CurrentState, Session, StoredPassword};
use crate::desired::{DesiredState, GrantTarget};
use crate::object::Object;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write};

/// SHA-256 digest of a plan: of the server's version, the session except whether the server is in recovery, the part of
/// the current state that the desired state covers, the changes of the steps, and the blocked changes with their
/// reasons. Plans with equal digests are the same plan for the same state. It contains no secret, and is
/// not comparable across versions of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error of a text that is not a digest of 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// Adapter that feeds formatted text to a hash.
struct Feed(Sha256);

impl Write for Feed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Digest {
    /// Computes the digest of the server's version, the session except whether the server is in recovery, the part of
    /// the current state that the desired state covers, the changes of the steps without their reasons, and the blocked
    /// changes with theirs.
    pub(crate) fn of(
        current: &CurrentState,
        desired: &DesiredState,
        steps: &[Step],
        blocked: &[BlockedChange],
    ) -> Self {
        let mut feed = Feed(Sha256::new());
        feed_all(&mut feed, current, desired, steps).expect("a hash takes everything");
        write!(feed, "{blocked:?}").expect("a hash takes everything");
        Self(feed.0.finalize().into())
    }
}

/// Feeds version, session, the part of the current state that the desired state covers, and the changes of the steps to
/// the hash, but not their reasons.
fn feed_all(feed: &mut Feed, current: &CurrentState, desired: &DesiredState, steps: &[Step]) -> fmt::Result {
    // A plan that was made on a standby is one for the primary that it becomes.
    let session = Session { in_recovery: false, ..current.session.clone() };
    write!(feed, "1 {:?} {session:?}", current.version)?;
    for name in desired.roles.keys() {
        let Some(role) = current.roles.get(name) else { continue };
        write!(feed, "{name:?} {role:?}")?;
        // The debug form of a verifier omits its keys, but another verifier is another state.
        if let StoredPassword::Scram(verifier) = &role.password {
            use secrecy::ExposeSecret;
            feed.0.update(Sha256::digest(verifier.to_secret().expose_secret().as_bytes()));
        }
    }
    for (role, member) in desired.memberships.keys() {
        let found = current.members(role).filter(|(key, _)| key.member == *member);
        found.into_iter().try_for_each(|found| write!(feed, "{found:?}"))?;
    }
    let mut databases: std::collections::BTreeSet<_> = desired.databases.keys().cloned().collect();
    databases.extend(desired.looks_into());
    for grant in &desired.grants {
        match &grant.on {
            GrantTarget::One(Object::Database(name)) => drop(databases.insert(name.clone())),
            GrantTarget::One(Object::Tablespace(name)) => {
                write!(feed, "{name:?} {:?}", current.tablespaces.get(name))?;
            }
            GrantTarget::One(Object::Parameter(name)) => {
                write!(feed, "{name:?} {:?}", current.parameters.get(name))?;
            }
            // The database of these objects was added above.
            GrantTarget::One(Object::Inside(..)) | GrantTarget::AllIn { .. } => {}
        }
    }
    for name in databases {
        write!(feed, "{name:?} {:?}", current.databases.get(&name))?;
    }
    for key in desired.settings.keys() {
        write!(feed, "{key:?} {:?}", current.settings.get(key))?;
    }
    for name in desired.absent_roles() {
        write!(feed, "{name:?} {:?}", current.dependencies.get(name))?;
    }
    steps.iter().try_for_each(|step| write!(feed, "{:?}", step.change))
}
