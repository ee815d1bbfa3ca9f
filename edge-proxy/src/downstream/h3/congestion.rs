//! Congestion control of QUIC connections: CUBIC (RFC 9438) with HyStart++ (RFC 9406).
//!
//! The initial window is 32 packets, paced, as other servers have it. It is not reduced before as much was
//! acknowledged: during the handshake the limit against amplification bounds what is in flight, and a window below that
//! would keep a lost first packet from being sent again.

use edge_policy::config::Congestion;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{BbrConfig, Controller, ControllerFactory};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of packets that may be in flight at the start: the initial window.
const INITIAL_PACKETS: u64 = 32;
/// The size of a packet in bytes before a larger one is known to arrive (RFC 9000 §14).
const INITIAL_PACKET_SIZE: u64 = 1200;

/// The factor that the window is multiplied by after a loss (RFC 9438 §4.6).
const BETA_CUBIC: f64 = 0.7;
/// The scaling constant of the window's growth, in segments per cubic second (RFC 9438 §5).
const C: f64 = 0.4;
/// The growth of Reno's window with [`BETA_CUBIC`], in segments per round trip (RFC 9438 §4.3).
const ALPHA_CUBIC: f64 = 3.0 * (1.0 - BETA_CUBIC) / (1.0 + BETA_CUBIC);

/// The number of round-trip samples in a round from which on it is compared with the previous round (RFC 9406 §4.3).
const MIN_ROUND_SAMPLES: u32 = 8;
/// The lower and the upper bound of the increase of the round-trip time that indicates a queue (RFC 9406 §4.3).
/// Between them, it is an eighth of the shortest time of the previous round.
const RTT_INCREASE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(16));
/// The divisor of the window's growth in conservative slow start: it grows by a quarter of the acknowledged bytes (RFC
/// 9406 §4.2).
const CONSERVATIVE_GROWTH: u64 = 4;
/// The number of rounds of conservative slow start, after which slow start ends (RFC 9406 §4.3).
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Returns the factory of the connections' congestion controllers: [`Cubic`], or quinn's BBR with the same initial
/// window.
pub(super) fn factory(congestion: Congestion) -> Arc<dyn ControllerFactory + Send + Sync> {
    match congestion {
        Congestion::Bbr => {
            let mut bbr = BbrConfig::default();
            bbr.initial_window(INITIAL_PACKETS * INITIAL_PACKET_SIZE);
            Arc::new(bbr)
        }
        Congestion::Cubic => Arc::new(Factory),
    }
}

/// The factory of CUBIC controllers.
#[derive(Debug)]
struct Factory;

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, _now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Cubic::new(current_mtu))
    }
}

/// The phase of slow start (RFC 9406 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlowStart {
    /// The window grows by the acknowledged bytes.
    Fast,
    /// The round-trip time has increased: the window grows slowly for `rounds` more rounds, to find out whether a
    /// queue is the cause. `baseline` is the shortest round-trip time of the round in which the increase was found.
    Conservative { rounds: u32, baseline: Duration },
}

/// A round of slow start. It ends when the packet that was the last one sent at its start is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// The number of the last packet that was sent when the round began.
    end: u64,
    /// The shortest round-trip time of this round. `Duration::MAX` before the first sample.
    shortest: Duration,
    /// The number of round-trip samples in this round.
    samples: u32,
    /// The shortest round-trip time of the previous round. `Duration::MAX` if there is none.
    before: Duration,
}

/// An epoch of congestion avoidance, which begins with the first acknowledgement after a reduction of the window or
/// after slow start.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// The beginning of the epoch.
    since: Instant,
    /// The time in seconds from `since` until the window reaches its size before the reduction (K of RFC 9438 §4.2).
    k: f64,
    /// The window that Reno would have, in bytes (W_est of RFC 9438 §4.3).
    reno: f64,
}

