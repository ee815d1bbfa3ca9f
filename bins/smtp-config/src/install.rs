//! Replacing a file atomically.

use crate::report::Failure;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Replaces a file, with the owner and the mode it has. A link stays a link: what it points to is replaced.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |why: std::io::Error| Failure::Failed(format!("{}: {why}", path.display()));
    let real = path.canonicalize().map_err(failed)?;
    let about = std::fs::metadata(&real).map_err(failed)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".app.ini.").tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let fresh = file.as_file().metadata().map_err(failed)?;
    if (fresh.uid(), fresh.gid()) != (about.uid(), about.gid()) {
        fchown(file.as_file(), Some(about.uid()), Some(about.gid())).map_err(failed)?;
    }
    file.as_file().set_permissions(Permissions::from_mode(about.mode() & 0o7777)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&real).map_err(|why| failed(why.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
