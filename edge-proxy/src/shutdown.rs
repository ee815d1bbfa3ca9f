//! The result of a shutdown.

use std::fmt;
use std::ops::AddAssign;

/// The requests and connections that a shutdown ended before they were complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of requests, tunnels included, that were in flight at the deadline and were aborted.
    pub aborted_requests: usize,
    /// The number of client TCP connections that were open at the deadline and were closed: those of aborted requests,
    /// of forwarded connections, and of clients that had not closed theirs. QUIC connections are not counted.
    pub closed_connections: usize,
}

impl ShutdownReport {
    /// Returns whether nothing was aborted: every request was complete and every TCP connection was closed.
    pub const fn is_complete(&self) -> bool {
        self.aborted_requests == 0 && self.closed_connections == 0
    }
}

impl AddAssign for ShutdownReport {
    fn add_assign(&mut self, other: Self) {
        self.aborted_requests += other.aborted_requests;
        self.closed_connections += other.closed_connections;
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: usize, one: &str, many: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {many}"),
        };
        if self.is_complete() {
            return f.write_str("all requests are complete");
        }
        let requests = count(self.aborted_requests, "request was aborted", "requests were aborted");
        let connections =
            count(self.closed_connections, "open connection was closed", "open connections were closed");
        write!(f, "{requests}, {connections}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed() {
        let mut sum = ShutdownReport::default();
        assert_eq!((sum.is_complete(), sum.to_string().as_str()), (true, "all requests are complete"));
        sum += ShutdownReport { aborted_requests: 1, closed_connections: 0 };
        sum += ShutdownReport { aborted_requests: 0, closed_connections: 3 };
        assert!(!sum.is_complete());
        assert_eq!(sum.to_string(), "1 request was aborted, 3 open connections were closed");
    }
}
