//! Priorities of responses as requested by clients and stated by services (RFC 9218).

/// The default urgency (RFC 9218 §4.1).
pub const DEFAULT_URGENCY: u8 = 3;

/// The priority of a response. The default is urgency 3, not incremental.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// The urgency from 0, the most urgent, to 7, for background transfers.
    pub urgency: u8,
    /// True if the client can process parts of the content as they arrive.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: DEFAULT_URGENCY, incremental: false }
    }
}

/// The urgencies of a response according to those who may state one, each from 0, the most urgent, to 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Urgency {
    /// The urgency in the `priority` field of the service's response. `None` if the field is missing, malformed or
    /// without a valid `u`.
    pub service: Option<u8>,
    /// The urgency in the last PRIORITY_UPDATE, or else in the `priority` field of the request. `None` if the client
    /// sent no PRIORITY_UPDATE, and the field is missing or malformed.
    pub client: Option<u8>,
    /// The urgency that the configuration gives to responses of this kind. `None` if it gives none.
    pub configured: Option<u8>,
}

impl Urgency {
    /// Returns the urgency in effect: that of the service (RFC 9218 §8), or else of the client, or else of the
    /// configuration, or else [`DEFAULT_URGENCY`].
    pub fn effective(self) -> u8 {
        self.service.or(self.client).or(self.configured).unwrap_or(DEFAULT_URGENCY)
    }
}

impl Priority {
    /// Parses the value of a `priority` field or of a PRIORITY_UPDATE frame: a dictionary (RFC 8941 §3.2) whose members
    /// `u` and `i` are known. Members that are unknown, of another type or out of range are ignored (RFC 9218 §4). A
    /// value that is not a dictionary is ignored as a whole, so the result is the default.
    pub fn parse(value: &[u8]) -> Self {
        let members = read(value).unwrap_or_default();
        Self { urgency: members.urgency.unwrap_or(DEFAULT_URGENCY), incremental: members.incremental }
    }

    /// Returns the priority in the first `priority` field of a request, in which omitted parameters have their
    /// defaults. `None` if the field is missing or not a dictionary, so that the client requests no priority.
    pub fn of(head: &crate::RequestHead) -> Option<Self> {
        read(head.fields.get_named(b"priority")?).map(|members| Self {
            urgency: members.urgency.unwrap_or(DEFAULT_URGENCY),
            incremental: members.incremental,
        })
    }
}

/// Returns the urgency in the first `priority` field of a service's response. `None` if the field is missing, not a
/// dictionary or without a valid `u`: an omitted parameter leaves the client's in effect (RFC 9218 §8).
pub fn response_urgency(fields: &crate::Fields) -> Option<u8> {
    read(fields.get_named(b"priority")?)?.urgency
}

/// The parameters of RFC 9218 in a dictionary.
#[derive(Default)]
struct Members {
    /// The urgency. `None` if it is omitted, out of range or of another type.
    urgency: Option<u8>,
    /// The value of `i`. False if it is omitted or of another type.
    incremental: bool,
}

/// Parses a dictionary of RFC 8941. `None` if it is malformed.
fn read(value: &[u8]) -> Option<Members> {
    let mut found = Members::default();
    let mut rest = value.trim_ascii();
    while !rest.is_empty() {
        let (member, after) = split_member(rest)?;
        let member = member.trim_ascii();
        let (item, _parameters) = split_once(member, b';').unwrap_or((member, b""));
        let (key, item) = match split_once(item.trim_ascii_end(), b'=') {
            Some((key, item)) => (key, item),
            None => (item.trim_ascii_end(), &b"?1"[..]),
        };
        if !is_key(key) || item.is_empty() {
            return None;
        }
        match (key, item) {
            // Out of range or of another type: ignored, and an earlier value of the same key too (RFC 8941 §3.2).
            (b"u", [digit @ b'0'..=b'7']) => found.urgency = Some(digit - b'0'),
            (b"u", _) => found.urgency = None,
            (b"i", b"?1") => found.incremental = true,
            (b"i", _) => found.incremental = false,
            _ => {}
        }
        match after {
            None => break,
            // A member must follow a comma.
            Some(after) => {
                rest = after.trim_ascii_start();
                if rest.is_empty() {
                    return None;
                }
            }
        }
    }
    Some(found)
}

