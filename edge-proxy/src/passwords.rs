//! Verification of passwords against slow hashes: on separate threads, few at a time, with a cache, since browsers send
//! the password with every request.

use super::limits::site::SiteLimiter;
use super::limits::sketch::client_key;
use argon2::PasswordVerifier;
use aws_lc_rs::hmac;
use edge_policy::auth::basic::{Credentials, User};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The time for which a correct password is not verified again.
const CACHE_TTL: Duration = Duration::from_secs(300);
/// The highest number of passwords of all clients that wait for or are in verification, each of which takes about a
/// tenth of a second. For clients whose password was verified before, the limit is twice as high.
const MAX_WAITING: usize = 64;
/// The highest number of passwords of one client that wait for or are in verification.
const MAX_WAITING_PER_CLIENT: usize = 4;
/// The highest number of requests that wait for one verification.
const MAX_REQUESTS: usize = 256;
/// The highest number of threads that verify passwords. There is at most one per CPU.
const MAX_THREADS: usize = 4;

/// The result of the verification of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordVerdict {
    /// The user exists, and the password is right.
    Right,
    /// The password is wrong, or there is no such user.
    Wrong,
    /// Nothing was verified: too many passwords wait, no thread runs, or the verification did not end in time.
    Busy,
    /// Nothing was verified, because the client or its user name has failed too often. Contains the time until the next
    /// attempt is allowed.
    TooOften(Duration),
}

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
    verdict(answered, QUEUE_TIMEOUT).await
}

/// Waits for the result of a verification: at most `limit`, after which it is [`PasswordVerdict::Busy`].
async fn verdict(answered: oneshot::Receiver<bool>, limit: Duration) -> PasswordVerdict {
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(true)) => PasswordVerdict::Right,
        Ok(Ok(false)) => PasswordVerdict::Wrong,
        Ok(Err(_)) | Err(_) => PasswordVerdict::Busy,
    }
}

/// A charge for a password: it counts as wrong for its client and user name. Dropping it reverts that.
struct Charge {
    /// The limiter of the site.
    guard: Arc<SiteLimiter>,
    /// The client that sent the password.
    client: IpAddr,
    /// The user name that was sent.
    user: String,
    /// True if the charge is reverted when it is dropped.
    reverts: bool,
}

impl Charge {
    /// Charges a password to its client and user name.
    ///
    /// # Errors
    /// The time to wait if the client or the user name may not try a password now. Nothing is charged then.
    fn new(guard: &Arc<SiteLimiter>, client: IpAddr, given: &Credentials) -> Result<Self, Duration> {
        guard.charge(client, &given.user)?;
        Ok(Self { guard: guard.clone(), client, user: given.user.clone(), reverts: true })
    }

    /// Makes the charge permanent, since the password was wrong.
    fn keep(mut self) {
        self.reverts = false;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.reverts {
            self.guard.give_back(self.client, &self.user);
        }
    }
}

/// The number of buckets of the password cache.
const BUCKETS: usize = 1 << 10;
/// The number of cells in a bucket.
const BUCKET_CELLS: usize = 8;

/// Recently verified passwords, as HMAC-SHA256 tags of client, user, password, hash and existence of the user. The key
/// is random and ends with the process, so no password can be derived from the cache.
struct PasswordCache {
    /// The random key of the tags.
    key: hmac::Key,
    /// The time at which the cache was created.
    epoch: Instant,
    /// The cells: a part of the tag, and the time of the last verification in milliseconds since `epoch` plus 1; 0
    /// marks a free cell. [`BUCKET_CELLS`] successive cells form a bucket.
    cells: Box<[(AtomicU64, AtomicU64)]>,
}

/// The password cache of the process.
static PASSWORD_CACHE: LazyLock<PasswordCache> = LazyLock::new(|| {
    let mut key = [0; 32];
    // Without random numbers there is no TLS either, and nothing here is sent anywhere.
    let _ = aws_lc_rs::rand::fill(&mut key);
    PasswordCache {
        key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        epoch: Instant::now(),
        cells: (0..BUCKETS * BUCKET_CELLS).map(|_| Default::default()).collect(),
    }
});

