//! PostgreSQL's and other programs where another account may read them, such as that which runs the server.
//!
//! The tools folder may lie where other accounts cannot enter, such as root's home. Then the programs are copied into a
//! folder below `/tmp`, once for each installation. No capability is used for it: containers often lack them.

use super::tools;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the folder of the programs of a version (`15`, `17`, `18`, `19`, `17-icu`, `18-icu`), which the account that
/// runs servers can read: the installed folder, or a copy of it.
///
/// # Panics
/// Panics if the programs are not installed, or cannot be copied.
#[must_use]
pub fn programs(version: &str) -> PathBuf {
    let home = tools().join(format!("postgresql-{version}"));
    assert!(
        home.join("bin/postgres").exists(),
        "PostgreSQL {version} is not there: run `cargo xtask tools` first"
    );
    let home = home.canonicalize().expect("it exists");
    let bin = home.join("bin").canonicalize().expect("it exists");
    if open_to_all(&bin) {
        return bin;
    }
    let to = copy_once(&home, &bin.join("postgres"), |from, partial, to| {
        copy_tree(from, partial);
        relocate(from, partial, to);
    });
    to.join("bin").canonicalize().expect("it was copied")
}

/// Returns the path of a program that the account which runs servers can execute: the given path with symbolic links
/// resolved, or that of a copy.
///
/// # Panics
/// Panics if the program does not exist or cannot be copied.
#[must_use]
pub fn readable(program: &Path) -> PathBuf {
    let program = program.canonicalize().expect("the program exists");
    if open_to_all(&program) {
        return program;
    }
    let name = program.file_name().expect("a program has a name");
    copy_once(&program, &program, |from, partial, _| {
        fs::create_dir(partial).expect("a folder");
        fs::copy(from, partial.join(name)).expect("a copy");
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(partial));
    })
    .join(name)
}

/// Returns the path of an installed folder of programs that every account can run: the given path with symbolic links
/// resolved, or that of a copy. `program` is the path of one of them in the folder.
///
/// # Panics
/// Panics if the program does not exist, or the folder cannot be copied.
#[must_use]
pub fn readable_folder(folder: &Path, program: &str) -> PathBuf {
    let folder = folder.canonicalize().expect("the folder exists");
    if open_to_all(&folder) {
        return folder;
    }
    copy_once(&folder, &folder.join(program), |from, partial, _| copy_tree(from, partial))
}

/// Copies a folder with everything in it, so that every account can read it.
fn copy_tree(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from.join(".")).arg(to));
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(to));
}

/// Returns the data folder of a cluster that `create` made once for the programs in this folder, to be copied. Its
/// argument is the path to write to.
///
/// # Panics
/// Panics if there are no programs in the folder, or the cluster cannot be created.
pub(super) fn cluster_template(programs: &Path, create: impl FnOnce(&Path)) -> PathBuf {
    copy_once(&programs.join("initdb"), &programs.join("postgres"), |_, partial, _| {
        create(partial);
    })
}

/// Returns a command that runs a program as [`account`], without other groups and capabilities and in `/`, since
/// PostgreSQL's programs refuse to run as root. If this process is not root, the program runs as it is.
#[must_use]
pub fn as_account(program: &Path) -> Command {
    let Some(account) = account() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", account, "--regid", "nogroup", "--clear-groups", "--inh-caps=-all"]);
    command.arg(program).current_dir("/");
    command
}

/// Returns the account that runs servers: `postgres` if it exists, or else `nobody`. `None` if this process is not
/// root, so that servers run as its own account.
#[must_use]
pub fn account() -> Option<&'static str> {
    if fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(if passwd.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" })
}

/// Returns `true` if every account can enter the folders above a path and execute or enter the path itself, or if this
/// process is not root, so that servers run as its own account.
fn open_to_all(path: &Path) -> bool {
    account().is_none()
        || path.ancestors().all(|part| fs::metadata(part).is_ok_and(|about| about.mode() & 0o001 != 0))
}

/// Returns the folder of copies below `/tmp`, which only this account can write to. It is created if it does not exist.
///
/// # Panics
/// Panics if the folder belongs to another account, or others can write to it.
fn copies() -> PathBuf {
    let uid = fs::metadata("/proc/self").expect("Linux").uid();
    let folder = PathBuf::from(format!("/tmp/testkit-programs-{uid}"));
    let _ = fs::DirBuilder::new().mode(0o755).create(&folder);
    let about = fs::symlink_metadata(&folder).expect("a folder below /tmp");
    assert!(
        about.is_dir() && about.uid() == uid && about.mode() & 0o022 == 0,
        "{} is not a folder of this account alone: remove it",
        folder.display()
    );
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("permissions");
    folder
}

/// Returns the path of the copy of `from` below [`copies`]. The first process that needs it makes it, by `copy`, under
/// a lock; the arguments of `copy` are `from`, the path to write to, and the path to which that is renamed afterwards.
/// If size or time of the file `stamp` change, another copy is made.
///
/// # Panics
/// Panics if `stamp` does not exist, or the copy cannot be made.
fn copy_once(from: &Path, stamp: &Path, copy: impl FnOnce(&Path, &Path, &Path)) -> PathBuf {
    let folder = copies();
    let about = fs::metadata(stamp).expect("it exists");
    let mut hasher = DefaultHasher::new();
    (from, about.mtime(), about.mtime_nsec(), about.len()).hash(&mut hasher);
    let name = from.file_name().expect("it has a name").to_string_lossy().into_owned();
    let to = folder.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if !to.exists() {
        let partial = folder.join(format!("{name}.partial"));
        let _ = fs::remove_dir_all(&partial);
        copy(from, &partial, &to);
        fs::rename(&partial, &to).expect("a rename");
    }
    to
}

/// Rewrites the paths of the interpreter and the libraries in the copied programs below `partial`, for programs whose
/// interpreter is below `from`: `from` becomes `to`, the path that the copy has at the end.
///
/// # Panics
/// Panics if a program cannot be rewritten by `patchelf`.
fn relocate(from: &Path, partial: &Path, to: &Path) {
    let (old, new) = (from.display().to_string(), to.display().to_string());
    for entry in fs::read_dir(partial.join("bin")).expect("a folder of programs") {
        let program = entry.expect("an entry").path();
        let print = |what: &str| {
            let output = Command::new("patchelf").arg(what).arg(&program).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let Some(interpreter) = print("--print-interpreter").filter(|path| path.starts_with(&old)) else {
            continue;
        };
        let rpath = print("--print-rpath").unwrap_or_default();
        let mut patch = Command::new("patchelf");
        patch.args(["--set-interpreter", &interpreter.replace(&old, &new)]);
        patch.args(["--force-rpath", "--set-rpath", &rpath.replace(&old, &new)]);
        run(patch.arg(&program));
    }
}

/// Runs a command without input.
///
/// # Panics
/// Panics if it cannot be run or fails.
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
