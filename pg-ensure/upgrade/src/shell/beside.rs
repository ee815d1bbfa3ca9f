//! Files in the data directory to which the configuration refers: keys, certificates, included rules, lists of names.

use super::{configuration, encoding, files};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Maximum nesting of included files, as in the server.
const MAX_DEPTH: u32 = 10;

/// Files that the configuration names by relative paths.
#[derive(Debug, Default)]
pub(super) struct NamedFiles {
    /// The folder of each file, and its path below both that folder and the new data folder.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// Remarks on files that stay in the old data folder.
    pub(super) left: Vec<String>,
}

impl NamedFiles {
    /// Finds keys, certificates and files of hosts in the data folder, and the files that the access rules `rules`
    /// name: lists of names and included rules, which lie beside the rules themselves.
    pub(super) fn of(data: &Path, rules: &[&Path], configuration: &configuration::Configuration) -> Self {
        let mut names: Vec<PathBuf> =
            ["server.crt", "server.key", "root.crt", "root.crl", "pg_hosts.conf"].map(PathBuf::from).into();
        named_in(data, Path::new("pg_hosts.conf"), Fields::Names, 0, &mut names);
        for file in &configuration.files {
            for setting in crate::settings(&file.text) {
                let named = [
                    "ssl_cert_file",
                    "ssl_key_file",
                    "ssl_ca_file",
                    "ssl_crl_file",
                    "ssl_dh_params_file",
                    "krb_server_keyfile",
                ];
                if named.contains(&setting.name.as_str()) {
                    names.push(encoding::path(&setting.value));
                }
            }
        }
        let mut found = Self::default();
        found.add(data, names, data, Path::new("the configuration"));
        for file in rules {
            let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { continue };
            let mut names = Vec::new();
            named_in(folder, Path::new(name), Fields::Rules, 0, &mut names);
            found.add(folder, names, data, file);
        }
        found.files.sort_unstable();
        found.files.dedup();
        found
    }

    /// Returns the files that would overwrite each other or a carried configuration file in the new data directory,
    /// unless their contents are equal: the path in that directory, and the paths of two files. `folder` is the
    /// directory of the configuration; the access rules `hba` and `ident` get their default names.
    pub(super) fn collisions(
        &self,
        folder: &Path,
        hba: &Path,
        ident: &Path,
        configuration: &configuration::Configuration,
    ) -> Vec<(PathBuf, PathBuf, PathBuf)> {
        let settings = configuration.files.iter().map(|file| (file.name.clone(), folder.join(&file.name)));
        let rules = [(hba, "pg_hba.conf"), (ident, "pg_ident.conf")];
        let rules = rules.map(|(file, name)| (PathBuf::from(name), file.to_owned()));
        let named = self.files.iter().map(|(folder, name)| (name.clone(), folder.join(name)));
        let mut sources: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for (name, source) in settings.chain(rules).chain(named) {
            sources.entry(name).or_default().push(source);
        }
        let differ = |one: &Path, other: &Path| one != other && fs::read(one).ok() != fs::read(other).ok();
        let found = |(name, sources): (PathBuf, Vec<PathBuf>)| {
            let (first, rest) = sources.split_first()?;
            let second = rest.iter().find(|other| differ(first, other))?.clone();
            Some((name, first.clone(), second))
        };
        sources.into_iter().filter_map(found).collect()
    }

    /// Adds those of the files `names`, relative to `folder`, that exist. For an absolute path in the data folder
    /// `data`, a remark is added instead, with `named_by` as the file that names it. Other absolute paths, and paths
    /// that lead out of `folder`, are ignored.
    fn add(&mut self, folder: &Path, names: Vec<PathBuf>, data: &Path, named_by: &Path) {
        for name in names {
            if name.starts_with(data) {
                self.left.push(format!(
                    "{} names {}: copy it, and name the copy, before the old cluster is removed",
                    named_by.display(),
                    name.display()
                ));
            } else if let Some(name) = inner(&name).filter(|name| folder.join(name).is_file()) {
                self.files.push((folder.to_owned(), name));
            }
        }
    }
}

/// Returns a relative path without `.` and `..`. `None` for an absolute path, and for one that leads out of its folder.
fn inner(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir if plain.pop() => {}
            Component::ParentDir | Component::Prefix(_) | Component::RootDir => return None,
        }
    }
    Some(plain)
}

/// Syntax of a file's lines.
#[derive(Clone, Copy, PartialEq)]
enum Fields {
    /// Access rules, in which `@` precedes the name of a file.
    Rules,
    /// Names of a list, which may name other lists.
    List,
    /// Lines of `pg_hosts.conf` (from version 19): host names, then files.
    Names,
}

