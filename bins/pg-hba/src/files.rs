//! Reading of files for the library, which does not access the file system.

use cli_support::document::Source;
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::{Failure, chain};
use cli_support::words::Words;
use pg_hba::{
    Document, Include, IncludeError, Mappings, ParseError, Policy, PolicyError, PolicySpec, Server, User,
    Version, decode_file, encode_file,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Included files, read from the file system.
pub(crate) struct FileSystem;

impl Include for FileSystem {
    /// Reads a file of any encoding, whose name may have any encoding, too.
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

/// Reads a file of any encoding, decoded by [`decode_file`].
///
/// # Errors
/// Returns a [`Failure`] with the path if it cannot be read.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read(path)
        .map(|bytes| decode_file(&bytes))
        .map_err(|why| Findings::unreadable(&path.display().to_string(), &why).into())
}

/// Reads a pg_hba.conf with the files that it includes, as `server` would. Errors in its lines, also of files that
/// cannot be included, are kept in the document.
///
/// # Errors
/// Returns a [`Failure`] if the file itself cannot be read.
pub(crate) fn document(path: &Path, server: &Server) -> Result<Document, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Document::load(&full.display().to_string(), &text(path)?, server, &mut FileSystem))
}

/// Reads a pg_ident.conf with the files that it includes, as `server` would. Errors in its lines are kept in the
/// result.
///
/// # Errors
/// Returns a [`Failure`] if the file itself cannot be read.
pub(crate) fn mappings(path: &Path, server: &Server) -> Result<Mappings, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Mappings::load(&full.display().to_string(), &text(path)?, server, &mut FileSystem))
}

/// Reads the rules of a pg_hba.conf, with those of the files that it includes.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, or with every line that `server` would refuse.
pub(crate) fn rules(path: &Path, server: &Server) -> Result<Vec<pg_hba::Rule>, Failure> {
    let refused = |why: pg_hba::RejectedFile| {
        Findings::new(why.0.iter().map(|error| refused(path, error)).collect()).into()
    };
    document(path, server)?.rules().map_err(refused)
}

/// Returns the error of a line as a finding (code `refused`), in the form that all programs of the family print. `path`
/// is the file if the error names none.
pub(crate) fn refused(path: &Path, why: &ParseError) -> Finding {
    let file = why.file.clone().unwrap_or_else(|| path.display().to_string());
    let place = Place { file, line: why.line as usize, column: why.column as usize, key: String::new() };
    let fix = why.fix().unwrap_or_default();
    let end = if fix.is_empty() { String::new() } else { format!("; {fix}") };
    Finding::error("refused", place, format!("{}{end}", why.reason)).fix(fix)
}

/// Hints for mistakes in a policy: keys and values of other programs, and examples.
const WORDS: Words = Words {
    foreign: &[
        ("auth_method", "write local, tailnet and tls, or whole rules in before = [\"host …\"]"),
        ("method", "write local, tailnet and tls, or whole rules in before = [\"host …\"]"),
        ("rules", "write before = [\"host all all …\"] or after"),
        ("databases", "write [[services]] with database and role"),
        ("users", "write [[services]] with database and role, and privileged = [\"…\"]"),
        ("admin", "write privileged = [\"…\"], or superuser"),
    ],
    values: &[
        ("scram-sha-256", "`scram`"),
        ("scram-sha256", "`scram`"),
        ("md5", "`scram`, since md5 leaves PostgreSQL"),
        ("password", "`scram`"),
        ("reject", "`off`, for the tailnet"),
        ("require", "`required`"),
    ],
    examples: &[("database", "database = \"forgejo\""), ("role", "role = \"forgejo\"")],
    secrets: &[],
};

/// Reads a policy in TOML. Its rules are parsed by the grammar of `version`.
///
/// # Errors
/// Returns a [`Failure`] with all errors of keys and values, and of their meaning.
pub(crate) fn policy(path: &Path, version: Version) -> Result<Policy, Failure> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| Findings::unreadable(&file, &why))?;
    let policy = Source::parse(&file, &text, WORDS)?.interpret(&[], |source, spec: PolicySpec| {
        let policy = spec.to_policy_or_all(&Server::new(version));
        policy.map_err(|errors| Findings::new(errors.iter().map(|error| fault(source, error)).collect()))
    })?;
    Ok(policy)
}

/// Returns the superuser of a policy, whose rule is the first one. `None` if that names no role.
pub(crate) fn superuser(policy: &Policy) -> Option<String> {
    match policy.compile().first()?.users.first()? {
        User::Name(name) => Some(name.clone()),
        _ => None,
    }
}

/// Returns an error of a policy as a finding, at the value in the file that has the error, or else at the key or the
/// file as a whole.
fn fault(source: &Source<'_>, error: &PolicyError) -> Finding {
    let below = |field: &str, text: &str| source.path_of_text(field, text).unwrap_or(field.to_owned());
    match error {
        PolicyError::EmptyName { field } => {
            source.fault_at(&below(field, ""), "empty: write the name of a role or database")
        }
        PolicyError::HostBits { field, value, net } => {
            source.fault_at(&below(field, value), format!("has bits set beyond its prefix: write {net}"))
        }
        PolicyError::Network { field, value } => {
            source.fault_at(&below(field, value), "not a valid CIDR range: write one such as 100.64.0.0/10")
        }
        PolicyError::Rule { field, position, source: why } => {
            let said = why.to_string().trim().replace('\n', "; ");
            source.fault_at(&format!("{field}[{}]", position - 1), format!("refused by PostgreSQL: {said}"))
        }
        other => source.fault_at("", chain(other)),
    }
}

