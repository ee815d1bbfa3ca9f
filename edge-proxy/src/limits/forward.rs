//! The limits of forwarded TCP connections, shared by all workers.

use super::sketch::{ConnectionPermit, CountMinSketch, RateTable, Rates, SharedTable};
use edge_policy::Reason;
use edge_policy::config::{ConnectionLimits, Forward, Listener};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The limiter of the forwarding listeners with one name and one upstream.
pub(crate) struct ForwardLimiter {
    /// The name of the listeners. `None` for listeners without a name.
    listener: Option<String>,
    /// The name of the upstream.
    upstream: String,
    /// The rates of clients. `None` if no forwarding listener limits the rate of clients.
    rates: Option<Rates>,
    /// The estimated number of open connections by client, counted only while that is limited. Not created before.
    clients: OnceLock<Arc<CountMinSketch>>,
    /// The number of open connections, counted only while their number is limited.
    open: AtomicU32,
}

impl ForwardLimiter {
    /// Creates a limiter whose rates are in this table, if there is one.
    fn new(listener: Option<&str>, upstream: &str, table: Option<&Arc<RateTable>>) -> Self {
        let scope = format!("{} {upstream}", listener.unwrap_or_default());
        Self {
            listener: listener.map(Into::into),
            upstream: upstream.into(),
            rates: table.map(|table| Rates::of(table, &scope, "connections")),
            clients: OnceLock::new(),
            open: AtomicU32::new(0),
        }
    }

    /// Returns whether the limiter is that of listeners with this name and upstream.
    pub(crate) fn is_of(&self, listener: Option<&str>, upstream: &str) -> bool {
        self.listener.as_deref() == listener && self.upstream == upstream
    }

    /// Returns whether the limiter's rates are in this table, or neither has any, so that a reload can retain the
    /// limiter.
    fn suits(&self, table: Option<&Arc<RateTable>>) -> bool {
        match (&self.rates, table) {
            (Some(rates), Some(table)) => rates.are_in(table),
            (rates, table) => rates.is_none() && table.is_none(),
        }
    }

    /// Applies the limits to a connection of this client, in this order: the client's rate, the client's number of
    /// connections, and the number of all connections. The connection is counted until the returned permit is dropped.
    ///
    /// # Errors
    /// The reason of the limit that is exceeded: `RateOfClient`, `TooManyConnectionsOfClient` or `TooManyConnections`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        limits: &ConnectionLimits,
        client: IpAddr,
    ) -> Result<ForwardPermit, Reason> {
        if let (Some(rates), Some(rate)) = (&self.rates, limits.client) {
            rates.admit(client, rate).map_err(|_| Reason::RateOfClient)?;
        }
        let of_client = match limits.client_concurrent {
            None => None,
            Some(limit) => {
                let held = self.clients.get_or_init(CountMinSketch::new).hold(client, limit);
                Some(held.ok_or(Reason::TooManyConnectionsOfClient)?)
            }
        };
        let mut permit = ForwardPermit { limiter: None, _of_client: of_client };
        if let Some(limit) = limits.concurrent {
            let before = self.open.fetch_add(1, Relaxed);
            // If the connection is refused, dropping the permit reverts the count.
            permit.limiter = Some(self.clone());
            if before >= limit {
                return Err(Reason::TooManyConnections);
            }
        }
        Ok(permit)
    }
}

/// A permit that counts a forwarded connection towards the limits until it is dropped.
pub(crate) struct ForwardPermit {
    /// The limiter whose `open` count includes the connection. `None` if it is not counted there.
    limiter: Option<Arc<ForwardLimiter>>,
    /// The permit of the client's count. `None` if the connection is not counted there.
    _of_client: Option<ConnectionPermit>,
}

impl Drop for ForwardPermit {
    fn drop(&mut self) {
        if let Some(limiter) = &self.limiter {
            limiter.open.fetch_sub(1, Relaxed);
        }
    }
}

/// The limiters of all forwarding listeners. Their state survives reloads.
#[derive(Default)]
pub(crate) struct ForwardLimiters {
    /// The limiters, each for one name and one upstream.
    known: Mutex<Vec<Arc<ForwardLimiter>>>,
    /// The table of the rates of all clients, present while a limiter needs it.
    table: SharedTable,
}

impl ForwardLimiters {
    /// Returns one limiter for each name and upstream of those of these listeners that forward. Known limiters retain
    /// their state unless the table of rates has changed; those of no given listener are discarded. `clients` is the
    /// number of clients that the table is created for.
    pub(crate) fn of(&self, listeners: &[Listener], clients: usize) -> Vec<Arc<ForwardLimiter>> {
        let forwards =
            || listeners.iter().filter_map(|one| Some((one.name.as_deref(), one.forward.as_ref()?)));
        let limited = |(_, forward): (Option<&str>, &Forward)| forward.rate.client.is_some();
        let table = self.table.of(forwards().any(limited), clients);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut limiters: Vec<Arc<ForwardLimiter>> = Vec::new();
        for (name, forward) in forwards() {
            let upstream = forward.upstream.as_str();
            if limiters.iter().any(|limiter| limiter.is_of(name, upstream)) {
                continue;
            }
            let before = known.iter().find(|limiter| limiter.is_of(name, upstream));
            let kept = before.filter(|limiter| limiter.suits(table.as_ref())).cloned();
            limiters
                .push(kept.unwrap_or_else(|| Arc::new(ForwardLimiter::new(name, upstream, table.as_ref()))));
        }
        known.clone_from(&limiters);
        limiters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.1";

    fn listener(name: &str, limits: ConnectionLimits) -> Listener {
        let mut forward = Forward::to("ssh");
        forward.rate = limits;
        let mut listener = Listener::tcp(([127, 0, 0, 1], 0).into(), forward);
        listener.name = Some(name.into());
        listener
    }

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_count_until_they_end() {
        let limits =
            ConnectionLimits { client_concurrent: Some(2), concurrent: Some(3), ..Default::default() };
        let limiters = ForwardLimiters::default().of(&[listener("a", limits)], 4096);
        let admit = |address| limiters[0].admit(&limits, client(address));
        let first = admit(CLIENT).unwrap();
        let _second = admit(CLIENT).unwrap();
        assert_eq!(admit(CLIENT).err(), Some(Reason::TooManyConnectionsOfClient));
        let _third = admit("192.0.2.2").unwrap();
        assert_eq!(admit("192.0.2.3").err(), Some(Reason::TooManyConnections));
        drop(first);
        assert!(admit("192.0.2.3").is_ok());
        assert!(admit(CLIENT).is_ok());
    }

    #[test]
    fn a_reload_keeps_what_was_counted_of_listeners_that_stay() {
        let limits = ConnectionLimits {
            client: Some("1/h".parse().unwrap()),
            concurrent: Some(1),
            ..Default::default()
        };
        let all = ForwardLimiters::default();
        let before = all.of(&[listener("a", limits), listener("b", limits)], 4096);
        let held = before[0].admit(&limits, client(CLIENT)).unwrap();
        // Addresses of one listener are one, and another name is another.
        let after = all.of(&[listener("a", limits), listener("a", limits), listener("c", limits)], 4096);
        assert_eq!(after.len(), 2);
        assert_eq!(after[0].admit(&limits, client("192.0.2.9")).err(), Some(Reason::TooManyConnections));
        drop(held);
        assert_eq!(after[0].admit(&limits, client(CLIENT)).err(), Some(Reason::RateOfClient));
        assert!(after[1].admit(&limits, client(CLIENT)).is_ok());
    }
}
