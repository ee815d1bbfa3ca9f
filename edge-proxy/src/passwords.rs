//! Verification of passwords against slow hashes: on separate threads, few at a time, with a cache, since browsers send
//! the password with every request.

mod cache;
mod charge;
mod slot;
#[cfg(test)]
mod tests;
mod threads;
mod verdict;
mod verification;

pub(crate) use verdict::PasswordVerdict;

use crate::limits::site::SiteLimiter;
use cache::PASSWORD_CACHE;
use charge::Charge;
use edge_policy::auth::basic::{Credentials, User};
use slot::QueueSlot;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use threads::{Job, THREAD_POOL};
use tokio::sync::oneshot;
use verification::Verification;

/// The time for which a correct password is not verified again.
const CACHE_TTL: Duration = Duration::from_secs(300);
/// The longest time for which the verification of a password is awaited.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Verifies credentials against the users. A password that was verified for this client less than [`CACHE_TTL`] ago is
/// right without a check. Others are first charged to `client` and the user name in `guard`, if there is one; the
/// charge is reverted for a right password, or one that was not verified. Above the limit of charges nothing is
/// verified, except for a client that had this password right before. An unknown user takes as long as a known one.
/// Without users, every password is wrong.
///
/// Further requests of a client with the same credentials during their verification, such as a browser's parallel
/// requests, wait for its result. They are not charged and take no place in the queue. A known and an unknown user
/// never share a verification, even if both are verified against the same hash.
///
/// The charge is settled when the verification ends, also if the client has disconnected after its beginning.
pub(crate) async fn verify(
    users: &[User],
    given: &Credentials,
    client: IpAddr,
    guard: Option<&Arc<SiteLimiter>>,
) -> PasswordVerdict {
    let user = users.iter().find(|user| user.name == given.user);
    // An unknown name takes as long as a known one, also where the users' hashes differ in cost.
    let Some(hash) =
        user.or_else(|| PASSWORD_CACHE.stand_in_user(users, &given.user)).map(|user| user.hash.clone())
    else {
        return PasswordVerdict::Wrong;
    };
    let known = user.is_some();
    let tag = PASSWORD_CACHE.tag(client, given, &hash, known);
    let right_before = PASSWORD_CACHE.since(tag);
    if right_before.is_some_and(|since| since < CACHE_TTL) {
        return PasswordVerdict::Right;
    }
    let (answer, answered) = oneshot::channel();
    let begun = Verification::begin(tag, answer, || {
        let charged = guard.filter(|_| right_before.is_none());
        let charge = charged.map(|guard| Charge::new(guard, client, given)).transpose();
        let charge = charge.map_err(PasswordVerdict::TooOften)?;
        let place = QueueSlot::take(client, right_before.is_some()).ok_or(PasswordVerdict::Busy)?;
        Ok((charge, place))
    });
    match begun {
        Ok(Some((verification, (charge, place)))) => {
            let job = Job { hash, password: given.password.clone(), known, charge, verification, place };
            // Without a thread, the job is dropped, which ends the wait for it.
            let _ = THREAD_POOL.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        }
        Ok(None) => {}
        Err(refusal) => return refusal,
    }
    verdict_of(answered, QUEUE_TIMEOUT).await
}

/// Waits for the result of a verification: at most `limit`, after which it is [`PasswordVerdict::Busy`].
async fn verdict_of(answered: oneshot::Receiver<bool>, limit: Duration) -> PasswordVerdict {
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(true)) => PasswordVerdict::Right,
        Ok(Ok(false)) => PasswordVerdict::Wrong,
        Ok(Err(_)) | Err(_) => PasswordVerdict::Busy,
    }
}
