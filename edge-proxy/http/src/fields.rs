//! Header and trailer fields, stored in one buffer.
//!
//! A proxy reads, filters and writes fields; it seldom looks one up by an arbitrary name. A section is therefore one
//! buffer and a list of positions in it. This needs no allocation per field and keeps the spelling of names for
//! HTTP/1.1. Names that matter to a proxy are recognised once, when a field is added.

use crate::grammar::{is_field_value, is_token, trim};
use crate::name::{Name, NameSet, bit};
use crate::name_class::NameClass;
use std::fmt;

/// The number of bytes that are reserved behind a block of header lines, for the fields that a proxy adds to most
/// messages.
const RESERVED_BYTES: usize = 256;
/// The number of bytes that are reserved for the fields of a message, with those that a proxy adds.
const USUAL_BYTES: usize = 768;
/// The number of fields that are reserved for a message, with those that a proxy adds.
const USUAL_FIELDS: usize = 24;

/// The greatest length of a name in bytes.
const MAX_NAME: usize = u16::MAX as usize;
/// The greatest length of a section in bytes.
const MAX_SECTION: usize = u32::MAX as usize;

/// The part of a field that is not valid, for which [`Fields::try_push`] does not append the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidField {
    /// The name is not a token (RFC 9110 §5.6.2), or is longer than 65 535 bytes.
    #[error("not a valid field name: expected a token of at most 65535 bytes")]
    Name,
    /// The value contains a control character other than tab, such as CR or LF, or begins or ends with whitespace (RFC
    /// 9110 §5.5), or the section would exceed 4 GiB.
    #[error("not a valid field value: expected no control characters and no whitespace at either end")]
    Value,
}

/// The position of a field in the buffer, and the identity of its name. Parsers limit a name to 2^16-1 bytes and a
/// section to far less than 2^32.
#[derive(Clone, Copy)]
struct FieldEntry {
    /// The offset of the name in the buffer.
    name_at: u32,
    /// The offset of the value in the buffer.
    value_at: u32,
    /// The length of the value in bytes.
    value_len: u32,
    /// The length of the name in bytes.
    name_len: u16,
    /// The known name, or [`Name::Other`].
    id: Name,
    /// The class of the characters in the name.
    class: NameClass,
}

impl FieldEntry {
    /// Returns the field that this entry describes in `buf`.
    fn of<'a>(&self, buf: &'a [u8]) -> Field<'a> {
        let (name_at, value_at) = (self.name_at as usize, self.value_at as usize);
        Field {
            id: self.id,
            name: &buf[name_at..name_at + usize::from(self.name_len)],
            value: &buf[value_at..value_at + self.value_len as usize],
            class: self.class,
        }
    }
}

/// One field, borrowed from its section.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The known name, or [`Name::Other`].
    pub id: Name,
    /// The name as spelt in the message.
    pub name: &'a [u8],
    /// The value as it was added. Parsers add it without leading and trailing whitespace.
    pub value: &'a [u8],
    /// The classes of characters in the name.
    pub class: NameClass,
}

/// Compares without the class, which follows from the name.
impl PartialEq for Field<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.name == other.name && self.value == other.value
    }
}

impl Eq for Field<'_> {}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// A header or trailer section: fields in the order of the message, including duplicates.
///
/// ```
/// use edge_http::{Fields, Name};
///
/// let mut fields = Fields::new();
/// fields.push(b"Accept", b"*/*");
/// fields.push(b"x-forwarded-for", b"192.0.2.1");
/// assert_eq!(fields.get(Name::XForwardedFor), Some(&b"192.0.2.1"[..]));
/// fields.remove(Name::XForwardedFor);
/// assert_eq!(fields.len(), 1);
/// ```
#[derive(Default)]
pub struct Fields {
    /// The names and values of all fields, as lines of HTTP/1.1.
    buf: Vec<u8>,
    /// The positions of the fields in `buf`, in their order.
    items: Vec<FieldEntry>,
    /// The names of all fields that were ever added. A name that is missing here is that of no field.
    added: NameSet,
    /// The classes of characters in the names of all fields that were ever added.
    classes: NameClass,
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        Self { buf: self.buf.clone(), items: self.items.clone(), added: self.added, classes: self.classes }
    }

    /// Copies into the existing allocation.
    fn clone_from(&mut self, source: &Self) {
        self.buf.clone_from(&source.buf);
        self.items.clone_from(&source.items);
        self.added = source.added;
        self.classes = source.classes;
    }
}

