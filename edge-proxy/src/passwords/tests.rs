//! Verifications as threads and requests make them.

use super::cache::PASSWORD_CACHE;
use super::charge::Charge;
use super::slot::{MAX_WAITING_PER_CLIENT, QueueSlot};
use super::threads::{Job, work};
use super::verification::{MAX_REQUESTS, Verification, verifications};
use super::{PasswordVerdict, verdict_of, verify};
use crate::limits::site::SiteLimiter;
use edge_policy::auth::basic::{Credentials, User};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

#[test]
fn unknown_names_cost_what_known_ones_cost() {
    let user = |name: &str| User { name: name.into(), hash: format!("hash of {name}") };
    let users = [user("ann"), user("bob"), user("cyd")];
    let of = |number: usize| PASSWORD_CACHE.stand_in_user(&users, &format!("stranger{number}"));
    let chosen: BTreeSet<&str> = (0..64).filter_map(|number| Some(of(number)?.name.as_str())).collect();
    assert_eq!(chosen.len(), users.len(), "{chosen:?}");
    assert!((0..64).all(|number| of(number) == of(number)));
    assert_eq!(PASSWORD_CACHE.stand_in_user(&[], "stranger"), None);
}

/// A limiter of one site with passwords, which admits 20 wrong ones.
fn limiter() -> Arc<SiteLimiter> {
    use edge_policy::config::{Auth, BasicAuth, Site};
    let mut site = Site::new("a", vec!["a.test".parse().unwrap()]);
    let users = vec![User { name: "ann".into(), hash: String::new() }];
    site.auth = Some(Auth::Basic(BasicAuth { realm: "a".into(), users, user_field: None }));
    crate::limits::site::SiteLimiters::new(1).of(&[site], 4096).remove(0)
}

/// The hash of `correct horse`, by `htpasswd -nbB`, cost 4.
const HASH: &str = "$2y$04$hF18jhPtrl9WLt0T.QOzTO0p4dHFWlKr.qeDUoZKio8Tc5wL.vsFG";

/// Verifies `correct horse` or another password as a thread does, if its client still waits. Returns the answer.
fn verified(limiter: &Arc<SiteLimiter>, client: u8, password: &str, waits: bool) -> Option<bool> {
    let client = IpAddr::from([192, 0, 2, client]);
    let given = Credentials { user: "ann".into(), password: password.as_bytes().to_vec() };
    let charge = Some(Charge::new(limiter, client, &given).ok()?);
    let (answer, mut answered) = oneshot::channel();
    let tag = PASSWORD_CACHE.tag(client, &given, HASH, true);
    let (verification, place) =
        Verification::begin(tag, answer, || Ok(QueueSlot::take(client, false).unwrap())).unwrap().unwrap();
    if !waits {
        answered.close();
    }
    let (sender, receiver) = channel();
    let (hash, password) = (HASH.into(), given.password);
    sender.send(Job { hash, password, known: true, charge, verification, place }).unwrap();
    work(&Mutex::new(receiver)).unwrap();
    answered.try_recv().ok()
}

#[test]
fn a_password_counts_if_and_only_if_it_was_verified_and_wrong() {
    let limiter = limiter();
    let wrong =
        |client| (0..).take_while(|_| verified(&limiter, client, "wrong", true) == Some(false)).count();
    // Right ones, and such as nobody waited for, leave the whole budget.
    for _ in 0..30 {
        assert_eq!(verified(&limiter, 1, "correct horse", true), Some(true));
        assert_eq!(verified(&limiter, 1, "correct horse", false), None);
        assert_eq!(verified(&limiter, 1, "wrong", false), None);
    }
    assert_eq!(wrong(1), 20);
    assert_eq!(wrong(1), 0);
}

