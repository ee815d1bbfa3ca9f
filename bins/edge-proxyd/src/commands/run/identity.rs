//! The identity of the certificates folder. The sandbox allows the folder that was at the path when it was entered. A
//! file system that is mounted there later, or a folder that replaces it, is not accessible to this process, since a
//! sandbox cannot be widened; a new process that takes over can access it.

use crate::journal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The path of the certificates folder, and the identity of the folder that was last seen there.
pub(super) struct FolderIdentity {
    /// The path. `None` if no folder is configured.
    path: Option<PathBuf>,
    /// The device and inode of the folder that was seen last. `None` if there was none.
    found: Option<(u64, u64)>,
}

impl FolderIdentity {
    /// Records the folder that is at the path now. Without a path, nothing is ever detected.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let mut identity = Self { path, found: None };
        identity.found = identity.stat();
        identity
    }

    /// Returns the path if another folder is there than at the last call, and records the new one. `None` if nothing
    /// changed, if nothing is there now, or if nothing was there before: the sandbox gives access to a folder that is
    /// created later in its parent.
    pub(super) fn detect_change(&mut self) -> Option<&PathBuf> {
        let found = self.stat();
        if found.is_none() || found == self.found {
            return None;
        }
        let before = std::mem::replace(&mut self.found, found);
        before.and(self.path.as_ref())
    }

    /// Returns the device and inode of the file at the path now. `None` without a path or file. Landlock does not
    /// restrict this call.
    fn stat(&self) -> Option<(u64, u64)> {
        let about = std::fs::metadata(self.path.as_ref()?).ok()?;
        Some((about.dev(), about.ino()))
    }
}

/// Logs that a path leads to what the sandbox of this process does not know, and what follows. Returns `follows`: whether
/// a service manager follows the new main process, so that a takeover should begin. Without one, a takeover would look
/// like the end of the process.
pub(super) fn tell_replaced(path: &Path, follows: bool) -> bool {
    let then = if follows { "a new one takes over" } else { "restart edge-proxyd" };
    journal::warning(format_args!(
        "{}: mounted or replaced since the start, which the sandbox of this process does not know: {then}",
        path.display()
    ));
    follows
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
