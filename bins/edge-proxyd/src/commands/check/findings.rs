//! The findings of `check` about a configuration that can be read.

use crate::config::{NamedFile, Settings};
use cli_support::document::Source;
use cli_support::finding::{self, Finding, Place, Severity};
use std::path::Path;

/// The findings about a configuration that can be read.
#[derive(Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    /// Adds a reason for which `run` would not start.
    pub(super) fn error(&mut self, text: impl Into<String>) {
        self.push(Finding::error("unusable", Place::default(), text));
    }

    /// Adds a fault that does not keep the rest from being served.
    pub(super) fn warning(&mut self, text: impl Into<String>) {
        self.push(warning(Place::default(), text));
    }

    /// Adds a fault of a file that the configuration names.
    pub(super) fn of_file(&mut self, named: &NamedFile, severity: Severity, text: impl Into<String>) {
        let place = Place {
            file: named.file.clone().unwrap_or_default(),
            line: named.line,
            column: named.column,
            key: named.key.clone(),
        };
        let finding = match severity {
            Severity::Error => Finding::error("unusable", place, text),
            Severity::Note | Severity::Warning => warning(place, text),
        };
        self.push(finding.value(Some(format!("{:?}", named.path.display().to_string()))));
    }

    /// Adds a fault of the file at this path that a key names.
    pub(super) fn of_key(
        &mut self,
        settings: &Settings,
        (key, path): (&str, &Path),
        severity: Severity,
        text: &str,
    ) {
        let is_it = |named: &&NamedFile| named.key == key && named.path == path;
        match settings.files.iter().find(is_it) {
            Some(named) => self.of_file(named, severity, text),
            None if severity == Severity::Error => self.error(format!("{key}: {text}")),
            None => self.warning(format!("{key}: {text}")),
        }
    }

    /// Adds a fault in the value of a key of the main file.
    pub(super) fn at_key(&mut self, source: &Source<'_>, key: &str, severity: Severity, text: &str) {
        let Finding { place, value, message, .. } = source.fault_at(key, text);
        let finding = match severity {
            Severity::Error => Finding::error("unusable", place, message),
            Severity::Note | Severity::Warning => warning(place, message),
        };
        self.push(finding.value(value));
    }

    fn push(&mut self, finding: Finding) {
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    /// Returns the errors, or the warnings, with `file` as the place of those without another.
    pub(super) fn with(&self, severity: Severity, file: &str) -> Vec<Finding> {
        let of = self.list.iter().filter(|finding| finding.severity == severity).cloned();
        of.map(|mut finding| {
            if finding.place.file.is_empty() {
                file.clone_into(&mut finding.place.file);
            }
            finding
        })
        .collect()
    }

    /// Returns the findings in the form that all programs of the family have.
    pub(super) fn of(&self, file: &str) -> finding::Findings {
        let of = |severity| self.with(severity, file);
        finding::Findings::new([of(Severity::Error), of(Severity::Warning)].concat())
    }
}

fn warning(place: Place, text: impl Into<String>) -> Finding {
    let mut finding = Finding::error("degraded", place, text);
    finding.severity = Severity::Warning;
    finding
}

/// Returns a finding without its place.
pub(super) fn without_place(finding: &Finding) -> String {
    let key = &finding.place.key;
    match (&finding.value, key.is_empty()) {
        (Some(value), false) => format!("{key} = {value}: {}", finding.message),
        (None, false) => format!("{key}: {}", finding.message),
        (_, true) => finding.message.clone(),
    }
}

/// Returns the place of a finding, for people.
pub(super) fn place(finding: &Finding) -> String {
    let Place { file, line, column, .. } = &finding.place;
    if *line == 0 { file.clone() } else { format!("{file}:{line}:{column}") }
}