impl Fields {
    /// Creates an empty section without allocating.
    pub const fn new() -> Self {
        Self { buf: Vec::new(), items: Vec::new(), added: NameSet(0), classes: NameClass::EMPTY }
    }

    /// Removes all fields and keeps the allocations for the next message.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.items.clear();
        self.added = NameSet(0);
        self.classes = NameClass::EMPTY;
    }

    /// Returns the number of fields, duplicates included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether the section is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a field without validation. A caller that reads from the network must validate the name and the value
    /// first. The name may have 65,535 bytes, and all fields together 4 GiB.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_known(Name::of(name), NameClass::of(name), name, value);
    }

    /// Appends a field after validating it, for names and values that a program composes itself. The value is stored
    /// as given, and may be empty.
    ///
    /// ```
    /// use edge_http::{Fields, InvalidField};
    ///
    /// let mut fields = Fields::new();
    /// assert_eq!(fields.try_push(b"X-Node", b"a1"), Ok(()));
    /// assert_eq!(fields.try_push(b"X-Node", b"a1\r\nEvil: yes"), Err(InvalidField::Value));
    /// assert_eq!(fields.try_push(b"X Node", b"a1"), Err(InvalidField::Name));
    /// assert_eq!(fields.len(), 1);
    /// ```
    ///
    /// # Errors
    /// [`InvalidField`] if the name or the value is not valid or too long. The section is then unchanged.
    pub fn try_push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        if !is_token(name) || name.len() > MAX_NAME {
            return Err(InvalidField::Name);
        }
        let fits = self.buf.len().saturating_add(name.len() + value.len() + 4) <= MAX_SECTION;
        if !is_field_value(value) || trim(value).len() != value.len() || !fits {
            return Err(InvalidField::Value);
        }
        self.push(name, value);
        Ok(())
    }

    /// Appends a field of a known name, without validation. `id` and `class` must be those of `name`.
    pub fn push_known(&mut self, id: Name, class: NameClass, name: &[u8], value: &[u8]) {
        self.push_with(id, class, name, |buf| buf.extend_from_slice(value));
    }

    /// Appends a field of a known name. Its value is the bytes that `write` appends to the buffer. Nothing is
    /// validated.
    pub fn push_with(&mut self, id: Name, class: NameClass, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        // As a line of HTTP/1.1, so that adjacent fields are written in one copy.
        let name_at = self.buf.len();
        self.buf.extend_from_slice(name);
        self.buf.extend_from_slice(b": ");
        let value_at = self.buf.len();
        write(&mut self.buf);
        let length = self.buf.len() - value_at;
        self.buf.extend_from_slice(b"\r\n");
        self.push_range((id, class), (name_at, name.len()), (value_at, length));
    }

    /// Returns the value of the field at an index, whose line is in `lines` or, without them, in the buffer. Empty if
    /// there is no such field.
    pub(crate) fn value_in<'a>(&'a self, index: usize, lines: Option<&'a [u8]>) -> &'a [u8] {
        let value = |item: &FieldEntry| item.of(lines.unwrap_or(&self.buf)).value;
        self.items.get(index).map_or(b"", value)
    }

    /// Replaces the field at an index, of which there must be one, by a field without a known name. Nothing is
    /// validated.
    pub(crate) fn replace(&mut self, index: usize, name: &[u8], value: &[u8]) {
        self.push(name, value);
        self.items.swap_remove(index);
    }

    /// Removes all fields, and reserves memory for those of a usual message.
    pub(crate) fn clear_for_usual(&mut self) {
        self.clear();
        self.buf.reserve(USUAL_BYTES);
        self.items.reserve(USUAL_FIELDS);
    }

    /// Returns the offset in the buffer that the next block of header lines will have, and reserves memory for the
    /// entries of its fields.
    pub(crate) fn next_block(&mut self) -> usize {
        self.items.reserve(USUAL_FIELDS);
        self.buf.len()
    }

    /// Appends a block of header lines to the buffer, for [`Fields::push_range`] to refer to.
    pub(crate) fn push_block(&mut self, block: &[u8]) {
        self.buf.reserve(block.len() + RESERVED_BYTES);
        self.buf.extend_from_slice(block);
    }

    /// Appends a field by the offsets and lengths of its name and value in the buffer, which must be there before a
    /// field is read.
    pub(crate) fn push_range(
        &mut self,
        (id, class): (Name, NameClass),
        (name_at, name_len): (usize, usize),
        (value_at, value_len): (usize, usize),
    ) {
        self.added.0 |= bit(id);
        self.classes = self.classes.union(class);
        self.items.push(FieldEntry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: name_len as u16,
            id,
            class,
        });
    }

    /// Appends the fields to `out` as lines of HTTP/1.1, except those with the name `except`. Lines that are adjacent
    /// in the buffer are copied at once.
    pub(crate) fn write_lines(&self, except: Name, out: &mut Vec<u8>) {
        let (mut from, mut to) = (0, 0);
        for item in self.items.iter().filter(|item| item.id != except) {
            let (name_at, value_at) = (item.name_at as usize, item.value_at as usize);
            let (name_end, value_end) =
                (name_at + usize::from(item.name_len), value_at + item.value_len as usize);
            let is_line = value_at == name_end + 2
                && self.buf.get(name_end..value_at) == Some(b": ".as_slice())
                && self.buf.get(value_end..value_end + 2) == Some(b"\r\n".as_slice());
            if is_line && name_at == to {
                to = value_end + 2;
                continue;
            }
            out.extend_from_slice(&self.buf[from..to]);
            if is_line {
                (from, to) = (name_at, value_end + 2);
            } else {
                (from, to) = (0, 0);
                for part in [&self.buf[name_at..name_end], b": ", &self.buf[value_at..value_end], b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(&self.buf[from..to]);
    }

    /// Iterates over the fields in the order of the message.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + DoubleEndedIterator + Clone {
        self.items.iter().map(|item| self.field(item))
    }

    /// Returns the field at this position in the buffer.
    fn field(&self, item: &FieldEntry) -> Field<'_> {
        item.of(&self.buf)
    }

    /// Returns the value of the first field with this name; of [`Name::Other`], the first field whose name is not
    /// known. `None` if there is none.
    pub fn get(&self, id: Name) -> Option<&[u8]> {
        self.all(id).next()
    }

    /// Iterates over the values of all fields of this name, in the order of the message; of [`Name::Other`], those of
    /// all fields whose names are not known.
    pub fn all(&self, id: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let items = if self.was_added(id) { &self.items[..] } else { &[] };
        items.iter().filter(move |item| item.id == id).map(|item| self.field(item).value)
    }

    /// Returns whether a field of this name was added. It may have been removed since.
    #[inline]
    pub(crate) const fn was_added(&self, id: Name) -> bool {
        self.added.contains(id)
    }

    /// Returns false only if no field has one of these names. True if one was added, even if it may have been removed
    /// since.
    #[inline]
    pub const fn may_contain(&self, names: NameSet) -> bool {
        self.added.intersects(names)
    }

    /// Returns the union of the classes of characters in the names of all fields that were added since the last
    /// [`clear`](Self::clear), some of which may have been removed.
    #[inline]
    pub const fn classes(&self) -> NameClass {
        self.classes
    }

    /// Returns the value of the first field of this name, compared without regard to case. `None` if there is none.
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Returns whether a field of this name is present; of [`Name::Other`], whether any field whose name is not known.
    #[inline]
    pub fn contains(&self, id: Name) -> bool {
        self.was_added(id) && self.items.iter().any(|item| item.id == id)
    }

    /// Removes all fields of this name; of [`Name::Other`], all fields whose names are not known.
    #[inline]
    pub fn remove(&mut self, id: Name) {
        if self.was_added(id) {
            self.items.retain(|item| item.id != id);
            self.added.0 &= !bit(id);
        }
    }

    /// Removes all fields whose name is in this set.
    pub fn remove_all(&mut self, names: NameSet) {
        if !self.may_contain(names) {
            return;
        }
        self.added.0 &= !names.0;
        let is_named = |item: &FieldEntry| names.contains(item.id);
        let Some(first) = self.items.iter().position(is_named) else { return };
        // Mostly it is the only one: then those behind it are moved at once.
        if self.items[first + 1..].iter().any(is_named) {
            self.items.retain(|item| !is_named(item));
        } else {
            self.items.remove(first);
        }
    }

    /// Removes all fields of this name, compared without regard to case.
    pub fn remove_named(&mut self, name: &[u8]) {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
    }

    /// Removes the fields for which `keep` returns false. The order is kept.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let buf = &self.buf;
        self.items.retain(|item| keep(item.of(buf)));
    }

    /// Returns the size in bytes of the memory that is reserved for the fields, whether it is in use or not.
    pub fn capacity(&self) -> usize {
        self.buf.capacity() + self.items.capacity() * size_of::<FieldEntry>()
    }

    /// Returns the size of the section in bytes as HTTP/2 and HTTP/3 count it: names, values and 32 bytes per field
    /// (RFC 9113 §6.5.2, RFC 9114 §4.2.2).
    pub fn section_size(&self) -> usize {
        self.items.iter().map(|item| usize::from(item.name_len) + item.value_len as usize + 32).sum()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in pairs {
            fields.push(name, value);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;
    use crate::Name;
    use crate::h1::{HeadLimits, request};
    use crate::{RequestHead, Version};
    use proptest::prelude::*;

    proptest! {
        /// Fields are written as one line after the other, however they came into the buffer.
        #[test]
        fn lines(
            lines in prop::collection::vec(("[A-Za-z-]{1,9}", "( |\t|  |)", "([!-~][ -~]{0,6}[!-~])?", "( |\t|)"), 0..6),
            pushed in prop::collection::vec(("[A-Za-z-]{1,9}", "[ -~]{0,8}"), 0..4),
            removed in prop::collection::vec(0usize..10, 0..4),
        ) {
            let mut text = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
            for (name, before, value, after) in &lines {
                text.push_str(&format!("{name}:{before}{value}{after}\r\n"));
            }
            text.push_str("\r\n");
            let mut head = RequestHead::new(Version::Http11);
            prop_assume!(matches!(request(text.as_bytes(), &HeadLimits::default(), &mut head), Ok(Some(_))));
            pushed.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
            for at in removed {
                let name = head.fields.iter().nth(at).map(|field| field.name.to_vec());
                head.fields.remove_named(&name.unwrap_or_default());
            }
            let mut expected = Vec::new();
            for field in head.fields.iter().filter(|field| field.id != Name::Te) {
                expected.extend_from_slice(&[field.name, b": ", field.value, b"\r\n"].concat());
            }
            let mut written = Vec::new();
            head.fields.write_lines(Name::Te, &mut written);
            prop_assert_eq!(written, expected);
        }
    }

    #[test]
    fn adjacent_lines_are_one_copy() {
        let mut fields = Fields::new();
        fields.push(b"A", b"1");
        fields.push(b"TE", b"trailers");
        fields.push(b"B", b"2");
        let mut written = Vec::new();
        fields.write_lines(Name::Te, &mut written);
        assert_eq!(written, b"A: 1\r\nB: 2\r\n");
    }
}
