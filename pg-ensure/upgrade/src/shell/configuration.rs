//! The old cluster's configuration: its location, its content, and its conversion for the new cluster.

use super::encoding::{self, decode, encode};
use super::error::UpgradeError;
use super::files;
use super::journal::Layout;
use super::request::Request;
use super::tools::{self, command};
use crate::conf::{Edit, SettingsConversion, convert_settings, parameter_change, quoted, refusals, settings};
use crate::facts::{Catalog, StoredSetting};
use crate::version::Major;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the directory of a cluster's configuration: the requested one, or Debian's. `None` if it is the data
/// directory.
pub(super) fn config_folder(request: &Request, layout: &Layout) -> Option<PathBuf> {
    if let Some(named) = &request.old_config {
        return Some(named.clone());
    }
    if layout.old_data.join("postgresql.conf").exists() {
        return None;
    }
    let name = layout.cluster.as_deref().unwrap_or("main");
    let debian = PathBuf::from(format!("/etc/postgresql/{}/{name}", request.from));
    debian.join("postgresql.conf").exists().then_some(debian)
}

/// A configuration file of the old cluster, converted for the new version, as [`encoding::decode`] reads it.
#[derive(Clone, Debug)]
pub(super) struct ConvertedFile {
    /// Path relative to the directory of the configuration.
    pub(super) name: PathBuf,
    pub(super) text: String,
}

/// The converted configuration: files, edits, and remarks for the operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Configuration {
    pub(super) files: Vec<ConvertedFile>,
    pub(super) edits: Vec<Edit>,
    pub(super) left: Vec<String>,
}

/// Reads the old configuration with all included files, converts it, and lets the new server check it. Settings that
/// the server rejects are commented out. Without `new_bin`, only known changes of parameters are applied.
///
/// # Errors
/// Returns an [`UpgradeError`] if the new server cannot be run, or rejects the configuration for other reasons.
pub(super) fn configuration(
    request: &Request,
    layout: &Layout,
    new_bin: Option<&Path>,
) -> Result<Configuration, UpgradeError> {
    let folder = config_folder(request, layout).unwrap_or_else(|| layout.old_data.clone());
    let mut left = Vec::new();
    let mut texts = Vec::new();
    read(&folder, Path::new("postgresql.conf"), 0, &mut texts, &mut left);
    let auto = layout.old_data.join("postgresql.auto.conf");
    if let Ok(bytes) = fs::read(&auto) {
        texts.push((PathBuf::from("postgresql.auto.conf"), decode(&bytes)));
    }
    let (old_data, new_data) = (layout.old_data.display().to_string(), layout.new_data.display().to_string());
    let mut refused: Vec<(String, String)> = Vec::new();
    // If the configuration is outside of the data directory, settings that name its location would mislead the new
    // server.
    if folder != layout.old_data {
        for name in ["data_directory", "hba_file", "ident_file", "external_pid_file"] {
            refused.push((name.to_owned(), format!("the new cluster has its files in {new_data}")));
        }
    }
    // The server reports some rejected settings only after others are removed, so the check is repeated.
    for _ in 0..8 {
        let mut result = Configuration { left: left.clone(), ..Configuration::default() };
        for (name, text) in &texts {
            let file = name.display().to_string();
            let how = SettingsConversion {
                file: &file,
                from: request.from,
                to: request.to,
                old_data: &old_data,
                new_data: &new_data,
                refused: &refused,
            };
            let (text, edits) = convert_settings(text, &how);
            result.files.push(ConvertedFile { name: name.clone(), text });
            result.edits.extend(edits);
        }
        let Some(new_bin) = new_bin else { return Ok(result) };
        let fresh = judge(&result.files, &new_data, new_bin)?;
        let fresh: Vec<_> =
            fresh.into_iter().filter(|(name, _)| !refused.iter().any(|(known, _)| known == name)).collect();
        if fresh.is_empty() {
            return Ok(result);
        }
        refused.extend(fresh);
    }
    Err(UpgradeError::Other("the new server keeps refusing the old configuration".to_owned()))
}

