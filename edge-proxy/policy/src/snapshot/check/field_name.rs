//! Validation of the names of fields that a configuration may set or remove.

use super::ConfigPart;
use edge_http::Name;
use edge_http::grammar::is_token;

/// Checks that a field name is a token of at most 256 bytes, and is neither Host nor one that frames messages or
/// belongs to a connection: Connection, Content-Length, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding
/// and Upgrade. `key` is the setting that contains the name.
pub(super) fn check_name(part: &mut ConfigPart<'_>, key: &'static str, name: &str) {
    if !is_token(name.as_bytes()) || name.len() > 256 {
        part.add_error(key, name, "not a valid field name: expected letters, digits and -");
        return;
    }
    match Name::of(name.as_bytes()) {
        Name::Host => part.add_error(key, name, "cannot be edited: set `host` of the upstream instead"),
        Name::Connection
        | Name::ContentLength
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::Te
        | Name::Trailer
        | Name::TransferEncoding
        | Name::Upgrade => {
            part.add_error(key, name, "cannot be edited: it frames messages or concerns a single connection");
        }
        _ => {}
    }
}
