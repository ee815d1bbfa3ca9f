//! Comparison of field names as backends perform it.
//!
//! CGI, WSGI, Rack and PHP convert a field name to a variable name: letters become upper case, and everything else but
//! digits becomes `_`. Two names that convert to the same variable are treated as one name here, wherever fields are
//! removed, vouched for or looked up.

use crate::Name;
use crate::name_class::NameClass;

/// Returns the byte that stands for `b` in comparisons: a letter in lower case, a digit unchanged, and `-` for any
/// other byte.
const fn fold(b: u8) -> u8 {
    if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' }
}

/// Returns whether two field names become the same CGI variable (RFC 3875 §4.1.18), so that a backend could take one
/// for the other: letters are compared without regard to case, digits must be equal, and all other bytes count as the
/// same. `X-Real-IP` and `x_real_ip` become the same variable. True for equal names.
pub fn is_same_variable(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fold(*a) == fold(*b))
}

/// Returns whether `name` differs from `of`, compared without regard to case, but becomes the same CGI variable
/// ([`is_same_variable`]), as `X_Real_IP` does for `X-Real-IP`.
pub fn is_alias(name: &[u8], of: &[u8]) -> bool {
    is_same_variable(name, of) && !name.eq_ignore_ascii_case(of)
}

/// Returns whether the name consists of letters, digits, `-` and `_` only. Other names are valid (RFC 9110 §5.1) but
/// not forwarded, since backends interpret them differently.
pub fn is_portable(name: &[u8]) -> bool {
    NameClass::of(name).is_portable()
}

/// Returns the known name that becomes the same CGI variable as this name ([`is_same_variable`]), so that a backend
/// could take this name for it. [`Name::Other`] if there is none.
pub fn folded(name: &[u8]) -> Name {
    // Longer than every known name; names of a known prefix are known by that.
    let mut buf = [0; 24];
    let n = name.len().min(buf.len());
    buf.iter_mut().zip(name).for_each(|(to, from)| *to = fold(*from));
    Name::of(&buf[..n])
}

/// Appends the form of the name that [`is_same_variable`] compares.
pub(crate) fn push_folded(name: &[u8], to: &mut Vec<u8>) {
    to.extend(name.iter().map(|b| fold(*b)));
}

/// Returns whether a field of a response is omitted in HTTP/2 and HTTP/3, because it is connection-specific or
/// expressed by the framing.
pub(crate) const fn is_omitted(id: Name) -> bool {
    matches!(
        id,
        Name::Connection
            | Name::ContentLength
            | Name::Host
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The variable that CGI makes of a name (RFC 3875 §4.1.18, as lighttpd does it for every byte).
    fn variable(name: &[u8]) -> Vec<u8> {
        name.iter().map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_uppercase() } else { b'_' }).collect()
    }

    #[test]
    fn known_names_are_found_in_every_spelling() {
        for name in ["transfer-encoding", "content-length", "x-forwarded-for", "early-data", "x-real-ip"] {
            for separator in ["_", ".", "~", "!"] {
                let spelt = name.replace('-', separator).to_uppercase();
                assert_eq!(folded(spelt.as_bytes()), Name::of(name.as_bytes()), "{spelt}");
            }
        }
        assert_eq!(folded(b"X_Forwarded_Any-Thing.That~is!long"), Name::XForwarded);
        assert_eq!(folded(b"content_length_of_something_else"), Name::Other);
    }

    #[test]
    fn portable_names() {
        assert!(is_portable(b"X-Request_ID1"));
        for name in ["", "a.b", "a~b", "a!b", "a|b", "a b", "a'b"] {
            assert!(!is_portable(name.as_bytes()), "{name}");
        }
    }

    proptest! {
        /// Names are the same exactly if CGI makes the same variable of them.
        #[test]
        fn same_as_cgi(a in "[a-cA-C_.~!-]{0,6}", b in "[a-cA-C_.~!-]{0,6}") {
            prop_assert_eq!(is_same_variable(a.as_bytes(), b.as_bytes()), variable(a.as_bytes()) == variable(b.as_bytes()));
            let (mut x, mut y) = (Vec::new(), Vec::new());
            push_folded(a.as_bytes(), &mut x);
            push_folded(b.as_bytes(), &mut y);
            prop_assert_eq!(x == y, is_same_variable(a.as_bytes(), b.as_bytes()));
        }
    }
}
