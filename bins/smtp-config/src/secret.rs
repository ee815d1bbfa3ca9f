//! Secrets by reference.

use crate::report::Failure;
use secrecy::SecretString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// More than any password has.
const LONGEST: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    File(PathBuf),
    Credential(String),
    Environment(String),
    /// Anything else. It is not kept, since it may be the password itself.
    Other,
}

impl FromStr for Reference {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An error here would be shown together with the text.
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("credential", name))
                if !name.is_empty() && !name.contains('/') && name != "." && name != ".." =>
            {
                Ok(Self::Credential(name.to_owned()))
            }
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => {
                Ok(Self::Environment(name.to_owned()))
            }
            _ => Ok(Self::Other),
        }
    }
}

impl Reference {
    /// The file that Forgejo could read itself.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::File(path) => path.to_str(),
            Self::Credential(_) | Self::Environment(_) | Self::Other => None,
        }
    }

    /// Reads the secret.
    pub(crate) fn read(&self) -> Result<SecretString, Failure> {
        match self {
            Self::File(path) => read(path, true),
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| Failure::Configuration("there is no CREDENTIALS_DIRECTORY".to_owned()))?;
                read(&Path::new(&folder).join(name), false)
            }
            Self::Environment(name) => {
                let value = std::env::var_os(name).ok_or_else(|| {
                    Failure::Configuration(format!("there is no {name} in the environment"))
                })?;
                text(value.into_encoded_bytes(), name)
            }
            Self::Other => {
                let why =
                    "--password: write file:/path, credential:name or env:NAME, never the password itself";
                Err(Failure::Configuration(why.to_owned()))
            }
        }
    }
}

/// Everything is asked of the one descriptor that is read, so that nothing can change in between.
fn read(path: &Path, private: bool) -> Result<SecretString, Failure> {
    let name = path.display().to_string();
    let failed = |why: std::io::Error| Failure::Failed(format!("{name}: {why}"));
    let refused = |why: &str| Failure::Configuration(format!("{name}: {why}"));
    let mut options = OpenOptions::new();
    // A pipe would wait for its writer. A credential is no link to elsewhere.
    let follow = if private { 0 } else { libc::O_NOFOLLOW };
    let file: File = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | follow)
        .open(path)
        .map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(refused("not a regular file"));
    }
    let own = std::fs::metadata("/proc/self").map_err(failed)?.uid();
    if about.uid() != own && about.uid() != 0 {
        return Err(refused("it belongs to somebody else; chown it to yourself or to root"));
    }
    if private && about.mode() & 0o077 != 0 {
        return Err(refused("others can read it; chmod 0400"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    text(bytes, &name)
}

fn text(bytes: Vec<u8>, name: &str) -> Result<SecretString, Failure> {
    let refused = |why: &str| Failure::Configuration(format!("{name}: {why}"));
    if bytes.len() as u64 > LONGEST {
        return Err(refused("longer than 64 KiB"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| refused("not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.contains(['\0', '\n', '\r']) {
        return Err(refused("it has a NUL byte or more than one line"));
    }
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    Ok(SecretString::from(text))
}
