//! Field lines as they are decoded: as lines of HTTP/1.1, one behind the other, so that a section takes all of them in
//! one copy.

use crate::known_names::{KnownName, LINE_LEN, by_code};
use crate::prefixed::{huffman, take_integer};

/// Reused memory for the field lines of a section.
#[derive(Debug, Default)]
pub(crate) struct FieldLineBuffer {
    /// Its length is kept, so that it is not cleared for each section.
    bytes: Vec<u8>,
}

impl FieldLineBuffer {
    /// Returns a decoder for the lines of a section.
    pub(crate) fn begin(&mut self) -> FieldLineDecoder<'_> {
        FieldLineDecoder { bytes: &mut self.bytes, at: 0, name_len: 0, known: None }
    }
}

/// The most bytes of a value that is not in the section.
pub(crate) const MAX_STATIC_VALUE: usize = 64;

/// A decoder for the field lines of a section.
pub(crate) struct FieldLineDecoder<'m> {
    /// The lines that are kept, and the current one: the name, `: `, the value, CR LF. The bytes behind it are
    /// unspecified.
    bytes: &'m mut Vec<u8>,
    /// The offset of the current line, behind those that are kept.
    at: usize,
    /// The length of the current line's name in bytes.
    name_len: usize,
    /// The current line's name, if it is known.
    known: Option<&'static KnownName>,
}

/// A field line, borrowed from the memory that it was decoded into.
#[derive(Clone, Copy)]
pub(crate) struct FieldLine<'a> {
    /// The lines before it that are kept.
    pub(crate) kept: &'a [u8],
    /// The line as in HTTP/1.1, with its CR LF.
    pub(crate) line: &'a [u8],
    /// The length of the name in bytes.
    pub(crate) name_len: usize,
    /// The name, if it is known. `None` says nothing about the name.
    pub(crate) known: Option<&'static KnownName>,
    /// True if the value consists of visible ASCII characters and spaces. False if that is not known.
    pub(crate) is_plain: bool,
}

impl<'a> FieldLine<'a> {
    /// Returns the name of the field, as it was sent.
    #[inline]
    pub(crate) fn name(&self) -> &'a [u8] {
        self.line.get(..self.name_len).unwrap_or_default()
    }

    /// Returns the value of the field, as it was sent.
    #[inline]
    pub(crate) fn value(&self) -> &'a [u8] {
        self.line.get(self.name_len + 2..self.line.len() - 2).unwrap_or_default()
    }

    /// Returns the length of the value in bytes.
    #[inline]
    pub(crate) const fn value_len(&self) -> usize {
        self.line.len() - 4 - self.name_len
    }
}

/// The further use of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineUse {
    /// The line is needed until the section is complete.
    Keep,
    /// The line is not needed any more.
    Release,
}

/// A name or value that is not decoded yet.
#[derive(Clone, Copy)]
pub(crate) struct EncodedText<'a> {
    /// The bytes of the text or of its Huffman code.
    bytes: &'a [u8],
    /// True if `bytes` are a Huffman code.
    is_coded: bool,
    /// True if the text consists of visible ASCII characters and spaces. False if that is not known.
    is_plain: bool,
}

impl<'a> EncodedText<'a> {
    /// Returns a text of visible ASCII characters and spaces, [`MAX_STATIC_VALUE`] bytes at most.
    pub(crate) const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, is_coded: false, is_plain: true }
    }

    /// Parses a string from `section` and advances past it. Its length has a prefix of `bits` bits, with the Huffman
    /// flag above it. `None` if it is incomplete.
    #[inline(always)]
    pub(crate) fn take(section: &mut &'a [u8], bits: u32) -> Option<Self> {
        let is_coded = *section.first()? & 1 << bits != 0;
        let len = usize::try_from(take_integer(section, bits)?).ok()?;
        let (bytes, rest) = section.split_at_checked(len)?;
        *section = rest;
        Some(Self { bytes, is_coded, is_plain: false })
    }
}

impl FieldLineDecoder<'_> {
    /// Reserves memory for a line that is in at most `len` bytes of a section.
    #[inline(always)]
    pub(crate) fn begin_line(&mut self, len: usize) {
        // A known name, a decoded name and a decoded value, with their punctuation.
        let room = self.at + LINE_LEN + MAX_STATIC_VALUE + 2 + huffman::decode_room(len);
        if self.bytes.len() < room {
            self.bytes.resize(room + room / 2, 0);
        }
    }

    /// Begins a line with a known name.
    #[inline(always)]
    pub(crate) fn set_known_name(&mut self, known: &'static KnownName) {
        if let Some(begin) = self.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            *begin = known.line;
        }
        (self.name_len, self.known) = (usize::from(known.len), Some(known));
    }

    /// Begins a line with a name. `None` if its Huffman code is invalid.
    #[inline(always)]
    pub(crate) fn set_name(&mut self, name: EncodedText<'_>) -> Option<()> {
        if name.is_coded
            && let Some(known) = by_code(name.bytes)
        {
            self.set_known_name(known);
        } else {
            let (len, _) = self.write(self.at, name)?;
            self.bytes.get_mut(self.at + len..self.at + len + 2)?.copy_from_slice(b": ");
            (self.name_len, self.known) = (len, None);
        }
        Some(())
    }

    /// Completes the line with a value. `None` if its Huffman code is invalid.
    #[inline(always)]
    pub(crate) fn complete(&mut self, value: EncodedText<'_>) -> Option<FieldLine<'_>> {
        let begin = self.at + self.name_len + 2;
        let (len, is_plain) = self.write(begin, value)?;
        let end = begin + len;
        self.bytes.get_mut(end..end + 2)?.copy_from_slice(b"\r\n");
        let (kept, line) = self.bytes.get(..end + 2)?.split_at_checked(self.at)?;
        Some(FieldLine { kept, line, name_len: self.name_len, known: self.known, is_plain })
    }

    /// Keeps a line of this length, the one that was completed last.
    #[inline]
    pub(crate) const fn keep(&mut self, len: usize) {
        self.at += len;
    }

    /// Writes a text at an offset. Returns its length, and whether it is known to be plain. `None` if its Huffman code
    /// is invalid.
    #[inline(always)]
    fn write(&mut self, at: usize, text: EncodedText<'_>) -> Option<(usize, bool)> {
        if text.is_coded {
            let decoded = huffman::decode_into(text.bytes, self.bytes.get_mut(at..)?)?;
            return Some((decoded.len, decoded.is_plain));
        }
        let len = text.bytes.len();
        self.bytes.get_mut(at..at + len)?.copy_from_slice(text.bytes);
        Some((len, text.is_plain))
    }
}

impl<'m> FieldLineDecoder<'m> {
    /// Returns the lines that were kept.
    pub(crate) fn finish(self) -> &'m [u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }
}
