//! Grants and default privileges.

use super::{Resolution, SourceSpan};
use crate::acl::{Grantee, ObjectKind, Privilege, Privileges};
use crate::current::DefaultKind;
use crate::desired::{DefaultGrant, Grant, On, PrivilegeSet, Subject};
use crate::manifest::dto::{DefaultDto, DefaultKindDto, GrantDto, KindDto};
use crate::manifest::word::{Word, WordReader as _};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};

impl Resolution<'_, '_> {
    pub(super) fn privileges(&mut self, words: &[Word]) -> PrivilegeSet {
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

    pub(super) fn grantee(&mut self, word: &Word) -> Option<Grantee> {
        if word.as_ref() == "public" { Some(Grantee::Public) } else { self.name(word).map(Grantee::Role) }
    }

    /// A field that this kind of object needs.
    pub(super) fn needed(&mut self, field: &str, word: Option<&Word>, dto: &GrantDto) -> Option<Name> {
        if word.is_none() {
            self.wrong(dto.on.span(), format!("a grant on this needs {field}"));
        }
        self.maybe(word)
    }

    pub(super) fn grant(&mut self, dto: &GrantDto) {
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

    pub(super) fn on(&mut self, dto: &GrantDto) -> Option<On> {
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

    pub(super) fn default_grant(&mut self, dto: &DefaultDto) {
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
