//! The addresses of the upstreams' hosts: resolved on separate threads, with one lookup per name at a time, and cached.
//!
//! The system's resolver may take ten seconds to fail, so an exchange with a known address does not wait for it: cached
//! addresses are used during a new lookup. Names that failed last or never resolved may not occupy all threads, so they
//! delay no other name.

use super::Cause;
use crate::sys::interface_index;
use edge_policy::config::Target;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The age below which cached addresses are used without a new lookup.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// The age from which addresses are used only if no newer ones arrive within [`REFRESH_WAIT`]: they may belong to
/// another host by now.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// The longest time, from the start of a lookup, for which an exchange with addresses older than [`STALE_AFTER`] waits
/// for newer ones.
const REFRESH_WAIT: Duration = Duration::from_millis(300);
/// The time after a failed lookup of a name during which no other is started.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(3);
/// The time without a use after which a name may be removed from the cache.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// The highest number of concurrent lookups.
const MAX_THREADS: usize = 32;
/// The highest number of concurrent lookups of names whose last lookup failed, or that never resolved.
const MAX_DOUBTFUL: usize = 24;

/// The resolver of this process, which uses that of the system.
static NAMES: LazyLock<Arc<NameResolver>> =
    LazyLock::new(|| NameResolver::new(|host| Ok((host, 0).to_socket_addrs()?.collect())));

/// Returns the addresses of the host of a TCP target, from the cache or the system's resolver, in the resolver's order,
/// with port 0. Link-local addresses have the scope ID that the resolver gave them. An IP address is returned as it is;
/// its zone is resolved now.
///
/// # Errors
/// [`Cause::NoInterface`] if the zone's interface does not exist, [`Cause::NoAddress`] if the lookup failed or found no
/// address.
pub(super) async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, Cause> {
    let host = target.host().unwrap_or_default();
    if let (Ok(address), Some(zone)) = (host.parse(), target.zone()) {
        let index = zone_index(zone).ok_or(Cause::NoInterface)?;
        return Ok(vec![SocketAddrV6::new(address, 0, 0, index).into()]);
    }
    match host.parse() {
        Ok(address) => Ok(vec![SocketAddr::new(address, 0)]),
        Err(_) => NAMES.addresses(host).await.filter(|found| !found.is_empty()).ok_or(Cause::NoAddress),
    }
}

/// Returns the index of the interface that a zone denotes by its name or, if it consists of digits, its index. `None` if
/// no interface has this name; whether one has the index is not checked.
pub(super) fn zone_index(zone: &str) -> Option<u32> {
    if zone.bytes().all(|b| b.is_ascii_digit()) { zone.parse().ok() } else { interface_index(zone) }
}

/// A function that returns the addresses of a name, and may block.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// A resolver with a cache. The process has one.
struct NameResolver {
    /// The function that returns the addresses of a name, and may block.
    look_up: Box<LookUp>,
    /// The cache and the queues.
    state: Mutex<ResolverState>,
}

/// The cache, the queues of names that wait for a thread, and the numbers of running threads.
#[derive(Default)]
struct ResolverState {
    /// The state of each name that was used.
    known: HashMap<String, CachedName>,
    /// The names that wait for a thread and whose last lookup succeeded. All other waiting names are in `doubtful`.
    good: VecDeque<String>,
    /// The names that wait for a thread and whose last lookup failed, or that were never resolved.
    doubtful: VecDeque<String>,
    /// The number of running threads.
    threads: usize,
    /// The number of running threads that resolve a name from `doubtful`.
    doubtful_threads: usize,
}

/// The cached state of a name.
#[derive(Default)]
struct CachedName {
    /// The addresses of the last successful lookup. Empty before one.
    addresses: Vec<SocketAddr>,
    /// The time of the last successful lookup. `None` before one.
    answered: Option<Instant>,
    /// The time of the last failed lookup. `None` if none has failed since the last success.
    failed: Option<Instant>,
    /// The time at which the lookup that waits or runs was queued. `None` if there is none.
    begun: Option<Instant>,
    /// The time at which the name was last used. `None` before its first use.
    asked: Option<Instant>,
    /// The senders by which the waiting exchanges are notified when the lookup ends.
    waiting: Vec<oneshot::Sender<()>>,
}

