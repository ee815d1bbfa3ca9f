//! Notes about directives that were not converted, or that were converted into something else.

use super::parse::Directive;

/// The harm of a difference to the one who migrates. The order is that of the notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Impact {
    /// A protection of nginx is gone.
    Open,
    /// Something that nginx served is refused.
    Closed,
    /// Something is answered in another way.
    Different,
    /// Nothing that a client or a service would notice.
    Harmless,
}

impl Impact {
    /// Every harm, the worst first.
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Different, Self::Harmless];

    /// Returns the heading of the notes of this harm.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Open => "This is now open",
            Self::Closed => "This is now closed",
            Self::Different => "This is different",
            Self::Harmless => "Harmless",
        }
    }

    /// Returns its word in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Different => "different",
            Self::Harmless => "harmless",
        }
    }
}

/// A note on a directive that has a meaning and was not converted as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) impact: Impact,
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The directive as written.
    pub(crate) directive: String,
    /// The explanation for the reader.
    pub(crate) what: String,
}

/// The notes of a conversion.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn open(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Open, directive, what.into());
    }

    pub(super) fn closed(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Closed, directive, what.into());
    }

    pub(super) fn different(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Different, directive, what.into());
    }

    pub(super) fn harmless(&mut self, directive: &Directive, what: impl Into<String>) {
        self.push(Impact::Harmless, directive, what.into());
    }

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

    /// Returns the notes in order of harm, those of one harm by file and line.
    pub(super) fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by(|a, b| (a.impact, &a.file, a.line).cmp(&(b.impact, &b.file, b.line)));
        self.0
    }
}

impl Directive {
    /// Returns the directive on one line, as it is shown to people.
    pub(super) fn shown(&self) -> String {
        let mut text = self.name.clone();
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(argument);
        }
        text.chars().filter(|c| !c.is_control()).take(80).collect()
    }

    /// Returns the place of the directive as `file:line`.
    pub(crate) fn place(&self) -> String {
        let place = format!("{}:{}", self.file, self.line);
        place.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// Returns the first argument; empty without one.
    pub(crate) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// Returns the block; empty without one.
    pub(crate) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}
