//! The keys that each table may have, and what their values must be. What reads them and what describes them to editors
//! ([`schema`](mod@super::schema)) go by the same tables.

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The table is wrong without it.
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

/// What a value must be.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text such as `10s`.
    Duration,
    /// One of these; which, its type says.
    Either(&'static [Self]),
    /// A table that another crate reads, which describes it too.
    Foreign(fn() -> serde_json::Value),
    /// Text of which this pattern (ECMA 262) is true. What it means is read by whoever needs it.
    Form(&'static str),
    /// A list of these, or one.
    List(&'static Self),
    /// A table whose keys are names.
    Named(&'static Self),
    /// A whole number, from and to.
    Number(u64, u64),
    /// An absolute path.
    Path,
    /// A range of addresses, or one.
    Range,
    /// A number from 0 to 1.
    Share,
    /// Bytes, or text such as `16KiB`.
    Size,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A list of such tables, `[[name]]`.
    Tables(&'static [Key]),
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// An address with its port.
pub(super) const ADDRESS: &str = r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):\d{1,5}$";

/// The words of choices.
pub(super) const fn words<T: Copy, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = choices[at].0;
        at += 1;
    }
    words
}
