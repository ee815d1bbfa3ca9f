//! Verifying passwords against slow hashes: on threads of their own, few at a time, and remembered for a while, since
//! browsers send theirs with every request.

use crate::auth::basic::{Credentials, User};
use argon2::PasswordVerifier;
use aws_lc_rs::hmac;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a password that was right is not verified again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The number of verified passwords that a worker remembers.
const KNOWN: usize = 4096;
/// The number of passwords that may wait for a thread of a worker. More are refused: each takes about a tenth of a
/// second.
const WAITING: usize = 64;

/// The result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordVerdict {
    Right,
    Wrong,
    /// Too many are being verified.
    Busy,
}

struct Known {
    /// The remembered values are keyed digests, not passwords: without the key, which dies with the worker, they reveal
    /// nothing.
    key: hmac::Key,
    until: RefCell<HashMap<[u8; 32], Instant>>,
    waiting: Cell<usize>,
}

thread_local! {
    static KNOWN_HERE: Known = {
        let mut key = [0; 32];
        // Without random numbers there is no TLS either, and nothing here is sent anywhere.
        let _ = aws_lc_rs::rand::fill(&mut key);
        Known {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            until: RefCell::default(),
            waiting: Cell::new(0),
        }
    };
}

/// Verifies credentials against the users.
pub(crate) async fn verify(users: &[User], given: &Credentials) -> PasswordVerdict {
    let user = users.iter().find(|user| user.name == given.user);
    // An unknown name takes as long as a known one.
    let Some(hash) = user.or(users.first()).map(|user| user.hash.clone()) else {
        return PasswordVerdict::Wrong;
    };
    let tag = KNOWN_HERE.with(|known| {
        let mut context = hmac::Context::with_key(&known.key);
        for part in [given.user.as_bytes(), hash.as_bytes(), &given.password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    });
    let now = Instant::now();
    let known = KNOWN_HERE.with(|known| known.until.borrow().get(&tag).is_some_and(|until| *until > now));
    if known && user.is_some() {
        return PasswordVerdict::Right;
    }
    let Some(_turn) = Turn::take() else { return PasswordVerdict::Busy };
    let password = given.password.clone();
    let right = tokio::task::spawn_blocking(move || matches(&hash, &password)).await.unwrap_or(false);
    if !right || user.is_none() {
        return PasswordVerdict::Wrong;
    }
    KNOWN_HERE.with(|known| {
        let mut until = known.until.borrow_mut();
        if until.len() >= KNOWN {
            until.retain(|_, until| *until > now);
        }
        if until.len() < KNOWN {
            until.insert(tag, now + REMEMBERED);
        }
    });
    PasswordVerdict::Right
}

/// A place among those that wait.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        KNOWN_HERE.with(|known| {
            let free = known.waiting.get() < WAITING;
            free.then(|| {
                known.waiting.set(known.waiting.get() + 1);
                Self
            })
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        KNOWN_HERE.with(|known| known.waiting.set(known.waiting.get() - 1));
    }
}

fn matches(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2") {
        let argon2 = argon2::Argon2::default();
        return argon2::PasswordHash::new(hash)
            .is_ok_and(|hash| argon2.verify_password(password, &hash).is_ok());
    }
    bcrypt::verify(password, hash).unwrap_or(false)
}
