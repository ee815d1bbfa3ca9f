//! Password files: edge-proxyd accepts only the hashes of bcrypt and Argon2.

use super::parse::Directive;
use edge_policy::auth::basic::users;
use std::path::{Path, PathBuf};

/// The result of the check whether edge-proxyd accepts a password file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passwords {
    /// edge-proxyd accepts every hash in the file.
    Taken,
    /// edge-proxyd rejects the file. The text lists the users whose hashes are not accepted, each with the scheme, or
    /// is another error.
    Refused(String),
    /// The file does not exist here or cannot be read.
    Unknown,
}

/// Reads a password file, and returns whether edge-proxyd accepts it. `root` is the folder on this machine in which
/// absolute paths are looked up, `None` for `/`. Names of users are shortened to 40 characters.
pub(super) fn passwords(file: &Path, root: Option<&Path>) -> Passwords {
    let Ok(text) = std::fs::read_to_string(local_path(file, root)) else { return Passwords::Unknown };
    let Err(why) = users(&text) else { return Passwords::Taken };
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, hash)) = line.split_once(':') else { continue };
        if let Some(scheme) = scheme(hash.split(':').next().unwrap_or_default()) {
            let letters: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            found.push(format!("{letters} ({scheme})"));
        }
    }
    if found.is_empty() { Passwords::Refused(why.to_string()) } else { Passwords::Refused(found.join(", ")) }
}

/// Returns the path on this machine of an absolute path in the configuration: below `root`, if that is given. A
/// relative path is returned unchanged.
pub(super) fn local_path(file: &Path, root: Option<&Path>) -> PathBuf {
    match (root, file.strip_prefix("/")) {
        (Some(root), Ok(below)) => root.join(below),
        _ => file.to_owned(),
    }
}

/// Returns the name of the scheme of a hash that edge-proxyd does not accept, for messages. `None` for a hash of bcrypt
/// or Argon2. The text for an unknown scheme is `not a hash that nginx knows`.
fn scheme(hash: &str) -> Option<&'static str> {
    let begins = |all: &[&str]| all.iter().any(|begin| hash.starts_with(begin));
    Some(match hash {
        _ if begins(&["$2y$", "$2b$", "$2a$", "$argon2id$", "$argon2i$"]) => return None,
        _ if begins(&["$apr1$"]) => "apr1",
        _ if begins(&["{SHA}"]) => "SHA",
        _ if begins(&["{SSHA}"]) => "salted SHA",
        _ if begins(&["{PLAIN}"]) => "not hashed",
        _ if begins(&["$1$"]) => "MD5",
        _ if begins(&["$5$", "$6$", "$y$", "$7$"]) => "crypt",
        _ if hash.len() == 13 => "crypt",
        _ => "not a hash that nginx knows",
    })
}

/// The reason in notes and comments for which a password file is not accepted and everyone is denied.
pub(super) const WHY: &str = "its passwords are not kept by bcrypt or argon2, whose hashes alone are taken";

/// Returns the text of the note about a password file that is not accepted, with what to do. `users` are the users with
/// their schemes.
pub(super) fn note(users: &str, file: &Directive) -> String {
    format!(
        "{WHY}: {users}; set them anew by `htpasswd -B {}`, then remove `deny`: `deny` keeps everyone out until then",
        file.first()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_of_htpasswd() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        let bcrypt = "$2y$04$ZeIqkDZkuUPqavW90BkZWewyc8K4uh2FkEZkP/7RMewW09B6RhIfK";
        let of = |text: &str| {
            std::fs::write(&file, text).expect("a file");
            passwords(&file, None)
        };
        assert_eq!(of(&format!("ann:{bcrypt}\n# note\n")), Passwords::Taken);
        assert_eq!(of("ann:$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"), Passwords::Taken);
        for (hash, scheme) in [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "apr1"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA"),
            ("{SSHA}x", "salted SHA"),
            ("{PLAIN}x", "not hashed"),
            ("$1$a$b", "MD5"),
            ("$6$salt$hash", "crypt"),
            ("rqXexS6ZhobKA", "crypt"),
        ] {
            let found = of(&format!("ann:{bcrypt}\nbob:{hash}:a comment"));
            assert_eq!(found, Passwords::Refused(format!("bob ({scheme})")), "{hash}");
        }
        assert!(matches!(of("no colon"), Passwords::Refused(_)));
        assert_eq!(passwords(&folder.path().join("gone"), None), Passwords::Unknown);
        assert_eq!(passwords(Path::new("/users"), Some(folder.path())), of("no colon"));
    }
}
