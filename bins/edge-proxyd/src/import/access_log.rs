//! Conversion of `access_log` and `log_format`: each server may have a log file of its own, but all have the same
//! format.

use super::notes::Notes;
use super::parse::Directive;
use super::variables::bare;
use crate::log::Template;

/// The folder for log files, which the sandbox and unit of the service allow for writing.
const FOLDER: &str = "/var/log/edge-proxyd/";
/// The folders of nginx's log files, which are replaced by [`FOLDER`].
const OF_NGINX: [&str; 2] = ["/var/log/nginx/", "logs/"];

/// The text of nginx's predefined format `combined`.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";
/// The text that distributions append to [`COMBINED`] in their format `main`.
const MAIN: &str = " \"$http_x_forwarded_for\"";

/// Variables of nginx, without `$`, each with its counterpart in a template.
const FIELDS: &[(&str, &str)] = &[
    ("body_bytes_sent", "{sent}"),
    ("host", "{authority}"),
    ("http_host", "{authority}"),
    ("http_referer", "{referer}"),
    ("http_user_agent", "{user_agent}"),
    ("realip_remote_addr", "{peer}"),
    ("remote_addr", "{client}"),
    ("request", "{method} {target} {version}"),
    ("request_id", "{request_id}"),
    ("request_method", "{method}"),
    ("request_time", "{duration}"),
    ("request_uri", "{target}"),
    ("server_name", "{site}"),
    ("server_protocol", "{version}"),
    ("ssl_protocol", "{tls_version}"),
    ("status", "{status}"),
    ("time_iso8601", "{time}"),
    ("time_local", "{time}"),
    ("upstream_addr", "{upstream}"),
];

/// The key of the log format in `[log]`, `format` or `template`, and its value.
type NamedFormat = (&'static str, String);

/// Returns the path of the log file of a server, by its first `access_log`. A path in nginx's folder is placed in
/// [`FOLDER`], with `/` replaced by `-`. `None` if the server has no `access_log`, or it is `off`, goes to syslog, has
/// variables, or has another relative path.
pub(super) fn file(server: &[Directive]) -> Option<String> {
    let log = server.iter().find(|one| one.name == "access_log")?;
    let path = log.first();
    if matches!(path, "off" | "") || path.contains('$') || path.starts_with("syslog:") {
        return None;
    }
    let below = OF_NGINX.iter().find_map(|folder| path.strip_prefix(folder));
    match below {
        Some(name) if !name.is_empty() => Some(format!("{FOLDER}{}", name.replace('/', "-"))),
        _ => path.starts_with('/').then(|| path.to_owned()),
    }
}

/// Returns the format of the first log file that a server has. `None` without one. Notes further logs of a server, logs
/// without a file, conditions and differing formats.
pub(super) fn format<'d>(
    http: &[&Directive],
    servers: impl Iterator<Item = &'d Directive>,
    notes: &mut Notes,
) -> Option<NamedFormat> {
    let mut found: Option<NamedFormat> = None;
    for server in servers {
        let block = server.inner();
        for (at, log) in block.iter().filter(|one| one.name == "access_log").enumerate() {
            if file(block).is_none() {
                if log.first() != "off" {
                    notes.harmless(log, "the requests of this server are on standard output with all others");
                }
                continue;
            }
            if at > 0 {
                notes.harmless(log, "a site has one log, the first");
                continue;
            }
            if log.arguments.iter().any(|one| one.starts_with("if=")) {
                notes.harmless(log, "every request is logged");
            }
            let one = named(log, http, notes);
            match &found {
                Some(known) if *known != one => {
                    notes.harmless(log, "all logs have one format, that of the first");
                }
                Some(_) => {}
                None => found = Some(one),
            }
        }
    }
    found
}

/// Returns the format that an `access_log` names: `combined` by default, for an unknown name, and for a format that is
/// not one line of text; otherwise a template. Notes the differences.
fn named(log: &Directive, http: &[&Directive], notes: &mut Notes) -> NamedFormat {
    let combined = || ("format", "combined".to_owned());
    let name = log.arguments.get(1).filter(|name| !name.contains('=')).map_or("combined", String::as_str);
    let Some(format) = http.iter().find(|one| one.name == "log_format" && one.first() == name) else {
        return combined();
    };
    let parts = format.arguments.iter().skip(1).filter(|part| !part.starts_with("escape="));
    let text: String = parts.map(String::as_str).collect();
    if text == COMBINED {
        return combined();
    }
    if text.strip_prefix(COMBINED) == Some(MAIN) {
        notes.harmless(format, "X-Forwarded-For is left out: the client's address is the restored one");
        return combined();
    }
    let (template, unknown) = template(&text);
    if !unknown.is_empty() {
        notes.harmless(format, format!("{} has no counterpart: `-` in the log", unknown.join(", ")));
    }
    // A format of no line, or of several, is none here.
    if Template::parse(&template).is_ok() {
        ("template", template)
    } else {
        notes.harmless(format, "not a line of text: the log is in the combined format");
        combined()
    }
}

/// Converts the text of a `log_format` into a template. Returns it with the variables that have no counterpart, which
/// are written as `-`; `$remote_user` is written so too, but not listed.
fn template(text: &str) -> (String, Vec<String>) {
    let (mut out, mut unknown) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '{', '}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(after) = rest.strip_prefix('$') else {
            // A brace of the text itself.
            out.push_str(&rest[..1].repeat(2));
            rest = &rest[1..];
            continue;
        };
        let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let end = match after.strip_prefix('{') {
            Some(inner) => inner.find('}').map_or(after.len(), |end| end + 2),
            None => after.find(word).unwrap_or(after.len()),
        };
        let name = bare(&after[..end]);
        match FIELDS.iter().find(|(known, _)| *known == name) {
            Some((_, field)) => out.push_str(field),
            None => {
                out.push('-');
                // The user of a password is not in the log by design, and nginx writes a dash for most requests too.
                if name != "remote_user" {
                    unknown.push(format!("${name}"));
                }
            }
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    (out, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_fields_and_braces_stay_braces() {
        let (text, unknown) =
            template("$remote_addr ${request_time}s {x} \"$request\" $upstream_cache_status");
        assert_eq!(text, "{client} {duration}s {{x}} \"{method} {target} {version}\" -");
        assert_eq!(unknown, ["$upstream_cache_status"]);
        assert!(Template::parse(&text).is_ok());
    }

    #[test]
    fn every_field_is_one_of_a_template() {
        for (variable, field) in FIELDS {
            assert!(Template::parse(field).is_ok(), "{variable}");
        }
    }
}
