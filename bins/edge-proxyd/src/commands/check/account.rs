//! Files that root can read but the account of the unit cannot, so that a check by root shows what the unit would find.

use super::findings::Findings;
use crate::acme::AcmeSection;
use crate::config::Settings;
use cli_support::account::Account;
use cli_support::finding::Severity;
use rustix::process::geteuid;
use std::path::{Path, PathBuf};

/// The name of the unit in the packages.
const UNIT: &str = "edge-proxyd.service";

/// Adds a warning for each file that the account of the unit cannot read, if root checks the configuration of the unit
/// by hand: not under systemd, and `file`, the path of the configuration, is that of the unit. Does nothing if the
/// account is not known.
pub(super) fn find(settings: &Settings, file: &Path, findings: &mut Findings) {
    // Below systemd this is the unit itself, or something else that root runs.
    let by_hand = geteuid().is_root() && std::env::var_os("INVOCATION_ID").is_none();
    if !by_hand || crate::cli::CONFIG.iter().all(|known| file != Path::new(known)) {
        return;
    }
    let Some(account) = Account::of_unit(UNIT) else { return };
    let acme = settings.acme.iter().flat_map(AcmeSection::paths);
    let tracing = settings.tracing.iter().flat_map(crate::config::Traces::paths);
    let shared = settings.shared.iter().flat_map(crate::shared::SharedSection::paths);
    let keys = settings.certificates.iter().flat_map(|folder| keys(folder));
    let unnamed: Vec<PathBuf> =
        acme.chain(tracing).chain(shared).chain(keys).chain([file.to_owned()]).collect();
    for named in &settings.files {
        if let Some(text) = obstacle(&account, &named.path) {
            findings.of_file(named, Severity::Warning, text);
        }
    }
    for path in unnamed.iter().filter(|path| !settings.files.iter().any(|named| named.path == **path)) {
        if let Some(text) = obstacle(&account, path) {
            findings.warning(format!("{}: {text}", path.display()));
        }
    }
}

/// Returns the paths `key.pem` and `privkey.pem` in each entry of the folder of certificates, whether or not they
/// exist.
fn keys(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| ["key.pem", "privkey.pem"].map(|name| entry.path().join(name))).collect()
}

/// Returns the message that the account cannot read a file, with the reason. `None` if it can, there is no such file,
/// or that cannot be determined.
fn obstacle(account: &Account, path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let why = account.read_obstacle(path).ok()??;
    Some(format!("the account of {UNIT}, {}, cannot read it: {why}", account.name))
}
