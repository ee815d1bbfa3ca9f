//! Account that owns the store. A process that runs as root acts as that account: files created by root would prevent
//! renewals by the unit, and a check as root would prove nothing about the unit.

use crate::args::{Args, CONFIG, Command};
use crate::load;
use acme_dns01::store::FileStore;
use cli_support::account::Account;
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::{Done, Failure};
use cli_support::{usage, verbosity};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::path::Path;

/// The unit of the packages.
const UNIT: &str = "acme-dns01.service";

/// Has root go on as the account that owns the folder of certificates; for a check of the unit's configuration file, as
/// the account of the unit, to which a missing folder is given first. Says so, unless the output is JSON. Returns that
/// account. `None`, without a change, for `run` and `simulate`, if this process is not root, or there is no other
/// account. The process must not have started a thread yet.
///
/// # Errors
/// Returns a [`Failure`] if the configuration cannot be used, the folder cannot be created, or the system refuses the
/// change.
pub(crate) fn act_as_owner(args: &Args) -> Result<Option<Account>, Failure> {
    // The daemon is started as the account that it is to have.
    let keeps = matches!(args.command, Command::Run { .. } | Command::Simulate { .. });
    if keeps || !geteuid().is_root() {
        return Ok(None);
    }
    let folder = load::folder(args)?;
    // A check of the unit's configuration is about the unit, to which the folder is given when it starts.
    let of_unit = matches!(args.command, Command::Check { .. })
        && CONFIG.iter().any(|path| args.config == Path::new(path));
    let unit = of_unit.then(|| Account::of_unit(UNIT)).flatten();
    let owner = || Account::owner_of(&folder).filter(|owner| owner.uid != 0);
    let Some(account) = unit.or_else(owner) else { return Ok(None) };
    // The unit's start makes a missing folder, which its account could not.
    if of_unit && !folder.exists() {
        let group = account.gids.first().copied().unwrap_or(account.uid);
        FileStore::claim(&folder, account.uid, group, &[])
            .map_err(|error| Failure::Failed(cli_support::outcome::chain(&error)))?;
    }
    become_account(&account)
        .map_err(|why| Failure::Failed(format!("root cannot act as {}: {why}", account.name)))?;
    if !args.json {
        verbosity::note(&format!("acting as {}, for {}", account.name, folder.display()));
    }
    Ok(Some(account))
}

/// Changes the account of this thread, and so of a process without other threads, for good: supplementary groups, then
/// group (the first of them; unchanged if there are none), then user, then `HOME`, `USER` and `LOGNAME`.
///
/// # Errors
/// Returns an error if the system refuses one of the changes. Those before it have taken effect.
fn become_account(account: &Account) -> std::io::Result<()> {
    let groups: Vec<Gid> = account.gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (user, group) = (Uid::from_raw(account.uid), groups.first().copied());
    set_thread_groups(&groups)?;
    if let Some(group) = group {
        set_thread_res_gid(group, group, group)?;
    }
    set_thread_res_uid(user, user, user)?;
    describe_account(account);
    Ok(())
}

/// Sets `HOME`, `USER` and `LOGNAME` to those of the account, as systemd does for a unit, so that programs that this
/// one runs do not use the home folder of root. Removes `USER` and `LOGNAME` for an account without a name. The process
/// must have no other thread.
#[expect(unsafe_code, reason = "the environment may be changed without other threads only")]
fn describe_account(account: &Account) {
    let (home, login) = (account.home(), account.login());
    // SAFETY: this process has no other thread, as the caller guarantees.
    unsafe {
        std::env::set_var("HOME", &home);
        for variable in ["USER", "LOGNAME"] {
            match &login {
                Some(name) => std::env::set_var(variable, name),
                None => std::env::remove_var(variable),
            }
        }
    }
}

/// Gives the store to the account of this name and its first group (a group with the user's id if it has none), with
/// the folders of the configured certificates. Returns the findings.
///
/// # Errors
/// Returns a [`Failure`] if there is no such user, the configuration cannot be used, or the files cannot be given.
pub(crate) fn claim(args: &Args, user: &str) -> Result<Done, Failure> {
    let Some(account) = Account::by_name(user) else {
        let place =
            Place { file: usage::COMMAND_LINE.to_owned(), key: "--user".to_owned(), ..Place::default() };
        let fault = Finding::error("value", place, "there is no such user: write the one of the unit");
        return Err(Findings::new(vec![fault.value(Some(user.to_owned()))]).into());
    };
    let certificates = load::read(args)?;
    let ids: Vec<String> = certificates.into_iter().map(|certificate| certificate.spec.id).collect();
    let group = account.gids.first().copied().unwrap_or(account.uid);
    let folder = load::folder(args)?;
    let found = FileStore::claim(Path::new(&folder), account.uid, group, &ids)
        .map_err(|error| Failure::Failed(cli_support::outcome::chain(&error)))?;
    Ok(crate::commands::findings(&found, args.json))
}
