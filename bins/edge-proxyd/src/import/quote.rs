//! Texts and lists as TOML.

use std::fmt::Write;

/// Returns a text as a basic TOML string on one line, in quotes and with special characters escaped. It is also valid
/// as a key.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Returns values as a TOML array of strings; or as a string, not an array, if there is exactly one.
pub(super) fn list<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(|one| quoted(&one.to_string())).collect();
    if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_quoted_is_read_as_it_was(text in any::<String>()) {
            let table: toml::Table = format!("{0} = {{ {0} = {0} }}", quoted(&text)).parse().expect("it is TOML");
            prop_assert_eq!(table[&text][&text].as_str(), Some(text.as_str()));
        }
    }
}
