//! Connecting to a host with several addresses (RFC 8305): an address that does not respond delays the connection by
//! 250 ms, not by the whole connect timeout.

use super::Cause;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// The delay before the next address is tried while no attempt has succeeded (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

thread_local! {
    /// The address of the last successful connection by host and port. It is tried first.
    static WORKED: RefCell<HashMap<(String, u16), SocketAddr>> = RefCell::new(HashMap::new());
}

/// Connects to this port of the first of the host's addresses that accepts the connection, and stores that address for
/// this thread. The ports of `addresses` are ignored. The stored address of the host and port is tried first. A single
/// address is connected to directly and not stored.
///
/// # Errors
/// The cause of the failure: for several addresses as [`first`], for a single one as [`attempt`].
pub(super) async fn connect(
    host: &str,
    port: u16,
    mut addresses: Vec<SocketAddr>,
) -> Result<TcpStream, Cause> {
    addresses.iter_mut().for_each(|address| address.set_port(port));
    if let [only] = addresses[..] {
        return attempt(only).await;
    }
    let key = (host.to_owned(), port);
    let worked = WORKED.with_borrow(|known| known.get(&key).copied());
    let (address, stream) = first(order(addresses, worked), attempt).await?;
    if worked != Some(address) {
        WORKED.with_borrow_mut(|known| known.insert(key, address));
    }
    Ok(stream)
}

/// Connects to one address.
///
/// # Errors
/// The cause, by [`Cause::of_tcp`].
async fn attempt(address: SocketAddr) -> Result<TcpStream, Cause> {
    let mut connecting = pin!(TcpStream::connect(address));
    // The system call is made by the first poll. Only its own error is known to be this system's.
    let mut at_once = true;
    poll_fn(|cx| {
        let polled = connecting.as_mut().poll(cx);
        let at_once = std::mem::take(&mut at_once);
        polled.map_err(|why| Cause::of_tcp(&why, at_once))
    })
    .await
}

/// Returns the addresses in the order of the attempts, without duplicates: `worked` if it is among them, then the
/// families in turn, beginning with that of the first address (RFC 8305 §4).
fn order(addresses: Vec<SocketAddr>, worked: Option<SocketAddr>) -> Vec<SocketAddr> {
    let mut ordered: Vec<SocketAddr> =
        worked.filter(|worked| addresses.contains(worked)).into_iter().collect();
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return ordered;
        }
        for address in pair.into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

/// Starts one attempt after another, each when one has failed or [`ATTEMPT_DELAY`] has passed. Earlier attempts
/// continue. Returns the result of the first that succeeds, with its address; the others are cancelled.
///
/// # Errors
/// All attempts failed: the cause of the last failure, or of the last that was not [local](Cause::is_local), if there
/// was one. [`Cause::NoAddress`] without addresses.
async fn first<T, F: Future<Output = Result<T, Cause>>>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Cause> {
    let mut left = addresses.into_iter();
    let mut under_way: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failed: Option<Cause> = None;
    loop {
        if let Some(address) = left.next() {
            under_way.push((address, Box::pin(attempt(address))));
        }
        if under_way.is_empty() {
            return Err(failed.unwrap_or(Cause::NoAddress));
        }
        let waits = left.len() > 0;
        let mut delay = pin!(tokio::time::sleep(ATTEMPT_DELAY));
        let done = poll_fn(|cx| {
            let mut at = 0;
            while at < under_way.len() {
                let (address, attempt) = &mut under_way[at];
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(value)) => return Poll::Ready(Some(Ok((*address, value)))),
                    Poll::Ready(Err(why)) => {
                        under_way.swap_remove(at);
                        return Poll::Ready(Some(Err(why)));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if waits { delay.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
        })
        .await;
        match done {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(why)) if why.is_local() && failed.is_some_and(|failed| !failed.is_local()) => {}
            Some(Err(why)) => failed = Some(why),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::time::Instant;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 80)
    }

    #[test]
    fn families_take_turns_behind_what_worked() {
        let all = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"].map(address);
        let expected = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"].map(address);
        assert_eq!(order(all.to_vec(), None), expected);
        let expected = ["192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2"].map(address);
        assert_eq!(order(all.to_vec(), Some(all[3])), expected);
        assert_eq!(order(all[..1].to_vec(), Some(all[3])), [all[0]]);
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_dead_address_costs_a_quarter_of_a_second_and_a_refusal_nothing() {
        let attempt = |address: SocketAddr| async move {
            match address.is_ipv6() {
                true if address == self::address("::1") => Err(Cause::Refused),
                true if address == self::address("::2") => Err(Cause::NoRoute),
                true => std::future::pending().await,
                false => Ok(()),
            }
        };
        let begun = Instant::now();
        let dead = ["2001:db8::1", "192.0.2.1"].map(address).to_vec();
        assert_eq!(run(first(dead, attempt)).unwrap().0, address("192.0.2.1"));
        assert!(begun.elapsed() >= ATTEMPT_DELAY);
        let begun = Instant::now();
        let refused = ["::1", "192.0.2.1"].map(address).to_vec();
        assert_eq!(run(first(refused, attempt)).unwrap().0, address("192.0.2.1"));
        assert!(begun.elapsed() < ATTEMPT_DELAY);
        let why = run(first(vec![address("::1")], attempt)).unwrap_err();
        assert_eq!(why, Cause::Refused);
        assert_eq!(run(first(Vec::new(), attempt)).unwrap_err(), Cause::NoAddress);
        // That this system has no route to one of the addresses does not hide that another was refused.
        for both in [["::1", "::2"], ["::2", "::1"]] {
            assert_eq!(run(first(both.map(address).to_vec(), attempt)).unwrap_err(), Cause::Refused);
        }
        assert_eq!(run(first(vec![address("::2")], attempt)).unwrap_err(), Cause::NoRoute);
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once(addresses: Vec<SocketAddr>, worked: Option<SocketAddr>, known in 0_usize..8) {
            let worked = addresses.get(known).copied().or(worked);
            let ordered = order(addresses.clone(), worked);
            let (before, after): (HashSet<_>, HashSet<_>) = (addresses.into_iter().collect(), ordered.iter().copied().collect());
            prop_assert_eq!(before, after);
            prop_assert_eq!(ordered.iter().collect::<HashSet<_>>().len(), ordered.len());
            if let Some(worked) = worked.filter(|worked| ordered.contains(worked)) {
                prop_assert_eq!(ordered[0], worked);
            }
        }
    }
}