/// Returns the first member of a list, and the rest behind its comma, `None` if there is no comma. A comma in a quoted
/// string is not a separator. Returns `None` for the whole if a string is not closed, or a byte is neither visible
/// ASCII nor a space or tab.
fn split_member(rest: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some((&rest[..at], Some(&rest[at + 1..]))),
            0x20..=0x7e | b'\t' => {}
            _ => return None,
        }
    }
    (!quoted).then_some((rest, None))
}

/// Splits at the first byte that equals `at`, which is in neither part. `None` if there is none.
fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let found = memchr::memchr(at, bytes)?;
    Some((&bytes[..found], &bytes[found + 1..]))
}

/// Returns whether these bytes are a key of a dictionary (RFC 8941 §3.1.2). False if empty.
fn is_key(bytes: &[u8]) -> bool {
    let first = bytes.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*');
    first
        && bytes.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_clients() {
        let cases: &[(&str, u8, bool)] = &[
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i, u=7", 7, true),
            ("u=1,i=?1", 1, true),
            ("u=1, i=?0", 1, false),
            ("u=8", 3, false),
            ("u=-1, i", 3, true),
            ("u=2;x=1, i;y", 2, true),
            ("x=\"a, u=0\", u=6", 6, false),
            ("u=0, u=4", 4, false),
            ("u", 3, false),
            ("u=0,", 3, false),
            ("U=0", 3, false),
            ("u=0, \"", 3, false),
            ("u=0\u{7f}", 3, false),
        ];
        for (value, urgency, incremental) in cases {
            let expected = Priority { urgency: *urgency, incremental: *incremental };
            assert_eq!(Priority::parse(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn the_service_precedes_the_client_and_the_client_the_configuration() {
        let fields = |value: &str| {
            let mut fields = crate::Fields::new();
            fields.push(b"Priority", value.as_bytes());
            fields
        };
        let cases = [
            ("u=1", Some(1)),
            ("i", None),
            ("u=9", None),
            ("u=1,", None),
            ("i, u=6;x", Some(6)),
            ("u=2, u=\"x\"", None),
        ];
        for (value, urgency) in cases {
            assert_eq!(response_urgency(&fields(value)), urgency, "{value}");
        }
        assert_eq!(response_urgency(&crate::Fields::new()), None);
        // A request that omits a parameter asks for its default; one that is malformed asks for nothing.
        for (value, urgency) in [("u=1", Some(1)), ("i", Some(3)), ("u=9", Some(3)), ("u=1,", None)] {
            let mut head = crate::RequestHead::new(crate::Version::Http2);
            head.fields = fields(value);
            assert_eq!(Priority::of(&head).map(|priority| priority.urgency), urgency, "{value}");
        }
        let all = Urgency { service: Some(7), client: Some(0), configured: Some(5) };
        assert_eq!(all.effective(), 7);
        assert_eq!(Urgency { service: None, ..all }.effective(), 0);
        assert_eq!(Urgency { service: None, client: None, ..all }.effective(), 5);
        assert_eq!(Urgency::default().effective(), DEFAULT_URGENCY);
    }

    proptest! {
        #[test]
        fn urgencies_are_in_range(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Priority::parse(&value).urgency <= 7);
        }

        #[test]
        fn unknown_members_change_nothing(urgency in 0u8..8, key in "[a-hj-tv-z][a-z0-9_.*-]{0,8}", text in "[ -!#-\\[\\]-~]{0,12}") {
            let value = format!("{key}=\"{text}\", u={urgency};{key}, i");
            prop_assert_eq!(Priority::parse(value.as_bytes()), Priority { urgency, incremental: true });
        }
    }
}