/// The congestion controller of one connection. Windows are in bytes.
#[derive(Clone, Debug)]
struct Cubic {
    /// The size of a full datagram in bytes.
    mtu: u64,
    /// The congestion window in bytes.
    window: u64,
    /// The window in bytes at which slow start ends (ssthresh). `u64::MAX` before the first reduction, so that slow
    /// start has no end.
    threshold: u64,
    /// The number of bytes acknowledged since the connection began.
    acknowledged: u64,
    /// The phase of slow start.
    slow_start: SlowStart,
    /// The present round of slow start.
    round: Round,
    /// The number of the packet that was sent last.
    last_sent: u64,
    /// The window before its last reduction in bytes, lowered by fast convergence (W_max of RFC 9438 §4.7). 0 before
    /// the first.
    w_max: f64,
    /// The present epoch of congestion avoidance. `None` before its first acknowledgement.
    epoch: Option<Epoch>,
    /// The time of the last reduction of the window. Packets sent until then cause no further reduction and do not let
    /// the window grow. `None` before the first reduction and after persistent congestion.
    recovery: Option<Instant>,
}

impl Cubic {
    /// Creates a controller in slow start with the initial window, for datagrams of `mtu` bytes.
    fn new(mtu: u16) -> Self {
        Self {
            mtu: mtu.into(),
            window: INITIAL_PACKETS * INITIAL_PACKET_SIZE,
            threshold: u64::MAX,
            acknowledged: 0,
            slow_start: SlowStart::Fast,
            round: Round { end: 0, shortest: Duration::MAX, samples: 0, before: Duration::MAX },
            last_sent: 0,
            w_max: 0.0,
            epoch: None,
            recovery: None,
        }
    }

    /// Returns the smallest window in bytes: two full datagrams.
    const fn least(&self) -> u64 {
        2 * self.mtu
    }

    /// Grows the window for acknowledged bytes in slow start: by as many, or by a quarter in its conservative phase
    /// (RFC 9406 §4.2).
    fn grow_slowly(&mut self, bytes: u64) {
        self.window += match self.slow_start {
            SlowStart::Fast => bytes,
            SlowStart::Conservative { .. } => bytes / CONSERVATIVE_GROWTH,
        };
    }

