//! The step that rebuilds the indexes whose order or contents the new version changes.

use super::error::{UpgradeError, WithPath};
use super::queries;
use super::reach;
use super::run::Run;
use super::server::ServerAddress;
use crate::step::Reindexing;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Name of the list in which `pg_upgrade` names the relations that a new version of Unicode may affect.
const UNICODE: &str = "unicode_dependent_rels.txt";

/// Rebuilds the indexes of changed collations, records the new collation versions, and lists tables partitioned by
/// text for the operator. Rebuilds the indexes that another version of Unicode or, for version 18, another locale
/// provider of full text search affects, and lists other relations. No effect without any of these.
///
/// # Errors
/// Returns an error if the server is not reachable, or a statement fails.
pub(super) fn reindex(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    let listed = unicode_dependents(&run.work().logs())?;
    let mut indexes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if choices.from < 18 && choices.to >= 18 {
        for (database, index) in &run.catalog()?.text_indexes {
            indexes.entry(database.clone()).or_default().push(index.clone());
        }
    }
    if run.record.recollated.is_empty() {
        run.note("no collation has changed");
        if listed.is_empty() && indexes.is_empty() {
            return Ok(());
        }
    }
    let reached = reach::reach_new(run)?;
    let id = run.record.id.clone();
    let work = Rebuild {
        bin: &choices.new_bin,
        id: &id,
        socket: reached.socket(),
        is_online: choices.reindexing == Reindexing::Online,
    };
    let mut rebuild = || -> Result<(Vec<String>, Vec<String>), UpgradeError> {
        let (mut notes, mut remarks) = (Vec::new(), Vec::new());
        for one in &run.record.recollated {
            let (note, partitioned) = work.recollated(&one.database)?;
            notes.push(note);
            remarks.extend(partitioned);
        }
        for (database, names) in &listed {
            let (found, others) = work.dependents(database, names)?;
            indexes.entry(database.clone()).or_default().extend(found);
            remarks.extend(others.into_iter().map(|relation| {
                format!(
                    "{database}: {relation} may depend on the version of Unicode: look whether its constraints hold, its rows \
                     are in the right partitions, or refresh it"
                )
            }));
        }
        for (database, names) in &mut indexes {
            names.sort_unstable();
            names.dedup();
            work.rebuild(database, names)?;
            notes.push(format!(
                "{database}: rebuilt for another Unicode or text search: {}",
                names.join(", ")
            ));
        }
        Ok((notes, remarks))
    };
    let result = rebuild();
    let left = reached.stop_if_private();
    let (notes, remarks) = result?;
    notes.into_iter().for_each(|note| run.note(note));
    run.remark(remarks);
    left
}

/// The server on which indexes are rebuilt; concurrently if `is_online` is set.
struct Rebuild<'r> {
    bin: &'r Path,
    id: &'r str,
    socket: &'r ServerAddress,
    is_online: bool,
}

impl Rebuild<'_> {
    /// Executes SQL in a database.
    ///
    /// # Errors
    /// Returns an error if it fails.
    fn ask(&self, database: &str, sql: &str) -> Result<String, UpgradeError> {
        self.socket.ask(self.bin, self.id, database, sql)
    }

    /// Rebuilds the indexes of a database's changed collations. Returns a note, and a remark for each table that is
    /// partitioned by text.
    ///
    /// # Errors
    /// Returns an error if a statement fails.
    fn recollated(&self, database: &str) -> Result<(String, Vec<String>), UpgradeError> {
        if self.is_online {
            self.ask(database, queries::HALF_BUILT)?;
        }
        let list = queries::REINDEX.replace("%CONCURRENTLY%", self.concurrently());
        let count = self.ask(database, &format!("{list};"))?.lines().count();
        self.ask(database, &format!("{list}\\gexec\n"))?;
        let partitions = self.ask(database, queries::TEXT_PARTITIONS)?;
        self.ask(database, queries::REFRESH)?;
        let remark = |table| {
            format!(
                "{database}: {table} is partitioned by text: look whether its rows are in the right partitions"
            )
        };
        let note = format!("{database}: {count} indexes rebuilt, the collation's new version recorded");
        Ok((note, partitions.lines().map(remark).collect()))
    }

    /// Returns the indexes among relations, and the other ones, as quoted names. The relations are given by their OIDs,
    /// which `pg_upgrade` keeps.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    fn dependents(
        &self,
        database: &str,
        relations: &[u32],
    ) -> Result<(Vec<String>, Vec<String>), UpgradeError> {
        let oids: Vec<String> = relations.iter().map(ToString::to_string).collect();
        let text = self.ask(database, &queries::DEPENDENTS.replace("%OIDS%", &oids.join(", ")))?;
        let (mut indexes, mut others) = (Vec::new(), Vec::new());
        for (kind, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            (if kind == "i" { &mut indexes } else { &mut others }).push(name.to_owned());
        }
        Ok((indexes, others))
    }

    /// Rebuilds indexes, given by their quoted names.
    ///
    /// # Errors
    /// Returns an error if a statement fails.
    fn rebuild(&self, database: &str, indexes: &[String]) -> Result<(), UpgradeError> {
        let way = self.concurrently();
        let statements: String =
            indexes.iter().map(|index| format!("REINDEX INDEX{way} {index};\n")).collect();
        self.ask(database, &statements).map(drop)
    }

    /// Returns the keyword of REINDEX, with a space before it; empty unless clients work meanwhile.
    const fn concurrently(&self) -> &'static str {
        if self.is_online { " CONCURRENTLY" } else { "" }
    }
}

/// Reads the relations that a new version of Unicode may affect, by database, from the list among the logs. Empty
/// without a list.
///
/// # Errors
/// Returns an error if the list cannot be read.
fn unicode_dependents(logs: &Path) -> Result<BTreeMap<String, Vec<u32>>, UpgradeError> {
    let path = logs.join(UNICODE);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    Ok(by_database(&String::from_utf8_lossy(&fs::read(&path).at(&path, "cannot be read")?)))
}

/// Reads a list of `pg_upgrade`: a line `In database: NAME`, and below it an indented line for each relation, which
/// begins with its OID.
fn by_database(list: &str) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut database = None;
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("In database: ") {
            database = Some(name.to_owned());
        } else if let (Some(database), Some(relation)) = (&database, line.strip_prefix("  (oid="))
            && let Some(oid) = relation.split(')').next().and_then(|oid| oid.parse().ok())
        {
            found.entry(database.clone()).or_default().push(oid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_database() {
        let list = "In database: app\n  (oid=16472) public.a b\n  (oid=7) s.c\nIn database: other\n  (oid=9) public.d\n";
        let found = by_database(list);
        assert_eq!(found["app"], [16472, 7]);
        assert_eq!(found["other"], [9]);
        assert!(by_database("  (oid=1) public.a\n").is_empty());
    }
}
