//! Accounts of the machine, and the files that one of them can read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A user that a program runs as, with its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name, or the number where there is no name.
    pub name: String,
    /// The number of the user.
    pub uid: u32,
    /// The numbers of its groups.
    pub gids: Vec<u32>,
}

impl Account {
    /// Looks a user up by name, by the program `id`. `None` if there is no such user.
    pub fn by_name(name: &str) -> Option<Self> {
        let uid = ids("-u", name)?.first().copied()?;
        Some(Self { name: name.to_owned(), uid, gids: ids("-G", name)? })
    }

    /// Looks up the account that owns a file. An owner without a name is called `user UID`, and has the file's group alone.
    /// `None` if the file cannot be examined.
    pub fn owner_of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let (uid, gid) = (about.uid(), about.gid());
        let name = output("-un", &uid.to_string()).and_then(|name| Self::by_name(&name));
        Some(name.unwrap_or_else(|| Self { name: format!("user {uid}"), uid, gids: vec![gid] }))
    }

    /// Returns the reason for which the account cannot read a file, by the owners and modes of it and of its folders. `None` if
    /// it can. Access lists are not looked at.
    ///
    /// # Errors
    /// The file or one of its folders cannot be looked at.
    pub fn read_obstacle(&self, path: &Path) -> std::io::Result<Option<String>> {
        let real = path.canonicalize()?;
        let about = std::fs::metadata(&real)?;
        let folders = real.ancestors().skip(1).map(Path::to_owned);
        for folder in folders {
            let held = std::fs::metadata(&folder)?;
            if !self.may(&held, 0o1) {
                return Ok(Some(format!("{} is {}", folder.display(), describe(&held))));
            }
        }
        Ok((!self.may(&about, 0o4)).then(|| format!("it is {}", describe(&about))))
    }

    fn may(&self, about: &Metadata, bit: u32) -> bool {
        let shift = match () {
            () if self.uid == 0 => return true,
            () if about.uid() == self.uid => 6,
            () if self.gids.contains(&about.gid()) => 3,
            () => 0,
        };
        about.mode() >> shift & bit != 0
    }
}

fn describe(about: &Metadata) -> String {
    format!("of user {}, group {}, mode {:04o}", about.uid(), about.gid(), about.mode() & 0o7777)
}

fn ids(option: &str, name: &str) -> Option<Vec<u32>> {
    output(option, name)?.split_whitespace().map(|number| number.parse().ok()).collect()
}

fn output(option: &str, name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with('-') {
        return None;
    }
    let output = Command::new("id").arg(option).arg(name).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn owners_groups_and_folders_decide() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "x").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(folder.path(), 0o755);
        let about = std::fs::metadata(&file).unwrap();
        let owner = Account { name: "owner".to_owned(), uid: about.uid(), gids: vec![] };
        let member = Account { name: "member".to_owned(), uid: 4_000_001, gids: vec![about.gid()] };
        let stranger = Account { name: "stranger".to_owned(), uid: 4_000_002, gids: vec![4_000_002] };
        let readable = |account: &Account| account.read_obstacle(&file).unwrap().is_none();
        for (bits, expected) in
            [(0o400, [true, false, false]), (0o440, [true, true, false]), (0o444, [true; 3])]
        {
            mode(&file, bits);
            assert_eq!([readable(&owner), readable(&member), readable(&stranger)], expected, "{bits:o}");
        }
        mode(folder.path(), 0o700);
        assert!(!readable(&stranger), "the folder keeps it out");
        assert!(Account::by_name("root").is_some_and(|root| root.uid == 0));
    }
}
