//! `cargo xtask prose`: documentation and messages in plain technical English, as CONTRIBUTING.md requires.
//!
//! It counts, in all sources except tests and fuzz targets: doc comments that begin with a relative clause, doc
//! comments of one or two words except constants of protocols, functions that return an `Option` without saying when it
//! is `None`, functions whose documentation does not begin with a verb, strings that say "is no …" for "not a valid …",
//! and type names that are defined in more than one file of a crate.

use crate::process::{Outcome, root};
use crate::source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Maximum share of doc comments that may begin with a relative clause, in percent.
const MAX_SHARE: f64 = 3.0;

/// Maximum share of documented functions whose documentation may begin with something else than a verb, in percent.
const NOUNS: f64 = 3.0;

/// Words that state when something is absent.
const CONDITIONS: &[&str] = &["None", "if", "unless", "without", "when", "where", "except", "only", "no"];

/// Words that begin a relative clause.
const RELATIVE: &[&str] = &["What", "Whether", "How", "Where", "Why", "Who", "Which", "Whom", "Whose"];

/// Folders whose sources are not counted.
const SKIPPED: &[&str] = &["tests", "benches", "fuzz"];

/// Checks documentation and messages of the workspace, and that no crate defines two types of one name. Prints the
/// counts.
///
/// # Errors
/// Returns all faults with their places.
pub(crate) fn check() -> Outcome {
    let top = root();
    let mut count = Count::default();
    let mut types: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for file in source::files(&top)? {
        let Some(folder) = folder(&file) else { continue };
        let text = source::read(&top, &file)?;
        let name = file.display().to_string();
        count.add(&name, &text);
        for defined in text.lines().filter_map(type_name) {
            types.entry((folder.clone(), defined.to_owned())).or_default().insert(name.clone());
        }
    }
    let twice = types.iter().filter(|(_, files)| files.len() > 1);
    let twice: Vec<String> = twice.map(|((folder, name), _)| format!("{folder}: {name}")).collect();
    let faults = count.faults(&twice);
    println!("xtask: prose: {count}");
    if faults.is_empty() { Ok(()) } else { Err(format!("prose:\n{}", faults.join("\n"))) }
}

/// Returns the folder of the crate to which a source belongs. `None` if it is not counted.
fn folder(file: &Path) -> Option<String> {
    let parent = file.parent()?;
    if parent.iter().any(|part| SKIPPED.iter().any(|skipped| part == *skipped)) {
        return None;
    }
    let text = parent.to_str()?;
    let at = text.find("src").filter(|at| *at == 0 || text[..*at].ends_with('/'))?;
    Some(text[..at].trim_end_matches('/').to_owned())
}

/// Counts over all sources, with the places of faults.
#[derive(Default)]
struct Count {
    docs: usize,
    relative: Vec<String>,
    short: Vec<String>,
    /// Number of short documentation of constants, which is not a fault.
    constants: usize,
    messages: Vec<String>,
    /// Number of documented functions.
    functions: usize,
    /// Functions that return an `Option` without saying when it is `None`.
    absent: Vec<String>,
    /// Functions whose documentation does not begin with a verb.
    nouns: Vec<String>,
}

