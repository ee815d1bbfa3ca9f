//! Inventory of a cluster, taken before the transfer and compared afterwards.

use std::collections::BTreeMap;
use std::fmt;

/// Facts about a cluster by name, such as `app/table/public.orders` → `owner=alice bytes=8192`. The first part of a
/// name is the database or `cluster`, the second the kind of object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Inventory {
    /// Facts by name, sorted.
    pub facts: BTreeMap<String, String>,
}

/// A fact that differs between two inventories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the fact.
    pub name: String,
    /// Fact before the upgrade. `None` if it did not exist.
    pub before: Option<String>,
    /// Fact after the upgrade. `None` if it is missing.
    pub after: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(out, "{}: {before} before, {after} after", self.name),
            (Some(before), None) => write!(out, "{}: missing, was {before}", self.name),
            (None, after) => {
                write!(out, "{}: not there before, now {}", self.name, after.as_deref().unwrap_or(""))
            }
        }
    }
}

impl Inventory {
    /// Adds the result of an inventory query: lines of name, tab and fact. The names are prefixed with `database`, and
    /// identifiers in them are quoted only if that does not depend on the keywords of a version. Values of settings that
    /// are lists of names are spelled in one way. Lines without a tab are ignored.
    pub fn add(&mut self, database: &str, lines: &str) {
        for (name, fact) in lines.lines().filter_map(|line| line.split_once('\t')) {
            let parameter = name.strip_prefix("setting/").and_then(|name| name.rsplit('/').next());
            let is_list = parameter.is_some_and(|parameter| NAME_LISTS.contains(&parameter));
            let fact = if is_list { spelled(fact) } else { fact.to_owned() };
            self.facts.insert(format!("{database}/{}", unquoted(name)), fact);
        }
    }

    /// Removes the facts of the database `postgres` if `before` does not have this database, since `initdb` creates it
    /// again.
    pub fn without_fresh_postgres(&mut self, before: &Self) {
        if !before.facts.contains_key("cluster/database/postgres") {
            self.facts
                .retain(|name, _| name != "cluster/database/postgres" && !name.starts_with("postgres/"));
        }
    }

    /// Removes the schema `public` and the extension `plpgsql` of databases that do not have them in `before`, since
    /// databases are made anew with both. Returns their names, each with the statement that drops it again.
    pub fn without_fresh_contents(&mut self, before: &Self) -> Vec<(String, &'static str)> {
        let mut fresh = Vec::new();
        for (suffix, statement) in
            [("/schema/public", "DROP SCHEMA public"), ("/extension/plpgsql", "DROP EXTENSION plpgsql")]
        {
            let is_fresh = |name: &&String| name.ends_with(suffix) && !before.facts.contains_key(*name);
            fresh.extend(self.facts.keys().filter(is_fresh).map(|name| (name.clone(), statement)));
        }
        fresh.iter().for_each(|(name, _)| drop(self.facts.remove(name)));
        fresh
    }

    /// Returns the facts that differ from those of another inventory: those of this inventory by name, then those that
    /// only the other one has.
    #[must_use]
    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        let names =
            self.facts.keys().chain(after.facts.keys().filter(|name| !self.facts.contains_key(*name)));
        names
            .filter(|name| self.facts.get(*name) != after.facts.get(*name))
            .map(|name| Difference {
                name: name.clone(),
                before: self.facts.get(name).cloned(),
                after: after.facts.get(name).cloned(),
            })
            .collect()
    }

    /// Returns the number of facts by kind of object, which is the second part of their names.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.facts.keys().filter_map(|name| name.split('/').nth(1)) {
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Returns the names of all databases of the cluster, templates included.
    #[must_use]
    pub fn databases(&self) -> Vec<&str> {
        self.facts.keys().filter_map(|name| name.strip_prefix("cluster/database/")).collect()
    }
}

/// Names of settings whose values are lists of names, which `pg_dump` takes apart and quotes anew.
const NAME_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Splits a text at quoted identifiers. Returns the parts outside of quotes and the contents within, the latter with
/// `true` and with a quote for each two. A quote that is not closed is part of the text outside.
fn parts(text: &str) -> Vec<(String, bool)> {
    let (mut parts, mut outside, mut rest) = (Vec::new(), String::new(), text);
    while let Some(start) = rest.find('"') {
        let (mut inner, mut after) = (String::new(), &rest[start + 1..]);
        let is_closed = loop {
            let Some(end) = after.find('"') else { break false };
            inner.push_str(&after[..end]);
            after = &after[end + 1..];
            match after.strip_prefix('"') {
                Some(more) => {
                    inner.push('"');
                    after = more;
                }
                None => break true,
            }
        };
        if !is_closed {
            break;
        }
        outside.push_str(&rest[..start]);
        parts.push((std::mem::take(&mut outside), false));
        parts.push((inner, true));
        rest = after;
    }
    outside.push_str(rest);
    parts.push((outside, false));
    parts
}

