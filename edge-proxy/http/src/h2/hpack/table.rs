//! The static and dynamic tables of HPACK (RFC 7541 §2.3, appendix A).

use crate::static_table::Index;
use std::collections::VecDeque;

pub(super) use crate::static_table::TableMatch;

/// The entries of the static table: name and value. Indexes on the wire begin with 1.
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The index of the static table by name and value.
static INDEX: Index<{ STATIC.len() }> = Index::of(&STATIC);

/// Looks up a field in the static table, ignoring the case of its name. The index in the result counts from 0.
pub(super) fn find(name: &[u8], value: &[u8]) -> TableMatch {
    INDEX.find(&STATIC, name, value)
}

/// The dynamic table: the most recent lines, the newest first.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// Each line's name and value in one allocation, and the length of the name.
    lines: VecDeque<(Box<[u8]>, usize)>,
    /// The size of the table in bytes as RFC 7541 §4.1 counts it: names, values and 32 per line.
    size: usize,
    /// The maximum size of the table in bytes.
    most: usize,
}

impl Dynamic {
    /// Creates an empty table of at most `most` bytes.
    pub(super) const fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), size: 0, most }
    }

    /// Returns the name and value of an index, which counts from 1 through the static table and then the dynamic table.
    /// `None` if there is no such entry.
    pub(super) fn line(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        if let Some(line) = STATIC.get(at) {
            return Some(*line);
        }
        let (line, name) = self.lines.get(at - STATIC.len())?;
        line.split_at_checked(*name)
    }

    /// Sets the maximum size of the table in bytes, and removes the oldest lines that no longer fit.
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink(most);
    }

    /// Removes the oldest lines until at most `to` bytes are left.
    fn shrink(&mut self, to: usize) {
        while self.size > to
            && let Some((line, _)) = self.lines.pop_back()
        {
            self.size -= line.len() + 32;
        }
    }

    /// Inserts a line, after removing the oldest ones that no longer fit. A line larger than the table empties it and
    /// is not inserted (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + 32;
        self.shrink(self.most.saturating_sub(size));
        if size <= self.most {
            self.size += size;
            self.lines.push_front(([name, value].concat().into_boxed_slice(), name.len()));
        }
    }

    /// Returns the size of the table as RFC 7541 §4.1 counts it.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}
