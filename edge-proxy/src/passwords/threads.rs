//! The threads that verify passwords.

use super::cache::PASSWORD_CACHE;
use super::charge::Charge;
use super::slot::QueueSlot;
use super::verification::Verification;
use argon2::PasswordVerifier;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The highest number of threads that verify passwords. There is at most one per CPU.
const MAX_THREADS: usize = 4;

/// A password to be verified by a thread.
pub(super) struct Job {
    /// The hash against which the password is verified.
    pub(super) hash: String,
    /// The password of the client.
    pub(super) password: Vec<u8>,
    /// True if a user has the name. Otherwise the password is wrong.
    pub(super) known: bool,
    /// The charge of the password. `None` if there is no limiter or the password was right before.
    pub(super) charge: Option<Charge>,
    /// The verification, with the requests that wait for it.
    pub(super) verification: Verification,
    /// The place in the queue, freed when this is dropped.
    pub(super) place: QueueSlot,
}

/// The queue of the threads that verify passwords, which are started at its first use.
pub(super) static THREAD_POOL: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    for number in 0..threads {
        let receiver = receiver.clone();
        // Without any thread each password is answered as if too many were waiting.
        let _ = std::thread::Builder::new()
            .name(format!("password-{number}"))
            .spawn(move || while work(&receiver).is_some() {});
    }
    Mutex::new(sender)
});

/// Waits for the next password of the queue, verifies it unless nobody waits for the result any more, and sends the
/// result. A right password is stored in the cache, a wrong one keeps its charge. `None` if the queue is closed.
pub(super) fn work(receiver: &Mutex<Receiver<Job>>) -> Option<()> {
    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
    let Job { hash, password, known, charge, mut verification, place } = job;
    // The password of whoever does not wait any more is not verified, and does not count.
    if verification.is_awaited() {
        let right = matches(&hash, &password) && known;
        if right {
            PASSWORD_CACHE.keep(verification.tag);
            drop(charge);
        } else {
            charge.into_iter().for_each(Charge::keep);
        }
        verification.finish(right);
    }
    drop(place);
    Some(())
}

/// Returns whether the password matches a hash of Argon2 (PHC format) or bcrypt. False for a malformed hash. Takes
/// long by design.
fn matches(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2") {
        let argon2 = argon2::Argon2::default();
        return argon2::PasswordHash::new(hash)
            .is_ok_and(|hash| argon2.verify_password(password, &hash).is_ok());
    }
    bcrypt::verify(password, hash).unwrap_or(false)
}
