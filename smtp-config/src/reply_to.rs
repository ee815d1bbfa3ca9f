//! Validation of `REPLY_TO_ADDRESS`, the address for replies by mail.

use crate::address::{AddressError, AddressRules, parse_address};
use thiserror::Error;

/// Placeholder in the address for the token of a conversation.
pub const TOKEN: &str = "%{token}";

/// Reason why Forgejo rejects `REPLY_TO_ADDRESS`. Displayed as in its log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyToError {
    /// The address is not valid for Go's `net/mail`.
    #[error("{0}")]
    Address(AddressError),
    /// The address has a display name.
    #[error("name must not be set")]
    Name,
    /// The placeholder is missing, or after the `@`.
    #[error("%{{token}} must appear in the user part of the address (before the @)")]
    NoToken,
    /// The placeholder occurs more than once.
    #[error("%{{token}} must appear only once")]
    ManyTokens,
}

/// Checks an address for `REPLY_TO_ADDRESS`: it must contain `%{token}` exactly once, before the `@`, and have no
/// display name.
///
/// # Errors
/// Returns the reason why Forgejo does not start.
pub fn reply_to(address: &str, rules: AddressRules) -> Result<(), ReplyToError> {
    let parsed = parse_address(address, rules).map_err(ReplyToError::Address)?;
    if !parsed.name.is_empty() {
        return Err(ReplyToError::Name);
    }
    match address.matches(TOKEN).count() {
        0 => Err(ReplyToError::NoToken),
        1 if address.split('@').next().is_some_and(|local| local.contains(TOKEN)) => Ok(()),
        1 => Err(ReplyToError::NoToken),
        _ => Err(ReplyToError::ManyTokens),
    }
}
