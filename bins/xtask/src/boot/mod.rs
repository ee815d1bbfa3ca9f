//! `cargo xtask boot`: a Debian machine with the packages, booted by systemd, which undergoes the events of a year of
//! operation.
//!
//! The machine is a container of systemd-nspawn with its own process, network and cgroup namespaces, on a copy of a
//! root folder that `cargo xtask tools` creates. Everything runs as on a real machine: units, sandboxes, credentials,
//! packages.

mod book;
mod every;
mod full;
mod internet;
mod issued;
mod machine;
mod options;
mod others;
mod packages;
mod pages;
mod short;
mod upgrade;

use crate::process::{Outcome, cargo, passed, root, step, target, tools_folder};
use machine::Machine;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Debian release of the machine.
const SUITE: &str = "trixie";
/// Packages that are installed on it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,postgresql,iproute2,curl,procps,polkitd,socat,openssl,\
                        ca-certificates,logrotate,python3-minimal,libpython3-stdlib";

/// A check: its name, and the function that performs it on a machine.
type Step = (&'static str, fn(&mut Machine) -> Outcome);

/// Returns the root folder of which machines are copies.
fn base() -> PathBuf {
    tools_folder().join(format!("debian-{SUITE}"))
}

/// Creates the root folder of Debian, unless it exists with the same packages.
pub(crate) fn install() -> Outcome {
    let stamp = base().join("etc/xtask-packages");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == PACKAGES) {
        println!("xtask: debian-{SUITE}: there");
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(base());
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--mode=root", "--variant=minbase", "--skip=check/empty"]);
    command.arg(format!("--include={PACKAGES}")).arg(SUITE).arg(base());
    step(&format!("debian-{SUITE}: a root to boot"), &mut command)?;
    std::fs::write(&stamp, PACKAGES).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// Form of a run, by the arguments of the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form<'a> {
    /// Whether the long steps run too.
    full: bool,
    /// Whether the pages of the book are followed instead.
    book: bool,
    /// Folder of the Debian packages of an earlier version. In the long form they are used as the earlier version;
    /// otherwise only the change of version is checked.
    previous: Option<&'a Path>,
    /// Whether nothing is installed or built, for work on the steps.
    built: bool,
    /// Text in the names of the steps to be run: of the long form after its first step, or of the pages of the book
    /// after those of the first day. `None` for all steps.
    part: Option<&'a str>,
}

impl<'a> Form<'a> {
    /// Parses the arguments of the command. Returns `None` for arguments that are unknown or exclude each other.
    pub(crate) fn parse(arguments: &[&'a str]) -> Option<Self> {
        let mut form = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--full" => form.full = true,
                "--book" => form.book = true,
                "--built" => form.built = true,
                "--previous" => form.previous = Some(Path::new(*arguments.next()?)),
                part if form.built && form.part.is_none() && !part.starts_with('-') => form.part = Some(part),
                _ => return None,
            }
        }
        let alone = form.part.is_none() || !form.full;
        (alone && !(form.book && form.previous.is_some())).then_some(form)
    }
}

/// Installs the root folder and builds the programs, unless told otherwise, and boots them in this form.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn run(form: Form<'_>) -> Outcome {
    if !form.built {
        install()?;
        step(
            "boot: building the programs",
            cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
        )?;
    }
    match form {
        Form { part: Some(part), book: true, .. } => read_pages(part),
        Form { part: Some(part), previous, .. } => in_part(part, previous),
        Form { book: true, full: false, .. } => read_book(),
        Form { book: true, full: true, .. } => live_whole_book(),
        Form { full: true, previous, .. } => {
            prove()?;
            live_with("boot, in full", MACHINE, &long(), &earlier(previous)?)?;
            live_whole_book()
        }
        Form { previous: Some(folder), .. } => {
            live_with("boot, with an earlier version", MACHINE, packages::PREVIOUS, &earlier(Some(folder))?)
        }
        _ => prove(),
    }
}

/// Boots the programs that are already built, in the short form.
pub(crate) fn prove() -> Outcome {
    live("boot", MACHINE, short::STEPS)
}

/// Returns the steps of the long form.
fn long() -> Vec<Step> {
    [full::STEPS, every::STEPS, issued::STEPS, others::STEPS, packages::STEPS, upgrade::STEPS].concat()
}

/// Runs the first step of the long form, and those whose name contains `part`.
///
/// # Errors
/// Returns the names of all steps if none does, or the step that failed.
fn in_part(part: &str, previous: Option<&Path>) -> Outcome {
    let steps = first_and(&long(), 1, part)?;
    live_with("boot, in part", MACHINE, &steps, &earlier(previous)?)
}

/// Follows the pages of the first day, and those of the others whose name contains `part`.
///
/// # Errors
/// Returns the names of all other pages if none does, or the step that failed.
fn read_pages(part: &str) -> Outcome {
    let all = [book::STEPS, pages::STEPS].concat();
    live("book, in part", READER, &first_and(&all, book::STEPS.len(), part)?)
}

