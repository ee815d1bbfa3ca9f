//! Common traits of the six programs, checked with the debug build: help, man pages, default files, exit codes, and
//! verbosity.

use crate::process::target;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Names of the programs.
pub(crate) const PROGRAMS: &[&str] =
    &["acme-dns01", "edge-proxyd", "pg-ensure", "pg-hba", "smtp-config", "upgrade-pg-cluster"];

/// Sections of each man page.
const SECTIONS: &[&str] = &[
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "SUBCOMMANDS",
    "EXAMPLES",
    "FILES",
    "SIGNALS",
    "EXIT STATUS",
];

/// A command of each program that reads its default file.
const READS: &[(&str, &[&str])] = &[
    ("acme-dns01", &["simulate"]),
    ("edge-proxyd", &["check", "--no-files"]),
    ("pg-ensure", &["check", "--offline"]),
    ("pg-hba", &["render"]),
    ("smtp-config", &["render"]),
];

/// Files of the commands below, in their folder.
const FILES: &[(&str, &str)] = &[
    (
        "good.edge",
        "[[listen]]\naddress = \"127.0.0.1:8080\"\n\n[[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\n\
         upstream = \"http://127.0.0.1:3000\"\n",
    ),
    ("empty.edge", "[[listen]]\naddress = \"127.0.0.1:8080\"\n"),
    (
        "acme.toml",
        "folder = \"FOLDER/acme\"\nagree_terms = true\n\n[authority.gone]\ndirectory = \"https://127.0.0.1:1/directory\"\n\n\
         [dns]\nresolvers = [\"127.0.0.1:1\"]\n\n[provider.own]\nkind = \"cloudflare\"\nbase = \"http://127.0.0.1:1\"\n\
         token = \"file:FOLDER/secret\"\n\n[[certificate]]\nnames = [\"a.test\"]\nauthority = \"gone\"\n",
    ),
    ("group.toml", "folder = \"FOLDER/acme\"\ngroup = \"no-such-group\"\n"),
    ("secret", "correct horse\n"),
    ("manifest.toml", "[[ensure]]\nname = \"a\"\n"),
    ("policy.toml", ""),
    ("good.conf", "local all postgres peer\nlocal all all scram-sha-256\n"),
    ("md5.conf", "local all postgres peer\nlocal all all md5\n"),
    ("app.ini", "[mailer]\nENABLED = true\nPROTOCOL = carrier-pigeon\nFROM = a@b\n"),
];

/// Commands that need no server, with their exit codes: 0 done, 1 failed, 2 unusable, 3 differences. Code 3 of
/// pg-ensure needs a server; tests of the program cover it.
const EXITS: &[(&str, i32, &[&str])] = &[
    ("acme-dns01", 0, &["--config", "acme.toml", "simulate"]),
    ("acme-dns01", 1, &["--config", "acme.toml", "adopt", "nowhere"]),
    ("acme-dns01", 2, &["--config", "nowhere.toml", "list"]),
    ("acme-dns01", 2, &["--config", "acme.toml", "check", "--dry"]),
    ("acme-dns01", 3, &["--config", "group.toml", "check", "--dry"]),
    ("acme-dns01", 0, &["--config", "group.toml", "check", "--dry", "--errors-only"]),
    ("edge-proxyd", 0, &["check", "--no-files", "--config", "good.edge"]),
    ("edge-proxyd", 0, &["--json", "check", "--no-files", "--config", "good.edge"]),
    ("edge-proxyd", 1, &["reload", "--control", "nowhere.sock"]),
    ("edge-proxyd", 2, &["check", "--config", "nowhere.edge"]),
    ("edge-proxyd", 3, &["check", "--no-files", "--config", "empty.edge"]),
    ("pg-ensure", 0, &["check", "manifest.toml", "--offline"]),
    ("pg-ensure", 1, &["plan", "manifest.toml", "--connect", "host=FOLDER user=a", "--timeout", "0"]),
    ("pg-ensure", 2, &["check", "nowhere.toml", "--offline"]),
    ("pg-hba", 0, &["check", "good.conf"]),
    ("pg-hba", 1, &["install", "--policy", "policy.toml", "--connect", "host=FOLDER user=a"]),
    ("pg-hba", 2, &["check", "nowhere.conf"]),
    ("pg-hba", 3, &["check", "md5.conf"]),
    ("smtp-config", 0, &["render", "--from", "a@b"]),
    (
        "smtp-config",
        1,
        &[
            "send-test",
            "--from",
            "a@b.test",
            "--host",
            "127.0.0.1",
            "--port",
            "1",
            "--protocol",
            "smtp",
            "--to",
            "b@b.test",
        ],
    ),
    ("smtp-config", 2, &["render"]),
    ("smtp-config", 3, &["check", "app.ini"]),
    ("upgrade-pg-cluster", 0, &["status", "--from", "17", "--to", "18", "--base", "FOLDER/clusters"]),
    ("upgrade-pg-cluster", 1, &["report", "--from", "17", "--to", "18", "--base", "FOLDER/clusters"]),
    ("upgrade-pg-cluster", 2, &["plan"]),
    ("upgrade-pg-cluster", 3, &["plan", "--from", "17", "--to", "18", "--base", "FOLDER/clusters"]),
];

