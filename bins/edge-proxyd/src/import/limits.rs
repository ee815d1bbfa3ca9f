//! Conversion of the sizes of message heads: in nginx they are settings of a server or location, in edge-proxyd of all
//! sites.

use super::parse::Directive;
use edge_proxy::config::Limits;

/// The highest value of the keys, in bytes.
const MOST: u64 = 65_535;

/// Returns the keys of `[limits]` with their values in bytes: of each the largest of all directives in `all` and their
/// blocks, so that no head is refused that nginx takes, and at most [`MOST`]. A key is left out if edge-proxyd's default
/// is at least as large.
pub(super) fn limits(all: &[&Directive]) -> Vec<(&'static str, u64)> {
    let default = Limits::default();
    let defaults = [
        ("header_bytes", default.header_bytes),
        ("target_bytes", default.target_bytes),
        ("response_header_bytes", default.response_header_bytes),
    ];
    let mut largest = [0; 3];
    all.iter().for_each(|one| measure(one, &mut largest));
    let sizes = defaults.into_iter().zip(largest);
    let larger = sizes.filter(|((_, default), size)| *size > *default as u64);
    larger.map(|((key, _), size)| (key, size.min(MOST))).collect()
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
