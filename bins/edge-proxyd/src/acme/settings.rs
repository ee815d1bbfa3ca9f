//! The section as written.

use acme_dns01_config::{ProviderSettings, Settings};
use cli_support::secret::Reference;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A section that was read. Two are equal if they were written alike.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// What it says.
    pub(crate) settings: Arc<Settings>,
    written: toml::Table,
}

impl Section {
    /// Where certificates are kept.
    pub(crate) fn folder(&self) -> PathBuf {
        self.settings.folder.clone()
    }

    /// The files that it names, those of secrets too.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.written.values().for_each(|value| named(value, &mut paths));
        paths
    }

    /// The keys by which programs of the owner's are run.
    pub(crate) fn programs(&self) -> Vec<&'static str> {
        let settings = &self.settings;
        let certificates = &settings.certificate;
        let keys = [
            ("alert.command", !settings.alert.command.is_empty()),
            ("post_run", certificates.iter().any(|certificate| certificate.post_run.is_some())),
            ("provider", settings.provider.values().any(|one| matches!(one, ProviderSettings::Exec { .. }))),
            ("reload_services", certificates.iter().any(|one| !one.reload_services.is_empty())),
        ];
        keys.into_iter().filter(|(_, runs)| *runs).map(|(key, _)| key).collect()
    }
}

/// The files that a value names.
fn named(value: &toml::Value, paths: &mut Vec<PathBuf>) {
    match value {
        toml::Value::String(text) => match text.parse() {
            Ok(Reference::File(file)) => paths.push(file),
            Ok(Reference::Age { file, identity }) => paths.extend([file, identity]),
            _ if text.starts_with('/') => paths.push(text.into()),
            _ => {}
        },
        toml::Value::Array(list) => list.iter().for_each(|value| named(value, paths)),
        toml::Value::Table(table) => table.values().for_each(|value| named(value, paths)),
        _ => {}
    }
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

/// What may be in the section, as JSON Schema.
pub(crate) fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        // It stands inside of another schema, where references would lead nowhere.
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Settings>();
    schema.remove("title");
    schema.to_value()
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
