//! Files in the data directory to which the configuration refers: keys, certificates, included rules, lists of names.

use super::{configuration, files};
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum nesting of included files, as in the server.
const MAX_DEPTH: u32 = 10;

/// Returns the existing files in the data directory to which the configuration and the access rules refer by relative
/// paths, sorted.
pub(super) fn beside_data(data: &Path, configuration: &configuration::Configuration) -> Vec<PathBuf> {
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
                names.push(PathBuf::from(&setting.value));
            }
        }
    }
    // Access rules can refer to files of users and databases, and include other files.
    for rules in ["pg_hba.conf", "pg_ident.conf"] {
        named_in(data, Path::new(rules), Fields::Rules, 0, &mut names);
    }
    names.retain(|name| name.is_relative() && data.join(name).is_file());
    names.sort_unstable();
    names.dedup();
    names
}

/// Syntax of a file's lines.
#[derive(Clone, Copy, PartialEq)]
enum Fields {
    /// Access rules, in which `@` precedes the name of a file.
    Rules,
    /// Lines of `pg_hosts.conf` (from version 19): host names, then files.
    Names,
}

/// Adds the files to which a file of access rules or host names refers, and those of included files.
fn named_in(data: &Path, file: &Path, fields: Fields, depth: u32, names: &mut Vec<PathBuf>) {
    let text = fs::read_to_string(data.join(file)).unwrap_or_default();
    if depth > MAX_DEPTH {
        return;
    }
    for line in text.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["include" | "include_if_exists", included] => {
                named_in(data, Path::new(included), fields, depth + 1, names);
                names.push(included.into());
            }
            ["include_dir", folder] => {
                for name in files::names(&data.join(folder)) {
                    let included = Path::new(folder).join(name);
                    named_in(data, &included, fields, depth + 1, names);
                    names.push(included);
                }
            }
            _ => names.extend(words.iter().filter_map(|word| match word.strip_prefix('@') {
                Some(list) => Some(PathBuf::from(list)),
                None => (fields == Fields::Names).then(|| PathBuf::from(word)),
            })),
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
        write("rules/one.conf", "host all \"@team\" 10.0.0.0/8 scram-sha-256\ninclude rules/two.conf\n");
        for name in ["rules/two.conf", "people", "team"] {
            write(name, "");
        }
        let configuration = configuration::Configuration::default();
        let found: Vec<String> =
            beside_data(data, &configuration).iter().map(|name| name.display().to_string()).collect();
        let expected = [
            "a.crt",
            "a.key",
            "b c.crt",
            "c.crt",
            "ca.crt",
            "more.conf",
            "names.txt",
            "people",
            "pg_hosts.conf",
            "rules/one.conf",
            "rules/two.conf",
            "server.crt",
            "team",
            "tls/b.key",
        ];
        assert_eq!(found, expected);
    }
}