/// Reads a file of the directory `folder` and the files that it includes, up to a depth of 10, and appends them to
/// `texts`, each once. Files that cannot be read are skipped. An included file outside of the directory is not carried
/// over; it is added to `left`. An included directory without files gets a placeholder.
fn read(folder: &Path, name: &Path, depth: u32, texts: &mut Vec<(PathBuf, String)>, left: &mut Vec<String>) {
    if depth > 10 || texts.iter().any(|(known, _)| known == name) {
        return;
    }
    let Ok(bytes) = fs::read(folder.join(name)) else { return };
    let text = decode(&bytes);
    let beside = name.parent().unwrap_or(Path::new("")).to_owned();
    let found = settings(&text);
    texts.push((name.to_owned(), text));
    for setting in found {
        let value = encoding::path(&setting.value);
        if !setting.name.starts_with("include") {
            continue;
        }
        // A path into the directory itself is carried over.
        let inner = value.strip_prefix(folder).ok().map(Path::to_owned);
        if value.is_absolute() && inner.is_none() {
            left.push(format!(
                "{} line {} includes {}, which stays where it is",
                name.display(),
                setting.line,
                setting.value
            ));
            continue;
        }
        let target = inner.unwrap_or_else(|| beside.join(value));
        if setting.name == "include_dir" {
            let names = files::names(&folder.join(&target));
            for file in names.iter().filter(|name| name.ends_with(".conf") && !name.starts_with('.')) {
                read(folder, &target.join(file), depth + 1, texts, left);
            }
            let is_empty = !texts.iter().any(|(name, _)| name.starts_with(&target));
            if is_empty && folder.join(&target).is_dir() {
                // The server does not start if the folder is missing, as an empty conf.d of Debian would be.
                texts.push((target.join(".included"), "# include_dir needs this folder.\n".to_owned()));
            }
        } else {
            read(folder, &target, depth + 1, texts, left);
        }
    }
}

/// Returns the settings in these files that the new server rejects, each with the reason, determined by `postgres -C`
/// in a temporary directory. Empty if the server accepts them.
///
/// # Errors
/// Returns an error if the files cannot be written, the server cannot be run, or it fails without naming a setting.
fn judge(files: &[ConvertedFile], new_data: &str, bin: &Path) -> Result<Vec<(String, String)>, UpgradeError> {
    let failed = |source| UpgradeError::File {
        path: std::env::temp_dir(),
        doing: "no folder can be made in it",
        source,
    };
    let folder = tempfile::Builder::new().prefix("upgrade-pg-cluster-").tempdir().map_err(failed)?;
    for file in files {
        let path = folder.path().join(&file.name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, encode(&in_folder(&file.text, new_data, folder.path())))
        };
        write().map_err(failed)?;
    }
    let mut postgres = command(bin, "postgres", "");
    postgres.arg("-D").arg(folder.path()).args(["-c", "lc_messages=C", "-c", "log_destination=stderr"]);
    postgres.arg("-c").arg(format!("data_directory={}", folder.path().display())).args(["-C", "config_file"]);
    let output =
        postgres.output().map_err(|source| UpgradeError::Run { program: "postgres".to_owned(), source })?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let found = refusals(&words);
    if found.is_empty() {
        return Err(UpgradeError::Program {
            program: "the new server, asked about the old configuration,".to_owned(),
            status: output.status.to_string(),
            words: tools::tail(&words, 4),
        });
    }
    Ok(found)
}

/// Checks that the new server accepts an empty configuration.
///
/// # Errors
/// Returns the errors of [`judge`].
fn judge_empty(bin: &Path) -> Result<(), UpgradeError> {
    let empty = ConvertedFile { name: PathBuf::from("postgresql.conf"), text: String::new() };
    judge(&[empty], "/nonexistent", bin).map(|_| ())
}

/// Changes the includes of a configuration that refer to the new data directory, which does not exist yet, to `folder`.
fn in_folder(text: &str, new_data: &str, folder: &Path) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let include = settings(line).into_iter().find(|setting| setting.name.starts_with("include"));
        let moved = include.and_then(|setting| {
            let inner = Path::new(&setting.value).strip_prefix(new_data).ok()?.to_owned();
            Some(format!("{} {}", setting.name, quoted(&folder.join(inner).display().to_string())))
        });
        out.push_str(moved.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}

