//! Malformed requests of clients that may not know any name of a site.

use edge_http::host::normalize;
use edge_policy::Snapshot;
use edge_policy::config::{PlainHttp, Reject};

/// The number of bytes at the beginning of a head that are searched for a Host field.
const MAX_SEARCHED: usize = 64 * 1024;

/// Returns whether a malformed head gets no response: the configured rejection is silent, and no Host field of the
/// head names a site that is served without TLS on the listener of this name. A scanner thereby learns nothing.
pub(super) fn is_met_with_silence(snapshot: &Snapshot, listener: Option<&str>, head: &[u8]) -> bool {
    snapshot.config().reject == Reject::Silent && !names_a_site(snapshot, listener, head)
}

/// Returns whether one of the lines between the first and the first empty one, within [`MAX_SEARCHED`] bytes, could be
/// a Host field with the name of a site that is served on this listener without TLS, by a redirect at least.
fn names_a_site(snapshot: &Snapshot, listener: Option<&str>, head: &[u8]) -> bool {
    let lines = head[..head.len().min(MAX_SEARCHED)].split(|byte| *byte == b'\n').skip(1);
    let hosts = lines.take_while(|line| !line.trim_ascii().is_empty()).filter_map(possible_host);
    hosts.into_iter().any(|host| {
        let site = snapshot.site_at(&normalize(host), listener);
        site.is_some_and(|site| snapshot.config().sites[site].plain != PlainHttp::Refuse)
    })
}

/// Returns the host in a line that a server could take for a Host field, without userinfo and port: the letters,
/// digits, dots and hyphens at the beginning of the value, so possibly empty. `None` if the line has no colon, the
/// name before it is not `Host`, or the value is not UTF-8.
fn possible_host(line: &[u8]) -> Option<&str> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
    if !name.eq_ignore_ascii_case(b"host") {
        return None;
    }
    // Whatever is wrong with it, a client that knows the name is no stranger.
    let value = std::str::from_utf8(value).ok()?;
    let value = value.rsplit_once('@').map_or(value, |(_, host)| host);
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c))).unwrap_or(value.len());
    Some(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_policy::config::{Action, Config, PathMatch, Route, Site};

    #[test]
    fn only_a_name_of_ours_is_answered() {
        let site = |host: &str, plain| {
            let mut site = Site::new(host, vec![host.parse().unwrap()])
                .route(Route::new(PathMatch::Prefix("/".into()), Action::Drop));
            site.plain = plain;
            site
        };
        let sites = vec![site("a.test", PlainHttp::Redirect), site("b.test", PlainHttp::Refuse)];
        let mut config = Config { sites, ..Config::default() };
        let snapshot = Snapshot::new(config.clone()).unwrap();
        for (head, silent) in [
            ("GET / HTTP/1.1\r\nX : y\r\nHost: a.test\r\n\r\n", false),
            ("GET / HTTP/9.9\r\nhost:A.test:8080\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: x\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: user@a.test:port/x\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: b.test\r\nX : y\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nX : y\r\n\r\nHost: a.test\r\n", true),
            ("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nX : y\r\n\r\n", true),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            ("Host: a.test", true),
            ("", true),
        ] {
            assert_eq!(is_met_with_silence(&snapshot, None, head.as_bytes()), silent, "{head}");
        }
        config.reject = Reject::Alert;
        assert!(!is_met_with_silence(&Snapshot::new(config).unwrap(), None, b""));
    }
}
