//! The section as written.

use acme_dns01_config::Settings;
use std::path::Path;
use toml::de::DeValue;

/// Reads the section from the file's text. Its errors name the line. The folder is that of `[certificates]`.
///
/// # Errors
/// In words, for the place of the section.
pub(crate) fn read(text: &str, section: &DeValue<'_>, folder: Option<&Path>) -> Result<Settings, String> {
    // What is in the file is read by its own reader once more, which knows nothing else of the file.
    let _ = section;
    #[derive(serde::Deserialize)]
    struct File {
        acme: Settings,
    }
    let file: File = toml::from_str(text).map_err(|why| why.to_string().trim_end().replace('\n', "; "))?;
    let mut settings = file.acme;
    if let Some(folder) = folder {
        settings.folder = folder.to_owned();
    }
    settings.certificates().map_err(|why| why.to_string())?;
    Ok(settings)
}
