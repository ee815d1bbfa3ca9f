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

/// Builds the programs and boots them: the short form, or everything.
pub(crate) fn whole(full: bool) -> Outcome {
    install()?;
    step(
        "boot: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    prove()?;
    if full { prove_in_full() } else { Ok(()) }
}

/// Boots the programs that are already built, in the long form.
pub(crate) fn prove_in_full() -> Outcome {
    let steps: Vec<Step> =
        [full::STEPS, every::STEPS, issued::STEPS, packages::STEPS, upgrade::STEPS].concat();
    live_with("boot, in full", MACHINE, &steps, &earlier()?)?;
    read_whole_book()
}

/// Boots the programs that are already built, and runs the steps of the long form that have `part` in their names, after the
/// first one.
pub(crate) fn prove_some(part: &str) -> Outcome {
    let all = [full::STEPS, every::STEPS, issued::STEPS, packages::STEPS, upgrade::STEPS].concat();
    let steps: Vec<Step> = all
        .iter()
        .enumerate()
        .filter(|(at, (name, _))| *at == 0 || name.contains(part))
        .map(|(_, step)| *step)
        .collect();
    live_with("boot, in part", MACHINE, &steps, &earlier()?)
}

/// Packages the programs under a lower version, which stands for an earlier one where there are no packages of it. Returns
/// the packages.
fn earlier() -> Result<Vec<PathBuf>, String> {
    crate::package::build_as(&target().join("debug"), &target().join("boot-earlier"), "none", Some("0.0.1-1"))
}

/// Boots the programs that are already built, in the short form.
pub(crate) fn prove() -> Outcome {
    live("boot", MACHINE, short::STEPS)
}

/// Boots the programs that are already built with the Debian packages of an earlier version in this folder: each version starts with
/// the state of the other.
pub(crate) fn prove_previous(folder: &Path) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let previous: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect();
    if previous.is_empty() {
        return Err(format!("{} has no packages", folder.display()));
    }
    live_with("boot, with an earlier version", MACHINE, packages::PREVIOUS, &previous)
}

/// Follows the pages of the book on a machine that has nothing but the packages.
pub(crate) fn read_book() -> Outcome {
    live("book", READER, book::STEPS)
}

/// Follows the book in a machine, with the pages beyond its first chapters.
pub(crate) fn read_whole_book() -> Outcome {
    live("book, in full", READER, &[book::STEPS, pages::STEPS].concat())
}

/// The script that lays out the machine of the other forms.
const MACHINE: &str = "machine.sh";
/// The script that lays out the machine of the book's reader.
const READER: &str = "reader.sh";

/// Returns the steps of all forms.
fn steps() -> impl Iterator<Item = &'static Step> {
    let forms = [short::STEPS, full::STEPS, every::STEPS, issued::STEPS, packages::STEPS, upgrade::STEPS];
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
