//! Accounts of the host, and their access to files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user as which a program runs, with the groups of that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User name, or `user UID` if the user has no name.
    pub name: String,
    /// Numeric user ID.
    pub uid: u32,
    /// Numeric IDs of the groups of the user.
    pub gids: Vec<u32>,
}

impl Account {
    /// Looks up a user by name, or by a number in its place, by running `id`. `None` if there is no such user, or `id`
    /// cannot be run.
    pub fn by_name(name: &str) -> Option<Self> {
        let uid = ids("-u", name)?.first().copied()?;
        Some(Self { name: name.to_owned(), uid, gids: ids("-G", name)? })
    }

    /// Looks up the account that owns a file; symbolic links are followed. An owner without a name is called `user
    /// UID`, and has only the group of the file. `None` if the file cannot be examined.
    pub fn owner_of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let (uid, gid) = (about.uid(), about.gid());
        let name = output("-un", &uid.to_string()).and_then(|name| Self::by_name(&name));
        Some(name.unwrap_or_else(|| Self { name: format!("user {uid}"), uid, gids: vec![gid] }))
    }

    /// Returns the home folder of the account, from the line that `getent passwd` prints. `/`, as systemd has it for
    /// accounts without one, if there is none.
    pub fn home(&self) -> PathBuf {
        let line = Command::new("getent").arg("passwd").arg(self.uid.to_string()).output().ok();
        let line = line.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
        let home = line.lines().next().and_then(|line| line.split(':').nth(5));
        home.filter(|home| home.starts_with('/')).unwrap_or("/").into()
    }

    /// Returns the login name of the account, which `id -un` prints. `None` if it has none, or `id` cannot be run.
    pub fn login(&self) -> Option<String> {
        output("-un", &self.uid.to_string()).filter(|name| !name.is_empty())
    }

    /// Looks up the account as which a systemd service runs, from the property `User` that `systemctl show` prints.
    /// `None` if `systemctl` cannot be run, the service does not exist or sets no user, or the user does not exist or
    /// is root.
    pub fn of_unit(unit: &str) -> Option<Self> {
        let output =
            Command::new("systemctl").args(["show", "--value", "--property=User", unit]).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?;
        Self::by_name(name.trim()).filter(|account| account.uid != 0)
    }

    /// Returns the reason for which the account cannot read a file, `None` if it can. Symbolic links are resolved
    /// first; then owner, group and mode decide: every folder from the file's up to `/` must be searchable, and the
    /// file readable. The text names the first folder that is not searchable, or else describes the file. Access
    /// control lists are not taken into account.
    ///
    /// # Errors
    /// Returns an error if the file or one of its folders cannot be examined.
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

    /// Returns `true` if the account has the permission `bit` (4 read, 1 search) by the mode. As in the kernel only one
    /// class counts: that of the owner, else that of the group, else that of others. User 0 has every permission.
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

/// Returns owner, group and mode of a file as text: `of user 0, group 0, mode 0600`, with numeric IDs and an octal
/// mode.
fn describe(about: &Metadata) -> String {
    format!("of user {}, group {}, mode {:04o}", about.uid(), about.gid(), about.mode() & 0o7777)
}

/// Returns the numbers that `id OPTION NAME` prints, separated by blanks. `None` if it fails, cannot be run, or prints
/// something other than numbers, and for names that [`output`] does not accept.
fn ids(option: &str, name: &str) -> Option<Vec<u32>> {
    output(option, name)?.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// Returns the trimmed output of `id OPTION NAME`. `None` if the name is empty or begins with `-`, `id` cannot be run
/// or fails, or its output is not UTF-8.
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
        let root = Account::by_name("root").expect("every machine has it");
        let line = Command::new("getent").args(["passwd", "root"]).output().expect("getent");
        let line = String::from_utf8(line.stdout).expect("text");
        let home = line.trim_end().split(':').nth(5).expect("a home");
        assert_eq!((root.uid, root.home()), (0, PathBuf::from(home)));
        assert_eq!(root.login().as_deref(), Some("root"));
        assert_eq!((stranger.home(), stranger.login()), (PathBuf::from("/"), None));
    }
}
