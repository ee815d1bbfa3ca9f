//! Recognition of configurations of other programs, for errors.

/// Words that begin lines of a Caddyfile, and are no directives of nginx.
const CADDY: &[&str] =
    &["file_server", "handle", "handle_path", "php_fastcgi", "redir", "respond", "reverse_proxy"];
/// Words that begin sections of HAProxy.
const HAPROXY: &[&str] = &["backend", "defaults", "frontend"];

/// Returns the name of the format that a text seems to have. `None` if it may be a configuration of nginx: a `;` outside
/// of quotes and comments is one's; and if the format is not known.
pub(super) fn other_format(text: &str) -> Option<&'static str> {
    if text.lines().any(has_end) {
        return None;
    }
    let mut words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('#'))
        .peekable();
    match words.peek()?.as_bytes() {
        // Global options of a Caddyfile begin so too, but with the brace alone.
        [b'{', _, ..] => return Some("JSON"),
        [.., b':'] => return Some("YAML, as Traefik reads it"),
        [b'[', ..] => return Some("TOML"),
        [b'<', ..] => return Some("a configuration of Apache"),
        _ => {}
    }
    words.find_map(|word| match word {
        _ if CADDY.contains(&word) => Some("a Caddyfile"),
        _ if HAPROXY.contains(&word) => Some("a configuration of HAProxy"),
        _ => None,
    })
}

/// Returns true if a line has a `;` outside of quotes and comments.
fn has_end(line: &str) -> bool {
    let mut quote = None;
    for byte in line.bytes() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b';') => return true,
            (None, b'#') => return false,
            (None, _) => {}
        }
    }
    false
}
