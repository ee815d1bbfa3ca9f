//! Results of the checks: one line each, with the observation and the time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Result of a check.
#[derive(Clone)]
pub(crate) struct Fact {
    pub(crate) chapter: &'static str,
    pub(crate) what: String,
    /// The observation, or the reason for the failure.
    pub(crate) seen: Result<String, String>,
    /// Time from the start of the lab to the start of the check.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
}

/// Results of all checks, which may run in several threads.
pub(crate) struct Facts {
    began: Instant,
    all: Mutex<Vec<Fact>>,
    failed: AtomicUsize,
}

impl Facts {
    /// Creates an empty list. The time of the lab begins.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), all: Mutex::default(), failed: AtomicUsize::new(0) }
    }

    /// Runs a check, prints its result at once, stores it under the chapter and the description `what`, and returns
    /// `true` if it passed. `look` returns the observation, or the reason for the failure; a panic is a failure.
    pub(crate) fn fact(
        &self,
        chapter: &'static str,
        what: impl Into<String>,
        look: impl FnOnce() -> Result<String, String>,
    ) -> bool {
        let (what, began) = (what.into(), Instant::now());
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        let seen = looked.unwrap_or_else(|why| {
            let words =
                why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied());
            Err(words.unwrap_or("it panicked").to_owned())
        });
        let took = began.elapsed();
        let (mark, words, holds) = match &seen {
            Ok(words) => ("holds", words, true),
            Err(words) => ("FAILS", words, false),
        };
        println!("{mark} {:>6.2} s  {chapter}: {what}: {words}", took.as_secs_f64());
        if !holds {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let fact = Fact { chapter, what, seen, at: began.duration_since(self.began), took };
        self.all.lock().expect("no panic").push(fact);
        holds
    }

    /// Returns the number of failed checks.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the time since [`new`](Self::new).
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the results, ordered by the start of the check.
    pub(crate) fn all(&self) -> Vec<Fact> {
        let mut all = self.all.lock().expect("no panic").clone();
        all.sort_by_key(|fact| fact.at);
        all
    }
}

/// Repeats a check every 100 ms until it passes or `within` has elapsed; it runs at least once. Returns the result of
/// the check.
///
/// # Errors
/// Returns the last error of the check, preceded by the time in seconds.
pub(crate) fn until<T>(within: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() > end => {
                return Err(format!("not within {} s: {why}", within.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Checks a condition.
///
/// # Errors
/// Returns the text of `words` if `holds` is `false`.
pub(crate) fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}
