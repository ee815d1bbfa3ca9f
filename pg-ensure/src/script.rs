//! Scripts of SQL: whether one ends the transaction that it is run in.

/// Returns the statement that ends or prepares the transaction in which a script is run, such as `COMMIT`. `None` if
/// there is none. Comments, quoted texts and bodies of functions in the form of the SQL standard are skipped.
pub(crate) fn transaction_end(script: &str) -> Option<&'static str> {
    let mut rest = script;
    // The first words of the statement, in upper case, and the depth in BEGIN ATOMIC and CASE.
    let (mut words, mut depth) = (Vec::<String>::new(), 0_usize);
    loop {
        if (rest.is_empty() || rest.starts_with(';')) && depth == 0 {
            if let Some(end) = ends(&words) {
                return Some(end);
            }
            words.clear();
        }
        let first = rest.chars().next()?;
        let after = &rest[first.len_utf8()..];
        rest = if rest.starts_with("--") {
            rest.find('\n').map_or("", |end| &rest[end..])
        } else if rest.starts_with("/*") {
            after_comment(rest)
        } else if first == '\'' || first == '"' {
            after_quoted(after, first, false)
        } else if first == '$' {
            after_dollars(rest)
        } else if is_word(first) {
            let end = rest.find(|one| !is_word(one) && one != '$').unwrap_or(rest.len());
            let word = rest[..end].to_uppercase();
            let after = &rest[end..];
            if word == "E" && after.starts_with('\'') {
                after_quoted(&after[1..], '\'', true)
            } else {
                let is_body = word == "ATOMIC" && words.last().is_some_and(|last| last == "BEGIN");
                match word.as_str() {
                    "CASE" if depth > 0 => depth += 1,
                    "END" if depth > 0 => depth -= 1,
                    _ if is_body => depth += 1,
                    _ => {}
                }
                words.push(word);
                after
            }
        } else {
            after
        };
    }
}

/// Returns the kind of a statement by its words if it ends or prepares a transaction.
fn ends(words: &[String]) -> Option<&'static str> {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let to = if matches!(word(1), "WORK" | "TRANSACTION") { word(2) } else { word(1) };
    match word(0) {
        "COMMIT" => Some("COMMIT"),
        "END" => Some("END"),
        "ABORT" => Some("ABORT"),
        "ROLLBACK" if to != "TO" => Some("ROLLBACK"),
        "PREPARE" if word(1) == "TRANSACTION" => Some("PREPARE TRANSACTION"),
        _ => None,
    }
}

/// Returns `true` for the characters of words.
fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_' || !one.is_ascii()
}

/// Returns the text after a comment, which may contain others. Empty if it is not closed.
fn after_comment(text: &str) -> &str {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return &text[at..];
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    ""
}

/// Returns the text after a quoted one, which ends with a single `quote`; `escapes` is `true` if a backslash takes the
/// next character. Empty if it is not closed.
fn after_quoted(text: &str, quote: char, escapes: bool) -> &str {
    let mut characters = text.char_indices().peekable();
    while let Some((at, one)) = characters.next() {
        if one == '\\' && escapes {
            characters.next();
        } else if one == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return &text[at + 1..];
        }
    }
    ""
}

/// Returns the text after one in dollar quotes, which `text` begins with, or after the dollar sign if it is no quote.
/// Empty if it is not closed.
fn after_dollars(text: &str) -> &str {
    let after = &text[1..];
    let Some((tag, inside)) = after.split_once('$') else { return after };
    let begins_well = !tag.starts_with(|first: char| first.is_ascii_digit());
    if !begins_well || !tag.chars().all(is_word) {
        return after;
    }
    let quote = format!("${tag}$");
    inside.split_once(quote.as_str()).map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statements_that_end_a_transaction_are_found() {
        for (script, expected) in [
            ("CREATE TABLE t (a int); COMMIT", Some("COMMIT")),
            ("create table t (a int);\n/* a /* b */ */ commit work;", Some("COMMIT")),
            ("SELECT 1; END", Some("END")),
            ("ROLLBACK; SELECT 1", Some("ROLLBACK")),
            ("PREPARE TRANSACTION 'x'", Some("PREPARE TRANSACTION")),
            ("SELECT 'it''s; COMMIT;'; SELECT \"; COMMIT\"", None),
            ("SELECT E'\\'; COMMIT; '", None),
            ("SELECT '\\'; COMMIT", Some("COMMIT")),
            ("-- COMMIT\n; SELECT 1 -- ; COMMIT", None),
            ("DO $x$ BEGIN COMMIT; END $x$", None),
            ("DO $$ BEGIN NULL; END $$; ABORT", Some("ABORT")),
            ("SELECT $1, a$b$ FROM t; COMMIT", Some("COMMIT")),
            ("SAVEPOINT a; ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; RELEASE a", None),
            ("PREPARE p AS SELECT 1; EXECUTE p", None),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 1",
                None,
            ),
            ("COMMENT ON TABLE t IS 'COMMIT'; SELECT CASE WHEN a THEN 1 END FROM t", None),
            ("", None),
        ] {
            assert_eq!(transaction_end(script), expected, "{script}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(script in "[-/*'\"$;a-zé \n\\\\]{0,40}") {
            let _ = transaction_end(&script);
            let quoted = format!("SELECT '{}'; SELECT 1", script.replace('\'', "''"));
            prop_assert_eq!(transaction_end(&quoted), None);
        }
    }
}
