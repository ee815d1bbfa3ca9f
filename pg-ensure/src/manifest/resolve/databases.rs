//! Databases with what is in them, and settings.

use super::super::dto::{DatabaseDto, ProviderDto, SettingValue, Settings, Word};
use super::{Resolution, fields, presence};
use crate::current::Provider;
use crate::desired::{Database, Extension, Schema, Subject};
use crate::name::{Name, Text};
use crate::object::Setting;
use toml::Spanned;

impl Resolution<'_, '_> {
    pub(super) fn database(&mut self, dto: &DatabaseDto) {
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
            self.extension(&mut database, &name, word, Extension::default());
        }
        for extension in &dto.extension {
            let wanted = Extension {
                presence: presence(extension.absent),
                version: self.text(extension.version.as_ref()),
                schema: self.maybe(extension.schema.as_ref()),
            };
            self.extension(&mut database, &name, &extension.name, wanted);
        }
        for schema in &dto.schema {
            let wanted = Schema {
                presence: presence(schema.absent),
                owner: self.maybe(schema.owner.as_ref()),
                comment: self.text(schema.comment.as_ref()),
            };
            let Some(inner) = self.name(&schema.name) else { continue };
            let fields = fields([("owner", schema.owner.as_ref().map(Spanned::span))]);
            if self.place(Subject::Schema(name.clone(), inner.clone()), schema.name.span(), fields) {
                database.schemas.insert(inner, wanted);
            }
        }
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

    pub(super) fn extension(&mut self, database: &mut Database, of: &Name, word: &Word, wanted: Extension) {
        let Some(name) = self.name(word) else { return };
        if self.place(Subject::Extension(of.clone(), name.clone()), word.span(), Vec::new()) {
            database.extensions.insert(name, wanted);
        }
    }

    pub(super) fn settings(&mut self, role: Option<&Name>, database: Option<&Name>, settings: &Settings) {
        for (word, value) in settings {
            let setting = match Setting::new(word.as_ref()) {
                Ok(setting) => setting,
                Err(why) => {
                    self.wrong(word.span(), why.to_string());
                    continue;
                }
            };
            let text = match value.as_ref() {
                SettingValue::Flag(flag) => Some(if *flag { "on" } else { "off" }.to_owned()),
                SettingValue::Integer(number) => Some(number.to_string()),
                SettingValue::Number(number) => Some(number.to_string()),
                SettingValue::Text(text) => Some(text.clone()),
                SettingValue::List(parts) if setting.is_list() => {
                    let quoted: Vec<String> =
                        parts.iter().map(|part| crate::name::identifier(part)).collect();
                    Some(quoted.join(", "))
                }
                SettingValue::List(parts) => Some(parts.join(",")),
                SettingValue::Absent(_) => None,
            };
            let value = match text.map(|text| Text::new(&text)).transpose() {
                Ok(value) => value,
                Err(why) => {
                    self.wrong(value.span(), why.to_string());
                    continue;
                }
            };
            let subject = Subject::Setting(role.cloned(), database.cloned(), setting.clone());
            if self.place(subject, word.span(), Vec::new()) {
                self.desired.setting(role.cloned(), database.cloned(), setting, value);
            }
        }
    }
}
