//! Errors that only follow from another error of the file, which would distract from it.

use super::problem::Problem;
use cli_support::words::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// The beginnings of messages about a key that needs or refers to another one.
const DEPENDENT: &[&str] =
    &["applies to ", "belongs to ", "goes with ", "has no effect", "needs ", "not a prefix "];

/// The number of errors among which consequences are looked for: the first of the file. Each is compared with each.
const MAX_COMPARED: usize = 1_000;

/// Removes errors that follow from others: of a key that is missing because it is misspelt or not valid, of a key that
/// depends on such a key, of names that refer to a faulty listener or site, and further syntax errors of a line. Errors
/// after the first [`MAX_COMPARED`] stay.
pub(super) fn remove(problems: Vec<Problem>) -> Vec<Problem> {
    let compared = &problems[..problems.len().min(MAX_COMPARED)];
    let explained = explained_names(compared);
    let mut follows: Vec<bool> = compared
        .iter()
        .enumerate()
        .map(|(at, problem)| {
            if problem.is_about_unknown_site() {
                return explained.contains(&at);
            }
            let mut others = compared.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(other, cause)| problem.follows_from(cause, other < at))
        })
        .collect();
    follows.resize(problems.len(), false);
    problems.into_iter().zip(follows).filter(|(_, follows)| !follows).map(|(problem, _)| problem).collect()
}

/// Returns the indexes of the errors about names that no site has and that a site whose own name is not known explains,
/// because of an error of its name or hosts. Each such site explains one: a name that is similar to what the site has
/// written, or else one that is not similar to the name of another site, since that may be misspelt, or else the first.
fn explained_names(problems: &[Problem]) -> BTreeSet<usize> {
    let is_cause = |problem: &&Problem| {
        problem.key.starts_with("site[") && ["name", "hosts"].iter().any(|key| problem.is_about(key))
    };
    let mut sites: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for problem in problems.iter().filter(is_cause) {
        if let Some(table) = problem.table() {
            sites.entry((&problem.file, table)).or_default().extend(problem.value.as_deref());
        }
    }
    let unknown: Vec<(usize, &str)> = problems
        .iter()
        .enumerate()
        .filter(|(_, problem)| problem.is_about_unknown_site())
        .filter_map(|(at, problem)| Some((at, problem.message.split('`').nth(1)?)))
        .collect();
    let mut explained = BTreeSet::new();
    sites.retain(|_, written| {
        let names = unknown.iter().filter(|(at, _)| !explained.contains(at)).map(|(_, name)| *name);
        let names: Vec<&str> = names.collect();
        let similar = written.iter().find_map(|text| {
            let text = text.trim_matches(['"', '\'']);
            nearest(text, names.iter().copied())
        });
        let found = unknown.iter().find(|(at, name)| !explained.contains(at) && similar == Some(name));
        found.is_none_or(|(at, _)| !explained.insert(*at))
    });
    let mut others: Vec<usize> = unknown.into_iter().map(|(at, _)| at).collect();
    others.retain(|at| !explained.contains(at));
    others.sort_by_key(|at| problems[*at].message.contains("did you mean"));
    explained.extend(others.into_iter().take(sites.len()));
    explained
}

impl Problem {
    /// Returns whether this error is about a name that no site has.
    fn is_about_unknown_site(&self) -> bool {
        self.message.starts_with("no site has the name")
    }