/// Returns the settings of roles, databases and functions that the new server rejects, each with the reason, determined
/// as by [`judge`]. `role` and `session_authorization`, and valid names of three or more parts, are not checked.
/// Without programs `bin`, only known removals and renames are found.
///
/// # Errors
/// Returns an error if the new server cannot be run, or rejects a file for another reason.
pub(super) fn refused_settings(
    stored: &[StoredSetting],
    (from, to): (Major, Major),
    bin: Option<&Path>,
) -> Result<Vec<(StoredSetting, String)>, UpgradeError> {
    let mut refused: Vec<(StoredSetting, String)> = Vec::new();
    let Some(bin) = bin else {
        let gone = stored.iter().filter(|setting| parameter_change(&setting.name, from, to).is_some());
        return Ok(gone.map(|setting| (setting.clone(), "it is gone".to_owned())).collect());
    };
    let mut left: Vec<&StoredSetting> = stored
        .iter()
        // Settings of sessions only, which a configuration file cannot contain.
        .filter(|setting| !["role", "session_authorization"].contains(&setting.name.as_str()))
        // A configuration file cannot contain a name of three parts, which the server accepts in a stored setting.
        .filter(|setting| setting.name.split('.').count() < 3 || !is_name(&setting.name))
        .collect();
    left.retain(|setting| {
        let valid = is_name(&setting.name);
        if !valid {
            refused.push(((*setting).clone(), "it is not a valid name of a parameter from 15 on".to_owned()));
        }
        valid
    });
    // A file can contain only one value per name, so each round checks every name once.
    while !left.is_empty() {
        let mut round: Vec<&StoredSetting> = Vec::new();
        left.retain(|setting| {
            let taken = round.iter().any(|other| other.name == setting.name);
            if !taken {
                round.push(setting);
            }
            taken
        });
        // The server reports some rejected settings only after others are removed.
        for _ in 0..8 {
            let text: String =
                round.iter().map(|one| format!("{} = {}\n", one.name, quoted(&one.value))).collect();
            let file = ConvertedFile { name: PathBuf::from("postgresql.conf"), text };
            let found = match judge(&[file], "/nonexistent", bin) {
                // A message without the name of the parameter: each is checked alone.
                Err(failure @ UpgradeError::Program { .. }) => {
                    // None of them is to blame for a failure without any.
                    judge_empty(bin)?;
                    let alone = refused_alone(&round, bin);
                    if alone.is_empty() {
                        return Err(failure);
                    }
                    alone
                }
                found => found?,
            };
            let before = round.len();
            round.retain(|setting| {
                let why = found.iter().find(|(name, _)| *name == setting.name).map(|(_, why)| why.clone());
                let stays = why.is_none();
                refused.extend(why.map(|why| ((*setting).clone(), why)));
                stays
            });
            if round.len() == before {
                break;
            }
        }
    }
    Ok(refused)
}

/// Returns the parameters of `granted` that the new server does not know and for which it rejects GRANT … ON PARAMETER,
/// each with the statement that revokes the privileges. Parameters of extensions, whose names contain a dot, are
/// omitted, since the server accepts them. `bin` is the folder of the new server's programs; if it is `None`, only
/// parameters that are known to be removed or renamed are found.
///
/// # Errors
/// Returns an error if the new server cannot be run, or rejects even an empty file.
pub(super) fn unknown_parameters(
    granted: &[(String, String)],
    (from, to): (Major, Major),
    bin: Option<&Path>,
) -> Result<Vec<(String, String)>, UpgradeError> {
    let plain: Vec<&(String, String)> = granted.iter().filter(|(name, _)| !name.contains('.')).collect();
    if plain.is_empty() {
        return Ok(Vec::new());
    }
    let Some(bin) = bin else {
        let gone = plain.into_iter().filter(|(name, _)| parameter_change(name, from, to).is_some());
        return Ok(gone.cloned().collect());
    };
    // The server checks all names before the first value, so the values need not be valid.
    let text: String = plain.iter().map(|(name, _)| format!("{name} = ''\n")).collect();
    let file = ConvertedFile { name: PathBuf::from("postgresql.conf"), text };
    let found = match judge(&[file], "/nonexistent", bin) {
        // A rejected value, and thus no unknown name, unless the server fails without any.
        Err(UpgradeError::Program { .. }) => {
            judge_empty(bin)?;
            return Ok(Vec::new());
        }
        found => found?,
    };
    let unknown = |name: &str| {
        let mut found = found.iter();
        found.any(|(refused, why)| refused == name && why.starts_with("unrecognized configuration parameter"))
    };
    Ok(plain.into_iter().filter(|(name, _)| unknown(name)).cloned().collect())
}

/// Returns the settings that the new server rejects without naming them, each with its message, such as
/// `standard_conforming_strings = off` from version 19 on.
fn refused_alone(settings: &[&StoredSetting], bin: &Path) -> Vec<(String, String)> {
    let check = |setting: &&StoredSetting| {
        let text = format!("{} = {}\n", setting.name, quoted(&setting.value));
        let file = ConvertedFile { name: PathBuf::from("postgresql.conf"), text };
        let Err(UpgradeError::Program { words, .. }) = judge(&[file], "/nonexistent", bin) else {
            return None;
        };
        let mut messages = words.lines().filter_map(|line| line.split_once("LOG:  "));
        Some((
            setting.name.clone(),
            messages.next_back().map_or(words.as_str(), |(_, message)| message).to_owned(),
        ))
    };
    settings.iter().filter_map(check).collect()
}