/// Returns the traits that the programs lack. `references` is the page of the book with the files that are read by
/// default.
///
/// # Errors
/// Returns an error if a program does not exist.
pub(crate) fn faults(references: &str) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for program in PROGRAMS {
        faults.extend(described(program)?);
        faults.extend(loudness(program)?);
    }
    faults.extend(defaults(references)?);
    faults.extend(exits()?);
    Ok(faults)
}

/// Returns the path of a program of the debug build.
fn path(program: &str) -> PathBuf {
    target().join("debug").join(program)
}

/// Runs a program with additional environment variables.
///
/// # Errors
/// Returns an error if it does not exist.
fn run(program: &str, args: &[&str], variables: &[(&str, &str)]) -> Result<Output, String> {
    let mut command = Command::new(path(program));
    // The environment of this process may determine colours.
    command.args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variables.iter().copied());
    command.output().map_err(|why| format!("{program}: {why}: build the programs first"))
}

/// Returns standard output and standard error as text.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Returns the parts that help and man page lack.
///
/// # Errors
/// Returns a description if the program cannot be run.
fn described(program: &str) -> Result<Vec<String>, String> {
    let help = said(&run(program, &["--help"], &[])?).split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = [
        "Exit codes: 0 done, 1 failed, 2 unusable input or usage, 3",
        " completions ",
        " man ",
        "--quiet",
        "--verbose",
    ];
    let lacks = wanted.iter().filter(|part| !help.contains(**part));
    let mut faults: Vec<String> =
        lacks.map(|part| format!("{program} --help does not have {part:?}")).collect();
    let page = said(&run(program, &["man"], &[])?);
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let titles: Vec<&str> = titles.iter().map(|title| title.trim_matches('"')).collect();
    let lacks = SECTIONS.iter().filter(|section| !titles.contains(*section));
    faults.extend(lacks.map(|section| format!("{program} man does not have {section}: {titles:?}")));
    // The examples are those of this program, and the page of a file format is named.
    let examples =
        page.split(".SH EXAMPLES").nth(1).and_then(|rest| rest.split(".SH").next()).unwrap_or_default();
    if examples.matches(&format!("\\fB{}", program.replace('-', "\\-"))).count() < 2 {
        faults.push(format!("{program} man has fewer than two examples: {examples}"));
    }
    if READS.iter().any(|(reads, _)| *reads == program) && !titles.contains(&"SEE ALSO") {
        faults.push(format!("{program} man names no page about its file"));
    }
    Ok(faults)
}

/// Returns the faults of verbosity and colours: `--quiet`, `-q`, `--verbose` and `-v` must be accepted, both together
/// must exit with 2, and `NO_COLOR` must override `CLICOLOR_FORCE` in the help.
///
/// # Errors
/// Returns a description if the program cannot be run.
fn loudness(program: &str) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for option in ["--quiet", "--verbose", "-q", "-v"] {
        let output = run(program, &[option, "completions", "bash"], &[])?;
        if !output.status.success() {
            faults.push(format!("{program} {option}: {}", said(&output)));
        }
    }
    let both = run(program, &["--quiet", "--verbose", "completions", "bash"], &[])?;
    if both.status.code() != Some(2) {
        faults
            .push(format!("{program} --quiet --verbose: expected exit code 2, not {:?}", both.status.code()));
    }
    let force = ("CLICOLOR_FORCE", "1");
    for (variables, colours) in [(&[force][..], true), (&[force, ("NO_COLOR", "1")], false)] {
        let output = run(program, &["--help"], variables)?;
        if output.stdout.contains(&0x1b) != colours {
            faults.push(format!("{program} --help with {variables:?}: expected colours: {colours}"));
        }
    }
    Ok(faults)
}