    /// Returns whether this error follows from another one. `is_first` is true if the other stands before it.
    fn follows_from(&self, cause: &Self, is_first: bool) -> bool {
        if self.message.starts_with("no listener has this name") {
            return cause.leaves_listener_unknown();
        }
        if self.file != cause.file {
            return false;
        }
        if self.key.is_empty() && cause.key.is_empty() {
            return is_first && self.line == cause.line && self.message.starts_with("not valid TOML");
        }
        let Some(table) = cause.table() else { return false };
        if !self.key.starts_with(table) || self.key == cause.key && self.message == cause.message {
            return false;
        }
        if self.message.starts_with("missing") {
            if cause.message.starts_with("missing") {
                return false;
            }
            let is_beside = cause.table() == self.table();
            // The advice names the keys that may stand in its place.
            let mut named = words(&self.message).chain([self.name()]);
            return self.key == cause.key || is_beside && named.any(|word| cause.is_about(word));
        }
        if self.message.starts_with("is empty") {
            return cause.key.strip_prefix(self.key.as_str()).is_some_and(|rest| rest.starts_with('['));
        }
        let is_dependent = DEPENDENT.iter().any(|begin| self.message.starts_with(begin));
        is_dependent
            && self.key != cause.key
            && !DEPENDENT.iter().any(|begin| cause.message.starts_with(begin))
            && self.named_keys().any(|word| cause.is_about(word))
    }

    /// Returns whether a listener is not known by its name because of this error: it is about the name or the address of
    /// a listener, or a listener or all of them as a whole.
    fn leaves_listener_unknown(&self) -> bool {
        let Some(rest) = self.key.strip_prefix("listen") else { return false };
        let is_whole = !rest.contains('.');
        (rest.is_empty() || rest.starts_with(['[', '.']))
            && (is_whole || ["name", "address"].iter().any(|key| self.is_about(key)))
    }

    /// Returns the names of keys on which this error may depend: the words of the message before its first colon, and of
    /// the advice after it those in backticks or before ` =`.
    fn named_keys(&self) -> impl Iterator<Item = &str> {
        let (cause, advice) = self.message.split_once(':').unwrap_or((&self.message, ""));
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts =
            advice.char_indices().filter(move |(at, c)| is_word(*c) && !advice[..*at].ends_with(is_word));
        let keys = starts.filter_map(move |(at, _)| {
            let rest = &advice[at..];
            let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            (after.starts_with('`') || after.starts_with(" =")).then_some(word)
        });
        words(cause).chain(keys)
    }

    /// Returns the path of the table of the key, with its final dot. `None` for a key of the top level.
    fn table(&self) -> Option<&str> {
        self.key.rfind('.').map(|dot| &self.key[..=dot])
    }

    /// Returns the name of the key without its table and index.
    fn name(&self) -> &str {
        let name = self.key.rsplit('.').next().unwrap_or_default();
        name.split('[').next().unwrap_or_default()
    }

    /// Returns whether the error is about a key that is not known.
    fn is_unknown(&self) -> bool {
        self.message.starts_with("unknown key")
    }

    /// Returns whether the error is about the key of this name, in the singular or plural, or about an unknown key in
    /// whose place it is proposed.
    fn is_about(&self, name: &str) -> bool {
        let singular = |word: &str| word.strip_suffix('s').unwrap_or(word).to_owned();
        let name = singular(name);
        if self.is_unknown() {
            return !self.message.contains("known keys are")
                && words(&self.message).any(|word| singular(word) == name);
        }
        singular(self.name()) == name
    }
}

