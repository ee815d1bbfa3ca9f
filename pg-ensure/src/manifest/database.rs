//! Databases with what is in them: as they are written, read and written back.

use super::resolve::{Resolution, fields};
use super::word::{Settings, Word, WordReader as _, Written, absent, maybe, name, no, presence, text};
use crate::current::Provider;
use crate::desired::{Database, Extension, Subject};
use crate::inside::extension::ExtensionDto;
use crate::inside::publication::PublicationDto;
use crate::inside::schema::SchemaDto;
use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

/// Serialized form of [`crate::desired::Database`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::desired::Database")]
pub struct DatabaseDto {
    pub name: Word,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Word>,
    /// Locale provider: `libc`, `icu` or `builtin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale_provider: Option<ProviderDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lc_collate: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lc_ctype: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<Spanned<i32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_connections: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_template: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// Names of extensions that are to exist, with nothing else managed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Word>,
    /// Extensions by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<ExtensionDto>,
    /// Publications by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publication: Vec<PublicationDto>,
    /// Schemas by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<SchemaDto>,
    /// Settings of the database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// True to reassign the objects of a former owner to the new one.
    #[serde(default, skip_serializing_if = "no")]
    pub reassign_owned: bool,
    /// SQL script that is executed once, in an empty database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_sql: Option<Word>,
}

/// Serialized form of [`crate::current::Provider`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is that of crate::current::Provider")]
pub enum ProviderDto {
    Libc,
    Icu,
    Builtin,
}

impl Resolution<'_, '_> {
    pub(in crate::manifest) fn database(&mut self, dto: &DatabaseDto) {
        let Some(name) = self.name(&dto.name) else { return };
        let mut database = Database {
            presence: presence(dto.absent),
            owner: self.maybe(dto.owner.as_ref()),
            encoding: self.text(dto.encoding.as_ref()),
            provider: dto.locale_provider.map(|provider| match provider {
                ProviderDto::Libc => Provider::Libc,
                ProviderDto::Icu => Provider::Icu,
                ProviderDto::Builtin => Provider::Builtin,
            }),
            locale: self.text(dto.locale.as_ref()),
            collate: self.text(dto.lc_collate.as_ref()),
            ctype: self.text(dto.lc_ctype.as_ref()),
            icu_rules: self.text(dto.icu_rules.as_ref()),
            template: self.maybe(dto.template.as_ref()),
            tablespace: self.maybe(dto.tablespace.as_ref()),
            connection_limit: dto.connection_limit.as_ref().map(|limit| *limit.as_ref()),
            allow_connections: dto.allow_connections,
            is_template: dto.is_template,
            comment: self.text(dto.comment.as_ref()),
            reassign_owned: dto.reassign_owned,
            initial_sql: self.text(dto.initial_sql.as_ref()),
            ..Database::default()
        };
        for word in &dto.extensions {
            self.extension(&mut database, &name, word);
        }
        self.each(&name, &dto.extension, &mut database.inside.extensions);
        self.each(&name, &dto.publication, &mut database.inside.publications);
        self.each(&name, &dto.schema, &mut database.inside.schemas);
        let fields = fields([
            ("owner", dto.owner.as_ref().map(Spanned::span)),
            ("template", dto.template.as_ref().map(Spanned::span)),
            ("connection_limit", dto.connection_limit.as_ref().map(Spanned::span)),
        ]);
        if self.place(Subject::Database(name.clone()), dto.name.span(), fields) {
            self.desired.database(name.clone(), database);
            self.settings(None, Some(&name), &dto.settings);
        }
    }

    /// An extension of which nothing but the name is said.
    fn extension(&mut self, database: &mut Database, of: &Name, word: &Word) {
        let Some(name) = self.name(word) else { return };
        if self.place(Subject::Extension(of.clone(), name.clone()), word.span(), Vec::new()) {
            database.inside.extensions.insert(name, Extension::default());
        }
    }

    /// The objects of one kind.
    fn each<W: Written>(&mut self, database: &Name, all: &[W], into: &mut BTreeMap<Name, W::Form>) {
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

/// A database as it is written, with its settings.
pub(super) fn database(of: &Name, wanted: &Database, settings: Settings) -> DatabaseDto {
    DatabaseDto {
        name: name(of),
        absent: absent(wanted.presence),
        owner: maybe(wanted.owner.as_ref()),
        encoding: text(wanted.encoding.as_ref()),
        locale_provider: wanted.provider.map(|provider| match provider {
            Provider::Libc => ProviderDto::Libc,
            Provider::Icu => ProviderDto::Icu,
            Provider::Builtin => ProviderDto::Builtin,
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
        extension: written(&wanted.inside.extensions),
        publication: written(&wanted.inside.publications),
        schema: written(&wanted.inside.schemas),
        settings,
        reassign_owned: wanted.reassign_owned,
        initial_sql: text(wanted.initial_sql.as_ref()),
    }
}

/// The objects of one kind, as they are written.
fn written<W: Written>(all: &BTreeMap<Name, W::Form>) -> Vec<W> {
    all.iter().map(|(name, form)| W::of(name, form)).collect()
}
