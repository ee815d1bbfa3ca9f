//! Databases of a manifest, with the objects inside them: serialized form, resolution and writing.

use super::resolve::{Resolution, fields};
use super::spanned::{
    ManifestObject, ManifestReader as _, Settings, SpannedString, absent, maybe, name, no, presence, text,
};
use crate::current::Provider;
use crate::desired::{Database, Extension, Subject};
use crate::inside::event_trigger::EventTriggerSpec;
use crate::inside::extension::ExtensionSpec;
use crate::inside::publication::PublicationSpec;
use crate::inside::schema::SchemaSpec;
use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

/// Serialized form of [`crate::desired::Database`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::desired::Database")]
pub struct DatabaseSpec {
    pub name: SpannedString,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<SpannedString>,
    /// Locale provider: `libc`, `icu` or `builtin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale_provider: Option<ProviderSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lc_collate: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lc_ctype: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<Spanned<i32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_connections: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_template: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<SpannedString>,
    /// Names of extensions that are to exist, with nothing else managed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<SpannedString>,
    /// Extensions of the database, each with its properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<ExtensionSpec>,
    /// Publications of the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publication: Vec<PublicationSpec>,
    /// Event triggers of the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_trigger: Vec<EventTriggerSpec>,
    /// Schemas of the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<SchemaSpec>,
    /// Settings of the database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// `true` to reassign the objects of a former owner to the new one.
    #[serde(default, skip_serializing_if = "no")]
    pub reassign_owned: bool,
    /// SQL script that is executed once, if the database is new or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_sql: Option<SpannedString>,
}

/// Serialized form of [`crate::current::Provider`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is that of crate::current::Provider")]
pub enum ProviderSpec {
    Libc,
    Icu,
    Builtin,
}

impl Resolution<'_, '_> {
    /// Resolves a `[[database]]` entry, and adds the database with its objects and settings to the desired state.
    /// Errors are recorded.
    pub(in crate::manifest) fn database(&mut self, spec: &DatabaseSpec) {
        let Some(name) = self.name(&spec.name) else { return };
        let mut database = Database {
            presence: presence(spec.absent),
            owner: self.maybe(spec.owner.as_ref()),
            encoding: self.text(spec.encoding.as_ref()),
            provider: spec.locale_provider.map(|provider| match provider {
                ProviderSpec::Libc => Provider::Libc,
                ProviderSpec::Icu => Provider::Icu,
                ProviderSpec::Builtin => Provider::Builtin,
            }),
            locale: self.text(spec.locale.as_ref()),
            collate: self.text(spec.lc_collate.as_ref()),
            ctype: self.text(spec.lc_ctype.as_ref()),
            icu_rules: self.text(spec.icu_rules.as_ref()),
            template: self.maybe(spec.template.as_ref()),
            tablespace: self.maybe(spec.tablespace.as_ref()),
            connection_limit: spec.connection_limit.as_ref().map(|limit| *limit.as_ref()),
            allow_connections: spec.allow_connections,
            is_template: spec.is_template,
            comment: self.text(spec.comment.as_ref()),
            reassign_owned: spec.reassign_owned,
            initial_sql: self.text(spec.initial_sql.as_ref()),
            ..Database::default()
        };
        for word in &spec.extensions {
            self.extension(&mut database, &name, word);
        }
        self.each(&name, &spec.extension, &mut database.inside.extensions);
        self.each(&name, &spec.publication, &mut database.inside.publications);
        self.each(&name, &spec.event_trigger, &mut database.inside.event_triggers);
        self.each(&name, &spec.schema, &mut database.inside.schemas);
        let fields = fields([
            ("owner", spec.owner.as_ref().map(Spanned::span)),
            ("template", spec.template.as_ref().map(Spanned::span)),
            ("connection_limit", spec.connection_limit.as_ref().map(Spanned::span)),
        ]);
        if self.place(Subject::Database(name.clone()), spec.name.span(), fields) {
            self.desired.database(name.clone(), database);
            self.settings(None, Some(&name), &spec.settings);
        }
    }

    /// Declares an extension of which only the name is given. Errors are recorded: a name that is not valid, or an
    /// extension that is declared twice.
    fn extension(&mut self, database: &mut Database, of: &Name, word: &SpannedString) {
        let Some(name) = self.name(word) else { return };
        if self.place(Subject::Extension(of.clone(), name.clone()), word.span(), Vec::new()) {
            database.inside.extensions.insert(name, Extension::default());
        }
    }

    /// Resolves the objects of one kind, and adds to `into` those with a valid name that are not declared twice. Errors
    /// are recorded.
    fn each<W: ManifestObject>(&mut self, database: &Name, all: &[W], into: &mut BTreeMap<Name, W::Form>) {
        for written in all {
            let form = written.form(self);
            let Some(name) = self.name(written.name()) else { continue };
            let subject = W::subject(database.clone(), name.clone());
            if self.place(subject, written.name().span(), written.fields()) {
                into.insert(name, form);
            }
        }
    }
}

/// Converts a database and its settings to the serialized form.
pub(super) fn database(of: &Name, wanted: &Database, settings: Settings) -> DatabaseSpec {
    DatabaseSpec {
        name: name(of),
        absent: absent(wanted.presence),
        owner: maybe(wanted.owner.as_ref()),
        encoding: text(wanted.encoding.as_ref()),
        locale_provider: wanted.provider.map(|provider| match provider {
            Provider::Libc => ProviderSpec::Libc,
            Provider::Icu => ProviderSpec::Icu,
            Provider::Builtin => ProviderSpec::Builtin,
        }),
        locale: text(wanted.locale.as_ref()),
        lc_collate: text(wanted.collate.as_ref()),
        lc_ctype: text(wanted.ctype.as_ref()),
        icu_rules: text(wanted.icu_rules.as_ref()),
        template: maybe(wanted.template.as_ref()),
        tablespace: maybe(wanted.tablespace.as_ref()),
        connection_limit: wanted.connection_limit.map(|limit| Spanned::new(0..0, limit)),
        allow_connections: wanted.allow_connections,
        is_template: wanted.is_template,
        comment: text(wanted.comment.as_ref()),
        extensions: Vec::new(),
        extension: to_specs(&wanted.inside.extensions),
        publication: to_specs(&wanted.inside.publications),
        event_trigger: to_specs(&wanted.inside.event_triggers),
        schema: to_specs(&wanted.inside.schemas),
        settings,
        reassign_owned: wanted.reassign_owned,
        initial_sql: text(wanted.initial_sql.as_ref()),
    }
}

/// Converts the objects of one kind to the serialized form.
fn to_specs<W: ManifestObject>(all: &BTreeMap<Name, W::Form>) -> Vec<W> {
    all.iter().map(|(name, form)| W::of(name, form)).collect()
}