/// Appends the files that a file of access rules or host names refers to, and those of included files. Included files
/// and lists of names are relative to the file that names them, certificates to the data folder.
fn named_in(folder: &Path, file: &Path, fields: Fields, depth: u32, names: &mut Vec<PathBuf>) {
    let text = encoding::decode(&fs::read(folder.join(file)).unwrap_or_default());
    if depth > MAX_DEPTH {
        return;
    }
    let beside = file.parent().unwrap_or(Path::new(""));
    let relative = |name: &str| beside.join(encoding::path(name));
    for line in text.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["include" | "include_if_exists", included] => {
                named_in(folder, &relative(included), fields, depth + 1, names);
                names.push(relative(included));
            }
            ["include_dir", included] => {
                for name in files::names(&folder.join(relative(included))) {
                    let included = relative(included).join(name);
                    named_in(folder, &included, fields, depth + 1, names);
                    names.push(included);
                }
            }
            _ => {
                for word in words {
                    match word.strip_prefix('@') {
                        Some(list) => {
                            named_in(folder, &relative(list), Fields::List, depth + 1, names);
                            names.push(relative(list));
                        }
                        None if fields == Fields::Names => names.push(encoding::path(word)),
                        None => {}
                    }
                }
            }
        }
    }
}

/// Splits a line as the server does: at white space and commas outside of double quotes, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            ' ' | '\t' | ',' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders have a list of one name; another list has the name of the rules.
    #[test]
    fn files_that_would_overwrite_each_other() {
        let home = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, text).expect("a file");
            path
        };
        let hba = write("a/rules.conf", "local all @people,@same peer\ninclude pg_hba.conf\n");
        let ident = write("b/maps.conf", "m @people x\nm @same y\n");
        let mut configuration = configuration::Configuration::default();
        let collisions = |configuration: &configuration::Configuration| {
            let named = NamedFiles::of(&home.path().join("data"), &[&hba, &ident], configuration);
            let found = named.collisions(&home.path().join("a"), &hba, &ident, configuration);
            found.into_iter().map(|(name, ..)| name.display().to_string()).collect::<Vec<_>>()
        };
        for (name, text) in [("a/people", "x"), ("b/people", "y"), ("a/same", "z"), ("b/same", "z")] {
            write(name, text);
        }
        assert_eq!(collisions(&configuration), ["people"]);
        write("a/pg_hba.conf", "local all root peer\n");
        assert_eq!(collisions(&configuration), ["people", "pg_hba.conf"]);
        write("b/people", "x");
        // A file of the settings is the same file.
        configuration.files.push(configuration::ConvertedFile { name: "same".into(), text: "z".to_owned() });
        assert_eq!(collisions(&configuration), ["pg_hba.conf"]);
    }

    #[test]
    fn what_is_named_beside_the_data_is_carried() {
        let home = tempfile::tempdir().expect("a folder");
        let data = home.path();
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write("server.crt", "");
        write("PG_VERSION", "18");
        write("not-named.crt", "");
        // A file of hosts: names from a list, a certificate with a blank in its name, another file of hosts.
        write(
            "pg_hosts.conf",
            "# hosts\n@names.txt a.crt a.key ca.crt\n\"b.test\" \"b c.crt\" tls/b.key # old.key\ninclude more.conf\n",
        );
        write("more.conf", "c.test,d.test c.crt /etc/ssl/c.key\n");
        for name in ["names.txt", "a.crt", "a.key", "ca.crt", "b c.crt", "tls/b.key", "c.crt", "old.key"] {
            write(name, "");
        }
        write("pg_hba.conf", "include_dir rules\nlocal all @people peer\n");
        // Included rules name files beside themselves.
        write("rules/one.conf", "host all @team 10.0.0.0/8 scram-sha-256\ninclude more/two.conf\n");
        write(
            "rules/more/two.conf",
            "local all @/elsewhere/list,@team peer\nlocal all @../outside peer\nlocal all @../../../passwd peer\n",
        );
        write("people", "root\n@others\n");
        for name in ["rules/team", "rules/more/team", "team", "others", "rules/outside"] {
            write(name, "");
        }
        let configuration = configuration::Configuration::default();
        let named = |rules: &Path| {
            let all = NamedFiles::of(data, &[rules], &configuration);
            let names = all.files.iter().filter(|(folder, _)| *folder == rules.parent().expect("a folder"));
            (names.map(|(_, name)| name.display().to_string()).collect::<Vec<_>>(), all.left)
        };
        let (found, left) = named(&data.join("pg_hba.conf"));
        assert_eq!(left, Vec::<String>::new());
        let expected = [
            "a.crt",
            "a.key",
            "b c.crt",
            "c.crt",
            "ca.crt",
            "more.conf",
            "names.txt",
            "others",
            "people",
            "pg_hosts.conf",
            "rules/more/team",
            "rules/more/two.conf",
            "rules/one.conf",
            "rules/outside",
            "rules/team",
            "server.crt",
            "tls/b.key",
        ];
        assert_eq!(found, expected);
        // Rules that are not with the data, as on Debian, and not UTF-8.
        let etc = tempfile::tempdir().expect("a folder");
        let rules = etc.path().join("pg_hba.conf");
        let old = data.join("team");
        let mut text = b"# f\xfcr alle\nlocal all @admins,@".to_vec();
        text.extend_from_slice(old.display().to_string().as_bytes());
        text.extend_from_slice(b" peer\n");
        fs::write(&rules, text).expect("a file");
        fs::write(etc.path().join("admins"), "root\n").expect("a file");
        let (found, left) = named(&rules);
        assert_eq!(found, ["admins"]);
        assert!(matches!(&left[..], [one] if one.contains(&old.display().to_string())), "{left:?}");
    }
}