#[cfg(test)]
mod reference_tests {
    use super::*;
    use cli_support::reference::{defaults, keys, known_keys};
    use pg_hba::{Attempt, EmptyEnvironment, Replication};

    const TEXT: &str = include_str!("../POLICY.md");
    /// The heading of the table of decisions.
    const WHO: &str = "## Who may log in";

    fn read(text: &str) -> Result<Policy, String> {
        let source = Source::parse("", text, WORDS).map_err(|why| why.to_string())?;
        let spec: PolicySpec = source.deserialize().map_err(|why| why.to_string())?;
        spec.to_policy(&Server::new(Version::V18)).map_err(|why| why.to_string())
    }

    #[test]
    fn the_reference_has_the_keys_that_are_read_and_no_others() {
        for (heading, before) in
            [("Top level", ""), ("[[services]]", "[[services]]\n"), ("[[replication]]", "[[replication]]\n")]
        {
            assert_eq!(keys(TEXT, heading), known_keys::<PolicySpec>(before), "{heading}");
        }
        assert_eq!(TEXT.lines().filter(|line| line.starts_with("## ")).count(), 4);
    }

    #[test]
    fn the_documented_defaults_are_those_of_a_policy() {
        let top = defaults(TEXT, "Top level", ("", &[]), read);
        assert_eq!(top.faults, Vec::<String>::new());
        assert_eq!(top.same.len(), keys(TEXT, "Top level").len(), "each of them is compared: {:?}", top.same);
        assert_eq!(read(""), Ok(Policy::new()));
        for (heading, required) in [
            ("[[services]]", &["database = 'a'", "role = 'a'"][..]),
            ("[[replication]]", &["role = 'a'"][..]),
        ] {
            let found = defaults(TEXT, heading, (&format!("{heading}\n"), required), read);
            assert_eq!((found.faults, found.required.len()), (Vec::new(), required.len()), "{heading}");
        }
    }

    /// The meaning of `strict` names each key that it sets, and its value.
    #[test]
    fn strict_is_what_its_meaning_says() {
        let row = TEXT.lines().find(|line| line.starts_with("| `strict`")).expect("a row");
        let words: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        let lines: String =
            words.chunks_exact(2).map(|pair| format!("{} = \"{}\"\n", pair[0], pair[1])).collect();
        assert_eq!(read(&lines), read("strict = true"), "{lines}");
        assert_eq!(read(&lines), Ok(Policy::strict()));
    }

    /// The table of the reference, from the decisions of the policies themselves.
    #[test]
    fn the_table_of_decisions_is_that_of_the_policies() {
        let tailnet = "100.64.1.2".parse().expect("an address");
        let (loopback, elsewhere) =
            ("127.0.0.1".parse().expect("an address"), "203.0.113.9".parse().expect("an address"));
        let replicating = |attempt: Attempt| attempt.replicating(Replication::Physical);
        let rows = [
            ("the superuser over the socket, replication too", Attempt::local("forgejo", "postgres")),
            ("a service's role, to its database, over the socket", Attempt::local("forgejo", "forgejo")),
            ("the same over loopback TCP", Attempt::tcp("forgejo", "forgejo", loopback)),
            ("a privileged role as that of a service, over the socket", Attempt::local("forgejo", "backup")),
            (
                "a privileged role as that of a service, over loopback TCP",
                Attempt::tcp("forgejo", "backup", loopback),
            ),
            ("anybody else over the socket", Attempt::local("forgejo", "other")),
            ("anybody else over loopback TCP", Attempt::tcp("forgejo", "other", loopback)),
            ("from the tailnet, with TLS", Attempt::tls("forgejo", "other", tailnet)),
            ("from the tailnet, without TLS", Attempt::tcp("forgejo", "other", tailnet)),
            ("from the tailnet, as a privileged role", Attempt::tls("forgejo", "backup", tailnet)),
            ("from the tailnet, as the superuser", Attempt::tls("forgejo", "postgres", tailnet)),
            ("from elsewhere, with TLS", Attempt::tls("forgejo", "other", elsewhere)),
            ("from elsewhere, without TLS", Attempt::tcp("forgejo", "other", elsewhere)),
            ("replication by others", replicating(Attempt::tls("", "other", tailnet))),
        ];
        let of = |policy: Policy| {
            policy.service("forgejo", "forgejo").service("forgejo", "backup").privileged("backup")
        };
        let (plain, strict) = (of(Policy::new()), of(Policy::strict()));
        let mut table = String::from("| connection | default | strict |\n|-|-|-|\n");
        for (name, attempt) in &rows {
            let by = |policy: &Policy| policy.decide(attempt, &EmptyEnvironment).method;
            table.push_str(&format!("| {name} | `{}` | `{}` |\n", by(&plain), by(&strict)));
        }
        let replicates = replicating(Attempt::local("", "postgres"));
        assert_eq!(plain.decide(&replicates, &EmptyEnvironment), plain.decide(&rows[0].1, &EmptyEnvironment));
        let written = TEXT.split_once(WHO).expect("the heading").1;
        assert!(written.ends_with(&format!("\n\n{table}")), "expected:\n{table}\nfound:{written}");
    }
}
