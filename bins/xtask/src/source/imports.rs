//! Paths that code imports: `use` trees, and paths that begin with `crate`, `super` or `self`.

/// Paths that a file imports and re-exports, each as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    /// Paths of private and restricted `use`, and inline paths.
    pub(crate) used: Vec<String>,
    /// Paths of `pub use`, with any visibility.
    pub(crate) exported: Vec<String>,
}

/// Returns the imports of code without comments and strings.
pub(crate) fn read(code: &str) -> Imports {
    let mut imports = Imports::default();
    for (at, _) in code.match_indices("use") {
        let (before, after) = (&code[..at], &code[at + 3..]);
        let word = !before.ends_with(is_word) && after.starts_with(char::is_whitespace);
        let Some((tree, _)) = after.split_once(';').filter(|_| word) else { continue };
        if is_public(before) {
            imports.exported.extend(expand(tree));
        }
        if !before.ends_with("pub ") {
            imports.used.extend(expand(tree));
        }
    }
    for start in ["crate", "super", "self"] {
        for (at, _) in code.match_indices(start) {
            let path = leading_path(&code[at..]);
            if !code[..at].ends_with(is_word) && path[start.len()..].starts_with("::") {
                imports.used.push(path.to_owned());
            }
        }
    }
    imports
}

/// Returns `true` if a character may be part of an identifier.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns `true` if the text ends with a visibility: `pub` or `pub(…)`, followed by white space.
fn is_public(before: &str) -> bool {
    let trimmed = before.trim_end();
    if trimmed.len() == before.len() {
        return false;
    }
    let bare = match trimmed.strip_suffix(')') {
        Some(inside) => inside.rsplit_once('(').map_or(inside, |(before, _)| before),
        None => trimmed,
    };
    bare.strip_suffix("pub").is_some_and(|rest| !rest.ends_with(is_word))
}

/// Returns the path at the beginning of a text, such as `crate::a::b`.
fn leading_path(text: &str) -> &str {
    let mut end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    while let Some(rest) = text[end..].strip_prefix("::") {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            break;
        }
        end += 2 + length;
    }
    &text[..end]
}

/// Expands a `use` tree, such as `a::{b, c::d as e}`, into its paths, here `a::b` and `a::c::d`. Names after `as` and
/// white space are removed.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.strip_suffix('}').and_then(|tree| tree.split_once('{')) else {
        let path = tree.split_once(" as ").map_or(tree, |(path, _)| path);
        return vec![path.split_whitespace().collect()];
    };
    let prefix: String = prefix.split_whitespace().collect();
    let (mut depth, mut part) = (0, String::new());
    let mut parts = Vec::new();
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().flat_map(|part| expand(part)).map(|path| format!("{prefix}{path}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_expanded() {
        let imports = read("use crate::{a::{B, c as D}, self};\npub(crate) use e::F;\npub use g::H;");
        assert_eq!(imports.exported, ["e::F", "g::H"]);
        assert_eq!(imports.used[..4], ["crate::a::B", "crate::a::c", "crate::self", "e::F"]);
    }

    #[test]
    fn inline_paths_are_found() {
        let imports = read("fn f() { super::g::h(); selfish::i(); self.x(); }");
        assert_eq!(imports.used, ["super::g::h"]);
    }
}
