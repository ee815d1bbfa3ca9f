//! The keys of each table and the kinds of their values. The reader and the JSON Schema ([`schema`](mod@super::schema))
//! use the same tables.

/// The definition of a key that a table may have.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// True if the table is invalid without it.
    pub(super) required: bool,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false }
    }

    pub(super) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: true }
    }
}

/// The kind of value that a key takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// The boolean `true` or `false`.
    Boolean,
    /// A duration as text, such as `10s`.
    Duration,
    /// One of several kinds, told apart by the TOML type.
    Either(&'static [Self]),
    /// A table that another crate reads and describes.
    Foreign(fn() -> serde_json::Value),
    /// Text that matches this pattern (ECMA 262). The caller interprets it.
    Form(&'static str),
    /// A list of these, or a single one.
    List(&'static Self),
    /// A table whose keys are names.
    Named(&'static Self),
    /// A whole number within these bounds, inclusive.
    Number(u64, u64),
    /// An absolute path.
    Path,
    /// A CIDR range, or a single address.
    Range,
    /// A number from 0 to 1.
    Share,
    /// A size in bytes, or text such as `16KiB`.
    Size,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A list of such tables, `[[name]]`.
    Tables(&'static [Key]),
    /// Any text at all.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The pattern of an address with its port.
pub(super) const ADDRESS: &str = r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+(%[^\]\s]+)?\]):\d{1,5}$";

/// Returns the words of a list of choices.
pub(super) const fn words<T: Copy, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = choices[at].0;
        at += 1;
    }
    words
}
