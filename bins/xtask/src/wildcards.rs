//! `cargo xtask wildcards`: no `_` arm where a new variant of an enumeration must be considered, such as a new kind of
//! change, whose risk would then be that of some other kind.
//!
//! Clippy's `wildcard_enum_match_arm` covers every enumeration, also those of other crates, so that it cannot be enabled.

use crate::process::{Outcome, root};
use crate::source;
use std::collections::BTreeSet;
use std::path::Path;

/// Enumerations whose variants must be named, each with the folder in which it is matched: the kinds of changes, from which
/// the model of the server, risk, scope and SQL follow, and their parts.
const ENUMS: &[(&str, &str)] = &[
    ("pg-ensure/src", "DatabaseChange"),
    ("pg-ensure/src", "DefaultPrivilegeChange"),
    ("pg-ensure/src", "EventTriggerChange"),
    ("pg-ensure/src", "ExecutionScope"),
    ("pg-ensure/src", "ExtensionChange"),
    ("pg-ensure/src", "GrantChange"),
    ("pg-ensure/src", "MembershipChange"),
    ("pg-ensure/src", "Object"),
    ("pg-ensure/src", "ObjectKind"),
    ("pg-ensure/src", "OwnedChange"),
    ("pg-ensure/src", "PublicationChange"),
    ("pg-ensure/src", "Risk"),
    ("pg-ensure/src", "RoleChange"),
    ("pg-ensure/src", "SchemaChange"),
];

/// Checks that no `match` over an enumeration of [`ENUMS`] has an arm for all other values.
///
/// # Errors
/// Returns all such arms, and the enumerations that nothing matches.
pub(crate) fn check() -> Outcome {
    let count = check_below(&root())?;
    println!("xtask: wildcards: none in {count} matches over {} enumerations", ENUMS.len());
    Ok(())
}

/// Checks the sources below a folder, and returns the number of matches over an enumeration of [`ENUMS`].
///
/// # Errors
/// As for [`check`].
fn check_below(top: &Path) -> Result<usize, String> {
    let files = source::files(top)?;
    let (mut count, mut found) = (0, String::new());
    let mut matched: BTreeSet<&(&str, &str)> = BTreeSet::new();
    for file in &files {
        let names: Vec<&str> =
            ENUMS.iter().filter(|(folder, _)| file.starts_with(folder)).map(|(_, name)| *name).collect();
        if names.is_empty() {
            continue;
        }
        for arms in matches(&source::code(&source::read(top, file)?)) {
            let Some(name) = names.iter().find(|name| arms.is_over(name)) else { continue };
            count += 1;
            matched.extend(ENUMS.iter().filter(|(folder, other)| other == name && file.starts_with(folder)));
            if arms.patterns.iter().any(|arm| is_wildcard(arm)) {
                let arms = arms.patterns.join(", ");
                found.push_str(&format!("\n{}: {name}: match with {arms}", file.display()));
            }
        }
    }
    for (folder, name) in ENUMS.iter().filter(|listed| !matched.contains(listed)) {
        found.push_str(&format!("\n{folder}: nothing matches {name}: correct the list of enumerations"));
    }
    if found.is_empty() { Ok(count) } else { Err(format!("name the other variants in place of `_`:{found}")) }
}

/// The arms of a `match`.
struct Arms {
    /// Type of the implementation in which it is, which `Self` names. Empty outside of one.
    owner: String,
    /// Patterns with their guards.
    patterns: Vec<String>,
}

impl Arms {
    /// Returns `true` if a pattern begins with a variant of an enumeration, named by its type or by `Self`. The pattern may
    /// be in `Some` or a tuple; a variant within that of another enumeration does not count.
    fn is_over(&self, name: &str) -> bool {
        let names = |alternative: &str| {
            let pattern = alternative.trim_start_matches(['&', '(', ' ']);
            let pattern =
                pattern.strip_prefix("Some(").unwrap_or(pattern).trim_start_matches(['&', '(', ' ']);
            let path = pattern.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c))).next();
            let owner = path.and_then(|path| path.rsplit_once("::")).map_or("", |(owner, _)| owner);
            let owner = owner.rsplit("::").next().unwrap_or_default();
            owner == name || (owner == "Self" && self.owner == name)
        };
        self.patterns.iter().any(|pattern| pattern.split('|').any(names))
    }
}

/// Returns `true` if an arm accepts every value: `_` or a name alone, without a guard.
fn is_wildcard(arm: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !arm.is_empty() && arm.chars().all(is_name) && !matches!(arm, "true" | "false")
}