/// The decision whether the cached addresses of a name are used, or a lookup is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// The cached addresses are used at once.
    Use,
    /// The cached addresses are used from this time on, unless newer ones arrive before.
    UseFrom(Instant),
    /// There are no cached addresses; the exchange waits for the lookup.
    Wait,
    /// There are no cached addresses, and the last lookup failed less than [`RETRY_AFTER_FAILURE`] ago.
    Fail,
}

impl CachedName {
    /// Returns the decision for a use of the name at `now`, and true if a lookup must be started.
    fn step(&self, now: Instant) -> (Resolution, bool) {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let failed_lately = since(self.failed).is_some_and(|age| age < RETRY_AFTER_FAILURE);
        let begins = self.begun.is_none() && !failed_lately;
        match since(self.answered) {
            Some(age) if age < FRESH_FOR => (Resolution::Use, false),
            Some(age) if age < STALE_AFTER || failed_lately => (Resolution::Use, begins),
            Some(_) => (Resolution::UseFrom(self.begun.unwrap_or(now) + REFRESH_WAIT), begins),
            None if self.begun.is_none() && failed_lately => (Resolution::Fail, false),
            None => (Resolution::Wait, begins),
        }
    }

    /// Returns whether the last lookup of the name failed, or the name never resolved.
    fn is_doubtful(&self) -> bool {
        self.answered.is_none() || self.failed.is_some()
    }
}

impl NameResolver {
    /// Creates a resolver with an empty cache. `look_up` resolves a name, and may block.
    fn new(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { look_up: Box::new(look_up), state: Mutex::default() })
    }

    /// Locks and returns the cache and the queues, also after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, ResolverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses of a host, from the cache or a lookup. Waits for a lookup if the cache has none, and for
    /// a short time if they are old. `None` if there are no addresses, since the lookup failed or found none.
    async fn addresses(self: &Arc<Self>, host: &str) -> Option<Vec<SocketAddr>> {
        loop {
            let now = Instant::now();
            let (step, ended) = self.ask(host, now);
            let known = || self.state().known.get(host).map(|name| name.addresses.clone());
            match step {
                Resolution::Use => return known(),
                Resolution::Fail => return None,
                Resolution::UseFrom(until) if until <= now => return known(),
                Resolution::UseFrom(until) => {
                    let _ = tokio::time::timeout_at(until.into(), ended).await;
                }
                Resolution::Wait => {
                    let _ = ended.await;
                    // Waiting exchanges accept the result, however old it is by now.
                    return known().filter(|addresses| !addresses.is_empty());
                }
            }
        }
    }

    /// Records a use of the name at `now`, and queues a lookup if one is due. Returns the decision, and a receiver
    /// that completes when the lookup ends if the decision is to wait for it. For a new name, removes the names from
    /// the cache that were not used for [`FORGET_AFTER`].
    fn ask(self: &Arc<Self>, host: &str, now: Instant) -> (Resolution, oneshot::Receiver<()>) {
        let (sender, ended) = oneshot::channel();
        let mut state = self.state();
        if !state.known.contains_key(host) {
            // Names of configurations that are no longer served.
            let used = |name: &CachedName| {
                name.asked.is_some_and(|at| now.saturating_duration_since(at) < FORGET_AFTER)
            };
            state.known.retain(|_, name| name.begun.is_some() || used(name));
        }
        let name = state.known.entry(host.to_owned()).or_default();
        name.asked = Some(now);
        let (step, begins) = name.step(now);
        if matches!(step, Resolution::Wait | Resolution::UseFrom(_)) {
            name.waiting.push(sender);
        }
        if begins {
            name.begun = Some(now);
            let queue = if name.is_doubtful() { &mut state.doubtful } else { &mut state.good };
            queue.push_back(host.to_owned());
            self.hire(&mut state);
        }
        (step, ended)
    }

    /// Starts a thread for the next waiting name, if there is one and the limits permit. If the thread cannot be
    /// started, the lookup fails.
    fn hire(self: &Arc<Self>, state: &mut ResolverState) {
        let Some((host, doubtful)) = state.take() else { return };
        let names = self.clone();
        let thread = std::thread::Builder::new().name("resolve".into());
        let first = host.clone();
        if thread.spawn(move || names.work(first, doubtful)).is_err() {
            // Without a thread, the waiting exchanges fail, and later ones try again.
            state.release(doubtful);
            state.end(&host, Err(io::ErrorKind::OutOfMemory.into()), Instant::now());
        }
    }

    /// Resolves a name, and then other waiting names, until none is left or the limits permit no more. Runs on a
    /// thread of its own.
    fn work(&self, mut host: String, mut doubtful: bool) {
        loop {
            let found = (self.look_up)(&host);
            let mut state = self.state();
            state.release(doubtful);
            state.end(&host, found, Instant::now());
            match state.take() {
                Some(next) => (host, doubtful) = next,
                None => return,
            }
        }
    }
}

