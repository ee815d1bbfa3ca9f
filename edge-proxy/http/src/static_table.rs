//! Lookups of fields in the static table of HPACK or QPACK, by a hash table that is built at compile time.

/// The index that stands for no entry.
const NONE: u8 = 0xff;

/// The index of a static table by the names of its entries.
pub(crate) struct Index<const N: usize> {
    /// The index of the first entry with a name, by the hash of the name; the next free slot if that is taken. [`NONE`]
    /// for a free slot.
    slots: [u8; 256],
    /// For each entry, the index of the next one with the same name, or [`NONE`].
    next: [u8; N],
}

/// The result of a lookup. Contains the index of the entry, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableMatch {
    /// Name and value match.
    Both(u8),
    /// Only the name matches.
    Name(u8),
    /// Neither name nor value matches.
    Nothing,
}

/// Returns a hash of a name by its length and three of its bytes, below 256.
const fn hash(len: usize, first: u8, last: u8, middle: u8) -> usize {
    (len.wrapping_mul(31)
        ^ (first as usize).wrapping_mul(7)
        ^ (last as usize).wrapping_mul(101)
        ^ (middle as usize).wrapping_mul(53))
        & 0xff
}

/// Returns the hash of a name, which must not be empty, as an index of the slots.
const fn slot(name: &[u8]) -> usize {
    hash(name.len(), name[0], name[name.len() - 1], name[name.len() / 2])
}

/// Returns true if both byte strings are equal.
pub(crate) const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

impl<const N: usize> Index<N> {
    /// Builds the index of a table.
    pub(crate) const fn of(table: &[(&[u8], &[u8]); N]) -> Self {
        let mut index = Self { slots: [NONE; 256], next: [NONE; N] };
        let mut i = 0;
        while i < N {
            let mut at = slot(table[i].0);
            loop {
                let found = index.slots[at];
                if found == NONE {
                    index.slots[at] = i as u8;
                    break;
                }
                if same(table[found as usize].0, table[i].0) {
                    let mut last = found;
                    while index.next[last as usize] != NONE {
                        last = index.next[last as usize];
                    }
                    index.next[last as usize] = i as u8;
                    break;
                }
                at = (at + 1) & 0xff;
            }
            i += 1;
        }
        index
    }

    /// Looks up a field in the table that the index was built from. The case of its name is ignored; the value must be
    /// equal.
    pub(crate) fn find(&self, table: &[(&[u8], &[u8]); N], name: &[u8], value: &[u8]) -> TableMatch {
        // No name in either table is longer.
        let mut lower = [0u8; 32];
        let Some(lower) = lower.get_mut(..name.len()).filter(|lower| !lower.is_empty()) else {
            return TableMatch::Nothing;
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let name = &*lower;
        let mut at = slot(name);
        loop {
            let first = self.slots[at];
            if first == NONE {
                return TableMatch::Nothing;
            }
            if table[usize::from(first)].0 == name {
                let mut entry = first;
                while entry != NONE {
                    if table[usize::from(entry)].1 == value {
                        return TableMatch::Both(entry);
                    }
                    entry = self.next[usize::from(entry)];
                }
                return TableMatch::Name(first);
            }
            at = (at + 1) & 0xff;
        }
    }
}