/// The keyed hash of a client's credentials: the index of its bucket, and 64 bits that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tag {
    /// The index of the bucket.
    bucket: usize,
    /// The bits that are compared.
    tag: u64,
}

impl PasswordCache {
    /// Returns the user whose hash the password of an unknown name is verified against, so that the time does not
    /// reveal which names exist. The user is chosen by a keyed hash, so it is always the same for a name and the same
    /// users. `None` without users.
    fn stand_in_user<'u>(&self, users: &'u [User], name: &str) -> Option<&'u User> {
        let signed = hmac::sign(&self.key, name.as_bytes());
        let number = signed.as_ref().iter().take(8).fold(0usize, |all, byte| all << 8 | usize::from(*byte));
        users.get(number.checked_rem(users.len())?)
    }

    /// Returns the keyed hash of the client's address or prefix, the credentials, the hash that they are verified
    /// against, and whether a user has the name (`known`), since the hash is another user's otherwise.
    fn tag(&self, client: IpAddr, given: &Credentials, hash: &str, known: bool) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[u8::from(known)]);
        context.update(&client_key(client).to_be_bytes());
        for part in [given.user.as_bytes(), hash.as_bytes(), &given.password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let signed = context.sign();
        let number = |at: usize| {
            signed.as_ref()[at..at + 8].iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte))
        };
        Tag { bucket: number(0) as usize % BUCKETS, tag: number(8) }
    }

    /// Returns the time since the cache was created in milliseconds, plus 1.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }

    /// Returns the cells of the tag's bucket.
    fn cells(&self, tag: Tag) -> &[(AtomicU64, AtomicU64)] {
        &self.cells[tag.bucket * BUCKET_CELLS..][..BUCKET_CELLS]
    }

    /// Returns the time since the password of this tag was last verified, however long ago. `None` if the cache does
    /// not contain the tag.
    fn since(&self, tag: Tag) -> Option<Duration> {
        self.cells(tag).iter().find_map(|(known, at)| {
            let at = at.load(Acquire);
            let same = at > 0 && known.load(Acquire) == tag.tag;
            same.then(|| Duration::from_millis(self.now().saturating_sub(at)))
        })
    }

    /// Stores the tag of a correct password with the present time. If the tag is not stored yet, it replaces the
    /// oldest entry of its bucket.
    fn keep(&self, tag: Tag) {
        let cells = self.cells(tag);
        let own = cells.iter().find(|(known, _)| known.load(Acquire) == tag.tag);
        let Some((known, at)) = own.or_else(|| cells.iter().min_by_key(|(_, at)| at.load(Acquire))) else {
            return;
        };
        // Whoever reads in between finds nothing.
        at.store(0, Release);
        known.store(tag.tag, Release);
        at.store(self.now(), Release);
    }
}

/// The number of passwords that wait for or are in verification, by the key of the client.
static WAIT: LazyLock<Mutex<HashMap<u64, usize>>> = LazyLock::new(Mutex::default);

/// Locks and returns the count of waiting passwords, also after a panic of another thread.
fn wait() -> MutexGuard<'static, HashMap<u64, usize>> {
    WAIT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counted place in the queue of passwords, with the key of its client. Dropping it frees the place.
struct QueueSlot(u64);

impl QueueSlot {
    /// Takes a place for this client. If `right_before` is true, the limit of all clients together is doubled. `None`
    /// if the client has [`MAX_WAITING_PER_CLIENT`] places already, or all clients together have too many.
    fn take(client: IpAddr, right_before: bool) -> Option<Self> {
        let client = client_key(client);
        let mut waiting = wait();
        let places = if right_before { 2 * MAX_WAITING } else { MAX_WAITING };
        let own = waiting.get(&client).copied().unwrap_or_default();
        if own >= MAX_WAITING_PER_CLIENT || waiting.values().sum::<usize>() >= places {
            return None;
        }
        waiting.insert(client, own + 1);
        Some(Self(client))
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut waiting = wait();
        match waiting.get_mut(&self.0) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(waiting.remove(&self.0)),
        }
    }
}

