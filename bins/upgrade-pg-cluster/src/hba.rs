//! Comparison of the decisions of `pg_hba.conf` under both versions.

use pg_hba::{Diff, Document, Include, IncludeError, Server, Version, decode_file, diff, encode_file};
use pg_upgrade::{HbaChecker, HbaComparison, Major};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Checker that parses a `pg_hba.conf` as both versions do, and compares the decisions of the rules. A file that cannot
/// be read, a version that is not known, and a file that the old version refuses yield [`HbaComparison::Unknown`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleComparison;

impl HbaChecker for RuleComparison {
    fn check(&self, file: &Path, from: Major, to: Major) -> HbaComparison {
        let text = match std::fs::read(file) {
            Ok(bytes) => decode_file(&bytes),
            Err(why) => return HbaComparison::Unknown(format!("{}: {why}", file.display())),
        };
        let name = file.display().to_string();
        if let Some(unknown) = [from, to].iter().find(|major| major.to_string().parse::<Version>().is_err()) {
            return HbaComparison::Unknown(format!("the rules of {unknown} are not known to this program"));
        }
        let rules = |major: Major| {
            let version: Version = major.to_string().parse().map_err(|_| format!("{major} is not known"))?;
            let document = Document::load(&name, &text, &Server::new(version), &mut FileSystem);
            document.rules().map_err(|why| why.to_string())
        };
        let old = match rules(from) {
            Ok(old) => old,
            Err(why) => return HbaComparison::Unknown(format!("{from} itself refuses it: {why}")),
        };
        match rules(to) {
            Err(why) => HbaComparison::Refused(why),
            Ok(new) => match diff(&old, &new) {
                Diff::Equal => HbaComparison::Same,
                Diff::Different(example) => HbaComparison::Changed(example.to_string()),
                Diff::Undecided(why) => HbaComparison::Unknown(why.to_string()),
            },
        }
    }
}

/// Included files, read from the file system.
struct FileSystem;

impl Include for FileSystem {
    fn read(&mut self, path: &str) -> Result<String, IncludeError> {
        std::fs::read(OsStr::from_bytes(&encode_file(path)))
            .map(|bytes| decode_file(&bytes))
            .map_err(|why| words(&why))
    }

    /// Returns the names of all entries of a folder that are not folders themselves.
    fn list(&mut self, path: &str) -> Result<Vec<String>, IncludeError> {
        let entries = std::fs::read_dir(OsStr::from_bytes(&encode_file(path))).map_err(|why| words(&why))?;
        Ok(entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.path().is_dir())
            .map(|entry| decode_file(entry.file_name().as_bytes()))
            .collect())
    }
}

/// Converts an error of the file system: a missing file is distinguished, any other becomes its text.
fn words(why: &std::io::Error) -> IncludeError {
    match why.kind() {
        std::io::ErrorKind::NotFound => IncludeError::Missing,
        _ => IncludeError::Other(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: impl AsRef<[u8]>, from: &str, to: &str) -> HbaComparison {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pg_hba.conf");
        std::fs::write(&path, text).unwrap();
        RuleComparison.check(&path, from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn what_each_version_makes_of_it() {
        assert_eq!(verdict("local all all peer\n", "15", "18"), HbaComparison::Same);
        // Comments and names of another encoding are bytes to the server.
        assert_eq!(verdict(b"# \xfcber\nlocal all J\xf6rg peer\n", "15", "18"), HbaComparison::Same);
        // A name that begins with a slash is a pattern from 16 on.
        assert!(matches!(verdict("local /^a all trust\n", "15", "18"), HbaComparison::Changed(_)));
        assert!(matches!(verdict("local /( all trust\n", "15", "18"), HbaComparison::Refused(_)));
        assert_eq!(verdict("local /^a all trust\n", "17", "18"), HbaComparison::Same);
        // A folder is no file of an included folder, whatever its name.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("d/old.conf")).unwrap();
        std::fs::write(folder.path().join("d/a.conf"), "local all all peer\n").unwrap();
        let rules = format!("include_dir {}\n", folder.path().join("d").display());
        assert_eq!(verdict(rules, "17", "18"), HbaComparison::Same);
        // 19 does not start with radius.
        let radius = "host all all all radius radiusservers=a radiussecrets=b\n";
        assert!(matches!(verdict(radius, "18", "19"), HbaComparison::Refused(why) if why.contains("radius")));
        assert_eq!(verdict("local all all peer\n", "18", "19"), HbaComparison::Same);
    }
}
