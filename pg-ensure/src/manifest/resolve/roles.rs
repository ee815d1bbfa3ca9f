//! Resolution of roles, passwords and memberships, and of the short form for a role with its databases.

use super::{Resolution, SourceSpan, fields};
use crate::desired::{Database, Membership, Password, Presence, Role, Subject};
use crate::manifest::spanned::{ManifestReader as _, SpannedString, presence};
use crate::manifest::spec::{EnsureSpec, RoleSpec};
use crate::name::Name;
use crate::time::ValidUntil;
use secrecy::ExposeSecret;
use std::ops::Range;
use toml::Spanned;

impl Resolution<'_, '_> {
    /// Resolves an `[[ensure]]` entry: a role with LOGIN, and databases that it owns. The entry may add to other
    /// declarations of these, and records an error if it contradicts them.
    pub(super) fn ensure(&mut self, spec: &EnsureSpec) {
        let Some(name) = self.name(&spec.name) else { return };
        let span = spec.name.span();
        let (password, place) =
            self.password(spec.password.as_ref(), spec.password_file.as_ref(), None, &span);
        let limit = spec.connection_limit.as_ref().map(|limit| *limit.as_ref());
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
            ("connection_limit", spec.connection_limit.as_ref().map(Spanned::span)),
        ]);
        self.places.entry(subject).or_insert_with(|| SourceSpan { name: span.clone(), fields });
        if spec.database.is_some() && !spec.databases.is_empty() {
            self.wrong(span.clone(), "database and databases exclude each other: keep one");
        }
        let named: Vec<&SpannedString> = spec.database.iter().chain(&spec.databases).collect();
        let named = if named.is_empty() { vec![&spec.name] } else { named };
        for word in named {
            if let Some(database) = self.name(word) {
                self.ensured_database(&name, &database, word.span(), spec);
            }
        }
    }

    /// Resolves one database of an `[[ensure]]` entry, with its extensions and settings. The entry may add to another
    /// declaration of the database, and records an error if it contradicts that.
    pub(super) fn ensured_database(
        &mut self,
        owner: &Name,
        name: &Name,
        span: Range<usize>,
        spec: &EnsureSpec,
    ) {
        let subject = Subject::Database(name.clone());
        if let Some(database) = self.desired.databases.get_mut(name) {
            let differs = [
                ("absent", database.presence == Presence::Absent),
                ("owner", database.owner.as_ref().is_some_and(|known| known != owner)),
            ];
            database.owner = database.owner.take().or_else(|| Some(owner.clone()));
            database.reassign_owned |= spec.reassign_owned;
            self.contradictions(&subject, &span, &differs);
        } else {
            let database = Database { reassign_owned: spec.reassign_owned, ..Database::owned_by(owner) };
            self.desired.database(name.clone(), database);
        }
        self.places.entry(subject).or_insert_with(|| SourceSpan { name: span, fields: Vec::new() });
        for word in &spec.extensions {
            let Some(extension) = self.name(word) else { continue };
            let known =
                self.desired.databases.get(name).and_then(|known| known.inside.extensions.get(&extension));
            let absent = known.is_some_and(|known| known.presence == Presence::Absent);
            let subject = Subject::Extension(name.clone(), extension.clone());
            self.contradictions(&subject, &word.span(), &[("absent", absent)]);
            if let Some(database) = self.desired.databases.get_mut(name) {
                database.inside.extensions.entry(extension).or_default();
            }
            self.places
                .entry(subject)
                .or_insert_with(|| SourceSpan { name: word.span(), fields: Vec::new() });
        }
        self.settings(None, Some(name), &spec.settings);
    }

    /// Records an error for each field in which an `[[ensure]]` entry contradicts another declaration. `fields`
    /// contains the name of each field, and `true` if it differs.
    pub(super) fn contradictions(&mut self, subject: &Subject, span: &Range<usize>, fields: &[(&str, bool)]) {
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

    /// Resolves a password, and returns it with the byte range of its reference. `none` is set for `no_password`. More
    /// than one of the three forms, or a secret that cannot be used, is recorded as an error. Both results are `None`
    /// after an error or without a password.
    pub(super) fn password(
        &mut self,
        reference: Option<&SpannedString>,
        file: Option<&SpannedString>,
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

    /// Resolves a `[[role]]` entry with its memberships and settings, and adds them to the desired state. Errors are
    /// recorded.
    pub(super) fn role(&mut self, spec: &RoleSpec) {
        let Some(name) = self.name(&spec.name) else { return };
        let none = spec.no_password.then_some(());
        let (password, place) =
            self.password(spec.password.as_ref(), spec.password_file.as_ref(), none, &spec.name.span());
        let valid_until =
            spec.valid_until.as_ref().and_then(|word| match word.as_ref().parse::<ValidUntil>() {
                Ok(until) => Some(until),
                Err(why) => {
                    self.wrong(word.span(), why.to_string());
                    None
                }
            });
        let role = Role {
            presence: presence(spec.absent),
            reassign_to: self.maybe(spec.reassign_to.as_ref()),
            superuser: spec.superuser,
            createdb: spec.createdb,
            createrole: spec.createrole,
            inherit: spec.inherit,
            login: spec.login,
            replication: spec.replication,
            bypassrls: spec.bypassrls,
            connection_limit: spec.connection_limit.as_ref().map(|limit| *limit.as_ref()),
            valid_until,
            password,
            comment: self.text(spec.comment.as_ref()),
        };
        let fields = fields([
            ("password", place),
            ("heir", spec.reassign_to.as_ref().map(Spanned::span)),
            ("connection_limit", spec.connection_limit.as_ref().map(Spanned::span)),
        ]);
        if !self.place(Subject::Role(name.clone()), spec.name.span(), fields) {
            return;
        }
        self.desired.role(name.clone(), role);
        for of in &spec.member_of {
            if let Some(role) = self.name(of) {
                self.membership(role, name.clone(), Membership::default(), of.span());
            }
        }
        self.settings(Some(&name), None, &spec.settings);
        for (database, settings) in &spec.settings_in {
            if let Some(database) = self.name(database) {
                self.settings(Some(&name), Some(&database), settings);
            }
        }
    }

    /// Adds a membership. One that is declared twice is recorded as an error.
    pub(super) fn membership(&mut self, role: Name, member: Name, wanted: Membership, span: Range<usize>) {
        if self.place(Subject::Membership(role.clone(), member.clone()), span, Vec::new()) {
            self.desired.membership(role, member, wanted);
        }
    }
}

/// Returns `true` for the form in which PostgreSQL stores MD5 hashes, which the server would accept as a hash.
fn is_md5_hash(text: &str) -> bool {
    text.strip_prefix("md5")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}
