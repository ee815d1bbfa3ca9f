//! Conversion of the messages of serde and of the TOML parser to those of this family.

use crate::words::{Words, nearest};

/// The message of a deserialization error of serde or the TOML parser, from which the kind of error and its words can
/// be read.
pub(super) struct DeserializerMessage<'m> {
    message: &'m str,
}

impl<'m> DeserializerMessage<'m> {
    /// Wraps a message of the deserializer.
    pub(super) fn new(message: &'m str) -> Self {
        Self { message }
    }

    /// Returns the name of the key that the message says is missing. `None` if the message is about something else.
    pub(super) fn missing_key(&self) -> Option<&'m str> {
        self.message.strip_prefix("missing field `")?.split('`').next()
    }

    /// Returns the key that the message says is unknown. `None` if the message is about something else.
    pub(super) fn unknown_key(&self) -> Option<&'m str> {
        self.unknown("field").map(|(word, _)| word)
    }

    /// Returns `true` if the error is in the key itself: unknown or duplicate.
    pub(super) fn is_about_key(&self) -> bool {
        self.unknown_key().is_some() || self.message.starts_with("duplicate field")
    }

    /// Returns `true` if the message can be about the key `key`, whose value is `written`. For an unknown variant, the
    /// value without its quotes must be the unknown word. For other messages it is every key but `kind`, the tag of
    /// enums.
    pub(super) fn may_be_of(&self, key: &str, written: &str) -> bool {
        match self.unknown("variant") {
            Some((word, _)) => written.trim_matches(['"', '\'']) == word,
            None => key != "kind",
        }
    }

    /// Returns the unknown word and the known ones of a message such as "unknown field `a`, expected `b` or `c`", where
    /// `what` is `field` or `variant`. `None` if the message has another form.
    fn unknown(&self, what: &str) -> Option<(&'m str, Vec<&'m str>)> {
        let rest = self.message.strip_prefix("unknown ")?.strip_prefix(what)?.strip_prefix(" `")?;
        let (word, rest) = rest.split_once('`')?;
        let known = rest.split('`').skip(1).step_by(2).collect();
        Some((word, known))
    }

    /// Returns the code of the finding (`value`, `unknown-key`, `missing`, `duplicate` or `type`) and its text, which
    /// states the error and, if it is known, the fix. `written` is the value as written, `key` its key. With `secret`,
    /// the value is not repeated; the caller passes an empty `written` then.
    pub(super) fn message(
        &self,
        written: &str,
        key: &str,
        words: &Words,
        secret: bool,
    ) -> (&'static str, String) {
        if self.message == "invalid socket address syntax" {
            return (
                "value",
                "not an address with a port: write one such as 192.0.2.53:53 or [2001:db8::53]:53".to_owned(),
            );
        }
        if let Some((word, mut known)) = self.unknown("field") {
            return ("unknown-key", format!("unknown key: {}", unknown_key(word, &mut known, words)));
        }
        if let Some(missing) = self.missing_key() {
            let example = Words::look_up(words.examples, missing);
            let write = example.map_or_else(|| format!("`{missing} = …`"), |example| format!("`{example}`"));
            return ("missing", format!("missing: write {write}"));
        }
        if self.message.starts_with("duplicate field") {
            return ("duplicate", "written twice, under two names: keep one".to_owned());
        }
        if let Some((word, known)) = self.unknown("variant") {
            let hint = match (Words::look_up(words.values, word), nearest(word, known.iter().copied())) {
                _ if secret => String::new(),
                (Some(write), _) => format!("; write {write}"),
                (None, Some(near)) => format!("; did you mean `{near}`?"),
                (None, None) => String::new(),
            };
            return ("value", format!("must be one of {}{hint}", known.join(", ")));
        }
        if secret && !self.message.contains("reference") {
            return ("type", "not a valid reference to a secret: write \"file:/path\", in quotes".to_owned());
        }
        if self.message == "wanted string or table" {
            return ("type", "expected a word: put it in quotes".to_owned());
        }
        if let Some(rest) = self.message.strip_prefix("invalid type: ") {
            let (found, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
            return ("type", wrong_type(found, expected, written, key));
        }
        if let Some(rest) = self.message.strip_prefix("invalid value: ") {
            let expected = rest.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
            return (
                "value",
                number(expected).unwrap_or_else(|| format!("not a valid value: write {expected}")),
            );
        }
        let hint = Words::look_up(words.values, written.trim_matches(['"', '\'']));
        let hint = hint.map(|write| format!("; write {write}")).unwrap_or_default();
        ("value", format!("{}{hint}", self.message.replace('\n', "; ")))
    }
}