impl Count {
    /// Counts the documented functions of a source, given as lines.
    fn add_functions(&mut self, file: &str, lines: &[&str]) {
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[cfg(test)]") {
                // Unit tests are at the end of a file.
                break;
            }
            if let Some(more) = line.strip_prefix("///") {
                text.push_str(more);
                text.push(' ');
                continue;
            }
            if line.starts_with("#[") {
                continue;
            }
            if is_function(line) && !text.is_empty() {
                self.functions += 1;
                let place = || format!("{file}:{}: {line}", at + 1);
                let words: Vec<&str> =
                    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
                if returns_option(&lines[at..]) && !words.iter().any(|word| CONDITIONS.contains(word)) {
                    self.absent.push(place());
                }
                if !words.first().is_some_and(|word| is_verb(word)) {
                    self.nouns.push(place());
                }
            }
            text.clear();
        }
    }

    /// Counts the documentation and the messages of a source. `file` is its name.
    fn add(&mut self, file: &str, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        self.add_functions(file, &lines);
        for (at, line) in lines.iter().enumerate() {
            let place = || format!("{file}:{}: {}", at + 1, line.trim());
            let Some(doc) = doc(line) else {
                if says_no(line) {
                    self.messages.push(place());
                }
                continue;
            };
            if at > 0 && self::doc(lines[at - 1]).is_some() {
                continue;
            }
            self.docs += 1;
            let words: Vec<&str> = doc.split_whitespace().collect();
            let first = words.first().map_or("", |word| word.trim_end_matches(['.', ',', ':', ';']));
            if RELATIVE.contains(&first) {
                self.relative.push(place());
            }
            let single = lines.get(at + 1).is_none_or(|next| self::doc(next).is_none());
            if single && (1..=2).contains(&words.len()) {
                if words.iter().all(|word| is_constant(word)) {
                    self.constants += 1;
                } else {
                    self.short.push(place());
                }
            }
        }
    }

    /// Returns the share of doc comments that begin with a relative clause, in percent.
    fn share(&self) -> f64 {
        100.0 * self.relative.len() as f64 / self.docs.max(1) as f64
    }

    /// Returns all faults, each kind after a heading. `twice` are the types that are defined more than once.
    fn faults(&self, twice: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.share() > MAX_SHARE {
            faults.push("begin these with a noun phrase or a verb in the third person:".to_owned());
            faults.extend(self.relative.iter().cloned());
        }
        if 100.0 * self.nouns.len() as f64 > NOUNS * self.functions as f64 {
            faults.push(
                "begin the documentation of these functions with a verb in the third person:".to_owned(),
            );
            faults.extend(self.nouns.iter().cloned());
        }
        let all = [
            ("say when these are `None`:", &self.absent[..]),
            ("say more than one or two words here:", &self.short[..]),
            ("write \"not a valid …: expected …\" in these messages:", &self.messages),
            ("these type names are defined in more than one file of their crate:", twice),
        ];
        for (what, places) in all.into_iter().filter(|(_, places)| !places.is_empty()) {
            faults.push(what.to_owned());
            faults.extend(places.iter().cloned());
        }
        faults
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} docs, {} begin with a relative clause ({:.1} %), {} have one or two words; of {} functions {} do not begin \
             with a verb, {} do not say when they return `None`; {} messages say \"is no\"",
            self.docs,
            self.relative.len(),
            self.share(),
            self.short.len() + self.constants,
            self.functions,
            self.nouns.len(),
            self.absent.len(),
            self.messages.len()
        )
    }
}

/// Returns the text of a doc comment line. `None` if the line is not one.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
}

/// Returns `true` if a line begins a function.
fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().filter(|word| {
        !(word.starts_with("pub")
            || word.ends_with(')') && !word.contains("fn")
            || matches!(*word, "const" | "async" | "unsafe"))
    });
    words.next() == Some("fn")
}

/// Returns `true` if the function whose signature begins `lines` returns an `Option`. At most 16 lines are read.
fn returns_option(lines: &[&str]) -> bool {
    let mut signature = String::new();
    for line in lines.iter().take(16) {
        signature.push_str(line);
        if line.contains('{') || line.trim_end().ends_with(';') {
            break;
        }
    }
    signature.contains("-> Option<")
}

/// Returns `true` if a word has the form of a verb in the third person: a capital letter, and an `s` at its end.
fn is_verb(word: &str) -> bool {
    word.ends_with('s')
        && word.starts_with(char::is_uppercase)
        && word.chars().skip(1).all(char::is_lowercase)
}

/// Returns `true` if a word is a constant of a protocol or a reference: in backticks or brackets, or without lower-case
/// letters.
fn is_constant(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ':', ';']);
    let quoted = |begin, end| word.len() > 2 && word.starts_with(begin) && word.ends_with(end);
    quoted('`', '`') || quoted('[', ']') || !word.contains(char::is_lowercase)
}

/// Returns `true` if a string in the line says "is no X" or "is none". "There is no" and "is no longer" are permitted.
fn says_no(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    lower.match_indices("is no").any(|(at, found)| {
        let (before, after) = (&lower[..at], &lower[at + found.len()..]);
        let none = after.strip_prefix("ne").is_some_and(|rest| !rest.starts_with(word));
        let other = after.strip_prefix(' ').is_some_and(|rest| {
            let longer = rest.strip_prefix("longer").is_some_and(|rest| !rest.starts_with(word));
            rest.starts_with(|c: char| c.is_ascii_lowercase()) && !longer
        });
        before.contains('"') && !before.ends_with(word) && !before.ends_with("there ") && (none || other)
    })
}