/// Returns the first `first` steps, and those of the others whose name contains `part`.
///
/// # Errors
/// Returns the names of all others if none does.
fn first_and(steps: &[Step], first: usize, part: &str) -> Result<Vec<Step>, String> {
    let (begin, others) = steps.split_at(first);
    let chosen: Vec<Step> = others.iter().copied().filter(|(name, _)| name.contains(part)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
        return Err(format!("no step has {part:?} in its name; there are:\n{}", names.join("\n")));
    }
    Ok([begin, chosen.as_slice()].concat())
}

/// Returns the Debian packages of an earlier version in this folder. Without one, the programs at hand are packaged
/// under a lower version, which covers the change of packages, but not that of the programs.
///
/// # Errors
/// Returns an error if the folder has no packages.
fn earlier(folder: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let Some(folder) = folder else {
        let place = target().join("boot-earlier");
        return crate::package::build_as(&target().join("debug"), &place, "none", Some("0.0.1-1"));
    };
    let entries = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect();
    found.sort();
    if found.is_empty() {
        return Err(format!(
            "{} has no packages: build those of an earlier commit in a worktree of it, by `cargo xtask package`",
            folder.display()
        ));
    }
    Ok(found)
}

/// Follows the pages of the first day on a machine that has nothing but the packages.
pub(crate) fn read_book() -> Outcome {
    live("book", READER, book::STEPS)
}

/// Follows the pages of the first day, and those that continue from them.
fn live_whole_book() -> Outcome {
    live("book, in full", READER, &[book::STEPS, pages::STEPS].concat())
}

/// Script that prepares the machine of all forms but the book.
const MACHINE: &str = "machine.sh";
/// Script that prepares the machine of the book's reader.
const READER: &str = "reader.sh";

/// Returns the steps of all forms but the book.
fn steps() -> impl Iterator<Item = &'static Step> {
    let forms = [
        short::STEPS,
        full::STEPS,
        every::STEPS,
        issued::STEPS,
        others::STEPS,
        packages::STEPS,
        upgrade::STEPS,
    ];
    forms.into_iter().flatten()
}

/// Boots a machine and runs these steps in order, each on the state that the previous one left.
fn live(what: &str, script: &str, steps: &[Step]) -> Outcome {
    live_with(what, script, steps, &[])
}

/// Boots a machine, with packages of an earlier version in `/srv/previous`, and runs the steps in order. `what` is the
/// name of the form, `script` that of the preparation.
///
/// # Errors
/// Returns the first step that fails, with the end of the machine's journal.
fn live_with(what: &str, script: &str, steps: &[Step], previous: &[PathBuf]) -> Outcome {
    let began = Instant::now();
    let folder = target().join("boot");
    // The folder of a run that failed.
    let _ = std::fs::remove_dir_all(&folder);
    let packages = crate::package::build(&target().join("debug"), &folder.join("packages"), "none")?;
    let mut machine = Machine::new(&base(), &folder, &packages, script)?;
    machine.put("srv/previous", previous)?;
    machine.boot()?;
    println!("xtask: {what}: the machine is up after {} s", began.elapsed().as_secs());
    for (name, seen) in steps {
        let step = Instant::now();
        seen(&mut machine).map_err(|why| {
            let said = machine.output("journalctl --no-pager --boot --lines=80 --output=short-precise; systemctl --no-pager --failed");
            format!("{what}: {name}: {why}\n{}", said.map_or_else(|why| why, |(_, text)| text))
        })?;
        println!("xtask: {what}: {name}: held, {:.1} s", step.elapsed().as_secs_f32());
    }
    drop(machine);
    let _ = std::fs::remove_dir_all(&folder);
    passed(&format!("{what}: {} checks", steps.len()), began);
    Ok(())
}

/// Returns the folder of the files that machines get.
fn machine_files() -> PathBuf {
    root().join("bins/xtask/boot")
}

/// Copies a file.
fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::copy(from, to).map(drop).map_err(|why| format!("{}: {why}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_their_forms() {
        let parse = |arguments: &[&'static str]| Form::parse(arguments);
        assert_eq!(parse(&[]), Some(Form::default()));
        assert_eq!(parse(&["--full"]), Some(Form { full: true, ..Form::default() }));
        let folder = Some(Path::new("debs"));
        let previous = Form { previous: folder, ..Form::default() };
        assert_eq!(parse(&["--previous", "debs"]), Some(previous));
        assert_eq!(parse(&["--full", "--previous", "debs"]), Some(Form { full: true, ..previous }));
        let part = Form { built: true, part: Some("killed"), ..Form::default() };
        assert_eq!(parse(&["--built", "killed"]), Some(part));
        assert_eq!(
            parse(&["--book", "--full", "--built"]),
            Some(Form { book: true, full: true, built: true, ..Form::default() })
        );
        let page = Form { book: true, ..Form { part: Some("17 to 18"), ..part } };
        assert_eq!(parse(&["--book", "--built", "17 to 18"]), Some(page));
        for wrong in [
            &["killed"] as &[_],
            &["--previous"],
            &["--ful"],
            &["--book", "--previous", "debs"],
            &["--built", "a", "b"],
            &["--full", "--built", "a"],
            &["--book", "a"],
            &["--book", "--full", "--built", "a"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
