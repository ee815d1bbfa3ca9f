//! The findings of `check` about a configuration that is valid in itself.

use crate::config::{NamedFile, Settings};
use cli_support::document::Source;
use cli_support::finding::{self, Finding, Place, Severity};
use std::path::Path;

/// Findings about a configuration that is valid in itself, without duplicates, in the order in which they were added.
#[derive(Default)]
pub(super) struct Findings {
    /// The findings, in the order in which they were added.
    list: Vec<Finding>,
}

impl Findings {
    /// Adds an error without a position: a fault that prevents `run` from starting.
    pub(super) fn error(&mut self, text: impl Into<String>) {
        self.push(Finding::error("unusable", Place::default(), text));
    }

    /// Adds a warning without a position: a fault despite which `run` starts and serves the rest.
    pub(super) fn warning(&mut self, text: impl Into<String>) {
        self.push(warning(Place::default(), text));
    }

    /// Adds a finding about a file, at the position of the key that names it: an error, or a warning for any other
    /// severity.
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

    /// Adds an error or a warning about the file at `path`, at the position of `key`, which names it. Without such a
    /// key, the finding has no position, and its text begins with the key.
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

    /// Adds an error or a warning at the value of a key. `source` is the main file of the configuration, and `key` the
    /// path of the key, such as `shared.secret`.
    pub(super) fn at_key(&mut self, source: &Source<'_>, key: &str, severity: Severity, text: &str) {
        let Finding { place, value, message, .. } = source.fault_at(key, text);
        let finding = match severity {
            Severity::Error => Finding::error("unusable", place, message),
            Severity::Note | Severity::Warning => warning(place, message),
        };
        self.push(finding.value(value));
    }

    /// Adds a finding, unless an equal one is in the list.
    fn push(&mut self, finding: Finding) {
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    /// Returns the findings of this severity, in the order in which they were added. Those without a file get `file`,
    /// the name of the configuration.
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

    /// Returns all findings in the form that the programs of the workspace share, errors before warnings. Those without
    /// a file get `file`, the name of the configuration.
    pub(super) fn of(&self, file: &str) -> finding::Findings {
        let of = |severity| self.with(severity, file);
        finding::Findings::new([of(Severity::Error), of(Severity::Warning)].concat())
    }
}

/// Creates a warning with the code `degraded`.
fn warning(place: Place, text: impl Into<String>) -> Finding {
    let mut finding = Finding::error("degraded", place, text);
    finding.severity = Severity::Warning;
    finding
}

/// Returns the text of a finding without its position: the key and its value, as far as they are known, and the
/// message.
pub(super) fn without_place(finding: &Finding) -> String {
    let key = &finding.place.key;
    match (&finding.value, key.is_empty()) {
        (Some(value), false) => format!("{key} = {value}: {}", finding.message),
        (None, false) => format!("{key}: {}", finding.message),
        (_, true) => finding.message.clone(),
    }
}