/// Returns the name of the type that a line defines. `None` if it defines none. Aliases count only outside of other
/// items.
fn type_name(line: &str) -> Option<&str> {
    let visible = |text: &str| {
        let Some(rest) = text.strip_prefix("pub") else { return Some(text.len()) };
        let rest = match rest.strip_prefix('(') {
            Some(inside) => inside.split_once(')')?.1,
            None => rest,
        };
        rest.strip_prefix(' ').map(str::len)
    };
    let item = |text| visible(text).map(|length| &text[text.len() - length..]);
    let named = |rest: &'static str, text| item(text).and_then(|item: &str| item.strip_prefix(rest));
    let trimmed = line.trim_start();
    let rest = ["struct ", "enum ", "trait "]
        .into_iter()
        .find_map(|keyword| named(keyword, trimmed))
        .or_else(|| named("type ", line))?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_is_counted() {
        let mut count = Count::default();
        count.add(
            "a.rs",
            "//! What it is.\n\n/// Two words.\nfn a() {}\n/// Whether\n/// it is so.\n/// More.\nfn b() {}",
        );
        assert_eq!((count.docs, count.relative.len(), count.short.len()), (3, 2, 1));
        assert_eq!(count.short, ["a.rs:3: /// Two words."]);
        assert_eq!(count.faults(&[]).len(), 8);
        let mut good = Count::default();
        good.add("a.rs", "/// Returns the length of it.\nfn a() { b(\"not a valid length\") }\n/// STARTTLS.\n\n/// `a` 1.");
        assert_eq!((good.docs, good.constants, good.faults(&[])), (3, 2, Vec::new()));
        assert_eq!(good.faults(&["a: B".to_owned()]).len(), 2);
    }

    #[test]
    fn functions_say_what_they_return() {
        let mut count = Count::default();
        count.add(
            "a.rs",
            "/// Returns the length of it.\n#[must_use]\npub(in crate::a) fn a(\n    b: u8,\n) -> Option<u8> {}\n\
             /// Returns it, or `None` at the end.\nconst fn b() -> Option<u8> {}\n/// The length of it.\nfn c() -> u8 {}\n\
             /// The length of it.\nlet fnord = 1;\n#[cfg(test)]\nmod tests {\n/// Another length.\nfn d() {}",
        );
        assert_eq!((count.functions, count.absent.len(), count.nouns.len()), (3, 1, 1));
        assert!(count.absent[0].starts_with("a.rs:3: "), "{:?}", count.absent);
    }

    #[test]
    fn messages_are_judged() {
        // Written with a mark, so that this file passes its own check.
        let marked = |line: &str| line.replace('~', "is no");
        for line in ["f(\"it ~ host\")", "f(\"a\", \"~ne of a, b\")", "\"that ~ne\""] {
            assert!(says_no(&marked(line)), "{line}");
            assert!(says_no(&marked(line).to_uppercase()), "{line}");
        }
        for line in
            ["\"there ~ host\"", "\"it ~ longer so\"", "// it ~ host", "\"this nobody\"", "\"it ~t a host\""]
        {
            assert!(!says_no(&marked(line)), "{line}");
        }
    }

    #[test]
    fn types_are_named() {
        for line in ["struct Name;", "  pub(crate) enum Name {", "pub trait Name<T> {", "pub type Name = u8;"]
        {
            assert_eq!(type_name(line), Some("Name"), "{line}");
        }
        for line in ["    type Name = u8;", "let structure = 1;", "impl Name {"] {
            assert_eq!(type_name(line), None, "{line}");
        }
    }

    #[test]
    fn sources_belong_to_crates() {
        assert_eq!(folder(Path::new("bins/a/src/b/c.rs")).as_deref(), Some("bins/a"));
        for path in ["a/tests/src/b.rs", "a/src/tests/b.rs", "a/build.rs", "a/fuzz/src/b.rs"] {
            assert_eq!(folder(Path::new(path)), None, "{path}");
        }
    }
}
