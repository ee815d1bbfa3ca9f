//! Code without comments, strings and unit tests.

/// Returns the code of a file: comments and the content of strings are removed, and everything from an inline test
/// module.
pub(crate) fn code(text: &str) -> String {
    let without_comments = block_comments(&line_comments(text));
    strings(&without_comments[..tests_at(&without_comments)])
}

/// Removes line comments, and everything else after two slashes.
fn line_comments(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').map(|line| line.split("//").next().unwrap_or_default()).collect();
    lines.join("\n")
}

/// Removes block comments. They are assumed not to be nested.
fn block_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        let Some((_, behind)) = after.split_once("*/") else { break };
        out.push_str(before);
        rest = behind;
    }
    out + rest
}

/// Returns the byte offset of `#[cfg(test)] mod NAME {`, or the length of the text.
fn tests_at(text: &str) -> usize {
    text.match_indices("#[cfg(test)]")
        .find(|(at, mark)| {
            let Some(module) = text[at + mark.len()..].trim_start().strip_prefix("mod ") else {
                return false;
            };
            module.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start().starts_with('{')
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Removes the content of string literals, but not their quotes.
fn strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c != '"' {
            continue;
        }
        while let Some(inner) = chars.next() {
            match inner {
                '\\' => drop(chars.next()),
                '"' => {
                    out.push('"');
                    break;
                }
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_strings_and_tests_are_removed() {
        let text = "use a; // use b;\n/* use c; */ let d = \"use e\\\"; use f;\";\n#[cfg(test)]\nmod tests {\nuse g;\n}\n";
        assert_eq!(code(text), "use a; \n let d = \"\";\n");
        assert_eq!(code("#[cfg(test)]\nmod tests;\nuse a;"), "#[cfg(test)]\nmod tests;\nuse a;");
    }
}
