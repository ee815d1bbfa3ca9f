//! Conversion of the sizes of message heads: in nginx they are settings of a server or location, in edge-proxyd of all
//! sites.

use super::parse::Directive;
use edge_proxy::config::Limits;

/// The highest value of the keys, in bytes.
const MOST: u64 = 65_535;
/// The highest value of `target_bytes` that is written. Over HTTP/1.1 the fields have what it leaves of 63 KiB: more
/// than by edge-proxyd's default.
const MOST_OF_TARGET: u64 = 40 * 1024;

/// Returns the keys of `[limits]` with their values in bytes: of each the largest of all directives in `all` and their
/// blocks, so that no head is refused that nginx takes, at most [`MOST`] or [`MOST_OF_TARGET`]. A key is left out if
/// edge-proxyd's default is at least as large.
pub(super) fn limits(all: &[&Directive]) -> Vec<(&'static str, u64)> {
    let default = Limits::default();
    let keys = [
        ("header_bytes", default.header_bytes, MOST),
        ("target_bytes", default.target_bytes, MOST_OF_TARGET),
        ("response_header_bytes", default.response_header_bytes, MOST),
    ];
    let mut largest = [0; 3];
    all.iter().for_each(|one| measure(one, &mut largest));
    let sizes = keys.into_iter().zip(largest);
    let larger = sizes.filter(|((_, default, _), size)| *size > *default as u64);
    larger.map(|((key, _, most), size)| (key, size.min(most))).collect()
}

/// Raises the sizes of the fields of a request, of its target, and of the head of a response to those of a directive and
/// of the directives in its block. Sizes that are not valid are skipped.
fn measure(directive: &Directive, largest: &mut [u64; 3]) {
    let [fields, target, response] = largest;
    match (directive.name.as_str(), directive.arguments.as_slice()) {
        ("large_client_header_buffers", [number, size]) => {
            // One buffer takes the request line, and all of them the fields.
            if let (Ok(number), Some(size)) = (number.parse::<u64>(), bytes(size)) {
                *fields = (*fields).max(number.saturating_mul(size));
                *target = (*target).max(size);
            }
        }
        ("proxy_buffer_size" | "grpc_buffer_size", [size]) => {
            *response = (*response).max(bytes(size).unwrap_or(0));
        }
        _ => {}
    }
    directive.inner().iter().for_each(|one| measure(one, largest));
}

/// Parses a size of nginx, with the unit `k`, `m` or `g` in either case, into bytes. `None` if it is not valid or
/// overflows.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