/// Returns `true` for a parameter name that the server accepts from version 15 on: identifiers joined by dots.
fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.split('.').all(|part| {
        part.starts_with(letter) && part.chars().all(|c| letter(c) || c.is_ascii_digit() || c == '$')
    })
}

/// Returns the paths of the old cluster's `pg_hba.conf` and `pg_ident.conf`, in this order: from the catalog, else from
/// the configuration, else the default.
pub(super) fn access_files(
    request: &Request,
    layout: &Layout,
    catalog: Option<&Catalog>,
) -> (PathBuf, PathBuf) {
    let folder = config_folder(request, layout).unwrap_or_else(|| layout.old_data.clone());
    let private = layout.work.private();
    let pick = |named: Option<&String>, name: &str| {
        // A private server has access rules of its own, which do not belong to the cluster.
        let named = named.map(PathBuf::from).filter(|path| !path.starts_with(&private) && path.exists());
        named.unwrap_or_else(|| {
            let setting = if name == "pg_hba.conf" { "hba_file" } else { "ident_file" };
            from_conf(&folder, setting).unwrap_or_else(|| folder.join(name))
        })
    };
    (
        pick(catalog.map(|catalog| &catalog.hba_file), "pg_hba.conf"),
        pick(catalog.map(|catalog| &catalog.ident_file), "pg_ident.conf"),
    )
}

/// Returns the path in the last setting with this name in `postgresql.conf`. `None` without one, or if the file does
/// not exist.
fn from_conf(folder: &Path, name: &str) -> Option<PathBuf> {
    let text = decode(&fs::read(folder.join("postgresql.conf")).ok()?);
    let found = settings(&text).into_iter().rfind(|setting| setting.name == name)?;
    Some(folder.join(encoding::path(&found.value))).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of Debian's clusters includes a folder that has no files.
    #[test]
    fn an_included_folder_without_files_is_carried() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("conf.d")).expect("a folder");
        fs::write(folder.path().join("postgresql.conf"), "include_dir = 'conf.d'\ninclude_dir 'gone'\n")
            .expect("a file");
        let read_all = || {
            let (mut texts, mut left) = (Vec::new(), Vec::new());
            read(folder.path(), Path::new("postgresql.conf"), 0, &mut texts, &mut left);
            texts.into_iter().map(|(name, _)| name.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(read_all(), ["postgresql.conf", "conf.d/.included"]);
        fs::write(folder.path().join("conf.d/own.conf"), "work_mem = 4MB\n").expect("a file");
        assert_eq!(read_all(), ["postgresql.conf", "conf.d/own.conf"]);
    }

    /// A server that fails without any setting is an error; one that rejects a value without naming its setting knows
    /// all names.
    #[test]
    fn a_failure_without_a_name_is_judged_by_an_empty_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("postgres");
        let versions = (Major::try_from(15).expect("a version"), Major::try_from(18).expect("a version"));
        let granted = [("work_mem".to_owned(), "REVOKE".to_owned())];
        let ask = |script: &str| {
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
            unknown_parameters(&granted, versions, Some(folder.path()))
        };
        let broken = ask("echo 'error while loading shared libraries: libicu' >&2; exit 127");
        assert!(matches!(broken, Err(UpgradeError::Program { words, .. }) if words.contains("libicu")));
        let refused = ask("grep -q work_mem \"$2/postgresql.conf\" || exit 0; echo 'FATAL:  no' >&2; exit 1");
        assert_eq!(refused.expect("an answer"), []);
    }

    /// A comment in Latin-1, as many configurations have, is no reason to lose the settings.
    #[test]
    fn a_configuration_that_is_not_utf8_is_carried_to_the_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = b"# f\xfcr alle\nwork_mem = 7MB # gro\xdf\ninclude 'gr\xfcn.conf'\n";
        fs::write(folder.path().join("postgresql.conf"), text).expect("a file");
        let included = encoding::path(&decode(b"gr\xfcn.conf"));
        fs::write(folder.path().join(&included), "port = 7\n").expect("a file");
        let (mut texts, mut left) = (Vec::new(), Vec::new());
        read(folder.path(), Path::new("postgresql.conf"), 0, &mut texts, &mut left);
        let names: Vec<&Path> = texts.iter().map(|(name, _)| name.as_path()).collect();
        assert_eq!(names, [Path::new("postgresql.conf"), &included]);
        assert!(settings(&texts[0].1).iter().any(|one| one.name == "work_mem" && one.value == "7MB"));
        assert_eq!(encode(&texts[0].1), text);
    }
}
