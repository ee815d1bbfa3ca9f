//! Running PostgreSQL's programs, and finding them.

use super::error::UpgradeError;
use super::files;
use crate::facts::Programs;
use crate::version::{Major, version_in_banner};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Environment variable that marks the processes of a run, so that a later run finds those that an interrupted one left
/// behind.
pub(super) const MARK: &str = "UPGRADE_PG_CLUSTER_ID";

/// Creates a command for a program in `folder`, with the C locale, the working directory `/`, a connection timeout of
/// 20 s, without standard input, and without libpq's environment variables except `PGPASSFILE`, `PGPASSWORD` and
/// `PGSERVICEFILE`. `id` marks the process.
pub(super) fn command(folder: &Path, program: &str, id: &str) -> Command {
    let mut command = Command::new(folder.join(program));
    for (name, _) in std::env::vars_os() {
        let keep = ["PGPASSFILE", "PGPASSWORD", "PGSERVICEFILE"].iter().any(|kept| name == *kept);
        if name.as_encoded_bytes().starts_with(b"PG") && !keep {
            command.env_remove(name);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("PGCONNECT_TIMEOUT", "20")
        .env(MARK, id)
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

/// Settings of the sessions of this program, which replace those of the configuration, of roles and of databases: no
/// time limits, transactions that may write, and one spelling of times and names on both servers. Each with the first
/// version that knows it, 0 for all from 13 on. GMT needs no data about time zones.
const SESSION: [(&str, u32); 10] = [
    ("statement_timeout=0", 0),
    ("lock_timeout=0", 0),
    ("idle_in_transaction_session_timeout=0", 0),
    ("default_transaction_read_only=off", 0),
    ("DateStyle=ISO", 0),
    ("TimeZone=GMT", 0),
    ("quote_all_identifiers=off", 0),
    ("idle_session_timeout=0", 14),
    ("transaction_timeout=0", 17),
    // A trigger at login could refuse the session.
    ("event_triggers=off", 17),
];

/// Returns the value of `PGOPTIONS` with [`SESSION`] for servers from version `major` on.
fn session(major: u32) -> String {
    let known = SESSION.iter().filter(|(_, from)| major >= *from);
    known.map(|(setting, _)| format!("-c {setting}")).collect::<Vec<_>>().join(" ")
}

/// Creates a command for a program that connects to a server of version `major`, like [`command`], with [`SESSION`]. Its
/// commits do not wait for standbys, which cannot follow the new cluster.
pub(super) fn client(folder: &Path, program: &str, id: &str, major: u32) -> Command {
    let mut command = command(folder, program, id);
    command.env("PGOPTIONS", format!("{} -c synchronous_commit=local", session(major)));
    command
}

/// Creates the command for `pg_upgrade` from version `from` on, like [`client`]. Its servers do not wait for the disk at
/// commits.
pub(super) fn upgrader(folder: &Path, id: &str, from: u32) -> Command {
    let mut command = command(folder, "pg_upgrade", id);
    command.env("PGOPTIONS", session(from));
    command
}

/// Runs a command to its end. Returns its standard output.
///
/// # Errors
/// Returns an [`UpgradeError`] if the command cannot be run or fails, with the last lines of its output.
pub(super) fn output(command: &mut Command) -> Result<String, UpgradeError> {
    let program = name(command);
    let output = command.output().map_err(|source| UpgradeError::Run { program: program.clone(), source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = if words.trim().is_empty() { text.as_str() } else { &words };
    Err(UpgradeError::Program { program, status: output.status.to_string(), words: tail(words, 12) })
}

/// Returns the file name of a command's program.
pub(super) fn name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Returns the last `lines` non-blank lines of a text.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let lines_there: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines_there[lines_there.len().saturating_sub(lines)..].join("\n")
}

/// Returns the folders that may contain the programs of a version, the most likely first: those of distributions, the
/// Nix store, Python packages, and the absolute paths in `PATH`.
fn places(major: Major) -> Vec<PathBuf> {
    let mut places = vec![
        PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
        PathBuf::from(format!("/usr/pgsql-{major}/bin")),
        PathBuf::from(format!("/usr/lib/postgresql{major}/bin")),
        PathBuf::from(format!("/opt/postgresql/{major}/bin")),
    ];
    places.extend(packages(Path::new("/nix/store"), major));
    places.extend(wheels());
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path).filter(|path| path.is_absolute()));
    }
    places
}

/// Returns the program folders of a version's packages in a Nix store: packages with plugins first, then newer minor
/// versions first.
fn packages(store: &Path, major: Major) -> Vec<PathBuf> {
    let mut found: Vec<(bool, Vec<u32>, PathBuf)> = files::names(store)
        .into_iter()
        .filter_map(|name| {
            let package = name.split_once('-')?.1;
            let plugins = package.strip_prefix("postgresql-and-plugins-");
            let version = plugins.or_else(|| package.strip_prefix("postgresql-"))?;
            let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
            let numbers = numbers.filter(|numbers| numbers.first() == Some(&major.number()))?;
            Some((plugins.is_some(), numbers, store.join(&name).join("bin")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// Returns the program folders in Python packages: `<site-packages>/<package>/pginstall/bin`.
fn wheels() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = ["/usr/lib", "/usr/local/lib"].iter().map(PathBuf::from).collect();
    for (variable, below) in [("HOME", ".local/lib"), ("VIRTUAL_ENV", "lib")] {
        roots.extend(std::env::var_os(variable).map(|folder| Path::new(&folder).join(below)));
    }
    let mut found = Vec::new();
    for root in roots {
        for python in files::names(&root).into_iter().filter(|name| name.starts_with("python3")) {
            for packages in ["site-packages", "dist-packages"] {
                let packages = root.join(&python).join(packages);
                found.extend(
                    files::names(&packages).into_iter().map(|name| packages.join(name).join("pginstall/bin")),
                );
            }
        }
    }
    found
}

/// Returns `true` if a path is an executable file.
fn runnable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Returns the version of the programs in a folder: the major version, and the version as text. `None` if `postgres`
/// cannot be run, or prints something else.
fn banner(folder: &Path) -> Option<(u32, String)> {
    let postgres = folder.join("postgres");
    runnable(&postgres)
        .then(|| output(command(folder, "postgres", "").arg("--version")).ok())
        .flatten()
        .and_then(|text| version_in_banner(&text))
}

/// Finds the programs of a version: in the folder `named`, whose version is not compared, or else in the first folder
/// of [`places`] with that version. Programs among `needed` and `also` that are missing are listed. Without a folder,
/// only the searched folders are listed.
pub(super) fn find(major: Major, named: Option<&Path>, needed: &[&str], also: &[&str]) -> Programs {
    let folder = named.map_or_else(
        || {
            places(major)
                .into_iter()
                .find(|folder| banner(folder).is_some_and(|(number, _)| number == major.number()))
        },
        |named| Some(named.to_owned()),
    );
    let searched = || {
        let mut searched =
            vec![format!("/usr/lib/postgresql/{major}/bin"), format!("/usr/pgsql-{major}/bin")];
        searched.extend(["/nix/store", "Python's packages", "PATH"].map(str::to_owned));
        searched
    };
    let Some(folder) = folder else { return Programs { searched: searched(), ..Programs::default() } };
    let missing = needed
        .iter()
        .chain(also)
        .filter(|program| !runnable(&folder.join(program)))
        .map(|program| (*program).to_owned())
        .collect();
    let configured = output(command(&folder, "pg_config", "").args(["--configure"])).ok();
    Programs {
        version: banner(&folder).map(|(_, version)| version),
        missing,
        searched: Vec::new(),
        built_with: configured.filter(|text| !text.trim().is_empty()),
        extensions: extensions(&folder),
        folder: Some(folder),
    }
}

/// Returns the folder of shared files (`--sharedir`). `None` if neither `pg_config` nor `initdb` reports it.
fn share(folder: &Path) -> Option<String> {
    output(command(folder, "pg_config", "").arg("--sharedir")).ok().or_else(|| {
        // initdb prints it on standard error, and creates nothing.
        let shown = command(folder, "initdb", "").args(["--show", "-D", "/nonexistent"]).output().ok()?;
        let text = String::from_utf8_lossy(&shown.stderr).into_owned();
        text.lines().find_map(|line| line.strip_prefix("share_path=")).map(str::to_owned)
    })
}

/// Returns the folder of the server's libraries, which is the one that contains `plpgsql.so`. `None` if it is not
/// found.
pub(super) fn library_folder(folder: &Path) -> Option<PathBuf> {
    let asked =
        output(command(folder, "pg_config", "").arg("--pkglibdir")).ok().map(|text| text.trim().into());
    let above = folder.parent()?;
    let beside = ["lib/postgresql", "lib", "lib64/postgresql", "lib64"].map(|name| above.join(name));
    let mut folders: Vec<PathBuf> = asked.into_iter().chain(beside).collect();
    // Debian: /usr/share/postgresql/17 and /usr/lib/postgresql/17/lib.
    folders.extend(
        share(folder).map(|share| PathBuf::from(share.trim().replace("/share/", "/lib/")).join("lib")),
    );
    folders.into_iter().find(|folder| folder.join("plpgsql.so").exists())
}

/// Returns `true` if a library exists in the server's library folder, or at an absolute path.
pub(super) fn has_library(folder: &Path, library: &str) -> bool {
    let plain = library.strip_prefix("$libdir/").unwrap_or(library);
    let plain = plain.strip_suffix(".so").unwrap_or(plain);
    let path = folder.join(plain);
    [path.clone(), files::beside(&path, ".so")].iter().any(|path| path.is_file())
}

/// Returns the names of the extensions that can be installed. `None` if none are found.
fn extensions(folder: &Path) -> Option<Vec<String>> {
    let share = share(folder)?;
    let names = files::names(&Path::new(share.trim()).join("extension"));
    let controls: Vec<String> =
        names.iter().filter_map(|name| name.strip_suffix(".control")).map(str::to_owned).collect();
    (!controls.is_empty()).then_some(controls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_set_what_their_server_knows() {
        assert!(
            !session(13).contains("idle_session_timeout") && session(14).contains("idle_session_timeout=0")
        );
        assert!(!session(16).contains("event_triggers") && session(17).contains("-c event_triggers=off"));
    }

    /// The store of NixOS, with the outputs of its packages side by side.
    #[test]
    fn programs_are_found_among_the_packages_of_nixpkgs() {
        let store = tempfile::tempdir().expect("a folder");
        for name in [
            "1aaa-postgresql-17.5",
            "2bbb-postgresql-17.10",
            "3ccc-postgresql-and-plugins-17.6",
            "4ddd-postgresql-18.1",
            "5eee-postgresql-17.10-lib",
            "6fff-postgresql-17.10-doc",
            "7ggg-postgresql-17.10.drv",
            "8hhh-postgresql-jdbc-42.7.1",
            "postgresql-17.9",
        ] {
            fs::create_dir(store.path().join(name)).expect("a folder");
        }
        let found: Vec<String> = packages(store.path(), Major::try_from(17).expect("a version"))
            .iter()
            .map(|path| path.strip_prefix(store.path()).expect("below it").display().to_string())
            .collect();
        let expected =
            ["3ccc-postgresql-and-plugins-17.6/bin", "2bbb-postgresql-17.10/bin", "1aaa-postgresql-17.5/bin"];
        assert_eq!(found, expected);
        assert!(packages(Path::new("/nowhere/at/all"), Major::try_from(17).expect("a version")).is_empty());
    }
}
