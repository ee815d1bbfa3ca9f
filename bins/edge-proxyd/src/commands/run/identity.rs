//! The folder of certificates as it was when the sandbox was entered. A file system that is mounted over it later, or another
//! folder in its place, is closed to this process for ever: a sandbox cannot be widened. A successor enters one of its own.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The path of the folder of certificates, and the folder that was there when it was last looked at.
pub(super) struct FolderIdentity {
    path: Option<PathBuf>,
    /// Device and inode; `None` without a folder.
    found: Option<(u64, u64)>,
}

impl FolderIdentity {
    /// Records the folder that is at a path now.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let mut identity = Self { path, found: None };
        identity.found = identity.stat();
        identity
    }

    /// Returns the path if something else is there than before, and remembers what is there. `None` if nothing changed, or if there was
    /// no folder before: what it is made in was allowed.
    pub(super) fn detect_change(&mut self) -> Option<&PathBuf> {
        let found = self.stat();
        if found.is_none() || found == self.found {
            return None;
        }
        let before = std::mem::replace(&mut self.found, found);
        before.and(self.path.as_ref())
    }

    /// Returns device and inode of the file that the path names now, which Landlock does not restrict. `None` without a path
    /// or file.
    fn stat(&self) -> Option<(u64, u64)> {
        let about = std::fs::metadata(self.path.as_ref()?).ok()?;
        Some((about.dev(), about.ino()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_folder_is_a_change_and_a_folder_that_is_gone_is_none() {
        let parent = tempfile::tempdir().expect("a folder");
        let (path, other) = (parent.path().join("acme"), parent.path().join("other"));
        std::fs::create_dir(&path).expect("a folder");
        std::fs::create_dir(&other).expect("a folder");
        let mut identity = FolderIdentity::new(Some(path.clone()));
        std::fs::write(path.join("file"), "").expect("a file");
        assert_eq!(identity.detect_change(), None);
        std::fs::remove_dir_all(&path).expect("it is there");
        assert_eq!(identity.detect_change(), None);
        std::fs::rename(&other, &path).expect("it is there");
        assert_eq!(identity.detect_change(), Some(&path));
        assert_eq!(identity.detect_change(), None);
        assert_eq!(FolderIdentity::new(None).detect_change(), None);
        let mut identity = FolderIdentity::new(Some(parent.path().join("later")));
        std::fs::create_dir(parent.path().join("later")).expect("a folder");
        assert_eq!(identity.detect_change(), None);
    }
}
