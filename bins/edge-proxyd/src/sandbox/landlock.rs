//! Restriction of files, TCP ports and signals by Landlock (landlock(7)).

use super::Needs;
use crate::journal;
use cli_support::bounded;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};
use std::path::{Path, PathBuf};

/// The newest version of the Landlock ABI whose rights are used. Older kernels enforce a part of them.
const NEWEST: ABI = ABI::V6;

/// The extent to which the kernel enforces the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LandlockLevel {
    /// No rule is enforced, for this reason.
    Nothing(&'static str),
    /// The rules of this version of the Landlock ABI are enforced.
    Version(u32),
}

impl LandlockLevel {
    /// Returns true if access to files is restricted to the granted ones (ABI version 1).
    pub(crate) const fn restricts_files(&self) -> bool {
        matches!(self, Self::Version(1..))
    }

    /// Returns true if TCP ports can be restricted (ABI version 4).
    pub(crate) const fn restricts_ports(&self) -> bool {
        matches!(self, Self::Version(4..))
    }

    /// Returns true if signals to processes outside the sandbox are blocked (ABI version 6).
    pub(crate) const fn restricts_signals(&self) -> bool {
        matches!(self, Self::Version(6..))
    }
}

/// Restricts this thread, and all threads and processes that it starts, to `needs`, as far as the kernel supports it.
/// Returns what the kernel enforces. `/dev/null` is writable in addition.
///
/// # Errors
/// A rule could not be added, or the rules could not be enforced. A kernel without Landlock is no error.
pub(super) fn enter(needs: &Needs) -> Result<LandlockLevel, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let append = read | make_bitflags!(AccessFs::{WriteFile | MakeReg});
    let socket = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
    // Everything except running programs and creating devices.
    let change =
        AccessFs::from_all(NEWEST) & !make_bitflags!(AccessFs::{Execute | MakeBlock | MakeChar | IoctlDev});
    let mut net = BitFlags::from(AccessNet::BindTcp);
    if needs.connect.is_some() {
        net |= AccessNet::ConnectTcp;
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(net)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in &needs.read {
        rules = grant(rules, path, read)?;
    }
    for path in needs.linked.iter().flat_map(|path| reachable_paths(path)) {
        rules = grant(rules, &path, read)?;
    }
    for (paths, access) in [(&needs.append, append), (&needs.change, change), (&needs.socket, socket)] {
        for path in paths {
            rules = grant(rules, path, access)?;
        }
    }
    // Child processes discard their output here.
    rules = grant(rules, Path::new("/dev/null"), make_bitflags!(AccessFs::{ReadFile | WriteFile}))?;
    for port in &needs.listen {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in needs.connect.iter().flatten() {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::NotEnabled => {
            LandlockLevel::Nothing("Landlock is not enabled at boot (lsm=landlock,…)")
        }
        LandlockStatus::NotImplemented => {
            LandlockLevel::Nothing("this kernel has no Landlock (Linux 5.13 or newer has)")
        }
        LandlockStatus::Available { .. } if status.ruleset == RulesetStatus::NotEnforced => {
            LandlockLevel::Nothing("the kernel does not enforce it")
        }
        LandlockStatus::Available { effective_abi, .. } => LandlockLevel::Version(effective_abi as u32),
    })
}

/// Adds a rule that grants access to a path, and to everything in it if it is a folder; a file gets only the rights for
/// files. For write access to a path that does not exist, the rule is for the nearest existing folder above it. A path
/// that cannot be opened is ignored, and so is one whose file system does not answer, which is logged.
///
/// # Errors
/// The kernel rejects the rule.
fn grant(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    let writes = access.intersects(AccessFs::from_write(NEWEST));
    let place = path.to_owned();
    let opened = bounded::within(path, move || {
        let there = if writes { place.ancestors().find(|path| path.exists()) } else { Some(&*place) }?;
        Some((PathFd::new(there).ok()?, there.is_dir()))
    });
    let Some(opened) = opened else {
        journal::warning(format_args!(
            "sandbox: {} does not answer: what is in it can be used after a restart, once it answers",
            path.display()
        ));
        return Ok(rules);
    };
    let Some((opened, is_folder)) = opened else { return Ok(rules) };
    let access = if is_folder { access } else { access & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// Returns a folder, and the folders outside it to which symbolic links in it and in its subfolders lead, since
/// certificates are often links; sorted, without duplicates. A folder that does not exist is replaced by the nearest
/// existing one above it. Reads at most 1024 entries of the folder, and 16 of each subfolder.
fn reachable_paths(path: &Path) -> Vec<PathBuf> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let mut all = vec![there.to_owned()];
    let entries =
        |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    // One subfolder for each certificate, with a few files in it.
    let first: Vec<PathBuf> = entries(path).take(1024).collect();
    let second = first.iter().filter(|path| path.is_dir()).flat_map(|path| entries(path).take(16));
    for entry in first.iter().cloned().chain(second) {
        if entry.is_symlink()
            && let Ok(target) = entry.canonicalize()
            && !target.starts_with(path)
        {
            let folder =
                if target.is_dir() { target } else { target.parent().unwrap_or(Path::new("/")).to_owned() };
            all.push(folder);
        }
    }
    all.sort();
    all.dedup();
    all
}
