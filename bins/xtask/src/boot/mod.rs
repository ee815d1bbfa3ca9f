//! `cargo xtask boot`: a Debian machine with the packages, booted by systemd, which lives through what a year brings.
//!
//! The machine is a container of systemd-nspawn with its own process, network and cgroup namespaces, on a copy of a root that
//! `cargo xtask tools` makes. Everything runs as on a real machine: units, sandboxes, credentials, packages.

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

use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use machine::Machine;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The Debian release of the machine, and what is installed on it.
const SUITE: &str = "trixie";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,postgresql,iproute2,curl,procps,polkitd,socat,openssl,\
                        ca-certificates,logrotate,python3-minimal,libpython3-stdlib";

/// A check: its name, and the function that makes it in a machine.
type Step = (&'static str, fn(&mut Machine) -> Outcome);

/// Returns the root folder that machines are copies of.
fn base() -> PathBuf {
    tools_folder().join(format!("debian-{SUITE}"))
}

/// Creates the root folder of Debian, unless it is there with the same packages.
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

/// The form of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form<'a> {
    /// What takes its time, too.
    full: bool,
    /// The pages of the book instead.
    book: bool,
    /// The folder of the Debian packages of an earlier version. In the long form they stand for the earlier version; otherwise
    /// nothing else is shown.
    previous: Option<&'a Path>,
    /// Nothing is installed and nothing built: for work on the steps.
    built: bool,
    /// The steps of the long form that have this in their names, after the first.
    part: Option<&'a str>,
}

impl<'a> Form<'a> {
    /// Parses the arguments of the command. Returns `None` for those that are not known, or that exclude each other.
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
        let alone = form.part.is_none() || !(form.full || form.book);
        (alone && !(form.book && form.previous.is_some())).then_some(form)
    }
}

/// Installs the root and builds the programs, and boots them in this form.
pub(crate) fn run(form: Form<'_>) -> Outcome {
    if !form.built {
        install()?;
        step(
            "boot: building the programs",
            cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
        )?;
    }
    match form {
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

/// Takes the machine through the first step of the long form, and those that have this in their names.
fn in_part(part: &str, previous: Option<&Path>) -> Outcome {
    let steps = long().into_iter().enumerate();
    let steps: Vec<Step> =
        steps.filter(|(at, (name, _))| *at == 0 || name.contains(part)).map(|(_, step)| step).collect();
    if steps.len() < 2 {
        let names: Vec<&str> = long().iter().skip(1).map(|(name, _)| *name).collect();
        return Err(format!("no step has {part:?} in its name; there are:\n{}", names.join("\n")));
    }
    live_with("boot, in part", MACHINE, &steps, &earlier(previous)?)
}

/// Returns the Debian packages of an earlier version in this folder. Without one, the programs at hand are packaged under a lower
/// version, which shows the change of packages, but not that of the programs.
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

/// The same with the pages that follow.
fn live_whole_book() -> Outcome {
    live("book, in full", READER, &[book::STEPS, pages::STEPS].concat())
}

/// The script that lays out the machine of the other forms.
const MACHINE: &str = "machine.sh";
/// The script that lays out the machine of the book's reader.
const READER: &str = "reader.sh";

/// Returns the steps of all forms.
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

/// Boots a machine and runs these steps in order, each on the state that the one before left.
fn live(what: &str, script: &str, steps: &[Step]) -> Outcome {
    live_with(what, script, steps, &[])
}

/// Boots a machine, with packages of an earlier version in `/srv/previous`, and runs the steps in order. Fails with the first
/// that does, and the machine's journal.
fn live_with(what: &str, script: &str, steps: &[Step], previous: &[PathBuf]) -> Outcome {
    let began = Instant::now();
    let folder = target().join("boot");
    // That of a run that failed.
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
    println!("xtask: {what}: {} things held in {} s", steps.len(), began.elapsed().as_secs());
    Ok(())
}

/// Returns the folder of the files that machines get.
fn machine_files() -> PathBuf {
    root().join("bins/xtask/boot")
}

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
        for wrong in [
            &["killed"] as &[_],
            &["--previous"],
            &["--ful"],
            &["--book", "--previous", "debs"],
            &["--built", "a", "b"],
            &["--full", "--built", "a"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