/// Returns the words of a message that may be names of keys.
fn words(message: &str) -> impl Iterator<Item = &str> {
    message.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::{Problem, remove};

    /// A file with references between all of its parts.
    const FILE: &str = include_str!("consequences.toml");

    /// Values that no key accepts.
    const WRONG: &[&str] = &["1979-05-27", "'zz zz'", "[[[]]]"];

    /// Keys without which others have no effect, each of which is then named.
    const SEVERAL: &[&str] = &["ranges", "forward"];

    fn faults(text: &str) -> Vec<String> {
        match read("edge.toml", text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn a_key_that_is_not_valid_or_misspelt_is_one_finding() {
        assert_eq!(faults(FILE), [""; 0]);
        let lines: Vec<&str> = FILE.lines().collect();
        let mut changed = 0;
        for (at, line) in lines.iter().enumerate() {
            let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with(['#', '"']))
            else {
                continue;
            };
            let values = WRONG.iter().map(|wrong| format!("{key} = {wrong}"));
            for wrong in values.chain([format!("x{key} = {value}")]) {
                let mut text = lines.clone();
                text[at] = &wrong;
                let found = faults(&(text.join("\n") + "\n"));
                let is_several = SEVERAL.contains(&key) && wrong.starts_with(key);
                assert!(found.len() <= 1 || is_several, "line {}, {wrong}: {found:#?}", at + 1);
                changed += usize::from(found.len() == 1);
            }
        }
        // A value such as 'zz zz' is valid for some keys.
        assert!(changed > 120, "{changed}");
    }

    #[test]
    fn what_does_not_follow_stays() {
        let listen = "[[listen]]\naddress = '127.0.0.1:80'\n";
        for (text, count) in [
            // Two keys that are missing, and a misspelt one that is neither.
            ("[[site]]\nhosts = 'a.test'\n[[site.route]]\nbodylimit = 1\n", 3),
            // A listener that does not exist, beside a fault of another part.
            ("[[site]]\nhosts = 'a.test'\nlisten = 'x'\ndrop = true\n[limits]\nstreams = 0\n", 2),
            ("[[site]]\nhosts = 'a.test'\ndrop = true\nbody_limit = 'x'\nreject = 'x'\n", 2),
            // A listener that does not exist, beside another one with a fault of its own.
            ("tls = 1\n[[site]]\nhosts = 'a.test'\nlisten = 'x'\ndrop = true\n", 2),
            // Two sites that do not exist, beside one whose name is not known.
            ("[log.sites]\n'b.test' = '/b'\n'c.test' = '/c'\n[[site]]\nhosts = 'a b'\ndrop = true\n", 2),
        ] {
            let found = faults(&format!("{listen}{text}"));
            assert_eq!(found.len(), count, "{text}: {found:#?}");
        }
    }

    /// A site with a fault hides the name that is most likely its own, and no other.
    #[test]
    fn a_faulty_site_explains_its_own_name() {
        let listen = "[[listen]]\naddress = '127.0.0.1:80'\n";
        let sites =
            "[[site]]\nhosts = 'wiki.test'\ndrop = true\n[[site]]\nhosts = 'mail.test'\ndrop = true\n";
        for (names, faulty, shown) in [
            // What is similar to the faulty value.
            (["wikki.test", "git.test"], "hosts = 'git test'", &["wikki.test"][..]),
            (["wikki.test", "maul.test"], "hosts = 'mail,test'", &["wikki.test"]),
            // What is no misspelt name of another site.
            (["wikki.test", "git.test"], "hosts = '?'", &["wikki.test"]),
            (["wikki.test", "git.test"], "hots = 'git.test'", &["wikki.test"]),
            // Two that are misspelt: one of them may be the name of the faulty site.
            (["wikki.test", "maul.test"], "hosts = '?'", &["wikki.test"]),
            (["git.test", "ci.test"], "hosts = '?'", &["git.test"]),
        ] {
            let log = names.map(|name| format!("'{name}' = '/var/log/{name}'\n")).concat();
            let text = format!("{listen}[log.sites]\n{log}[[site]]\n{faulty}\ndrop = true\n{sites}");
            let found = faults(&text);
            let unknown: Vec<_> = found.iter().filter(|line| line.contains("no site has")).collect();
            assert_eq!(found.len(), shown.len() + 1, "{text}: {found:#?}");
            assert!(shown.iter().zip(unknown).all(|(name, line)| line.contains(name)), "{text}: {found:#?}");
        }
    }

    #[test]
    fn only_the_first_of_many_errors_are_compared() {
        let many = (0..200_000).map(|at| Problem {
            line: at,
            key: format!("site[{at}].x"),
            message: "needs `tls`: write it".into(),
            ..Problem::default()
        });
        let began = std::time::Instant::now();
        assert_eq!(remove(many.collect()).len(), 200_000);
        // Each with each would be 40 thousand million.
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }
}
