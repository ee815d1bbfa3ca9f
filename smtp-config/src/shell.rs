//! Quoting and word splitting of a POSIX shell, without expansions.

/// Quotes an argument for a POSIX shell, in single quotes where necessary.
#[must_use]
pub fn shell_quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', "'\\''"))
    }
}

/// Splits a text into words as a POSIX shell does, without expansions, comments and operators. Returns `None` if a
/// quote or an escape is not complete.
#[must_use]
pub fn shell_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => loop {
                let held = word.get_or_insert_default();
                match rest.next()? {
                    '\'' => break,
                    c => held.push(c),
                }
            },
            '"' => loop {
                let held = word.get_or_insert_default();
                match rest.next()? {
                    '"' => break,
                    '\\' => match rest.next()? {
                        c @ ('"' | '\\' | '$' | '`') => held.push(c),
                        c => held.extend(['\\', c]),
                    },
                    c => held.push(c),
                }
            },
            '\\' => word.get_or_insert_default().push(rest.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_and_read_back() {
        for arg in ["plain", "two words", "it's", "\"q\"", "\\", "", "$HOME", "a'b\"c\\d e"] {
            let text = format!("-x {} --", shell_quoted(arg));
            let expected = vec!["-x".to_owned(), arg.to_owned(), "--".to_owned()];
            assert_eq!(shell_words(&text), Some(expected), "{text}");
        }
        assert_eq!(shell_words("'open"), None);
    }
}
