//! The section as written.

use acme_dns01_config::{ProviderSettings, Settings};
use cli_support::secret::Reference;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

/// A section that was read. Two are equal if they were written alike.
#[derive(Clone, Debug)]
pub(crate) struct AcmeSection {
    /// What it says.
    pub(crate) settings: Arc<Settings>,
    written: toml::Table,
}

impl AcmeSection {
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

impl PartialEq for AcmeSection {
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
pub(crate) fn read(text: &str, folder: Option<&Path>) -> Result<AcmeSection, String> {
    // Without the line itself: somebody may have written a secret where its reference belongs.
    let wrong = |why: toml::de::Error| {
        let at = provider_key(text, why.message()).or(why.span().map(|span| span.start)).unwrap_or(0);
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        // What stands right before an equals sign, of a list's first too, is a key. Anything else may be a part of a secret.
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

/// Where the value of the key stands that makes a provider wrong, if it is a provider of which this was said. serde forgets the places of what is read by its kind: the key is
/// the one without which something else is said, or nothing.
fn provider_key(text: &str, said: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let providers = file.get_ref().get("acme")?.get_ref().as_table()?.get("provider")?;
    let written = toml::from_str::<File<toml::Table>>(text).ok()?.acme;
    for (name, provider) in providers.get_ref().as_table()? {
        let table = written.get("provider")?.get(name.get_ref().as_ref())?.as_table()?;
        let why = |table: toml::Table| {
            table.try_into::<ProviderSettings>().err().map(|why| why.message().to_owned())
        };
        // A field that is missing is named by what is said.
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