/// Returns the arms of each `match` in code without comments and strings; a `match` within another is an element of its
/// own.
fn matches(code: &str) -> Vec<Arms> {
    let code = without_char_literals(code);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("match ") {
        let is_word = code[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        let body = is_word.then(|| body(&code[at..])).flatten();
        found.extend(body.map(|body| Arms { owner: owner(&code[..at]), patterns: patterns(body) }));
    }
    found
}

/// Returns the type of the last implementation that begins in the text. Empty if none does.
fn owner(before: &str) -> String {
    let header = before.rfind("\nimpl").map(|at| before[at..].split('{').next().unwrap_or_default());
    let header = header.unwrap_or_default().trim();
    // The generic parameters of `impl<…>` are skipped with the word.
    let name = header.rsplit_once(" for ").or_else(|| header.split_once(' ')).map_or("", |(_, name)| name);
    let path = name.trim().split(['<', ' ']).next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or_default().to_owned()
}

/// Returns the text with `'{'` and the like replaced, whose braces do not count.
fn without_char_literals(code: &str) -> String {
    ["'{'", "'}'", "'('", "')'", "'['", "']'", "','"]
        .iter()
        .fold(code.to_owned(), |code, c| code.replace(c, "'x'"))
}

/// Returns the text between the braces of a `match`. `None` if they are not closed.
fn body(code: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut begin = None;
    for (at, c) in code.char_indices() {
        match c {
            '{' if depth == 0 && begin.is_none() => {
                begin = Some(at + 1);
                depth = 1;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if let (0, Some(begin)) = (depth, begin) {
                    return Some(&code[begin..at]);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the patterns of the arms in the body of a `match`.
fn patterns(body: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut depth, mut pattern, mut in_pattern) = (0_usize, String::new(), true);
    let mut rest = body.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                // A block ends its arm, with or without a comma.
                if depth == 0 && c == '}' && !in_pattern && !continues(&body[at + 1..]) {
                    in_pattern = true;
                    pattern.clear();
                    continue;
                }
            }
            '=' if depth == 0 && in_pattern && body[at..].starts_with("=>") => {
                rest.next();
                found.push(pattern.split_whitespace().collect::<Vec<_>>().join(" "));
                in_pattern = false;
                continue;
            }
            ',' if depth == 0 => {
                in_pattern = true;
                pattern.clear();
                continue;
            }
            _ => {}
        }
        if in_pattern {
            pattern.push(c);
        }
    }
    found
}

/// Returns `true` if the expression of an arm goes on after a block, as by a method or an operator.
fn continues(rest: &str) -> bool {
    rest.trim_start().starts_with(['.', '?', ',', '+', '-', '*', '<', '>', '='])
        || rest.trim_start().starts_with("else")
        || rest.trim_start().starts_with("&&")
        || rest.trim_start().starts_with("as ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_named() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert!(check_below(&top).expect("no wildcards") > 20);
    }

    #[test]
    fn arms_of_nested_matches() {
        let code = "match f(|x| { x }) { Risk::Adds => 1, Risk::Grants { a, .. } if a > 0 => { match b { C::D => 2, _ => 3 } }\n\
                    Risk::Drops(_) | Risk::Changes => if c { 4 } else { 5 }, other => g('{', other), }";
        let found = matches(code);
        let patterns: Vec<&[String]> = found.iter().map(|arms| arms.patterns.as_slice()).collect();
        assert_eq!(patterns.len(), 2, "{patterns:?}");
        assert!(patterns.contains(&&["C::D".to_owned(), "_".to_owned()][..]), "{patterns:?}");
        let outer = found.iter().find(|arms| arms.is_over("Risk")).expect("the outer one");
        assert_eq!(outer.patterns.len(), 4, "{patterns:?}");
        assert_eq!(outer.patterns.iter().filter(|arm| is_wildcard(arm)).count(), 1);
    }

    #[test]
    fn enumerations_are_named_by_their_type_or_by_self() {
        let is_over = |code: &str, name: &str| matches(code).iter().any(|arms| arms.is_over(name));
        assert!(is_over("match a { Some(Risk::Adds) => 1 }", "Risk"));
        assert!(is_over("match a { None => 0, Some(&(plan::Risk::Adds | plan::Risk::Drops)) => 1 }", "Risk"));
        assert!(!is_over("match a { OldRisk::Adds => 1 }", "Risk"));
        assert!(!is_over("match a { Change::Role(RoleChange::Drop) => 1, _ => 2 }", "RoleChange"));
        for header in [
            "impl Risk",
            "impl fmt::Display for Risk",
            "impl<'a> From<B<'a>> for plan::Risk",
            "impl<T> Risk<T>",
        ] {
            let code =
                format!("use a;\n{header} {{\n    fn f() {{ match self {{ Self::Adds => 1 }} }}\n}}\n");
            assert!(is_over(&code, "Risk") && !is_over(&code, "Other"), "{header}");
        }
    }

    #[test]
    fn names_and_wildcards() {
        for (arm, is) in
            [("_", true), ("other", true), ("_ if a", false), ("Risk::Adds", false), ("ADDS", false)]
        {
            assert_eq!(is_wildcard(arm), is, "{arm}");
        }
    }
}
