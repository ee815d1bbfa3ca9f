//! Reader for the section `[acme]`.

use acme_dns01_config::{ProviderSettings, Settings};
use cli_support::document::Source;
use cli_support::finding::Findings;
use cli_support::secret::Reference;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A parsed section. Two sections are equal if their text is equivalent.
#[derive(Clone, Debug)]
pub(crate) struct AcmeSection {
    /// The settings of the section.
    pub(crate) settings: Arc<Settings>,
    written: toml::Table,
}

impl AcmeSection {
    /// Returns the folder that certificates are stored in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.settings.folder.clone()
    }

    /// Returns the files that the section names, including those of secrets.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.written.values().for_each(|value| collect_paths(value, &mut paths));
        paths
    }

    /// Returns the references to secrets that the section names.
    pub(crate) fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        self.written.values().for_each(|value| collect_references(value, &mut references));
        references
    }

    /// Returns the names of the certificates, patterns too.
    pub(crate) fn names(&self) -> Vec<String> {
        let certificates = self.settings.certificates().unwrap_or_default();
        certificates.iter().flat_map(|one| one.spec.names.iter().map(ToString::to_string)).collect()
    }

    /// Returns the keys of the section that run external programs.
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

/// Collects the references to secrets in a value.
fn collect_references(value: &toml::Value, references: &mut Vec<Reference>) {
    match value {
        toml::Value::String(text) => references.extend(text.parse::<Reference>()),
        toml::Value::Array(list) => list.iter().for_each(|value| collect_references(value, references)),
        toml::Value::Table(table) => table.values().for_each(|value| collect_references(value, references)),
        _ => {}
    }
}

/// Collects the files that a value names.
fn collect_paths(value: &toml::Value, paths: &mut Vec<PathBuf>) {
    match value {
        toml::Value::String(text) => match text.parse() {
            Ok(Reference::File(file)) => paths.push(file),
            Ok(Reference::Age { file, identity }) => paths.extend([file, identity]),
            _ if text.starts_with('/') => paths.push(text.into()),
            _ => {}
        },
        toml::Value::Array(list) => list.iter().for_each(|value| collect_paths(value, paths)),
        toml::Value::Table(table) => table.values().for_each(|value| collect_paths(value, paths)),
        _ => {}
    }
}

impl PartialEq for AcmeSection {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// Returns the JSON Schema of the section.
pub(crate) fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        // The result is embedded in another schema, where references would not resolve.
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Settings>();
    schema.remove("title");
    schema.to_value()
}

/// Reads the section from the text of the file. The folder is that of `[certificates]`.
///
/// # Errors
/// Everything that is wrong in the section, each with its place.
pub(crate) fn read(file: &str, text: &str, folder: Option<&Path>) -> Result<AcmeSection, Findings> {
    let source = Source::parse(file, text, acme_dns01_config::WORDS)?;
    let mut settings = Settings::read(&source, "acme")?;
    let written = source.deserialize_part(&["acme"])?;
    if let Some(folder) = folder {
        settings.folder = folder.to_owned();
    }
    Ok(AcmeSection { settings: Arc::new(settings), written })
}
