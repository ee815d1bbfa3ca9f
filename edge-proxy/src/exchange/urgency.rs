//! The urgency of final responses (RFC 9218).

use super::Downstream;
use edge_http::ResponseHead;
use edge_http::priority::response_urgency;
use edge_policy::config::Config;

/// Sets the urgencies that the service, in the head, and the configuration, by the media type, state for a final
/// response. Called before the head is sent. No effect over HTTP/1.1.
pub(super) fn prioritize<D: Downstream>(config: &Config, down: &mut D, head: &ResponseHead) {
    if down.has_priorities() {
        down.prioritize(response_urgency(&head.fields), config.urgency(&head.fields));
    }
}
