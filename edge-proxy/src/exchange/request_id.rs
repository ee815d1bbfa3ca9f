//! Request identifiers, received from a trusted proxy or created.

use super::context::ExchangeContext;
use edge_http::encoding::hexadecimal;
use edge_http::{Fields, RequestHead};
use edge_policy::decide::Decision;

/// The longest identifier that is accepted from a trusted proxy, in bytes.
const MAX_LEN: usize = 128;

/// Returns the identifier of a request: the valid one in the field `name` if a trusted proxy sent the request, or else
/// a random one.
pub(super) fn of(name: &str, decision: &Decision<'_>, head: &RequestHead) -> String {
    let received = head.fields.get_named(name.as_bytes()).filter(|_| decision.client.is_by_hop());
    if let Some(received) = received.and_then(valid_id) {
        return received.to_owned();
    }
    random()
}

/// Returns a new identifier: 32 random hexadecimal digits in lower case.
pub(crate) fn random() -> String {
    let mut random = [0; 16];
    // Without random numbers there is no TLS either, and an identifier grants nothing.
    let _ = aws_lc_rs::rand::fill(&mut random);
    hexadecimal(&random)
}

/// Returns the received identifier as text. `None` unless it consists of 1 to [`MAX_LEN`] ASCII letters, digits and
/// characters of `-_.:+/=`.
fn valid_id(received: &[u8]) -> Option<&str> {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    let text = std::str::from_utf8(received).ok()?;
    (!text.is_empty() && text.len() <= MAX_LEN && received.iter().all(fine)).then_some(text)
}

/// Replaces the identifier field in a request or a response by that of this request. No effect unless the
/// configuration names a field.
pub(super) fn write(context: &ExchangeContext<'_>, fields: &mut Fields) {
    let name = context.view.runtime.snapshot().config().request_id.as_deref();
    if let (Some(name), Some(id)) = (name, context.request_id) {
        fields.remove_named(name.as_bytes());
        fields.push(name.as_bytes(), id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn identifiers_that_are_kept() {
        for (received, kept) in [
            ("3f2a-9.x:1", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            assert_eq!(super::valid_id(received.as_bytes()).is_some(), kept, "{received}");
        }
    }
}
