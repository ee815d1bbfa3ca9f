//! A client that has the addresses of both edges and tries the next one on failure, as browsers do.

use super::{TwoEdgeLab, addresses};
use crate::facts::ensure;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::RequestError;

/// Time to wait for a connection before the next address is tried, as RFC 8305 recommends.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// Time to wait for the next bytes of a response before the other edge is tried.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// Counts of a client's requests, by outcome.
#[derive(Debug, Default)]
pub(super) struct Tally {
    answered: usize,
    resumed: usize,
    early: usize,
    /// Attempts without a connection, after which the other edge was tried.
    moved: usize,
    /// Attempts whose connection was cut or timed out before a response, after which the request was sent again.
    again: usize,
    lost: Vec<String>,
    longest: Duration,
}

impl Tally {
    /// Checks that no request was lost, that there were at least 10, and that some attempt met the unavailable edge.
    /// Returns the counts in words.
    ///
    /// # Errors
    /// Returns what does not hold.
    pub(super) fn check_none_lost_by_outage(&self) -> Result<String, String> {
        ensure(self.moved + self.again > 0, || "no request met the edge that was away".to_owned())?;
        self.check_none_lost()
    }

    /// Checks that no request was lost, and that there were at least 10. Returns the counts in words.
    ///
    /// # Errors
    /// Returns what does not hold.
    pub(super) fn check_none_lost(&self) -> Result<String, String> {
        ensure(self.lost.is_empty(), || format!("{} lost: {:?}", self.lost.len(), self.lost))?;
        ensure(self.answered >= 10, || format!("only {} requests", self.answered))?;
        Ok(format!(
            "{} requests answered, {} in resumed sessions, {} from early data; {} went to the other address, {} were cut short \
             and sent again; the longest took {:.2} s",
            self.answered,
            self.resumed,
            self.early,
            self.moved,
            self.again,
            self.longest.as_secs_f64()
        ))
    }
}

/// Runs `what` while a client sends requests for `host` to both edges, from 0.5 s before to 0.5 s after. Returns the
/// client's counts, or an error if the client panicked, and the result of `what`.
///
/// # Panics
/// Panics if `what` does.
pub(super) fn ask_while<T>(
    edges: &TwoEdgeLab,
    host: &str,
    what: impl FnOnce() -> T,
) -> (Result<Tally, String>, T) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| edges.topology.client.run_inside(|| client(edges, host, &stop)));
        // Some requests precede `what`.
        std::thread::sleep(Duration::from_millis(500));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let tally = client.join().map_err(|_| "the client panicked".to_owned());
        (tally, done.unwrap_or_else(|why| std::panic::resume_unwind(why)))
    })
}

/// Sends requests for `host`, 25 ms after the end of the previous one, until `stop`. Each begins at the other edge than
/// the one before, and tries both edges twice, until one responds with 200. Returns the counts.
fn client(edges: &TwoEdgeLab, host: &str, stop: &AtomicBool) -> Tally {
    let mut client = edges.client();
    (client.connect, client.patience) = (CONNECT_TIMEOUT, RESPONSE_TIMEOUT);
    let mut tally = Tally::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let began = Instant::now();
        let mut order = addresses();
        order.rotate_left(number % 2);
        let mut failed = Vec::new();
        // Each address is tried twice: a GET that was cut off may be repeated.
        for address in [order, order].concat() {
            match client.ask(address, host, &format!("/asked/{number}")) {
                Ok(went) if went.status == 200 => {
                    tally.answered += 1;
                    tally.resumed += usize::from(went.resumed);
                    tally.early += usize::from(went.early);
                    failed.clear();
                    break;
                }
                Ok(went) => failed.push(format!("{address}: {}", went.status)),
                Err(RequestError::Unreached(why)) => {
                    tally.moved += 1;
                    failed.push(format!("{address}: {why}"));
                }
                Err(RequestError::Cut(why)) => {
                    tally.again += 1;
                    failed.push(format!("{address}: {why}"));
                }
            }
        }
        if !failed.is_empty() {
            tally.lost.push(format!("request {number}: {}", failed.join(", ")));
        }
        tally.longest = tally.longest.max(began.elapsed());
        std::thread::sleep(Duration::from_millis(25));
    }
    tally
}