/// Returns the fix for an unknown key: the advice for a key of another program, else the nearest known key, else the
/// list of known keys, else that nothing can be written here. `known` is sorted, and loses the keys with upper-case
/// letters, which are aliases.
fn unknown_key(word: &str, known: &mut Vec<&str>, words: &Words) -> String {
    if let Some(write) = Words::look_up(words.foreign, word) {
        return write.to_owned();
    }
    // Known keys in the style of NixOS are aliases, which would double the list.
    known.retain(|known| !known.contains(|c: char| c.is_ascii_uppercase()));
    known.sort_unstable();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing can be written here".to_owned(),
        None => format!("known keys are {}", known.join(", ")),
    }
}

/// Returns the message for a value of a wrong type, with its fix. `found` and `expected` are serde's descriptions of
/// the two types, `written` is the value as written, `key` its key. An expected type without a text of its own yields
/// `not a valid value: write EXPECTED`.
fn wrong_type(found: &str, expected: &str, written: &str, key: &str) -> String {
    let quoted = found.starts_with("string");
    if let Some(text) = number(expected) {
        return if quoted { format!("{text}, without quotes") } else { text };
    }
    let single = !found.starts_with("map") && !found.starts_with("sequence");
    match expected {
        "a boolean" if quoted => "expected a boolean: write true or false, without quotes".to_owned(),
        "a boolean" => "expected a boolean: write true or false".to_owned(),
        "a string" if single => {
            format!("expected a string: put it in quotes, {key} = \"{}\"", written.trim())
        }
        "a string" if found.starts_with("sequence") => {
            "expected one string, not a list: write a single one".to_owned()
        }
        "a string" => "expected a string, not a table: write it in quotes".to_owned(),
        "a sequence" if found.starts_with("map") => {
            format!("expected a list of tables: write [[{key}]], in double brackets")
        }
        "a sequence" if quoted => format!("expected a list: write {key} = [{}]", written.trim()),
        "a sequence" => "expected a list: write it in brackets".to_owned(),
        "a map" if found.starts_with("sequence") => {
            format!("expected a single table: write [{key}], in single brackets")
        }
        "a map" => format!("expected a table: write a section [{key}], or {{ key = value }}"),
        table if table.starts_with("struct ") && found.starts_with("sequence") => {
            format!("expected a single table: write [{key}], in single brackets")
        }
        table if table.starts_with("struct ") || table.starts_with("internally tagged") => {
            format!("expected a table: write a section [{key}], or {{ key = value }}")
        }
        other => format!("not a valid value: write {other}"),
    }
}

/// Returns the message for an integer type of Rust: with its range for `u8`, `u16`, `a nonzero u16`, `u32` and `i32`,
/// and with an example for `u64`, `usize` and `i64`. `None` for every other text.
fn number(expected: &str) -> Option<String> {
    let (low, high) = match expected {
        "u8" => (0, u64::from(u8::MAX)),
        "u16" | "a nonzero u16" => (i64::from(expected != "u16"), u64::from(u16::MAX)),
        "u32" => (0, u64::from(u32::MAX)),
        "u64" | "usize" => return Some("expected a whole number: write one such as 5".to_owned()),
        "i32" => (i64::from(i32::MIN), 2_147_483_647),
        "i64" => return Some("expected a whole number: write one such as 5".to_owned()),
        _ => return None,
    };
    Some(format!("expected a whole number: write one from {low} to {high}"))
}

/// Returns the message for a syntax error of TOML, on one line, with a fix: a specific one for duplicate keys, values
/// without quotes, unclosed quotes or brackets, and keys without a value, or else the general forms of TOML.
pub fn syntax(message: &str) -> String {
    let message = message.replace('\n', "; ");
    let fix = match message.as_str() {
        said if said.contains("duplicate key") => "keep one of them, or write [[name]] for a list of tables",
        said if said.contains("string values must be quoted") => "put the value in quotes",
        said if said.starts_with("invalid boolean") => "put the value in quotes, unless it is true or false",
        said if ["float", "integer", "date", "time"]
            .iter()
            .any(|kind| said.starts_with(&format!("invalid {kind}"))) =>
        {
            "put the value in quotes"
        }
        said if said.contains("invalid basic string") || said.contains("unclosed") => {
            "close the quotes or brackets on this line"
        }
        said if said.contains("key with no value") || said.contains("expected `=`") => "write key = value",
        _ => "write TOML: key = value, [section], [[list of sections]]",
    };
    format!("not valid TOML, {message}: {fix}")
}
