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
    /// Adds the result of an inventory query: lines of name, tab and fact. The names are prefixed with `database`.
    /// Lines without a tab are ignored.
    pub fn add(&mut self, database: &str, lines: &str) {
        for (name, fact) in lines.lines().filter_map(|line| line.split_once('\t')) {
            self.facts.insert(format!("{database}/{name}"), fact.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

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
