//! The limit of unsent bytes in the kernel's send queue, by the rate at which the client acknowledges output.
//!
//! A response that becomes ready waits until the unsent bytes of less urgent ones are sent, so there should be few. But
//! the fewer there are, the more often the queue runs low and this process is woken to write: a download over a fast
//! network costs half as much again if at most 128 KiB are unsent instead of 4 MiB.

use crate::socket::Socket;
use std::time::{Duration, Instant};

/// The time in which about all unsent bytes should be sent.
const QUEUE_TIME: Duration = Duration::from_millis(10);
/// The least limit in bytes, which is that of a new connection.
const MIN_UNSENT: u32 = 128 * 1024;
/// The highest limit in bytes: the default size to which Linux lets a send queue grow.
const MAX_UNSENT: u32 = 4 * 1024 * 1024;

/// The limit of unsent bytes of a connection, and the measurement of its rate.
#[derive(Debug)]
pub(super) struct UnsentLimit {
    /// The limit in bytes, a power of two from [`MIN_UNSENT`] to [`MAX_UNSENT`].
    limit: u32,
    /// The number of bytes that the socket has accepted since the measurement began.
    written: u64,
    /// The total number of bytes that were acknowledged when the measurement began.
    acknowledged: u64,
    /// The time at which the measurement began.
    since: Instant,
}

impl UnsentLimit {
    /// Returns the limit of a connection that begins now and of which this many bytes are acknowledged.
    const fn new(acknowledged: u64, now: Instant) -> Self {
        Self { limit: MIN_UNSENT, written: 0, acknowledged, since: now }
    }

    /// Sets the limit of a connection that begins now on its socket, and returns it.
    pub(super) fn begin(socket: &Socket, now: Instant) -> Self {
        socket.limit_unsent(MIN_UNSENT);
        Self::new(socket.acknowledged().unwrap_or(0), now)
    }

    /// Counts bytes that the connection has accepted, and sets the limit on its socket if it changes.
    pub(super) fn accepted(&mut self, bytes: usize, socket: &Socket) {
        if self.count(bytes, Instant::now, || socket.acknowledged()) {
            socket.limit_unsent(self.limit);
        }
    }

    /// Counts bytes that the connection has accepted. Returns true if the limit changed: it doubles if twice as many
    /// bytes are acknowledged within [`QUEUE_TIME`], and falls if less than half as many are. `now` and `acknowledged`,
    /// the total number of acknowledged bytes, are called only when enough bytes were written to tell. Without that
    /// number, the limit remains.
    fn count(
        &mut self,
        bytes: usize,
        now: impl FnOnce() -> Instant,
        acknowledged: impl FnOnce() -> Option<u64>,
    ) -> bool {
        self.written += bytes as u64;
        if self.written < u64::from(MIN_UNSENT) {
            return false;
        }
        let now = now();
        let elapsed = now.saturating_duration_since(self.since);
        let (late, before) = (elapsed > QUEUE_TIME, self.limit);
        if !late && self.written < u64::from(before) {
            return false;
        }
        let Some(acknowledged) = acknowledged() else { return false };
        let sent = u128::from(acknowledged.saturating_sub(self.acknowledged));
        let in_time = if late { sent * QUEUE_TIME.as_nanos() / elapsed.as_nanos() } else { sent };
        if in_time >= u128::from(2 * before) {
            self.limit = (2 * before).min(MAX_UNSENT);
        } else if late && in_time < u128::from(before / 2) {
            let least = u32::try_from(in_time).unwrap_or(MAX_UNSENT).next_power_of_two();
            self.limit = least.clamp(MIN_UNSENT, MAX_UNSENT);
        } else if !late {
            return false;
        }
        (self.written, self.acknowledged, self.since) = (0, acknowledged, now);
        self.limit != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A connection that sends at a constant rate.
    struct ConstantRate {
        now: Instant,
        unsent: u64,
        acknowledged: u64,
        limit: UnsentLimit,
    }

    impl ConstantRate {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, unsent: 0, acknowledged: 0, limit: UnsentLimit::new(0, now) }
        }

