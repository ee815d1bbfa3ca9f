//! The keys of each table and the kinds of their values, from which both the readers and the JSON Schema
//! ([`schema`](mod@super::schema)) work.

/// A key that is valid in a table.
#[derive(Debug)]
pub(super) struct Key {
    /// The name of the key.
    pub(super) name: &'static str,
    /// The kind of its value.
    pub(super) kind: Kind,
    /// True if the table must have the key. The schema requires it; the reader of the table reports that it is missing.
    pub(super) required: bool,
}

impl Key {
    /// Defines an optional key.
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false }
    }

    /// Defines a key that the table must have.
    pub(super) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: true }
    }
}

/// The kind of value that a key has.
#[derive(Debug)]
pub(super) enum Kind {
    /// The boolean `true` or `false`.
    Boolean,
    /// A duration as text, such as `10s` or `1m30s`.
    Duration,
    /// A value of one of these kinds, which have different TOML types.
    Either(&'static [Self]),
    /// A table that another crate reads. The function returns its JSON Schema.
    Foreign(fn() -> serde_json::Value),
    /// Text that matches this regular expression (ECMA 262). The schema contains the expression; the reader parses the
    /// text itself.
    Form(&'static str),
    /// A list of values of this kind, or a single one.
    List(&'static Self),
    /// A table with arbitrary names as keys, whose values are of this kind.
    Named(&'static Self),
    /// A whole number from the first to the second bound, both inclusive.
    Number(u64, u64),
    /// An absolute path, as text.
    Path,
    /// A CIDR range, or a single IP address, as text.
    Range,
    /// A number from 0 to 1, both inclusive.
    Share,
    /// A number of bytes, or text such as `16KiB`.
    Size,
    /// A table with no other keys than these.
    Table(&'static [Key]),
    /// An array of tables, `[[name]]`, each with no other keys than these.
    Tables(&'static [Key]),
    /// Text without further restrictions.
    Text,
    /// One of these words, as text.
    Word(&'static [&'static str]),
}

/// The regular expression of an IP address with a port: IPv6 in brackets, optionally with a zone.
pub(super) const ADDRESS: &str = r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+(%[^\]\s]+)?\]):\d{1,5}$";

/// Returns the words, the first parts, of a list of pairs of word and value, in their order.
pub(super) const fn words<T: Copy, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = choices[at].0;
        at += 1;
    }
    words
}
