//! Reader for the section `[acme]`.

use acme_dns01_config::{ProviderSettings, Settings};
use cli_support::secret::Reference;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

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
        self.written.values().for_each(|value| named(value, &mut paths));
        paths
    }

    /// Returns the keys that run external programs.
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

/// Collects the files that a value names.
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

impl PartialEq for AcmeSection {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// The section alone; the rest of the file is read elsewhere.
#[derive(Deserialize)]
struct File<T> {
    acme: T,
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
/// A message for the position of the section, with the line where it is known.
pub(crate) fn read(text: &str, folder: Option<&Path>) -> Result<AcmeSection, String> {
    // Leaves out the line itself: it may hold a secret in place of a reference.
    let wrong = |why: toml::de::Error| {
        let at = provider_key(text, why.message()).or(why.span().map(|span| span.start)).unwrap_or(0);
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        // The word before an equals sign, or before the first item of a list, is a key. Anything else may be part of a
        // secret.
        let begun = before.rsplit('\n').next().unwrap_or_default();
        let begun = begun.trim_end_matches([' ', '\t', '[']).strip_suffix('=');
        let key = begun.and_then(|begun| begun.trim_end().rsplit([' ', '\t', ',', '{']).next());
        let key = key.map(|key| format!(", `{key}`")).unwrap_or_default();
        format!("line {line}{key}: {}", why.message().replace('\n', "; "))
    };
    let mut settings = toml::from_str::<File<Settings>>(text).map_err(wrong)?.acme;
    let written = toml::from_str::<File<toml::Table>>(text).map_err(wrong)?.acme;
    if let Some(folder) = folder {
        settings.folder = folder.to_owned();
    }
    settings.certificates().map_err(|why| why.to_string())?;
    Ok(AcmeSection { settings: Arc::new(settings), written })
}

/// Finds the value of the key that makes a provider invalid, if the message is about a provider. serde loses positions
/// in tagged enums, so each key is removed in turn: the faulty one is the key without which the message changes.
fn provider_key(text: &str, said: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let providers = file.get_ref().get("acme")?.get_ref().as_table()?.get("provider")?;
    let written = toml::from_str::<File<toml::Table>>(text).ok()?.acme;
    for (name, provider) in providers.get_ref().as_table()? {
        let table = written.get("provider")?.get(name.get_ref().as_ref())?.as_table()?;
        let why = |table: toml::Table| {
            table.try_into::<ProviderSettings>().err().map(|why| why.message().to_owned())
        };
        // A missing field is named by the message itself.
        if why(table.clone()).is_none_or(|why| why != said || why.starts_with("missing field")) {
            continue;
        }
        for (key, value) in provider.get_ref().as_table()? {
            let mut rest = table.clone();
            rest.remove(key.get_ref().as_ref());
            if key.get_ref() != "kind" && why(rest).as_deref() != Some(said) {
                return Some(value.span().start);
            }
        }
    }
    None
}
