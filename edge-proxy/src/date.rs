//! The Date field of responses (RFC 9110 §6.6.1): set on own responses, and on upstream responses without one.

use edge_http::{Fields, Name};
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// The last text of the Date field and its second since 1970. The text is formatted at most once per second and
    /// thread.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends a Date field with the current time (RFC 9110 §5.6.7). No effect if the fields contain one.
pub(super) fn add(fields: &mut Fields) {
    if !fields.contains(Name::Date) {
        add_at(SystemTime::now(), fields);
    }
}

/// Appends a Date field for the time `now`, also if one is present.
fn add_at(now: SystemTime, fields: &mut Fields) {
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second || text.is_empty() {
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *last = second;
        }
        fields.push(b"Date", text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(second: u64) -> String {
        let mut fields = Fields::new();
        add_at(UNIX_EPOCH + Duration::from_secs(second), &mut fields);
        String::from_utf8(fields.get(Name::Date).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn each_second_has_its_own() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn an_upstreams_own_stays() {
        let mut fields = Fields::new();
        fields.push(b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT");
        add(&mut fields);
        assert_eq!(fields.all(Name::Date).count(), 1);
    }
}