        /// Writes `part` bytes whenever the limit permits, for this time, while `rate` bytes per second are sent.
        fn download(&mut self, time: Duration, rate: u64, part: u64) {
            let end = self.now + time;
            while self.now < end {
                while self.unsent < u64::from(self.limit.limit) {
                    self.unsent += part;
                    self.limit.count(part as usize, || self.now, || Some(self.acknowledged));
                }
                let sent = self.unsent.min(part);
                self.unsent -= sent;
                self.acknowledged += sent;
                self.now += Duration::from_nanos(sent * 1_000_000_000 / rate);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn unsent_bytes_are_sent_in_the_time_of_the_queue(
            rates in proptest::collection::vec(1u64..2000, 1..4),
            part in 1000u64..70_000,
        ) {
            let mut connection = ConstantRate::new();
            for rate in rates {
                let rate = rate * 1_000_000;
                // What is unsent at the previous rate is sent first.
                let time = Duration::from_secs(1 + connection.unsent / rate);
                connection.download(time, rate, part);
                let limit = u64::from(connection.limit.limit);
                let in_time = rate * QUEUE_TIME.as_millis() as u64 / 1000;
                prop_assert!(limit.is_power_of_two());
                prop_assert!(limit <= (in_time * 11 / 5).max(u64::from(MIN_UNSENT)), "{rate}: {limit}");
                prop_assert!(limit >= (in_time * 2 / 5).min(u64::from(MAX_UNSENT)), "{rate}: {limit}");
            }
        }
    }

    #[test]
    fn a_fast_connection_gets_the_highest_limit_and_loses_it_when_it_is_quiet() {
        let mut connection = ConstantRate::new();
        assert_eq!(connection.limit.limit, MIN_UNSENT);
        connection.download(Duration::from_millis(50), 1_000_000_000, 65_536);
        assert_eq!(connection.limit.limit, MAX_UNSENT);
        let later = connection.now + Duration::from_secs(1);
        assert!(connection.limit.count(MIN_UNSENT as usize, || later, || Some(connection.acknowledged)));
        assert_eq!(connection.limit.limit, MIN_UNSENT);
    }

    #[test]
    fn bytes_that_are_not_acknowledged_do_not_raise_the_limit() {
        let now = Instant::now();
        let mut limit = UnsentLimit::new(7, now);
        for _ in 0..1000 {
            assert!(!limit.count(65_536, || now, || Some(7 + 2 * u64::from(MIN_UNSENT) - 1)));
        }
        assert!(limit.count(1, || now, || Some(7 + 2 * u64::from(MIN_UNSENT))));
        assert_eq!(limit.limit, 2 * MIN_UNSENT);
    }

    #[tokio::test]
    async fn the_socket_has_the_limit() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let peer = stream.try_clone().unwrap();
        let option = || socket2::SockRef::from(&peer).tcp_notsent_lowat().unwrap();
        let mut socket = Socket::accepted(stream.try_clone().unwrap());
        // However slow the machine, the bytes are sent within the time.
        let mut limit = UnsentLimit::begin(&socket, Instant::now() + Duration::from_secs(60));
        assert_eq!(option(), MIN_UNSENT);
        let bytes = vec![0; 2 * MIN_UNSENT as usize];
        let reader = std::thread::spawn(move || {
            std::io::Read::read_exact(&mut client, &mut vec![0; 2 * MIN_UNSENT as usize])
        });
        std::io::Write::write_all(&mut stream, &bytes).unwrap();
        reader.join().unwrap().unwrap();
        socket.wait_acknowledged().await;
        limit.accepted(bytes.len(), &socket);
        assert_eq!(option(), 2 * MIN_UNSENT);
        stream.set_nonblocking(true).unwrap();
        socket.register().unwrap();
        limit.since = Instant::now() - Duration::from_secs(1);
        limit.accepted(MIN_UNSENT as usize, &socket);
        assert_eq!(option(), MIN_UNSENT);
    }

    #[test]
    fn the_time_is_not_asked_for_small_responses() {
        let mut limit = UnsentLimit::new(0, Instant::now());
        for _ in 0..127 {
            assert!(!limit.count(1024, || unreachable!(), || unreachable!()));
        }
        assert_eq!(limit.limit, MIN_UNSENT);
    }
}