    /// Grows the window for `bytes` acknowledged bytes in congestion avoidance (RFC 9438 §4.2 to §4.5), by at most half
    /// of them and one byte.
    fn avoid(&mut self, now: Instant, bytes: u64, rtt: Duration) {
        let (window, mtu) = (self.window as f64, self.mtu as f64);
        let w_max = self.w_max.max(window);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            since: now,
            k: ((w_max - window) / mtu / C).cbrt(),
            reno: window,
        });
        let since = now.saturating_duration_since(epoch.since);
        let cubic = |t: f64| C.mul_add((t - epoch.k).powi(3), w_max / mtu) * mtu;
        // Once Reno's window is as large as before the reduction, it grows by a segment per round trip.
        let alpha = if epoch.reno >= w_max { 1.0 } else { ALPHA_CUBIC };
        epoch.reno += alpha * mtu * bytes as f64 / window;
        let grown = if cubic(since.as_secs_f64()) < epoch.reno {
            epoch.reno.max(window)
        } else {
            let target = cubic((since + rtt).as_secs_f64()).clamp(window, 1.5 * window);
            window + (target - window) * bytes as f64 / window
        };
        // At most by a half of what was acknowledged, as in the clamp above.
        self.window = (grown as u64).min(self.window + bytes / 2 + 1);
    }

    /// Records a round-trip time in slow start. From the eighth of a round on, unless it is the first round, enters
    /// the conservative phase if the shortest time has increased since the previous round, and leaves that phase if
    /// the shortest time is below the baseline again (RFC 9406 §4.2).
    fn sample(&mut self, rtt: Duration) {
        let round = &mut self.round;
        round.shortest = round.shortest.min(rtt);
        round.samples += 1;
        if round.samples < MIN_ROUND_SAMPLES || round.before == Duration::MAX {
            return;
        }
        match self.slow_start {
            SlowStart::Fast => {
                let increase = (round.before / 8).clamp(RTT_INCREASE.0, RTT_INCREASE.1);
                if round.shortest >= round.before + increase {
                    self.slow_start =
                        SlowStart::Conservative { rounds: CONSERVATIVE_ROUNDS, baseline: round.shortest };
                }
            }
            SlowStart::Conservative { baseline, .. } if round.shortest < baseline => {
                // The increase was not caused by a growing queue.
                self.slow_start = SlowStart::Fast;
            }
            SlowStart::Conservative { .. } => {}
        }
    }

    /// Begins the next round of slow start. After [`CONSERVATIVE_ROUNDS`] conservative rounds, slow start ends: the
    /// present window becomes the threshold.
    fn next_round(&mut self) {
        self.round =
            Round { end: self.last_sent, shortest: Duration::MAX, samples: 0, before: self.round.shortest };
        if let SlowStart::Conservative { rounds, .. } = &mut self.slow_start {
            *rounds -= 1;
            if *rounds == 0 {
                self.slow_start = SlowStart::Fast;
                self.threshold = self.window;
            }
        }
    }

    /// Counts `bytes` acknowledged bytes of a packet that was sent at `sent`, and grows the window for them: by slow
    /// start below the threshold, else by congestion avoidance, for which `rtt` is the connection's estimated
    /// round-trip time. It does not grow for a packet that was sent until `recovery`, the time of the last reduction
    /// unless that was for persistent congestion, or if `app_limited` is true: the connection had too little to send to
    /// use the window. In slow start, also records the round-trip time of the packet itself, from `sent` to `now`.
    fn acknowledge(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: Duration) {
        self.acknowledged = self.acknowledged.saturating_add(bytes);
        if self.recovery.is_some_and(|recovery| sent <= recovery) {
            return;
        }
        if self.window < self.threshold {
            self.sample(now.saturating_duration_since(sent));
        }
        if app_limited {
            // A window that is not used says nothing about the path (RFC 9438 §5.8).
            return;
        }
        if self.window < self.threshold {
            self.grow_slowly(bytes);
        } else {
            self.avoid(now, bytes, rtt);
        }
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, last_packet_number: u64) {
        self.last_sent = last_packet_number;
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acknowledge(now, sent, bytes, app_limited, rtt.get());
    }

    fn on_end_acks(&mut self, _now: Instant, _in_flight: u64, _app_limited: bool, largest: Option<u64>) {
        if largest.is_some_and(|largest| largest >= self.round.end) && self.window < self.threshold {
            self.next_round();
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
        if self.recovery.is_some_and(|recovery| sent <= recovery) {
            return;
        }
        let window = self.window as f64;
        // Fast convergence (RFC 9438 §4.7): a connection that backs off before it has recovered leaves room for others.
        self.w_max = if window < self.w_max { window * (1.0 + BETA_CUBIC) / 2.0 } else { window };
        self.threshold = ((window * BETA_CUBIC) as u64).max(self.least());
        self.window = self.threshold;
        self.epoch = None;
        self.recovery = Some(now);
        self.slow_start = SlowStart::Fast;
        if is_persistent_congestion {
            // RFC 9002 §7.6.2.
            self.window = self.least();
            self.recovery = None;
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.window = self.window.max(self.least());
    }

    fn window(&self) -> u64 {
        if self.acknowledged < self.initial_window() {
            return self.window.max(self.initial_window());
        }
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * INITIAL_PACKET_SIZE
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A path with a rate in bytes per second, a round trip and a queue, and a sender that always has data. Time
    /// advances in rounds of acknowledgements. Returns the losses in packets, and the bytes that arrived in this many
    /// seconds.
    fn transfer(rate: f64, base: f64, queue: f64, seconds: f64, hystart: bool) -> (u64, f64) {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut cubic = Cubic::new(1200);
        // When each packet in flight was sent and is acknowledged, and when the link is free.
        let mut flight = std::collections::VecDeque::<(f64, f64, bool)>::new();
        let (mut now, mut free, mut number, mut lost, mut arrived) = (0.0f64, 0.0f64, 0u64, 0u64, 0.0);
        while now < seconds {
            while (flight.len() as u64) * 1200 < cubic.window {
                let begins = free.max(now);
                let dropped = (begins - now) * rate > queue;
                if !dropped {
                    free = begins + 1200.0 / rate;
                }
                number += 1;
                cubic.on_sent(at(now), 1200, number);
                flight.push_back((now, if dropped { begins + base } else { free + base }, dropped));
            }
            let (sent, acked, dropped) = flight.pop_front().unwrap();
            now = now.max(acked);
            if dropped {
                lost += 1;
                cubic.on_congestion_event(at(now), at(sent), false, 1200);
            } else {
                arrived += 1200.0;
                if !hystart {
                    cubic.round.before = Duration::MAX;
                }
                cubic.acknowledge(at(now), at(sent), 1200, false, Duration::from_secs_f64(base));
                cubic.on_end_acks(at(now), 0, false, Some(number - flight.len() as u64));
            }
        }
        (lost, arrived)
    }

    #[test]
    fn slow_start_ends_before_the_queue_overflows() {
        // 40 Mbit/s, 50 ms, a queue of 300 kB: without HyStart++ the window grows to twice what the path and its queue hold.
        let (lost, arrived) = transfer(5e6, 0.05, 3e5, 2.0, true);
        let (without, _) = transfer(5e6, 0.05, 3e5, 2.0, false);
        assert!(2 * lost < without, "{lost} packets were lost, {without} without HyStart++");
        assert!(arrived > 0.7 * 2.0 * 5e6, "{arrived} bytes arrived");
    }

    #[test]
    fn nothing_is_reduced_before_the_first_window_was_acknowledged() {
        let (start, mut cubic) = (Instant::now(), Cubic::new(1200));
        for _ in 0..20 {
            cubic.on_congestion_event(
                start + Duration::from_secs(1),
                start + Duration::from_secs(1),
                true,
                1200,
            );
        }
        assert_eq!(cubic.window(), 32 * 1200);
        for number in 0..32 {
            cubic.on_sent(start, 1200, number);
            cubic.acknowledge(start, start, 1200, true, Duration::from_millis(50));
        }
        assert_eq!(cubic.window(), 2 * 1200);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Over any path most of its capacity is used in the long run.
        #[test]
        fn paths_are_filled(mbits in 2.0f64..50.0, rtt in 0.01f64..0.2, share in 0.5f64..3.0) {
            let (rate, base) = (mbits * 125_000.0, rtt);
            let queue = (rate * base * share).max(20_000.0);
            let (_, arrived) = transfer(rate, base, queue, 15.0, true);
            prop_assert!(arrived > 0.7 * 15.0 * rate, "{} of {}", arrived, 15.0 * rate);
        }

        /// The window is never below two packets, and a loss never makes it larger.
        #[test]
        fn the_window_is_sound(events in proptest::collection::vec((0u8..5, 1u64..200), 1..300)) {
            let (start, mut cubic) = (Instant::now(), Cubic::new(1200));
            let mut now = start;
            for (number, (kind, millis)) in events.into_iter().enumerate() {
                now += Duration::from_millis(millis);
                let sent = now - Duration::from_millis(millis / 2);
                let before = cubic.window;
                match kind {
                    0 => cubic.on_congestion_event(now, sent, millis > 190, 1200),
                    _ => {
                        cubic.on_sent(sent, 1200, number as u64);
                        cubic.acknowledge(now, sent, 1200, millis > 150, Duration::from_millis(30));
                        cubic.on_end_acks(now, 0, false, Some(number as u64));
                        prop_assert!(cubic.window <= before + 1200);
                    }
                }
                prop_assert!(cubic.window >= 2 * 1200 && (kind != 0 || cubic.window <= before));
            }
        }
    }
}