/// Quotes an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Removes the quotes around identifiers that would be the same without them if no keywords existed.
fn unquoted(text: &str) -> String {
    let is_plain = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_')
    };
    let shown = parts(text).into_iter().map(
        |(part, is_quoted)| {
            if is_quoted && !is_plain(&part) { quoted(&part) } else { part }
        },
    );
    shown.collect()
}

/// Spells a list of names in one way: each one quoted, as the server reads it, separated by commas without spaces.
fn spelled(list: &str) -> String {
    let mut names = vec![String::new()];
    for (part, is_quoted) in parts(list) {
        let last = names.last_mut().expect("there is one");
        if is_quoted {
            last.push_str(&part);
            continue;
        }
        let mut plain = part.split(',').map(|name| name.trim().to_lowercase());
        last.push_str(&plain.next().unwrap_or_default());
        names.extend(plain);
    }
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_lists_have_one_spelling() {
        for (written, expected) in [
            (r#"table/"public"."system_user""#, "table/public.system_user"),
            (r#"table/"public"."Odd name""#, r#"table/public."Odd name""#),
            (r#"function/"s"."f"(integer,"s"."a""b")"#, r#"function/s.f(integer,s."a""b")"#),
            (r#"trigger/"s"."t"/a " quote"#, r#"trigger/s.t/a " quote"#),
            (r#"table/"1"."ä""#, r#"table/"1"."ä""#),
        ] {
            assert_eq!(unquoted(written), expected);
        }
        for (one, other) in [
            (r#""$user", public"#, r#""$user",public"#),
            ("a, B", r#"a,"b""#),
            (r#""A b" ,c"#, r#""A b","c""#),
            ("", r#""""#),
        ] {
            assert_eq!(spelled(one), spelled(other));
        }
        assert_ne!(spelled(r#""a,b""#), spelled("a,b"));
        assert_ne!(spelled(r#""A""#), spelled("a"));
        let mut inventory = Inventory::default();
        inventory.add("cluster", "setting/*/x/search_path\ta, b\nsetting/*/x/work_mem\t1, 2");
        assert_eq!(inventory.facts["cluster/setting/*/x/search_path"], r#""a","b""#);
        assert_eq!(inventory.facts["cluster/setting/*/x/work_mem"], "1, 2");
    }

    proptest! {
        #[test]
        fn quoted_names_stay_apart(names in proptest::collection::vec("[a-zA\"., 1]{0,3}", 1..4), others in proptest::collection::vec("[a-zA\"., 1]{0,3}", 1..4)) {
            let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(names == others, spelled(&list(&names)) == spelled(&list(&others)));
            prop_assert_eq!(names == others, unquoted(&list(&names)) == unquoted(&list(&others)));
        }
    }

    #[test]
    fn what_every_new_database_has_is_no_difference() {
        let mut before = Inventory::default();
        before.add("app", "schema/own\towner=x");
        let mut after = before.clone();
        after.add("app", "schema/public\towner=y\nextension/plpgsql\tversion=1.0");
        let fresh = after.without_fresh_contents(&before);
        assert_eq!(fresh[0], ("app/schema/public".to_owned(), "DROP SCHEMA public"));
        assert_eq!(fresh.len(), 2);
        assert!(before.differences(&after).is_empty());
        // One that was there is compared.
        before.add("app", "schema/public\towner=x");
        after.add("app", "schema/public\towner=y");
        assert_eq!(after.without_fresh_contents(&before), []);
        assert_eq!(before.differences(&after).len(), 1);
    }

    #[test]
    fn what_differs_is_named() {
        let mut before = Inventory::default();
        before.add("app", "table/public.a\towner=x\ntable/public.b\towner=x\nsequence/public.s\t7");
        before.add("cluster", "database/app\towner=x");
        let mut after = before.clone();
        assert!(before.differences(&after).is_empty());
        after.facts.remove("app/table/public.b");
        after.facts.insert("app/sequence/public.s".into(), "6".into());
        after.facts.insert("app/table/public.c".into(), "owner=x".into());
        let said: Vec<String> = before.differences(&after).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "app/sequence/public.s: 7 before, 6 after",
                "app/table/public.b: missing, was owner=x",
                "app/table/public.c: not there before, now owner=x"
            ]
        );
        assert_eq!(before.databases(), ["app"]);
        assert_eq!(before.counts()["table"], 2);
    }
}
