//! Resolution of grants and default privileges.

use super::{Resolution, SourceSpan};
use crate::acl::{Grantee, ObjectKind, Privilege, Privileges};
use crate::current::DefaultKind;
use crate::desired::{DefaultGrant, Grant, GrantTarget, PrivilegeSet, Subject};
use crate::manifest::spanned::{ManifestReader as _, SpannedString};
use crate::manifest::spec::{DefaultGrantSpec, DefaultKindSpec, GrantSpec, ObjectKindSpec};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};

impl Resolution<'_, '_> {
    /// Resolves names of privileges, ignoring case. `all` stands for all privileges, whatever follows it. Unknown names
    /// are recorded as errors and left out.
    pub(super) fn privileges(&mut self, words: &[SpannedString]) -> PrivilegeSet {
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

    /// Resolves a grantee: `public` or the name of a role. `None` after an error.
    pub(super) fn grantee(&mut self, word: &SpannedString) -> Option<Grantee> {
        if word.as_ref() == "public" { Some(Grantee::Public) } else { self.name(word).map(Grantee::Role) }
    }

    /// Resolves a field that this kind of object requires. `None` after an error, which is recorded: the field is
    /// missing, or not a valid name.
    pub(super) fn needed(
        &mut self,
        field: &str,
        word: Option<&SpannedString>,
        spec: &GrantSpec,
    ) -> Option<Name> {
        if word.is_none() {
            self.wrong(spec.on.span(), format!("a grant on this needs {field}"));
        }
        self.maybe(word)
    }

    /// Resolves a `[[grant]]` entry, and adds it to the desired state. Errors are recorded; exactly one of privileges
    /// and `absent` must be given.
    pub(super) fn grant(&mut self, spec: &GrantSpec) {
        let to = self.grantee(&spec.to);
        let privileges = self.privileges(&spec.privileges);
        if spec.absent != spec.privileges.is_empty() {
            let why = "say the privileges, or absent = true to take everything away";
            self.wrong(spec.name.span(), why);
        }
        let before = self.problems.len();
        let on = self.on(spec);
        if on.is_none() && self.problems.len() == before {
            self.wrong(spec.name.span(), "this names no object");
        }
        if let (Some(to), Some(on)) = (to, on) {
            let place = SourceSpan { name: spec.name.span(), fields: vec![("grantee", spec.to.span())] };
            self.places.insert(Subject::Grant(self.desired.grants.len()), place);
            self.desired.grant(Grant { to, on, privileges, grantable: spec.grantable });
        }
    }

    /// Resolves the object of a grant. `None` after an error, which is recorded except for an object that is named
    /// incorrectly.
    pub(super) fn on(&mut self, spec: &GrantSpec) -> Option<GrantTarget> {
        let kind = *spec.on.as_ref();
        let one = |object| Some(GrantTarget::One(object));
        let of_schemas = matches!(
            kind,
            ObjectKindSpec::Table | ObjectKindSpec::Sequence | ObjectKindSpec::Routine | ObjectKindSpec::Type
        );
        if spec.name.as_ref() == "*" && !of_schemas {
            let why = "* stands for all tables, sequences, routines or types of a schema: write a name";
            self.wrong(spec.name.span(), why);
            return None;
        }
        match kind {
            ObjectKindSpec::Database => return one(Object::Database(self.name(&spec.name)?)),
            ObjectKindSpec::Tablespace => return one(Object::Tablespace(self.name(&spec.name)?)),
            ObjectKindSpec::Parameter => {
                return match Setting::new(spec.name.as_ref()) {
                    Ok(setting) => one(Object::Parameter(setting)),
                    Err(why) => {
                        self.wrong(spec.name.span(), why.to_string());
                        None
                    }
                };
            }
            _ => {}
        }
        let database = self.needed("a database", spec.database.as_ref(), spec)?;
        let local = match kind {
            ObjectKindSpec::Schema => Local::Schema(self.name(&spec.name)?),
            ObjectKindSpec::Language => Local::Language(self.name(&spec.name)?),
            ObjectKindSpec::ForeignDataWrapper => Local::ForeignDataWrapper(self.name(&spec.name)?),
            ObjectKindSpec::ForeignServer => Local::ForeignServer(self.name(&spec.name)?),
            ObjectKindSpec::LargeObject => Local::LargeObject(spec.name.as_ref().parse().ok()?),
            ObjectKindSpec::Column => {
                let schema = self.needed("a schema", spec.schema.as_ref(), spec)?;
                let table = self.needed("a table", spec.table.as_ref(), spec)?;
                Local::Column(schema, table, self.name(&spec.name)?)
            }
            _ => {
                let schema = self.needed("a schema", spec.schema.as_ref(), spec)?;
                if spec.name.as_ref() == "*" {
                    let kind = match kind {
                        ObjectKindSpec::Sequence => ObjectKind::Sequence,
                        ObjectKindSpec::Routine => ObjectKind::Routine,
                        ObjectKindSpec::Type => ObjectKind::Type,
                        _ => ObjectKind::Table,
                    };
                    return Some(GrantTarget::AllIn { database, schema, kind });
                }
                let name = self.name(&spec.name)?;
                match kind {
                    ObjectKindSpec::Sequence => Local::Sequence(schema, name),
                    ObjectKindSpec::Type => Local::Type(schema, name),
                    ObjectKindSpec::Routine => {
                        let arguments = self.text(spec.arguments.as_ref());
                        let arguments = arguments.map(|arguments| arguments.as_str().to_owned());
                        let arguments = space_arguments(&arguments.unwrap_or_default());
                        Local::Routine(schema, name, Text::new(&arguments).ok()?)
                    }
                    _ => Local::Table(schema, name),
                }
            }
        };
        one(Object::Inside(database, local))
    }

    /// Resolves a `[[default_privileges]]` entry, and adds it to the desired state; with `existing` also a grant on the
    /// existing objects of the schema. Errors are recorded.
    pub(super) fn default_grant(&mut self, spec: &DefaultGrantSpec) {
        let names = (self.name(&spec.database), self.name(&spec.creator), self.grantee(&spec.to));
        let schema = self.maybe(spec.schema.as_ref());
        let privileges = self.privileges(&spec.privileges);
        let (Some(database), Some(creator), Some(to)) = names else { return };
        let kind = match spec.on {
            DefaultKindSpec::Tables => DefaultKind::Tables,
            DefaultKindSpec::Sequences => DefaultKind::Sequences,
            DefaultKindSpec::Routines => DefaultKind::Routines,
            DefaultKindSpec::Types => DefaultKind::Types,
            DefaultKindSpec::Schemas => DefaultKind::Schemas,
            DefaultKindSpec::LargeObjects => DefaultKind::LargeObjects,
        };
        let place = SourceSpan { name: spec.to.span(), fields: vec![("creator", spec.creator.span())] };
        if spec.existing {
            let Some(schema) = schema.clone() else {
                return self.wrong(spec.to.span(), "existing = true needs a schema");
            };
            let on = GrantTarget::AllIn { database: database.clone(), schema, kind: kind.object() };
            self.places.insert(Subject::Grant(self.desired.grants.len()), place.clone());
            self.desired.grant(Grant { to: to.clone(), on, privileges, grantable: spec.grantable });
        }
        self.places.insert(Subject::Default(self.desired.defaults.len()), place);
        let grantable = spec.grantable;
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

/// Formats argument types as the server does: without white space around them, and with one space after each separating
/// comma. Commas in quotes or parentheses do not separate.
fn space_arguments(arguments: &str) -> String {
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