/// Returns the differences between programs and page about the files that are read by default.
///
/// # Errors
/// Returns a description if the page lacks a program, or a program cannot be run.
fn defaults(references: &str) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for (program, args) in READS {
        let row = references.lines().find(|line| line.starts_with(&format!("| `{program}` |")));
        let row = row.ok_or(format!("references.md does not have the files of {program}"))?;
        let files: Vec<&str> =
            row.split('`').skip(3).step_by(2).filter(|word| word.starts_with("/etc/")).collect();
        if !files.first().is_some_and(|file| file.starts_with(&format!("/etc/{program}/"))) {
            faults.push(format!(
                "references.md: {program}: the first file is not below /etc/{program}/: {files:?}"
            ));
            continue;
        }
        // An error names the first file that exists, or else the first one.
        for present in std::iter::once(None).chain(files.iter().copied().map(Some)) {
            let output = with_file(program, args, present)?;
            let (wanted, text) = (present.unwrap_or(files[0]), said(&output));
            let place = if present.is_some() { format!("{wanted}:1:1: ") } else { format!("{wanted}: ") };
            // The settings of a mailer can be on the command line instead.
            let place = if *program == "smtp-config" && present.is_none() {
                "--from: missing".to_owned()
            } else {
                place
            };
            if output.status.code() != Some(2) || !text.contains(&place) {
                faults.push(format!("{program} {args:?} with {present:?}: expected {place}: {text}"));
            }
        }
    }
    for program in PROGRAMS {
        if !references.contains(&format!("| `{program}` |")) {
            faults.push(format!("references.md: the table of files does not have {program}"));
        }
    }
    Ok(faults)
}

/// Runs a command while /etc contains nothing but this file, which has an unknown key.
///
/// # Errors
/// Returns a description if `unshare` cannot be run.
fn with_file(program: &str, args: &[&str], file: Option<&str>) -> Result<Output, String> {
    let script = "mount -t tmpfs tmpfs /etc\nif [ -n \"$1\" ]; then mkdir -p \"$(dirname \"$1\")\"; echo zzzzzzzz = 1 > \"$1\"; fi\n\
                  shift\nexec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-euc", script, "sh", file.unwrap_or_default()]);
    let output = command.arg(path(program)).args(args).output();
    output.map_err(|why| format!("unshare: {why}"))
}

/// Returns the commands whose exit code differs from the table.
///
/// # Errors
/// Returns a description if the folder cannot be created, or a program cannot be run.
fn exits() -> Result<Vec<String>, String> {
    let folder = Folder::lay_out()?;
    let mut faults = Vec::new();
    for (program, code, args) in EXITS {
        let args: Vec<String> =
            args.iter().map(|arg| arg.replace("FOLDER", &folder.0.display().to_string())).collect();
        let output = folder.command(program)?.args(&args).current_dir(&folder.0).output();
        let output = output.map_err(|why| format!("{program}: {why}"))?;
        if output.status.code() != Some(*code) {
            faults.push(format!(
                "{program} {args:?}: expected exit code {code}, not {:?}: {}",
                output.status.code(),
                said(&output)
            ));
        }
    }
    for program in PROGRAMS {
        let codes: BTreeSet<i32> =
            EXITS.iter().filter(|(known, ..)| known == program).map(|(_, code, _)| *code).collect();
        if ![0, 1, 2].iter().all(|code| codes.contains(code)) {
            faults.push(format!("{program} is not tried for each exit code: {codes:?}"));
        }
    }
    Ok(faults)
}

/// A folder with the files of the commands. It is deleted when dropped.
struct Folder(PathBuf);

/// User ID of the owner of the clusters if root runs this: the program becomes the owner of their folder, which must
/// not be root.
const OWNER: u32 = 65_534;

impl Folder {
    /// Creates the folder below /tmp, where that account can enter.
    ///
    /// # Errors
    /// Returns a description if a file cannot be written.
    fn lay_out() -> Result<Self, String> {
        let name = format!("xtask-family-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        let wrong = |why: std::io::Error| format!("{}: {why}", folder.0.display());
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
        let _ = std::fs::remove_dir_all(&folder.0);
        std::fs::create_dir_all(folder.0.join("clusters")).map_err(wrong)?;
        set(&folder.0, 0o755).map_err(wrong)?;
        for (name, text) in FILES {
            let path = folder.0.join(name);
            let text = text.replace("FOLDER", &folder.0.display().to_string());
            std::fs::write(&path, text).and_then(|()| set(&path, 0o600)).map_err(wrong)?;
        }
        if crate::process::is_root() {
            std::os::unix::fs::chown(folder.0.join("clusters"), Some(OWNER), Some(OWNER)).map_err(wrong)?;
            std::fs::copy(path("upgrade-pg-cluster"), folder.0.join("upgrade-pg-cluster"))
                .map_err(|why| format!("{}: {why}: build the programs first", folder.0.display()))?;
            set(&folder.0.join("upgrade-pg-cluster"), 0o755).map_err(wrong)?;
        }
        Ok(folder)
    }

    /// Returns a command of a program: the copy in this folder, which every account can read, or else that of the
    /// build.
    ///
    /// # Errors
    /// Returns a description if the current folder cannot be determined.
    fn command(&self, program: &str) -> Result<Command, String> {
        let copy = self.0.join(program);
        Ok(Command::new(if copy.exists() {
            copy
        } else {
            std::path::absolute(path(program)).map_err(|why| why.to_string())?
        }))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
