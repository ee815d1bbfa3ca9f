//! Connections to a host with several addresses, in the order and with the delay of Go's `net.Dial` (RFC 6555).

use super::Options;
use super::server::connect;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Time after which Go tries the other address family beside the first one: `Dialer.fallbackDelay` in `net/dial.go`.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// Outcome of connecting to a host.
#[derive(Debug, Default)]
pub(super) struct Dialed {
    /// Addresses that were tried without success, each with the error. The first one is the error that Go returns.
    pub(super) failed: Vec<(SocketAddr, io::Error)>,
    /// The connection, with its address. `None` if no address accepted.
    pub(super) connected: Option<(SocketAddr, TcpStream)>,
}

impl Dialed {
    /// Adds the outcome of the other address family.
    fn and(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        Self { failed: self.failed, connected: self.connected.or(other.connected) }
    }
}

/// Connects to the first address that accepts, as Go's `dialParallel` does: addresses of one family follow each other,
/// and those of the other family begin after 300 ms, or when all of the first have failed. Each attempt has the time
/// limit of a step, which Go does not have.
pub(super) async fn dial(addresses: &[SocketAddr], options: &Options) -> Dialed {
    let Some(first) = addresses.first() else { return Dialed::default() };
    let (primaries, fallbacks): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut primary = std::pin::pin!(serial(&primaries, options));
    tokio::select! {
        done = &mut primary => {
            if done.connected.is_some() || fallbacks.is_empty() {
                return done;
            }
            return done.and(serial(&fallbacks, options).await);
        }
        () = tokio::time::sleep(FALLBACK_DELAY), if !fallbacks.is_empty() => {}
    }
    let mut fallback = std::pin::pin!(serial(&fallbacks, options));
    tokio::select! {
        done = &mut primary => match done.connected {
            Some(_) => done,
            None => done.and(fallback.await),
        },
        mut done = &mut fallback => {
            if done.connected.is_some() {
                // Go drops the attempt that is still under way.
                let late = io::Error::new(io::ErrorKind::TimedOut, "no answer within 300 ms");
                done.failed.insert(0, (*first, late));
                return done;
            }
            primary.await.and(done)
        }
    }
}

/// Connects to the first of these addresses that accepts, one after the other.
async fn serial(addresses: &[SocketAddr], options: &Options) -> Dialed {
    let mut dialed = Dialed::default();
    for address in addresses {
        match connect(*address, options).await {
            Ok(stream) => {
                dialed.connected = Some((*address, stream));
                break;
            }
            Err(why) => dialed.failed.push((*address, why)),
        }
    }
    dialed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_other_family_is_tried_where_the_first_does_not_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let open = listener.local_addr().expect("an address");
        let closed = SocketAddr::from((Ipv6Addr::LOCALHOST, open.port()));
        let options = Options { limit: Duration::from_secs(2), ..Options::default() };
        let dialed = dial(&[closed, open], &options).await;
        assert_eq!(dialed.connected.map(|(address, _)| address), Some(open));
        assert_eq!(dialed.failed.first().map(|(address, _)| *address), Some(closed));
        // An address of the first family that accepts is taken, and none after it is tried.
        let dialed = dial(&[open, closed], &options).await;
        assert!(dialed.connected.is_some() && dialed.failed.is_empty(), "{dialed:?}");
        let dialed = dial(&[closed], &options).await;
        assert!(dialed.connected.is_none() && dialed.failed.len() == 1, "{dialed:?}");
        assert!(dial(&[], &options).await.failed.is_empty());
    }
}