impl ResolverState {
    /// Removes the next waiting name that may be resolved now from its queue, and counts a thread for it. Returns the
    /// name, and true if it is doubtful. `None` if no name waits, or only doubtful ones beyond their limit, or all
    /// threads are in use.
    fn take(&mut self) -> Option<(String, bool)> {
        if self.threads >= MAX_THREADS {
            return None;
        }
        let (host, doubtful) = match self.good.pop_front() {
            Some(host) => (host, false),
            None if self.doubtful_threads < MAX_DOUBTFUL => (self.doubtful.pop_front()?, true),
            None => return None,
        };
        self.threads += 1;
        self.doubtful_threads += usize::from(doubtful);
        Some((host, doubtful))
    }

    /// Subtracts a thread that has resolved a name from the counts. `doubtful` is as [`ResolverState::take`] returned
    /// it.
    fn release(&mut self, doubtful: bool) {
        self.threads -= 1;
        self.doubtful_threads -= usize::from(doubtful);
    }

    /// Stores the result of a lookup, and notifies the exchanges that wait for it. After a failure, or without
    /// addresses, the addresses of the last success remain.
    fn end(&mut self, host: &str, found: io::Result<Vec<SocketAddr>>, now: Instant) {
        let Some(name) = self.known.get_mut(host) else { return };
        name.begun = None;
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                name.addresses = addresses;
                name.answered = Some(now);
                name.failed = None;
            }
            // The last addresses stay: a failing resolver gives no information about them.
            _ => name.failed = Some(now),
        }
        for waiting in name.waiting.drain(..) {
            let _ = waiting.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(limit, future).await.ok() })
    }

    /// Never resolves: the thread sleeps longer than any test.
    fn silence() -> ! {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    fn age(names: &NameResolver, host: &str, age: Duration) {
        let mut state = names.state();
        let name = state.known.get_mut(host).unwrap();
        name.answered = Instant::now().checked_sub(age);
    }

    #[test]
    fn zones_are_names_or_indices_of_interfaces() {
        let of = |host: &str| {
            let target = Target::Tcp { host: host.into(), port: 80 };
            within(Duration::from_secs(5), addresses(&target)).unwrap()
        };
        let scoped = |index| SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, index).into();
        let lo = interface_index("lo").unwrap();
        assert_eq!(of("fe80::1%lo"), Ok(vec![scoped(lo)]));
        assert_eq!(of("fe80::1%7"), Ok(vec![scoped(7)]));
        assert_eq!(of("fe80::1%no-such"), Err(Cause::NoInterface));
        assert_eq!(of("fe80::1%+7"), Err(Cause::NoInterface), "a name, not an index");
        assert_eq!(of("::1"), Ok(vec!["[::1]:0".parse().unwrap()]));
        assert_eq!(of("127.0.0.1"), Ok(vec![LOCAL]));
    }

    #[test]
    fn a_known_address_is_used_while_the_resolver_is_silent() {
        static SILENT: AtomicBool = AtomicBool::new(false);
        let names = NameResolver::new(|_| if SILENT.load(SeqCst) { silence() } else { Ok(vec![LOCAL]) });
        assert_eq!(within(Duration::from_secs(5), names.addresses("a.test")).unwrap(), Some(vec![LOCAL]));
        SILENT.store(true, SeqCst);
        for old in [11, 59, 61, 3000] {
            age(&names, "a.test", Duration::from_secs(old));
            for _ in 0..5 {
                let found = within(Duration::from_secs(2), names.addresses("a.test"));
                assert_eq!(found.expect("an answer in time"), Some(vec![LOCAL]), "{old}");
            }
        }
        assert_eq!(names.state().threads, 1, "one look-up at a time");
    }

    #[test]
    fn names_that_nobody_answers_delay_no_other() {
        let names =
            NameResolver::new(|host| if host.starts_with("dead") { silence() } else { Ok(vec![LOCAL]) });
        assert!(within(Duration::from_secs(5), names.addresses("live.test")).unwrap().is_some());
        for number in 0..100 {
            let host = format!("dead{number}.test");
            assert_eq!(within(Duration::from_millis(1), names.addresses(&host)), None);
        }
        assert_eq!(names.state().doubtful_threads, MAX_DOUBTFUL);
        // A name that resolved before is looked up beside all of them.
        age(&names, "live.test", Duration::from_secs(61));
        let before = names.state().known["live.test"].answered;
        assert!(within(Duration::from_secs(5), names.addresses("live.test")).unwrap().is_some());
        assert!(names.state().known["live.test"].answered > before);
    }

    #[test]
    fn many_ask_and_one_look_up_is_made() {
        static LOOK_UPS: AtomicUsize = AtomicUsize::new(0);
        let names = NameResolver::new(|_| {
            LOOK_UPS.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            Err(io::ErrorKind::NotFound.into())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let asked: Vec<_> = (0..20)
                .map(|_| {
                    let names = names.clone();
                    tokio::spawn(async move { names.addresses("none.test").await })
                })
                .collect();
            for asked in asked {
                assert_eq!(asked.await.unwrap(), None);
            }
        });
        // A failure is remembered for a while.
        assert_eq!(within(Duration::from_secs(1), names.addresses("none.test")).unwrap(), None);
        assert_eq!(LOOK_UPS.load(SeqCst), 1);
    }

    proptest! {
        #[test]
        fn whoever_has_an_address_waits_for_nobody_long(
            answered in proptest::option::of(0u64..4000),
            failed in proptest::option::of(0u64..4000),
            begun in proptest::option::of(0u64..20),
        ) {
            let now = Instant::now() + Duration::from_secs(5000);
            let at = |ago: Option<u64>| ago.map(|ago| now - Duration::from_secs(ago));
            let name = CachedName { answered: at(answered), failed: at(failed), begun: at(begun), ..CachedName::default() };
            let (step, begins) = name.step(now);
            // One lookup at a time, and none with fresh addresses.
            prop_assert!(!begins || (begun.is_none() && answered.is_none_or(|age| age >= 10)));
            match step {
                Resolution::Use => prop_assert!(answered.is_some()),
                Resolution::UseFrom(until) => {
                    prop_assert!(answered.is_some_and(|age| age >= 60));
                    prop_assert!(until <= now + REFRESH_WAIT && (begins || begun.is_some()));
                }
                Resolution::Wait => prop_assert!(answered.is_none() && (begins || begun.is_some())),
                Resolution::Fail => prop_assert!(answered.is_none() && failed.is_some_and(|age| age < 3)),
            }
        }
    }
}
