//! Notes about directives that were not converted, or not exactly.

use super::parse::Directive;

/// The harm that a difference from nginx does. Notes are sorted in this order, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Impact {
    /// A protection of nginx is lost.
    Open,
    /// Requests that nginx served are rejected.
    Closed,
    /// Requests are served in another way.
    Different,
    /// Neither clients nor services notice a change.
    Harmless,
}

impl Impact {
    /// All variants, the worst first.
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Different, Self::Harmless];

    /// Returns the heading in text output of the notes with this impact.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Open => "This is now open",
            Self::Closed => "This is now closed",
            Self::Different => "This is different",
            Self::Harmless => "Harmless",
        }
    }

    /// Returns the word for this impact in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Different => "different",
            Self::Harmless => "harmless",
        }
    }
}

/// A note about a directive that was not converted, or not exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The harm of the difference.
    pub(crate) impact: Impact,
    /// The file of the directive.
    pub(crate) file: String,
    /// The line of the directive, from 1.
    pub(crate) line: usize,
    /// The directive without its block on one line, shortened to 80 characters.
    pub(crate) directive: String,
    /// The description of the difference, and what to do about it.
    pub(crate) what: String,
}

/// The notes of a conversion, without duplicates.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// Adds a note: a protection of nginx is lost.
    pub(super) fn open(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Open, directive, what.into());
    }

    /// Adds a note: requests that nginx served are rejected.
    pub(super) fn closed(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Closed, directive, what.into());
    }

    /// Adds a note: requests are served in another way.
    pub(super) fn different(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Different, directive, what.into());
    }

    /// Adds a note: neither clients nor services notice the change.
    pub(super) fn harmless(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Harmless, directive, what.into());
    }

    /// Adds a note, unless an equal one has been added.
    fn push(&mut self, impact: Impact, directive: &Directive, what: String) {
        let note = Note {
            impact,
            file: directive.file.to_string(),
            line: directive.line,
            directive: directive.shown(),
            what,
        };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// Returns the notes sorted by impact, the worst first, then by file and line.
    pub(super) fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by(|a, b| (a.impact, &a.file, a.line).cmp(&(b.impact, &b.file, b.line)));
        self.0
    }
}

impl Directive {
    /// Returns the name and arguments of the directive, separated by spaces, without control characters, and shortened
    /// to 80 characters.
    pub(super) fn shown(&self) -> String {
        let mut text = self.name.clone();
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(argument);
        }
        text.chars().filter(|c| !c.is_control()).take(80).collect()
    }

    /// Returns the position of the directive as `file:line`, with control characters replaced by spaces.
    pub(crate) fn place(&self) -> String {
        let place = format!("{}:{}", self.file, self.line);
        place.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// Returns the first argument. Empty if there is none.
    pub(crate) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// Returns the directives of the block. Empty if there is none.
    pub(crate) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}
