//! The section as written.

use acme_dns01_config::Settings;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// A section that was read. Two are equal if they were written alike.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// What it says.
    pub(crate) settings: Arc<Settings>,
    written: toml::Table,
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// The section alone: what else is in the file is read by others.
#[derive(Deserialize)]
struct File<T> {
    acme: T,
}

/// Reads the section from the file's text. The folder is that of `[certificates]`.
///
/// # Errors
/// In words, for the place of the section; they name the line where it is known.
pub(crate) fn read(text: &str, folder: Option<&Path>) -> Result<Section, String> {
    // Without the line itself: somebody may have written a secret where its reference belongs.
    let wrong = |why: toml::de::Error| {
        let before = text.get(..why.span().map_or(0, |span| span.start)).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", why.message().replace('\n', "; "))
    };
    let mut settings = toml::from_str::<File<Settings>>(text).map_err(wrong)?.acme;
    let written = toml::from_str::<File<toml::Table>>(text).map_err(wrong)?.acme;
    if let Some(folder) = folder {
        settings.folder = folder.to_owned();
    }
    settings.certificates().map_err(|why| why.to_string())?;
    Ok(Section { settings: Arc::new(settings), written })
}