/// The channels of the requests that wait for each verification: true is sent for a right password.
static VERIFICATIONS: LazyLock<Mutex<HashMap<Tag, Vec<oneshot::Sender<bool>>>>> =
    LazyLock::new(Mutex::default);

/// Locks and returns the verifications that wait or run, also after a panic of another thread.
fn verifications() -> MutexGuard<'static, HashMap<Tag, Vec<oneshot::Sender<bool>>>> {
    VERIFICATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A verification of credentials that waits or runs, of which there is one for each tag. Dropping it ends the wait of
/// its requests without a result.
struct Verification {
    /// The tag of the credentials.
    tag: Tag,
    /// True once it has ended, so that another one of the same tag may have begun.
    ended: bool,
}

impl Verification {
    /// Adds a request to the verification of the same credentials, or begins one if there is none and `admit` succeeds.
    /// Both are atomic: of simultaneous requests, exactly one begins a verification and calls `admit`. Returns the new
    /// verification with the result of `admit`, or `None` if the request was added to an existing one.
    ///
    /// # Errors
    /// The error of `admit`, or [`PasswordVerdict::Busy`] if [`MAX_REQUESTS`] wait for the verification already.
    /// Requests whose client is gone do not count.
    fn begin<T>(
        tag: Tag,
        answer: oneshot::Sender<bool>,
        admit: impl FnOnce() -> Result<T, PasswordVerdict>,
    ) -> Result<Option<(Self, T)>, PasswordVerdict> {
        let mut all = verifications();
        match all.entry(tag) {
            Entry::Occupied(mut existing) => {
                let answers = existing.get_mut();
                answers.retain(|answer| !answer.is_closed());
                if answers.len() >= MAX_REQUESTS {
                    return Err(PasswordVerdict::Busy);
                }
                answers.push(answer);
                Ok(None)
            }
            Entry::Vacant(free) => {
                let admitted = admit()?;
                free.insert(vec![answer]);
                Ok(Some((Self { tag, ended: false }, admitted)))
            }
        }
    }

    /// Returns whether a request waits for the result. Otherwise the verification ends, so that none joins it.
    fn is_awaited(&mut self) -> bool {
        let mut all = verifications();
        let awaited =
            all.get(&self.tag).is_some_and(|answers| answers.iter().any(|answer| !answer.is_closed()));
        if !awaited {
            all.remove(&self.tag);
            self.ended = true;
        }
        awaited
    }

    /// Sends the result to all requests that wait for it.
    fn finish(mut self, right: bool) {
        let answers = verifications().remove(&self.tag);
        self.ended = true;
        for answer in answers.into_iter().flatten() {
            // The client may be gone.
            let _ = answer.send(right);
        }
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        if !self.ended {
            verifications().remove(&self.tag);
        }
    }
}

/// A password to be verified by a thread.
struct Job {
    /// The hash against which the password is verified.
    hash: String,
    /// The password of the client.
    password: Vec<u8>,
    /// True if a user has the name. Otherwise the password is wrong.
    known: bool,
    /// The charge of the password. `None` if there is no limiter or the password was right before.
    charge: Option<Charge>,
    /// The verification, with the requests that wait for it.
    verification: Verification,
    /// The place in the queue, freed when this is dropped.
    place: QueueSlot,
}

/// The longest time for which the verification of a password is awaited.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The queue of the threads that verify passwords, which are started at its first use.
static THREAD_POOL: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
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
fn work(receiver: &Mutex<Receiver<Job>>) -> Option<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
            Verification::begin(tag, answer, || Ok(QueueSlot::take(client, false).unwrap()))
                .unwrap()
                .unwrap();
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
        let of = |answered| runtime.block_on(verdict(answered, Duration::from_millis(20)));
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
}
