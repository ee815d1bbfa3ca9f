//! Certificates and accounts of other ACME clients: lego, certbot, acme.sh, Caddy, and the folders of NixOS.
//!
//! [`read`] changes nothing. [`Engine::adopt`](crate::engine::Engine::adopt) takes over the result: a certificate that
//! meets the configuration is not issued again, and an account keeps its URL, which CAA's `accounturi` may name.

mod jwk;

use crate::client::{AccountKey, describe};
use crate::finding::Finding;
use crate::lifetime::CertificateInfo;
use secrecy::SecretString;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Choice between an import ([`Engine::adopt`](crate::engine::Engine::adopt)) and a report of what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// Accounts and certificates are stored.
    #[default]
    Perform,
    /// Nothing is stored. The findings say what would be stored.
    DryRun,
}

/// The result for a certificate or an account, with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// It was taken over, or nothing has to be.
    Settled(String),
    /// It would be taken over, in a dry run.
    Pending(String),
}

impl Adoption {
    /// Returns the finding about the certificate or account `about`.
    pub(crate) fn finding(self, about: String) -> Finding {
        match self {
            Self::Settled(message) => Finding::fine(about, message),
            Self::Pending(message) => Finding::pending(about, message),
        }
    }
}

/// A certificate of another ACME client, with its private key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundCertificate {
    /// Path of the file that contains the certificate chain.
    pub path: PathBuf,
    /// The certificate chain in PEM, end-entity certificate first.
    pub chain: String,
    /// Private key in PEM.
    pub key: SecretString,
    /// Properties of the end-entity certificate, as [`describe`] returns them.
    pub info: CertificateInfo,
}

/// A registered account of another ACME client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundAccount {
    /// Path of the file that contains the account URL: lego's `account.json`, certbot's `regr.json`, acme.sh's
    /// `ca.conf` or Caddy's `<mail address>.json`.
    pub path: PathBuf,
    /// Account URL (RFC 8555 §7.1.2).
    pub url: String,
    /// Account key in PEM.
    pub key: SecretString,
}

/// The certificates and accounts in the folder of another ACME client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientFolder {
    /// Certificates whose chain was read and parsed, each with the content of the key file beside it. The key is not
    /// parsed or compared with the certificate.
    pub certificates: Vec<FoundCertificate>,
    /// Accounts whose URL was found and whose key is of a supported type.
    pub accounts: Vec<FoundAccount>,
    /// Paths with the reason why they were skipped: nested folders that cannot be read, chains that cannot be read or
    /// parsed or whose key file cannot be read, and accounts whose key is missing or not supported.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Number of levels of nested folders below the given one that are searched. Deeper folders are ignored.
const MAX_DEPTH: usize = 8;
/// Maximum size of a certificate, key or account file, in bytes. A larger file is skipped.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// Reads certificates and accounts from the folder of another client: `.lego`, `/etc/letsencrypt`, `~/.acme.sh`,
/// Caddy's data folder, or `/var/lib/acme`. Folders are searched recursively in the order of their names, up to eight
/// levels deep, without those that contain former versions (`archive`, `backup`), requests (`csr`) or this crate's own
/// state. A chain without a key file beside it, and a file that names no account URL, are ignored.
///
/// # Errors
/// Returns an error if `folder` itself cannot be read.
pub fn read(folder: &Path) -> std::io::Result<ClientFolder> {
    let mut found = ClientFolder::default();
    search(folder, MAX_DEPTH, &mut found)?;
    Ok(found)
}

/// Adds the certificates and accounts of a folder to `found`, and those of nested folders up to `depth` levels below.
///
/// # Errors
/// Returns an error if `folder` cannot be read. A nested folder that cannot be read is added to the skipped paths.
fn search(folder: &Path, depth: usize, found: &mut ClientFolder) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Former versions, and this crate's own state.
        if matches!(name.as_str(), ".acme-dns01" | "archive" | "csr" | "backup") {
            continue;
        }
        if path.is_dir() {
            if depth > 0
                && let Err(error) = search(&path, depth - 1, found)
            {
                found.skipped.push((path, error.to_string()));
            }
            continue;
        }
        if let Some(key) = key_of(&path, &name) {
            certificate(&path, &key, found);
        }
        if let Some((url, key)) = account(&path, &name) {
            match key {
                Ok(key) => found.accounts.push(FoundAccount { path, url, key }),
                Err(reason) => found.skipped.push((path, reason)),
            }
        }
    }
    Ok(())
}

/// Returns the path of the private key that belongs to a chain file named `name`, by the naming schemes of certbot,
/// NixOS, acme.sh, lego and Caddy. `None` if the file is not named like a chain, or no key file exists.
fn key_of(path: &Path, name: &str) -> Option<PathBuf> {
    let folder = path.parent()?;
    let candidates: Vec<PathBuf> = match name {
        // certbot, NixOS.
        "fullchain.pem" => vec![folder.join("privkey.pem"), folder.join("key.pem")],
        // acme.sh: the folder is the domain, with `_ecc` for ECDSA.
        "fullchain.cer" => {
            let domain = folder.file_name()?.to_string_lossy();
            let domain = domain.strip_suffix("_ecc").unwrap_or(&domain);
            vec![folder.join(format!("{domain}.key"))]
        }
        // lego, Caddy.
        name => {
            let stem = name.strip_suffix(".crt").filter(|stem| !stem.ends_with(".issuer"))?;
            vec![folder.join(format!("{stem}.key"))]
        }
    };
    candidates.into_iter().find(|key| key.is_file())
}

