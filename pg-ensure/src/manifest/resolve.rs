//! From the manifest as written to the desired state as meant.

use super::dto::{
    DatabaseDto, DefaultDto, DefaultKindDto, EnsureDto, GrantDto, KindDto, ProviderDto, RoleDto,
    SettingValue, Settings, Word,
};
use super::{Manifest, Problem, Problems};
use crate::acl::{Grantee, ObjectKind, Privilege, Privileges};
use crate::current::{DefaultKind, Provider};
use crate::desired::{
    Database, DefaultGrant, Desired, Extension, Grant, Membership, On, Password, Presence, PrivilegeSet,
    Role, Schema, Subject, Why,
};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};
use crate::time::ValidUntil;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A function that reads a secret by its reference, such as `file:/run/secrets/x`.
pub type Resolver<'a> = dyn FnMut(&str) -> Result<SecretString, String> + 'a;

impl Manifest {
    /// The desired state. Every secret is read, and everything that is wrong is found before any server is asked.
    ///
    /// # Errors
    /// With all that is wrong, each with its place.
    pub fn resolve(&self, secrets: &mut Resolver<'_>) -> Result<Desired, Problems> {
        let mut work = Resolution {
            manifest: self,
            secrets,
            desired: Desired::new(),
            problems: Vec::new(),
            places: BTreeMap::new(),
        };
        work.document();
        let Resolution { desired, mut problems, places, .. } = work;
        // What refers to something broken would only be said twice.
        if problems.is_empty() {
            for invalid in desired.validate() {
                let place = places.get(&invalid.subject).cloned();
                let place = place.unwrap_or_default();
                problems.push(self.problem(place.of(&invalid.why), invalid.to_string()));
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() { Ok(desired) } else { Err(Problems(problems)) }
    }
}

/// The source span of a declaration, and of those of its values that can contradict others.
#[derive(Clone, Debug, Default)]
struct SourceSpan {
    name: Range<usize>,
    fields: Vec<(&'static str, Range<usize>)>,
}

impl SourceSpan {
    fn of(&self, why: &Why) -> Range<usize> {
        let field = match why {
            Why::Password(_) => "password",
            Why::UnknownRole { what, .. } | Why::RoleLeaves { what, .. } => what,
            Why::ConnectionLimit(_) => "connection_limit",
            Why::DatabaseLeaves(_) | Why::TemplateCircle(_) => "template",
            _ => "",
        };
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map_or_else(|| self.name.clone(), |(_, span)| span.clone())
    }
}

/// The fields that are there, with their places.
fn fields<const N: usize>(
    all: [(&'static str, Option<Range<usize>>); N],
) -> Vec<(&'static str, Range<usize>)> {
    all.into_iter().filter_map(|(name, span)| span.map(|span| (name, span))).collect()
}

struct Resolution<'a, 'r> {
    manifest: &'a Manifest,
    secrets: &'a mut Resolver<'r>,
    desired: Desired,
    problems: Vec<Problem>,
    places: BTreeMap<Subject, SourceSpan>,
}

impl Resolution<'_, '_> {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.manifest.problem(span, message.into()));
    }

    fn name(&mut self, word: &Word) -> Option<Name> {
        match Name::new(word.as_ref()) {
            Ok(name) => Some(name),
            Err(why) => {
                self.wrong(word.span(), why.to_string());
                None
            }
        }
    }

    fn maybe(&mut self, word: Option<&Word>) -> Option<Name> {
        word.and_then(|word| self.name(word))
    }

    fn text(&mut self, word: Option<&Word>) -> Option<Text> {
        let word = word?;
        match Text::new(word.as_ref()) {
            Ok(text) => Some(text),
            Err(why) => {
                self.wrong(word.span(), why.to_string());
                None
            }
        }
    }

    /// Keeps the place of something, which must be there once.
    fn place(
        &mut self,
        subject: Subject,
        name: Range<usize>,
        fields: Vec<(&'static str, Range<usize>)>,
    ) -> bool {
        if let Some(before) = self.places.get(&subject) {
            let line = self.manifest.problem(before.name.clone(), String::new()).line;
            self.wrong(name, format!("{subject} is declared twice; the first time in line {line}"));
            return false;
        }
        self.places.insert(subject, SourceSpan { name, fields });
        true
    }

    fn document(&mut self) {
        let document = &self.manifest.document;
        for role in &document.external {
            if let Some(role) = self.name(role) {
                self.desired.external(role);
            }
        }
        document.role.iter().for_each(|role| self.role(role));
        for membership in &document.membership {
            let names = (self.name(&membership.role), self.name(&membership.member));
            let (Some(role), Some(member)) = names else { continue };
            let wanted = Membership {
                presence: presence(membership.absent),
                admin: membership.admin,
                inherit: membership.inherit,
                set: membership.set,
            };
            self.membership(role, member, wanted, membership.member.span());
        }
        document.database.iter().for_each(|database| self.database(database));
        document.ensure.iter().for_each(|ensure| self.ensure(ensure));
        document.grant.iter().for_each(|grant| self.grant(grant));
        document.default_privileges.iter().for_each(|grant| self.default_grant(grant));
        self.settings(None, None, &document.settings);
    }

    /// The short form: a role that logs in, and databases that it owns. It may add to what is declared elsewhere, and may
    /// not contradict it.
    fn ensure(&mut self, dto: &EnsureDto) {
        let Some(name) = self.name(&dto.name) else { return };
        let span = dto.name.span();
        let (password, place) = self.password(dto.password.as_ref(), dto.password_file.as_ref(), None, &span);
        let limit = dto.connection_limit.as_ref().map(|limit| *limit.as_ref());
        let subject = Subject::Role(name.clone());
        if let Some(role) = self.desired.roles.get_mut(&name) {
            let differs = [
                ("absent", role.presence == Presence::Absent),
                ("login", role.login == Some(false)),
                (
                    "password",
                    password.is_some()
                        && role.password.as_ref().is_some_and(|known| Some(known) != password.as_ref()),
                ),
                (
                    "connection_limit",
                    limit.is_some() && role.connection_limit.is_some_and(|known| Some(known) != limit),
                ),
            ];
            role.login = Some(true);
            role.password = role.password.take().or(password);
            role.connection_limit = role.connection_limit.or(limit);
            self.contradictions(&subject, &span, &differs);
        } else {
            let role = Role { login: Some(true), password, connection_limit: limit, ..Role::default() };
            self.desired.role(name.clone(), role);
        }
        let fields = fields([
            ("password", place),
            ("connection_limit", dto.connection_limit.as_ref().map(Spanned::span)),
        ]);
        self.places.entry(subject).or_insert_with(|| SourceSpan { name: span.clone(), fields });
        if dto.database.is_some() && !dto.databases.is_empty() {
            self.wrong(span.clone(), "database and databases exclude each other: keep one");
        }
        let named: Vec<&Word> = dto.database.iter().chain(&dto.databases).collect();
        let named = if named.is_empty() { vec![&dto.name] } else { named };
        for word in named {
            if let Some(database) = self.name(word) {
                self.ensured_database(&name, &database, word.span(), dto);
            }
        }
    }

    fn ensured_database(&mut self, owner: &Name, name: &Name, span: Range<usize>, dto: &EnsureDto) {
        let subject = Subject::Database(name.clone());
        if let Some(database) = self.desired.databases.get_mut(name) {
            let differs = [
                ("absent", database.presence == Presence::Absent),
                ("owner", database.owner.as_ref().is_some_and(|known| known != owner)),
            ];
            database.owner = database.owner.take().or_else(|| Some(owner.clone()));
            database.reassign_owned |= dto.reassign_owned;
            self.contradictions(&subject, &span, &differs);
        } else {
            let database = Database { reassign_owned: dto.reassign_owned, ..Database::owned_by(owner) };
            self.desired.database(name.clone(), database);
        }
        self.places.entry(subject).or_insert_with(|| SourceSpan { name: span, fields: Vec::new() });
        for word in &dto.extensions {
            let Some(extension) = self.name(word) else { continue };
            let known = self.desired.databases.get(name).and_then(|known| known.extensions.get(&extension));
            let absent = known.is_some_and(|known| known.presence == Presence::Absent);
            let subject = Subject::Extension(name.clone(), extension.clone());
            self.contradictions(&subject, &word.span(), &[("absent", absent)]);
            if let Some(database) = self.desired.databases.get_mut(name) {
                database.extensions.entry(extension).or_default();
            }
            self.places
                .entry(subject)
                .or_insert_with(|| SourceSpan { name: word.span(), fields: Vec::new() });
        }
        self.settings(None, Some(name), &dto.settings);
    }

    /// Names the fields in which a short form contradicts another declaration.
    fn contradictions(&mut self, subject: &Subject, span: &Range<usize>, fields: &[(&str, bool)]) {
        for (field, _) in fields.iter().filter(|(_, differs)| *differs) {
            let line = self
                .places
                .get(subject)
                .map(|place| self.manifest.problem(place.name.clone(), String::new()).line);
            let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
            self.wrong(
                span.clone(),
                format!("{subject}: {field} contradicts its declaration{line}: keep one of them"),
            );
        }
    }

    /// One password of those that may be said, and its place.
    fn password(
        &mut self,
        reference: Option<&Word>,
        file: Option<&Word>,
        none: Option<()>,
        name: &Range<usize>,
    ) -> (Option<Password>, Option<Range<usize>>) {
        let said =
            usize::from(reference.is_some()) + usize::from(file.is_some()) + usize::from(none.is_some());
        if said > 1 {
            self.wrong(name.clone(), "password, password_file and no_password exclude each other; keep one");
            return (None, None);
        }
        if none.is_some() {
            return (Some(Password::None), None);
        }
        let (place, reference) = match (reference, file) {
            (Some(word), _) => (word.span(), word.as_ref().clone()),
            (_, Some(word)) => (word.span(), format!("file:{}", word.as_ref())),
            _ => return (None, None),
        };
        match (self.secrets)(&reference) {
            Ok(secret) => {
                let text = secret.expose_secret();
                if is_md5_hash(text) {
                    let why = "the secret is an MD5 hash, which cannot be turned into a SCRAM verifier: store the password \
                               itself, or a SCRAM-SHA-256 verifier";
                    self.wrong(place, why);
                    return (None, None);
                }
                if !text.starts_with("SCRAM-SHA-256$") {
                    return (Some(Password::Secret(secret)), Some(place));
                }
                match crate::scram::Verifier::parse(text) {
                    Ok(verifier) => (Some(Password::Verifier(verifier)), Some(place)),
                    Err(why) => {
                        self.wrong(
                            place,
                            format!("the secret begins like a SCRAM verifier and is not valid: {why}"),
                        );
                        (None, None)
                    }
                }
            }
            Err(why) => {
                self.wrong(place, why);
                (None, None)
            }
        }
    }

    fn role(&mut self, dto: &RoleDto) {
        let Some(name) = self.name(&dto.name) else { return };
        let none = dto.no_password.then_some(());
        let (password, place) =
            self.password(dto.password.as_ref(), dto.password_file.as_ref(), none, &dto.name.span());
        let valid_until =
            dto.valid_until.as_ref().and_then(|word| match word.as_ref().parse::<ValidUntil>() {
                Ok(until) => Some(until),
                Err(why) => {
                    self.wrong(word.span(), why.to_string());
                    None
                }
            });
        let role = Role {
            presence: presence(dto.absent),
            reassign_to: self.maybe(dto.reassign_to.as_ref()),
            superuser: dto.superuser,
            createdb: dto.createdb,
            createrole: dto.createrole,
            inherit: dto.inherit,
            login: dto.login,
            replication: dto.replication,
            bypassrls: dto.bypassrls,
            connection_limit: dto.connection_limit.as_ref().map(|limit| *limit.as_ref()),
            valid_until,
            password,
            comment: self.text(dto.comment.as_ref()),
        };
        let fields = fields([
            ("password", place),
            ("heir", dto.reassign_to.as_ref().map(Spanned::span)),
            ("connection_limit", dto.connection_limit.as_ref().map(Spanned::span)),
        ]);
        if !self.place(Subject::Role(name.clone()), dto.name.span(), fields) {
            return;
        }
        self.desired.role(name.clone(), role);
        for of in &dto.member_of {
            if let Some(role) = self.name(of) {
                self.membership(role, name.clone(), Membership::default(), of.span());
            }
        }
        self.settings(Some(&name), None, &dto.settings);
        for (database, settings) in &dto.settings_in {
            if let Some(database) = self.name(database) {
                self.settings(Some(&name), Some(&database), settings);
            }
        }
    }

    fn membership(&mut self, role: Name, member: Name, wanted: Membership, span: Range<usize>) {
        if self.place(Subject::Membership(role.clone(), member.clone()), span, Vec::new()) {
            self.desired.membership(role, member, wanted);
        }
    }

    fn database(&mut self, dto: &DatabaseDto) {
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

    fn extension(&mut self, database: &mut Database, of: &Name, word: &Word, wanted: Extension) {
        let Some(name) = self.name(word) else { return };
        if self.place(Subject::Extension(of.clone(), name.clone()), word.span(), Vec::new()) {
            database.extensions.insert(name, wanted);
        }
    }

    fn settings(&mut self, role: Option<&Name>, database: Option<&Name>, settings: &Settings) {
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

    fn privileges(&mut self, words: &[Word]) -> PrivilegeSet {
        let mut found = Privileges::NONE;
        for word in words {
            if word.as_ref().eq_ignore_ascii_case("all") {
                return PrivilegeSet::All;
            }
            match word.as_ref().parse::<Privilege>() {
                Ok(privilege) => found |= privilege.into(),
                Err(why) => self.wrong(word.span(), why.to_string()),
            }
        }
        PrivilegeSet::Only(found)
    }

    fn grantee(&mut self, word: &Word) -> Option<Grantee> {
        if word.as_ref() == "public" { Some(Grantee::Public) } else { self.name(word).map(Grantee::Role) }
    }

    /// A field that this kind of object needs.
    fn needed(&mut self, field: &str, word: Option<&Word>, dto: &GrantDto) -> Option<Name> {
        if word.is_none() {
            self.wrong(dto.on.span(), format!("a grant on this needs {field}"));
        }
        self.maybe(word)
    }

    fn grant(&mut self, dto: &GrantDto) {
        let to = self.grantee(&dto.to);
        let privileges = self.privileges(&dto.privileges);
        if dto.absent != dto.privileges.is_empty() {
            let why = "say the privileges, or absent = true to take everything away";
            self.wrong(dto.name.span(), why);
        }
        let before = self.problems.len();
        let on = self.on(dto);
        if on.is_none() && self.problems.len() == before {
            self.wrong(dto.name.span(), "this names no object");
        }
        if let (Some(to), Some(on)) = (to, on) {
            let place = SourceSpan { name: dto.name.span(), fields: vec![("grantee", dto.to.span())] };
            self.places.insert(Subject::Grant(self.desired.grants.len()), place);
            self.desired.grant(Grant { to, on, privileges, grantable: dto.grantable });
        }
    }

    fn on(&mut self, dto: &GrantDto) -> Option<On> {
        let kind = *dto.on.as_ref();
        let one = |object| Some(On::One(object));
        match kind {
            KindDto::Database => return one(Object::Database(self.name(&dto.name)?)),
            KindDto::Tablespace => return one(Object::Tablespace(self.name(&dto.name)?)),
            KindDto::Parameter => {
                return match Setting::new(dto.name.as_ref()) {
                    Ok(setting) => one(Object::Parameter(setting)),
                    Err(why) => {
                        self.wrong(dto.name.span(), why.to_string());
                        None
                    }
                };
            }
            _ => {}
        }
        let database = self.needed("a database", dto.database.as_ref(), dto)?;
        let local = match kind {
            KindDto::Schema => Local::Schema(self.name(&dto.name)?),
            KindDto::Language => Local::Language(self.name(&dto.name)?),
            KindDto::ForeignDataWrapper => Local::ForeignDataWrapper(self.name(&dto.name)?),
            KindDto::ForeignServer => Local::ForeignServer(self.name(&dto.name)?),
            KindDto::LargeObject => Local::LargeObject(dto.name.as_ref().parse().ok()?),
            KindDto::Column => {
                let schema = self.needed("a schema", dto.schema.as_ref(), dto)?;
                let table = self.needed("a table", dto.table.as_ref(), dto)?;
                Local::Column(schema, table, self.name(&dto.name)?)
            }
            _ => {
                let schema = self.needed("a schema", dto.schema.as_ref(), dto)?;
                if dto.name.as_ref() == "*" {
                    let kind = match kind {
                        KindDto::Sequence => ObjectKind::Sequence,
                        KindDto::Routine => ObjectKind::Routine,
                        KindDto::Type => ObjectKind::Type,
                        _ => ObjectKind::Table,
                    };
                    return Some(On::AllIn { database, schema, kind });
                }
                let name = self.name(&dto.name)?;
                match kind {
                    KindDto::Sequence => Local::Sequence(schema, name),
                    KindDto::Type => Local::Type(schema, name),
                    KindDto::Routine => {
                        let arguments = self.text(dto.arguments.as_ref());
                        let arguments = arguments.map(|arguments| arguments.as_str().to_owned());
                        let arguments = spaced(&arguments.unwrap_or_default());
                        Local::Routine(schema, name, Text::new(&arguments).ok()?)
                    }
                    _ => Local::Table(schema, name),
                }
            }
        };
        one(Object::Inside(database, local))
    }

    fn default_grant(&mut self, dto: &DefaultDto) {
        let names = (self.name(&dto.database), self.name(&dto.creator), self.grantee(&dto.to));
        let schema = self.maybe(dto.schema.as_ref());
        let privileges = self.privileges(&dto.privileges);
        let (Some(database), Some(creator), Some(to)) = names else { return };
        let kind = match dto.on {
            DefaultKindDto::Tables => DefaultKind::Tables,
            DefaultKindDto::Sequences => DefaultKind::Sequences,
            DefaultKindDto::Routines => DefaultKind::Routines,
            DefaultKindDto::Types => DefaultKind::Types,
            DefaultKindDto::Schemas => DefaultKind::Schemas,
            DefaultKindDto::LargeObjects => DefaultKind::LargeObjects,
        };
        let place = SourceSpan { name: dto.to.span(), fields: vec![("creator", dto.creator.span())] };
        if dto.existing {
            let Some(schema) = schema.clone() else {
                return self.wrong(dto.to.span(), "existing = true needs a schema");
            };
            let on = On::AllIn { database: database.clone(), schema, kind: kind.object() };
            self.places.insert(Subject::Grant(self.desired.grants.len()), place.clone());
            self.desired.grant(Grant { to: to.clone(), on, privileges, grantable: dto.grantable });
        }
        self.places.insert(Subject::Default(self.desired.defaults.len()), place);
        let grantable = dto.grantable;
        self.desired.default_grant(DefaultGrant {
            database,
            creator,
            schema,
            kind,
            to,
            privileges,
            grantable,
        });
    }
}

/// Returns true for the form in which PostgreSQL stores MD5 hashes, and which it takes as one.
fn is_md5_hash(text: &str) -> bool {
    text.strip_prefix("md5")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn presence(absent: bool) -> Presence {
    if absent { Presence::Absent } else { Presence::Present }
}

/// Argument types as the server lists them: one blank after each comma that separates them.
fn spaced(arguments: &str) -> String {
    let mut quoted = false;
    let mut depth = 0;
    let mut out = String::new();
    let mut blank = true;
    for c in arguments.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                out.truncate(out.trim_end().len());
                out.push_str(", ");
                blank = true;
                continue;
            }
            c if c.is_whitespace() && blank && !quoted => continue,
            _ => {}
        }
        blank = false;
        out.push(c);
    }
    out
}
