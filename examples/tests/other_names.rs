//! The table of other names in MIGRATING.md has exactly those that the sources accept, and each of them works: a program
//! answers as it does to the documented name, and says of a deprecated one what to write.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A row of the table, or another name that a source accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OtherName {
    program: String,
    kind: String,
    other: String,
    name: String,
}

impl OtherName {
    fn new(program: &str, kind: &str, other: &str, name: &str) -> Self {
        let [program, kind, other, name] = [program, kind, other, name].map(str::to_owned);
        Self { program, kind, other, name }
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table, with their last column.
fn table() -> Vec<(OtherName, String)> {
    let text = fs::read_to_string(top().join("MIGRATING.md")).expect("the page");
    let (_, section) = text.split_once("\n## Other names\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|line| {
        let cells: Vec<&str> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [program, kind, other, name, why] = cells[..] else { panic!("five columns: {line}") };
        (OtherName::new(program, kind, other, name), why.to_owned())
    })
    .collect()
}

/// Folders of the sources, with the programs that read their names.
const SOURCES: &[(&str, &str)] = &[
    ("bins/acme-dns01", "acme-dns01"),
    ("bins/edge-proxyd", "edge-proxyd"),
    ("bins/pg-ensure", "pg-ensure"),
    ("bins/pg-hba", "pg-hba"),
    ("bins/smtp-config", "smtp-config"),
    ("bins/upgrade-pg-cluster", "upgrade-pg-cluster"),
    ("bins/xtask", "xtask"),
    ("acme-dns01", "acme-dns01"),
    ("edge-proxy", "edge-proxy"),
    ("edge-proxy/http", "edge-proxy"),
    ("edge-proxy/policy", "edge-proxy"),
    ("pg-ensure", "pg-ensure"),
    ("pg-ensure/upgrade", "upgrade-pg-cluster"),
    ("pg-hba", "pg-hba"),
    ("smtp-config", "smtp-config"),
];

/// All Rust files below a folder.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The other names in the text of a source.
fn names_in(program: &str, text: &str) -> BTreeSet<OtherName> {
    let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
    let mut found = BTreeSet::new();
    let lines: Vec<&str> = text.lines().collect();
    // The field after an attribute.
    let field = |at: usize| {
        let line =
            lines[at..].iter().map(|line| line.trim_start()).find(|line| !line.starts_with(['#', '/']));
        let line = line.unwrap_or_default().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        line.split(':').next().unwrap_or_default().to_owned()
    };
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[serde(") && line.contains("alias = ") {
            for part in line.split("alias = ").skip(1) {
                found.insert(OtherName::new(program, "key", &quoted(part), &field(at)));
            }
        }
        if line.starts_with("#[arg(") && line.contains("alias = ") {
            for part in line.split("alias = ").skip(1) {
                let name = format!("--{}", field(at).replace('_', "-"));
                found.insert(OtherName::new(program, "option", &format!("--{}", quoted(part)), &name));
            }
        }
        if line.starts_with("/// Deprecated: use the command ") {
            let command = line.rsplit(' ').next().unwrap_or_default().trim_end_matches('.');
            found.insert(OtherName::new(program, "option", &format!("--{}", field(at)), command));
        }
        if line.contains("const ") && line.contains(": [&str; ") && line.contains("\"/etc/") {
            let mut paths = line.split('"').skip(1).step_by(2);
            let first = paths.next().unwrap_or_default();
            found.extend(paths.map(|path| OtherName::new(program, "file", path, first)));
        }
        if line.contains("deprecated without a command: use ") {
            found.insert(OtherName::new(program, "command", "–", "run"));
        }
        if let Some((other, name)) = quoted(line).split_once(" is deprecated: use ") {
            let other = other.rsplit(' ').next().unwrap_or_default();
            found.insert(OtherName::new(program, "command", other, name));
        }
    }
    found
}

#[test]
fn the_table_has_every_other_name_that_the_sources_accept() {
    let mut accepted = BTreeSet::new();
    for (folder, program) in SOURCES {
        let folder = top().join(folder);
        let mut all = Vec::new();
        files(&folder.join("src"), &mut all);
        assert!(!all.is_empty(), "{}", folder.display());
        for file in all {
            accepted.extend(names_in(program, &fs::read_to_string(&file).expect("a source")));
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        for line in manifest.lines() {
            if let Some((feature, _)) = line.trim_start_matches("## `").split_once("`: without effect") {
                accepted.insert(OtherName::new(program, "feature", feature, "–"));
            }
        }
    }
    let listed: BTreeSet<OtherName> = table().into_iter().map(|(row, _)| row).collect();
    let missing: Vec<_> = accepted.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&accepted).collect();
    assert!(missing.is_empty(), "not in MIGRATING.md: {missing:#?}");
    assert!(gone.is_empty(), "in MIGRATING.md, but no source accepts it: {gone:#?}");
}

#[test]
fn other_names_are_found_in_sources() {
    let source = "/// X.\n#[serde(default, alias = \"aB\")]\n#[schemars(with = \"C\")]\npub a_b: u8,\n\
                  #[arg(long, visible_alias = \"dry-run\")]\ndry: bool,\n";
    let found: Vec<OtherName> = names_in("p", source).into_iter().collect();
    let wanted =
        [OtherName::new("p", "key", "aB", "a_b"), OtherName::new("p", "option", "--dry-run", "--dry")];
    assert_eq!(found, wanted);
}

/// The answer of a program: standard output, standard error, and exit code.
type Answer = (String, String, Option<i32>);

/// Runs a program of the workspace that was built beside the examples.
fn run(program: &str, arguments: &[&str]) -> Answer {
    let beside = Path::new(env!("CARGO_BIN_EXE_edge_embed")).with_file_name(program);
    assert!(
        beside.exists(),
        "{} is missing: cargo build --workspace --bins --all-features",
        beside.display()
    );
    let output = Command::new(&beside)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("SECRET", "a secret of a test")
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// Checks that a file with another name for a key is read as that with the documented name, and that an unknown name is not.
fn keys(program: &str, file: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.toml");
    let shown = path.display().to_string();
    let secret = folder.path().join("secret");
    fs::write(&secret, "a secret of a test\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let answer = |text: &str| {
        fs::write(&path, text.replace("FOLDER", &folder.path().display().to_string())).expect("a file");
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "FILE" { &shown } else { *word }).collect();
        run(program, &arguments)
    };
    let documented = answer(file);
    assert_ne!(documented.2, Some(2), "{program}: {documented:?}");
    let rows: Vec<OtherName> = table().into_iter().map(|(row, _)| row).collect();
    let rows: Vec<&OtherName> =
        rows.iter().filter(|row| row.program == program && row.kind == "key").collect();
    assert!(!rows.is_empty(), "{program}");
    for row in rows {
        let line = format!("\n{} = ", row.name);
        assert_eq!(file.matches(&line).count(), 1, "{program}: {} is in the file once", row.name);
        let other = answer(&file.replace(&line, &format!("\n{} = ", row.other)));
        assert_eq!(other, documented, "{program}: {} is read as {}", row.other, row.name);
        let unknown = answer(&file.replace(&line, &format!("\nx{} = ", row.other)));
        assert_eq!(unknown.2, Some(2), "{program}: x{}: {unknown:?}", row.other);
    }
}

#[test]
fn keys_of_certificates_have_the_names_of_nixos() {
    let file = "folder = \"FOLDER/state\"\nagree_terms = true\nparallel = 2\nemail = \"a@example.org\"\n\
                [dns]\nresolvers = \"192.0.2.53\"\n\
                [authority.own]\ndirectory = \"https://192.0.2.1/directory\"\n\
                [provider.own]\nkind = \"cloudflare\"\ntoken = \"env:SECRET\"\n\
                [[certificate]]\nnames = \"a.example.org\"\nextra_domain_names = [\"b.example.org\"]\n\
                key_type = \"rsa2048\"\nauthority = \"own\"\nprovider = \"own\"\nreload_services = [\"nginx.service\"]\n\
                post_run = \"true\"\nvalid_min_days = 20\n";
    keys("acme-dns01", file, &["--config", "FILE", "list", "--json"]);
}

#[test]
fn keys_of_roles_have_the_names_of_nixos() {
    let file = "[[ensure]]\nname = \"forgejo\"\npassword_file = \"FOLDER/secret\"\nconnection_limit = 5\n\
                reassign_owned = true\n";
    keys(
        "pg-ensure",
        file,
        &["plan", "FILE", "--connect", "host=/nonexistent user=postgres", "--timeout", "1"],
    );
}

#[test]
fn options_have_the_names_of_the_other_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let policy = write("hba.toml", "strict = true\n");
    let mailer = write("mailer.toml", "from = \"a@example.org\"\nhost = \"mail.example.org\"\nport = 465\n");
    let state = folder.path().join("state");
    let acme = write(
        "acme.toml",
        &format!("folder = {:?}\nemail = \"a@example.org\"\n", state.display().to_string()),
    );
    // The name that is replaced, and the program's arguments, with it.
    let cases: &[(&str, &str, &[&str])] = &[
        ("pg-hba", "--policy", &["render", "--policy", &policy]),
        ("smtp-config", "--settings", &["render", "--settings", &mailer]),
        ("acme-dns01", "--dry", &["--config", &acme, "check", "--dry"]),
    ];
    let rows: Vec<OtherName> =
        table().into_iter().filter(|(_, why)| !why.contains("deprecated")).map(|(row, _)| row).collect();
    let rows: Vec<&OtherName> = rows.iter().filter(|row| row.kind == "option").collect();
    assert_eq!(rows.len(), cases.len(), "each option of the table is tried");
    for row in rows {
        let case = cases.iter().find(|(program, name, _)| *program == row.program && *name == row.name);
        let (program, name, arguments) = case.unwrap_or_else(|| panic!("{row:?}"));
        let with = |word: &str| {
            let arguments: Vec<&str> =
                arguments.iter().map(|other| if other == name { word } else { *other }).collect();
            run(program, &arguments)
        };
        let documented = with(name);
        assert_ne!(documented.2, Some(2), "{program} {name}: {documented:?}");
        assert_eq!(with(&row.other), documented, "{program}: {} is {name}", row.other);
        assert_eq!(with("--no-such-option").2, Some(2), "{program}");
    }
}

#[test]
fn a_deprecated_name_says_what_to_write() {
    let rows: Vec<OtherName> =
        table().into_iter().filter(|(_, why)| why.contains("deprecated")).map(|(row, _)| row).collect();
    let mut tried = 0;
    for row in rows.iter().filter(|row| row.program != "xtask") {
        let mut arguments = vec!["--from", "17", "--to", "18", "--base", "/nonexistent"];
        arguments.extend((row.kind == "option").then_some(row.other.as_str()));
        let (_, said, code) = run(&row.program, &arguments);
        let note = format!("{0}: deprecated without a command: use `{0} {1}`\n", row.program, row.name);
        assert!(said.starts_with(&note), "{row:?}: {said}");
        // The note is all that differs from the documented command.
        let (_, plain, same) = run(&row.program, &[&arguments[..6], &[row.name.as_str()]].concat());
        assert_eq!((said.trim_start_matches(&note), code), (plain.as_str(), same), "{row:?}");
        tried += 1;
    }
    assert_eq!(tried, 2, "{rows:?}");
}