#[test]
fn the_wait_for_a_verification_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let of = |answered| runtime.block_on(verdict_of(answered, Duration::from_millis(20)));
    let (silent, answered) = oneshot::channel();
    assert_eq!(of(answered), PasswordVerdict::Busy);
    drop(silent);
    // Without a thread, there is no answer either.
    let (dropped, answered) = oneshot::channel();
    drop(dropped);
    assert_eq!(of(answered), PasswordVerdict::Busy);
    for (right, expected) in [(true, PasswordVerdict::Right), (false, PasswordVerdict::Wrong)] {
        let (answer, answered) = oneshot::channel();
        answer.send(right).unwrap();
        assert_eq!(of(answered), expected);
    }
}

#[test]
fn known_and_unknown_names_with_one_hash_have_no_verification_in_common() {
    let list = |name: &str| [User { name: name.into(), hash: HASH.into() }];
    let (with_ann, without) = (list("ann"), list("bob"));
    let given = Credentials { user: "ann".into(), password: b"correct horse".to_vec() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The second of each pair arrives while the verification of the first one runs.
        let client = IpAddr::from([192, 0, 2, 20]);
        let verdicts =
            tokio::join!(verify(&with_ann, &given, client, None), verify(&without, &given, client, None));
        assert_eq!(verdicts, (PasswordVerdict::Right, PasswordVerdict::Wrong));
        let client = IpAddr::from([192, 0, 2, 21]);
        let verdicts =
            tokio::join!(verify(&without, &given, client, None), verify(&with_ann, &given, client, None));
        assert_eq!(verdicts, (PasswordVerdict::Wrong, PasswordVerdict::Right));
        // The cached result is of the list with the name alone.
        assert_eq!(verify(&without, &given, client, None).await, PasswordVerdict::Wrong);
    });
}

/// Of requests that several workers receive at once, one takes the charge and the place.
#[test]
fn simultaneous_requests_begin_one_verification() {
    let client = IpAddr::from([192, 0, 2, 22]);
    for round in 0..50 {
        let given = Credentials { user: "ann".into(), password: format!("wrong {round}").into_bytes() };
        let tag = PASSWORD_CACHE.tag(client, &given, HASH, true);
        let barrier = std::sync::Barrier::new(3 * MAX_WAITING_PER_CLIENT);
        let begin = || {
            let (answer, answered) = oneshot::channel();
            barrier.wait();
            let begun = Verification::begin(tag, answer, || {
                QueueSlot::take(client, false).ok_or(PasswordVerdict::Busy)
            });
            (begun.expect("not refused"), answered)
        };
        let (begun, answered): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3 * MAX_WAITING_PER_CLIENT).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).unzip()
        });
        let mut begun: Vec<_> = begun.into_iter().flatten().collect();
        assert_eq!(begun.len(), 1);
        begun.remove(0).0.finish(false);
        assert!(answered.into_iter().all(|mut answered| answered.try_recv() == Ok(false)));
    }
}

#[test]
fn a_verification_has_a_limited_number_of_requests() {
    let given = Credentials { user: "ann".into(), password: b"wrong".to_vec() };
    let tag = PASSWORD_CACHE.tag(IpAddr::from([192, 0, 2, 23]), &given, HASH, true);
    let join = || {
        let (answer, answered) = oneshot::channel();
        Verification::begin(tag, answer, || Ok(())).map(|begun| (begun, answered))
    };
    let first = join().unwrap();
    // Requests that were abandoned leave nothing.
    for _ in 0..2 * MAX_REQUESTS {
        drop(join().unwrap());
    }
    assert!(verifications()[&tag].len() <= 2);
    let waiting: Vec<_> = (1..MAX_REQUESTS).map(|_| join().unwrap()).collect();
    assert_eq!(join().err(), Some(PasswordVerdict::Busy));
    drop(waiting);
    assert!(join().unwrap().0.is_none());
    // A refused one leaves nothing either, and the next one begins.
    drop(first);
    let (answer, _answered) = oneshot::channel();
    assert!(Verification::begin::<()>(tag, answer, || Err(PasswordVerdict::Busy)).is_err());
    assert!(join().unwrap().0.is_some());
}
