//! Secrets in files encrypted with age, as agenix stores them.

use super::open::{FileProtection, read as read_file};
use super::{MAX_SECRET_SIZE, SecretError};
use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, Identity, IdentityFile};
use std::io::{Cursor, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Decrypts `file`, which may be armored, with the identities in the file `identity`. The result is at most 64 KiB.
///
/// # Errors
/// Returns an error if a file cannot be read or is larger than 64 KiB, the identity is not protected or not usable, no
/// identity fits, the encrypted file is damaged, or the result is larger than 64 KiB.
pub(super) fn read(file: &Path, identity: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let identities = identities(identity)?;
    let sealed = read_file(file, FileProtection::Openly)?;
    let failed = |why: DecryptError| SecretError::Age {
        file: file.display().to_string(),
        why: match why {
            DecryptError::NoMatchingKeys => {
                format!("{} cannot decrypt it; encrypt it to that identity too", identity.display())
            }
            DecryptError::UnknownFormat | DecryptError::InvalidHeader => {
                "not a file that age can read (post-quantum recipients are not supported)".to_owned()
            }
            DecryptError::Io(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => {
                "not an age file, or truncated".to_owned()
            }
            other => other.to_string(),
        },
    };
    let opened = Decryptor::new(ArmoredReader::new(Cursor::new(sealed.as_slice()))).map_err(failed)?;
    let stream = opened.decrypt(identities.iter().map(AsRef::as_ref)).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_SIZE as usize + 1));
    stream.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes).map_err(|why| failed(DecryptError::Io(why)))?;
    if bytes.len() as u64 > MAX_SECRET_SIZE {
        return Err(SecretError::Refused { place: file.display().to_string(), why: "longer than 64 KiB" });
    }
    Ok(bytes)
}

/// Reads the age identities or the SSH key in a file. A file that begins with `-----BEGIN` is an SSH key.
///
/// # Errors
/// Returns an error if the file cannot be read, does not pass [`FileProtection::Privately`], or contains neither, or if
/// the SSH key is encrypted or of an unsupported type.
fn identities(path: &Path) -> Result<Vec<Box<dyn Identity>>, SecretError> {
    let refused = |why: String| SecretError::Age { file: path.display().to_string(), why };
    let bytes = read_file(path, FileProtection::Privately)?;
    if bytes.starts_with(b"-----BEGIN") {
        let key = age::ssh::Identity::from_buffer(Cursor::new(bytes.as_slice()), None)
            .map_err(|_| refused("not a readable SSH key".to_owned()))?;
        return match key {
            age::ssh::Identity::Unencrypted(_) => Ok(vec![Box::new(key)]),
            age::ssh::Identity::Encrypted(_) => Err(refused(
                "the SSH key has a passphrase, which cannot be entered here; use a host key".to_owned(),
            )),
            age::ssh::Identity::Unsupported(_) => {
                Err(refused("unsupported SSH key: age supports ssh-ed25519 and ssh-rsa only".to_owned()))
            }
        };
    }
    let none =
        || refused("contains neither an X25519 identity (AGE-SECRET-KEY-1…) nor an SSH key".to_owned());
    let identities = IdentityFile::from_buffer(Cursor::new(bytes.as_slice()))
        .map_err(|_| none())?
        .into_identities()
        .map_err(|_| none())?;
    if identities.is_empty() {
        return Err(none());
    }
    Ok(identities.into_iter().map(|identity| identity as Box<dyn Identity>).collect())
}
