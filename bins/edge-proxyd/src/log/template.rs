//! Log formats of the administrator: text with the names of fields in braces.

use super::LogRecord;
use super::combined::escape;
use super::time::Date;
use std::io::Write;

/// The names of the fields that a template may contain, sorted.
pub(crate) const FIELDS: &[&str] = &[
    "authority",
    "client",
    "duration",
    "method",
    "peer",
    "reason",
    "received",
    "referer",
    "request_id",
    "sent",
    "site",
    "status",
    "target",
    "time",
    "tls_version",
    "upstream",
    "user_agent",
    "version",
];

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Text that is written as it is.
    Text(String),
    /// A field, by its index in [`FIELDS`].
    Field(usize),
}

/// A log format of the configuration: text and fields, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// Parses a template: `{name}` is a field of [`FIELDS`], and `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// A message if the text is empty or has control characters, a brace has no counterpart, or a field does not exist.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(
                "not a line of text: write fields in braces, such as \"{client} {status} {target}\"".into()
            );
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                plain.push_str(&rest[..1]);
                rest = after;
                continue;
            }
            let field = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = field else {
                return Err("a brace without its other one: write {{ and }} for braces themselves".into());
            };
            let Some(field) = FIELDS.iter().position(|known| *known == name) else {
                let hint = match cli_support::words::nearest(name, FIELDS.iter().copied()) {
                    Some(near) => format!("did you mean {{{near}}}?"),
                    None => format!("the fields are {}", FIELDS.join(", ")),
                };
                return Err(format!("no field has the name `{name}`: {hint}"));
            };
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Field(field));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// Appends the line of a record, including its line feed. Values are escaped as in the combined format; a field
    /// without a value is written as `-`.
    pub(super) fn write(&self, line: &LogRecord<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(field) => value(FIELDS[*field], line, out),
            }
        }
        out.push(b'\n');
    }
}

/// Appends the escaped value of a field by its name, or `-` if the value is missing or empty. Durations are in seconds
/// with up to six decimals.
fn value(field: &str, line: &LogRecord<'_>, out: &mut Vec<u8>) {
    let number = |n: u64| n.to_string();
    let text: Option<String> = match field {
        "client" => Some(line.client.to_string()),
        "duration" => Some((line.duration.as_micros() as f64 / 1e6).to_string()),
        "peer" => Some(line.peer.to_string()),
        "received" => Some(number(line.received)),
        "sent" => Some(number(line.sent)),
        "status" => line.status.map(|status| status.to_string()),
        "time" => Some(Date::new(line.time).to_string()),
        "version" => Some(line.version.to_owned()),
        "tls_version" => line.tls.map(|tls| tls.version.to_owned()),
        _ => None,
    };
    // Written by clients, or names of the configuration.
    let bytes = match field {
        "authority" => Some(line.authority.as_bytes()),
        "method" => Some(line.method.as_bytes()),
        "reason" => line.reason.map(str::as_bytes),
        "referer" => line.referer,
        "request_id" => line.request_id.map(str::as_bytes),
        "site" => line.site.map(str::as_bytes),
        "target" => Some(line.target.as_bytes()),
        "upstream" => line.upstream.map(str::as_bytes),
        "user_agent" => line.user_agent,
        _ => text.as_deref().map(str::as_bytes),
    };
    match bytes.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => escape(bytes, out),
        // Writing to memory does not fail.
        None => drop(out.write_all(b"-")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn written(template: &str, user_agent: &[u8]) -> String {
        let mut out = Vec::new();
        Template::parse(template).expect(template).write(&line(user_agent), &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn fields_are_filled_and_cannot_be_forged() {
        assert_eq!(
            written("{client} {site} \"{method} {target}\" {status} {duration} {referer} {{x}}", b"x"),
            "203.0.113.7 git \"GET /a\\x22b\" 200 0.0015 - {x}\n"
        );
        assert_eq!(written("{user_agent}", b"a\n1.2.3.4 {client}\xff"), "a\\x0a1.2.3.4 {client}\\xff\n");
        // Every field has a value or a dash.
        for field in FIELDS {
            assert!(written(&format!("{{{field}}}"), b"x").len() > 1, "{field}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (template, said) in [
            ("{clinet}", "did you mean {client}?"),
            ("{client", "a brace without its other one"),
            ("client}", "a brace without its other one"),
            ("", "not a line of text"),
            ("a\nb", "not a line of text"),
        ] {
            let why = Template::parse(template).expect_err(template);
            assert!(why.contains(said), "{template}: {why}");
        }
    }
}