/// Reads a text file.
///
/// # Errors
/// Returns a description of the error if the file is larger than [`MAX_FILE_SIZE`], unreadable or not UTF-8.
fn text(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_SIZE {
        return Err(format!("{size} bytes are too many"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Reads a chain and its key, and adds them to the certificates found, or the chain's path with the reason to the
/// skipped paths.
fn certificate(path: &Path, key: &Path, found: &mut ClientFolder) {
    let parts = text(path).and_then(|chain| {
        let key = text(key).map_err(|error| format!("{}: {error}", key.display()))?;
        let info = describe(&chain).map_err(|error| error.to_string())?;
        Ok((chain, key, info))
    });
    match parts {
        Ok((chain, key, info)) => {
            let (path, key) = (path.to_owned(), key.into());
            found.certificates.push(FoundCertificate { path, chain, key, info });
        }
        Err(reason) => found.skipped.push((path.to_owned(), reason)),
    }
}

/// Reads the URL and the key of an account from a file named `name`. `None` if the file does not describe a registered
/// account of lego, certbot, acme.sh or Caddy. The inner error is the reason for which the account's key cannot be
/// used.
fn account(path: &Path, name: &str) -> Option<(String, Result<SecretString, String>)> {
    let folder = path.parent()?;
    match name {
        // lego: account.json beside keys/.
        "account.json" if folder.join("keys").is_dir() => {
            let object: Value = serde_json::from_str(&text(path).ok()?).ok()?;
            let url = object["registration"]["uri"].as_str()?.to_owned();
            let key =
                fs::read_dir(folder.join("keys")).ok()?.filter_map(Result::ok).map(|entry| entry.path());
            let key = key.into_iter().find(|path| path.extension().is_some_and(|end| end == "key"))?;
            Some((url, pem(&key)))
        }
        // certbot: regr.json beside private_key.json.
        "regr.json" => {
            let object: Value = serde_json::from_str(&text(path).ok()?).ok()?;
            let url = object["uri"].as_str()?.to_owned();
            let key = text(&folder.join("private_key.json")).and_then(|text| {
                jwk::to_pem(&text).ok_or_else(|| "private_key.json is not a valid RSA key".to_owned())
            });
            Some((url, key.map(Into::into)))
        }
        // acme.sh: ca.conf beside account.key.
        "ca.conf" => {
            let text = text(path).ok()?;
            let url = text.lines().find_map(|line| line.strip_prefix("ACCOUNT_URL="))?;
            let url = url.trim_matches(['\'', '"']).to_owned();
            Some((url, pem(&folder.join("account.key"))))
        }
        // Caddy: NAME.json beside NAME.key.
        name => {
            let stem = name
                .strip_suffix(".json")
                .filter(|_| path.components().any(|part| part.as_os_str() == "users"))?;
            let object: Value = serde_json::from_str(&text(path).ok()?).ok()?;
            let url = object["location"].as_str().filter(|url| !url.is_empty())?.to_owned();
            Some((url, pem(&folder.join(format!("{stem}.key")))))
        }
    }
}

/// Reads an account key in PEM.
///
/// # Errors
/// Returns a description of the error if the file cannot be read, or the key is not supported.
fn pem(path: &Path) -> Result<SecretString, String> {
    let text = text(path)?;
    AccountKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn files_of_each_client() {
        let home = tempfile::tempdir().expect("a folder");
        let key = AccountKey::generate().expect("a key");
        let names = vec!["a.test".parse().expect("a name")];
        let now = crate::Time::from_secs(1_800_000_000);
        let (chain, leaf_key) =
            crate::client::self_signed(&names, crate::KeyType::Ec256, now).expect("a pair");
        let write = |path: &str, content: &str| {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        };
        for (crt, private) in [
            ("lego/certificates/a.test.crt", "lego/certificates/a.test.key"),
            ("letsencrypt/live/a.test/fullchain.pem", "letsencrypt/live/a.test/privkey.pem"),
            ("acme.sh/a.test_ecc/fullchain.cer", "acme.sh/a.test_ecc/a.test.key"),
            ("caddy/certificates/ca/a.test/a.test.crt", "caddy/certificates/ca/a.test/a.test.key"),
            ("nixos/a.test/fullchain.pem", "nixos/a.test/key.pem"),
        ] {
            write(crt, &chain);
            write(private, leaf_key.expose_secret());
        }
        write("lego/certificates/a.test.issuer.crt", &chain);
        let pem = key.pem().expose_secret();
        write(
            "lego/accounts/ca.test/me@a.test/account.json",
            r#"{"registration":{"uri":"https://ca.test/acct/1"}}"#,
        );
        write("lego/accounts/ca.test/me@a.test/keys/me@a.test.key", pem);
        write("acme.sh/ca/ca.test/directory/ca.conf", "ACCOUNT_URL='https://ca.test/acct/2'\n");
        write("acme.sh/ca/ca.test/directory/account.key", pem);
        write("caddy/acme/ca/users/me/me.json", r#"{"location":"https://ca.test/acct/3"}"#);
        write("caddy/acme/ca/users/me/me.key", pem);
        write("letsencrypt/live/broken/fullchain.pem", "nothing");
        write("letsencrypt/live/broken/privkey.pem", "nothing");
        let found = read(home.path()).expect("a folder");
        assert_eq!(found.certificates.len(), 5, "{found:?}");
        let urls: Vec<&str> = found.accounts.iter().map(|account| account.url.as_str()).collect();
        assert_eq!(urls, ["https://ca.test/acct/2", "https://ca.test/acct/3", "https://ca.test/acct/1"]);
        assert_eq!(found.skipped.len(), 1, "{:?}", found.skipped);
        assert!(!format!("{found:?}").contains("PRIVATE"), "no key is shown");
        assert!(read(Path::new("/nowhere/at/all")).is_err());
    }
}
