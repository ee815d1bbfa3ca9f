//! Conversion of a manifest to a desired state.

mod grants;
mod roles;
mod settings;

use super::spanned::{ManifestReader, presence};
use super::{Manifest, Problem, Problems};
use crate::desired::{DesiredState, InvalidReason, Membership, Subject};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::ops::Range;

/// Function that returns the secret for a reference, such as `file:/run/secrets/x`, or a description of the error.
pub type Resolver<'a> = dyn FnMut(&str) -> Result<SecretString, String> + 'a;

impl Manifest {
    /// Converts the manifest to a desired state, and validates it. `secrets` is called for each reference to a
    /// password. The server is not contacted.
    ///
    /// # Errors
    /// Returns [`Problems`] with the position of each error. Errors of [`DesiredState::validate`] are reported only if
    /// there are no others.
    pub fn resolve(&self, secrets: &mut Resolver<'_>) -> Result<DesiredState, Problems> {
        let mut work = Resolution {
            manifest: self,
            secrets,
            desired: DesiredState::new(),
            problems: Vec::new(),
            places: BTreeMap::new(),
        };
        work.document();
        let Resolution { desired, mut problems, places, .. } = work;
        // Declarations that refer to an invalid one would otherwise cause further errors.
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

/// Byte range of a declaration's name, and those of its values to which validation errors may refer.
#[derive(Clone, Debug, Default)]
struct SourceSpan {
    name: Range<usize>,
    fields: Vec<(&'static str, Range<usize>)>,
}

impl SourceSpan {
    /// Returns the byte range for a validation error: that of the value concerned, or else of the name.
    fn of(&self, why: &InvalidReason) -> Range<usize> {
        let field = match why {
            InvalidReason::Password(_) => "password",
            InvalidReason::UnknownRole { what, .. } | InvalidReason::AbsentRole { what, .. } => what,
            InvalidReason::ConnectionLimit(_) => "connection_limit",
            InvalidReason::AbsentDatabase(_) | InvalidReason::TemplateCycle(_) => "template",
            _ => "",
        };
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map_or_else(|| self.name.clone(), |(_, span)| span.clone())
    }
}

/// Returns the fields that are present, each with its byte range.
pub(super) fn fields<const N: usize>(
    all: [(&'static str, Option<Range<usize>>); N],
) -> Vec<(&'static str, Range<usize>)> {
    all.into_iter().filter_map(|(name, span)| span.map(|span| (name, span))).collect()
}

/// A resolution in progress: the desired state so far, errors, and positions of declarations.
pub(super) struct Resolution<'a, 'r> {
    manifest: &'a Manifest,
    secrets: &'a mut Resolver<'r>,
    pub(super) desired: DesiredState,
    problems: Vec<Problem>,
    places: BTreeMap<Subject, SourceSpan>,
}

impl ManifestReader for Resolution<'_, '_> {
    fn wrong(&mut self, span: Range<usize>, message: String) {
        self.problems.push(self.manifest.problem(span, message));
    }
}

impl Resolution<'_, '_> {
    /// Records a problem at a place of the manifest.
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.manifest.problem(span, message.into()));
    }

    /// Records the position of a declaration. Returns `false` if the subject is declared twice, which is recorded as an
    /// error.
    pub(super) fn place(
        &mut self,
        subject: Subject,
        name: Range<usize>,
        fields: Vec<(&'static str, Range<usize>)>,
    ) -> bool {
        if let Some(before) = self.places.get(&subject) {
            let line = self.manifest.problem(before.name.clone(), String::new()).line;
            self.wrong(
                name,
                format!("{subject} is declared twice, the first time in line {line}: leave one of them out"),
            );
            return false;
        }
        self.places.insert(subject, SourceSpan { name, fields });
        true
    }

    /// Resolves all entries of the manifest, and adds them to the desired state. Problems are recorded.
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
}
