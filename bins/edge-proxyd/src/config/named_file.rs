//! The files and folders that a configuration names, with the positions of their names.

use std::path::PathBuf;

/// A file or folder, and the key that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// The path of the file or folder.
    pub(crate) path: PathBuf,
    /// The path of the key, such as `site[0].client_certificates.ca`.
    pub(crate) key: String,
    /// The included file that has the key; `None` for the main file.
    pub(crate) file: Option<String>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column, from 1, in characters.
    pub(crate) column: usize,
}
