//! The reader of the section `[acme]`.

use acme_dns01_config::{ProviderSettings, Settings};
use cli_support::document::Source;
use cli_support::finding::Findings;
use cli_support::secret::Reference;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The section `[acme]` of a configuration. Two sections are equal if they have the same keys and values in the file,
/// whatever their order and form.
#[derive(Clone, Debug)]
pub(crate) struct AcmeSection {
    /// The parsed settings. Their folder is that of `[certificates]`, if the configuration has it.
    pub(crate) settings: Arc<Settings>,
    /// The section as it is in the file, to compare two sections and to find the paths in it.
    written: toml::Table,
}

impl AcmeSection {
    /// Returns the folder in which certificates are stored.
    pub(crate) fn folder(&self) -> PathBuf {
        self.settings.folder.clone()
    }

    /// Returns the files and folders that the section names: values that are absolute paths, the files of secrets, and
    /// the identities that decrypt them with age.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.written.values().for_each(|value| collect_paths(value, &mut paths));
        paths
    }

    /// Returns the ids of all certificates. Empty if the certificates are not valid.
    pub(crate) fn ids(&self) -> Vec<String> {
        let certificates = self.settings.certificates().unwrap_or_default();
        certificates.into_iter().map(|one| one.spec.id).collect()
    }

    /// Returns the DNS names of all certificates, including wildcards such as `*.example.org`. Empty if the
    /// certificates are not valid.
    pub(crate) fn names(&self) -> Vec<String> {
        let certificates = self.settings.certificates().unwrap_or_default();
        certificates.iter().flat_map(|one| one.spec.names.iter().map(ToString::to_string)).collect()
    }

    /// Returns those of the keys `alert.command`, `post_run`, `provider` and `reload_services` by which the engine runs
    /// external programs. Empty if it runs none.
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

/// Appends the paths that a value names to `paths`, including those in nested lists and tables: text that begins with
/// `/`, and the files and identities of references to secrets.
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

/// Returns the JSON Schema of the section, without `$ref`, so that it can be embedded in another schema.
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

/// Reads the section `[acme]` from `text`, the whole configuration. `file` is the name of the file in errors, and
/// `folder` that of `[certificates]`, which replaces the folder of the section; `None` leaves it.
///
/// # Errors
/// The errors of the section, each with its line and column, or that the text is not valid TOML.
pub(crate) fn read(file: &str, text: &str, folder: Option<&Path>) -> Result<AcmeSection, Findings> {
    let source = Source::parse(file, text, acme_dns01_config::WORDS)?;
    let mut settings = Settings::read(&source, "acme")?;
    let written = source.deserialize_part(&["acme"])?;
    if let Some(folder) = folder {
        settings.folder = folder.to_owned();
    }
    Ok(AcmeSection { settings: Arc::new(settings), written })
}
