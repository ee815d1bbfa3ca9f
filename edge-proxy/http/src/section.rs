//! Field sections of HTTP/2 and HTTP/3: from field lines to a [`RequestHead`] or trailers (RFC 9113 §8.2, §8.3; RFC
//! 9114 §4.2, §4.3).

use crate::field_line::{FieldLine, LineUse};
use crate::field_names::is_same_variable;
use crate::grammar::{decimal, is_target, is_token};
use crate::known_names::{KnownName, NameRole};
use crate::name_class::NameClass;
use crate::scan::value_end;
use crate::{BodyLength, Fields, Method, Name, RequestHead, Version, host};

/// The limits of a field section of HTTP/2 or HTTP/3. Default: 16 KiB and 128 fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionLimits {
    /// The largest size in bytes: names, values, and 32 bytes per field (RFC 9113 §6.5.2, RFC 9114 §4.2.2).
    pub section: usize,
    /// The highest number of field lines.
    pub fields: usize,
}

impl Default for SectionLimits {
    fn default() -> Self {
        Self { section: 16 * 1024, fields: 128 }
    }
}

/// The reason a field section of a request of HTTP/2 or HTTP/3 is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionError {
    /// The message is malformed (RFC 9113 §8.1.1, RFC 9114 §4.1.2): a field line is invalid or connection-specific,
    /// pseudo-header fields are missing, unknown, repeated or inconsistent, or the declared length contradicts the
    /// stream.
    Malformed,
    /// The section exceeds a limit.
    TooLarge,
    /// Host and `:authority` differ, compared without regard to case, or Host is repeated.
    TwoAuthorities,
    /// The method is CONNECT without `:protocol`, which only a forward proxy serves.
    Connect,
}

use SectionError::Malformed;

/// The size of a section so far, and its limits.
struct SectionUsage {
    /// The limits of the section.
    limits: SectionLimits,
    /// The size of the fields so far, with 32 bytes for each.
    bytes: usize,
    /// The number of fields so far.
    fields: usize,
}

impl SectionUsage {
    /// Creates the usage of an empty section.
    const fn new(limits: SectionLimits) -> Self {
        Self { limits, bytes: 0, fields: 0 }
    }

    /// Counts a field line by the lengths of its name and value, also one that exceeds a limit.
    ///
    /// # Errors
    /// [`SectionError::TooLarge`] if a limit is exceeded.
    #[inline]
    const fn count(&mut self, name_len: usize, value_len: usize) -> Result<(), SectionError> {
        self.bytes += name_len + value_len + 32;
        self.fields += 1;
        let over = self.bytes > self.limits.section || self.fields > self.limits.fields;
        if over { Err(SectionError::TooLarge) } else { Ok(()) }
    }
}

/// Returns whether a value has whitespace at its beginning or end.
#[inline]
fn has_outer_blank(value: &[u8]) -> bool {
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    blank(value.first()) || blank(value.last())
}

/// Returns whether a field with this name and value belongs to the connection, so that it does not exist in HTTP/2 and
/// HTTP/3.
#[inline]
fn is_of_connection(id: Name, value: &[u8]) -> bool {
    match id {
        Name::Connection
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::TransferEncoding
        | Name::Upgrade => true,
        Name::Te => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// Checks a regular field line (RFC 9113 §8.2, RFC 9114 §4.2, RFC 9110 §5.5), and returns the class of its name. `id`
/// must be that of `name`.
///
/// # Errors
/// [`SectionError::Malformed`] if the name is not a lower-case token, the value has control characters or surrounding
/// whitespace, or the field is connection-specific.
fn check(id: Name, name: &[u8], value: &[u8]) -> Result<NameClass, SectionError> {
    let class = NameClass::of(name);
    let wrong = !class.is_lower_token()
        || name.len() > usize::from(u16::MAX)
        || value_end(value) != value.len()
        || has_outer_blank(value)
        || is_of_connection(id, value);
    if wrong { Err(Malformed) } else { Ok(class) }
}

/// The pseudo-header fields of a request (RFC 9113 §8.3.1, RFC 9114 §4.3.1) that were added. Their values are in the
/// head.
#[derive(Default)]
struct Pseudo {
    /// True if `:method` was added.
    method: bool,
    /// True if `:scheme` was added.
    scheme: bool,
    /// True if `:authority` was added.
    authority: bool,
    /// True if `:path` was added.
    path: bool,
}

/// Replaces a text by `value`, which must consist of visible ASCII characters. Its memory is kept.
///
/// # Errors
/// [`SectionError::Malformed`] if it does not, or if `added` is true: the field is repeated. It is true afterwards.
fn set_once(added: &mut bool, text: &mut String, value: &[u8]) -> Result<(), SectionError> {
    if std::mem::replace(added, true) || !is_target(value) {
        return Err(Malformed);
    }
    // The copy is checked: it begins at the start of a word, which takes less time.
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.clear();
    bytes.extend_from_slice(value);
    *text = String::from_utf8(bytes).map_err(|_| Malformed)?;
    Ok(())
}

/// The state of the receiving part of a request stream after a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// More may follow: content or trailers.
    Open,
    /// The peer has ended the stream.
    Ended,
}

/// A builder of a request head from the field lines of a section, in their order.
pub struct RequestHeadBuilder<'h> {
    /// The head so far.
    head: &'h mut RequestHead,
    /// The pseudo-header fields so far.
    pseudo: Pseudo,
    /// The size of the section so far.
    spent: SectionUsage,
    /// True once a regular field was added, after which pseudo-header fields are not allowed.
    regular: bool,
    /// The value of Host. `None` until it was added.
    named: Option<String>,
    /// The value of Content-Length. `None` without it.
    length: Option<u64>,
    /// The index of the first Cookie field. `None` until it was added.
    cookie: Option<usize>,
    /// The values of all Cookie fields, joined by `; `. Empty if there is one at most.
    cookies: Vec<u8>,
}

impl<'h> RequestHeadBuilder<'h> {
    /// Creates a builder for a request of this version, HTTP/2 or HTTP/3. The head is cleared, and its memory is used
    /// again. Unless [`finish`](Self::finish) succeeds, its content is unspecified afterwards.
    pub fn new(head: &'h mut RequestHead, version: Version, limits: SectionLimits) -> Self {
        head.version = version;
        head.upgrade = None;
        head.fields.clear_for_usual();
        Self {
            head,
            pseudo: Pseudo::default(),
            spent: SectionUsage::new(limits),
            regular: false,
            named: None,
            length: None,
            cookie: None,
            cookies: Vec::new(),
        }
    }

    /// Adds the next field line. After an error, no further line may be added.
    ///
    /// # Errors
    /// [`SectionError`] if the line makes the section malformed or exceeds a limit.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), SectionError> {
        self.spent.count(name.len(), value.len())?;
        if let Some((id, class)) = self.unknown(name, value, None)? {
            self.head.fields.push_known(id, class, name, value);
        }
        Ok(())
    }

    /// Adds the next field line as [`field`](Self::field), without checking again what is known of it. If the line is
    /// to be kept, it must be among those of [`finish_lines`](Self::finish_lines). A section must consist of such lines
    /// only.
    ///
    /// # Errors
    /// As [`field`](Self::field).
    #[inline(always)]
    pub(crate) fn line(&mut self, line: FieldLine<'_>) -> Result<LineUse, SectionError> {
        self.spent.count(line.name_len, line.value_len())?;
        let known = match line.known {
            Some(known) if known.role != NameRole::Special => self.known(known, line)?,
            _ => self.unknown(line.name(), line.value(), Some(line.kept))?,
        };
        let Some(known) = known else { return Ok(LineUse::Release) };
        let (name_at, value_at) = (line.kept.len(), line.kept.len() + line.name_len + 2);
        self.head.fields.push_range(known, (name_at, line.name_len), (value_at, line.value_len()));
        Ok(LineUse::Keep)
    }

    /// Reads a line whose name is known and has no influence on the host, the length or the connection. Returns the
    /// identity of its name if it is to be added.
    ///
    /// # Errors
    /// As [`field`](Self::field).
    fn known(
        &mut self,
        known: &KnownName,
        line: FieldLine<'_>,
    ) -> Result<Option<(Name, NameClass)>, SectionError> {
        let value = line.value();
        if !matches!(known.role, NameRole::Field | NameRole::Cookie) {
            return self.pseudo(known.role, value).map(|()| None);
        }
        self.regular = true;
        // The name is a token in lower case, and the field does not belong to the connection.
        if !line.is_plain && value_end(value) != value.len() || has_outer_blank(value) {
            return Err(Malformed);
        }
        let joined = known.role == NameRole::Cookie && self.is_further_cookie(value, Some(line.kept));
        Ok((!joined).then_some((known.id, NameClass::EMPTY)))
    }

    /// Reads a line of which nothing is known. Returns the identity and the class of its name if it is to be added.
    /// `lines` are the lines that were kept before, if there are such.
    ///
    /// # Errors
    /// As [`field`](Self::field).
    fn unknown(
        &mut self,
        name: &[u8],
        value: &[u8],
        lines: Option<&[u8]>,
    ) -> Result<Option<(Name, NameClass)>, SectionError> {
        if name.first() == Some(&b':') {
            return self.pseudo(NameRole::of_pseudo(name), value).map(|()| None);
        }
        self.regular = true;
        let id = Name::of(name);
        let class = check(id, name, value)?;
        let joined = name == b"cookie" && self.is_further_cookie(value, lines);
        let added = !joined && !self.control(id, value)?;
        Ok(added.then_some((id, class)))
    }

    /// Adds a pseudo-header field.
    ///
    /// # Errors
    /// [`SectionError::Malformed`] if it is unknown, repeated, invalid, or behind a regular field.
    fn pseudo(&mut self, role: NameRole, value: &[u8]) -> Result<(), SectionError> {
        let Self { head, pseudo, .. } = self;
        match role {
            _ if self.regular => Err(Malformed),
            NameRole::Authority => set_once(&mut pseudo.authority, &mut head.authority, value),
            NameRole::Method if !pseudo.method => {
                head.method = Method::parse(value).ok_or(Malformed)?;
                pseudo.method = true;
                Ok(())
            }
            NameRole::Path => set_once(&mut pseudo.path, &mut head.target, value),
            NameRole::Protocol if head.upgrade.is_none() && is_token(value) => {
                head.upgrade = Some(std::str::from_utf8(value).map_err(|_| Malformed)?.into());
                Ok(())
            }
            NameRole::Scheme if !pseudo.scheme => {
                // A TLS terminator in front of an HTTP/2 connection may report that its outer side was plain.
                let plain = head.version == Version::Http2 && value.eq_ignore_ascii_case(b"http");
                pseudo.scheme = plain || value.eq_ignore_ascii_case(b"https");
                if pseudo.scheme { Ok(()) } else { Err(Malformed) }
            }
            _ => Err(Malformed),
        }
    }

    /// Reads a field that determines the host or the length of the request. Returns whether it is one.
    ///
    /// # Errors
    /// [`SectionError`] if it is repeated or invalid.
    #[inline]
    fn control(&mut self, id: Name, value: &[u8]) -> Result<bool, SectionError> {
        match id {
            Name::Host => {
                let host = std::str::from_utf8(value).map_err(|_| Malformed)?;
                if self.named.replace(host.to_owned()).is_some() {
                    return Err(SectionError::TwoAuthorities);
                }
            }
            Name::ContentLength => {
                let value = decimal(value).ok_or(Malformed)?;
                if self.length.replace(value).is_some() {
                    return Err(Malformed);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Joins a Cookie field with those before it, and returns true. Returns false if it is the first that is not empty,
    /// which is then to be added as any field, and at whose place the joined one is. A cookie may have been split into
    /// several fields, and must be joined before it is forwarded (RFC 9113 §8.2.3, RFC 9114 §4.2.1). `lines` are the
    /// lines that were kept before, if there are such.
    fn is_further_cookie(&mut self, value: &[u8], lines: Option<&[u8]>) -> bool {
        let fields = &self.head.fields;
        let Some(first) = self.cookie else {
            // An empty one adds nothing.
            self.cookie = (!value.is_empty()).then_some(fields.len());
            return value.is_empty();
        };
        if self.cookies.is_empty() {
            self.cookies.extend_from_slice(fields.value_in(first, lines));
        }
        self.cookies.extend_from_slice(b"; ");
        self.cookies.extend_from_slice(value);
        true
    }

    /// Completes the head as [`finish`](Self::finish). `lines` are those that were kept.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub(crate) fn finish_lines(self, lines: &[u8], stream: StreamState) -> Result<(), SectionError> {
        self.head.fields.push_block(lines);
        self.finish(stream)
    }

    /// Completes the head. `stream` is the state of the stream after the section.
    ///
    /// # Errors
    /// [`SectionError`] if pseudo-header fields are missing or inconsistent, if Host contradicts them, if content is
    /// declared but the stream ended, or for a CONNECT without `:protocol`.
    pub fn finish(self, stream: StreamState) -> Result<(), SectionError> {
        let Self { head, pseudo, named, length, cookie, cookies, .. } = self;
        if let Some(first) = cookie
            && !cookies.is_empty()
        {
            head.fields.replace(first, b"cookie", &cookies);
        }
        if !pseudo.method {
            return Err(Malformed);
        }
        head.authority.truncate(host::without_empty_port(&head.authority).len());
        // If both are present they must agree; one of them must be present and not empty.
        match named.as_deref().map(host::without_empty_port) {
            None if pseudo.authority => {}
            Some(host) if pseudo.authority => {
                if !head.authority.eq_ignore_ascii_case(host) {
                    return Err(SectionError::TwoAuthorities);
                }
            }
            Some(host) if head.method != Method::Connect => host.clone_into(&mut head.authority),
            _ => return Err(Malformed),
        }
        if host::split_authority(&head.authority).is_none() {
            return Err(Malformed);
        }
        if head.method == Method::Connect && head.upgrade.is_none() {
            // It has neither scheme nor path. Well-formed or not, this is not a forward proxy.
            let malformed = pseudo.scheme || pseudo.path;
            return Err(if malformed { Malformed } else { SectionError::Connect });
        }
        let origin_form = head.target.starts_with('/') && !head.target.contains('#');
        let asterisk = head.target == "*" && head.method == Method::Options;
        if !pseudo.path || !pseudo.scheme || !(origin_form || asterisk) {
            return Err(Malformed);
        }
        if head.upgrade.is_some() && (head.method != Method::Connect || length.is_some()) {
            return Err(Malformed);
        }
        let ended = stream == StreamState::Ended;
        head.body = match length {
            Some(length) if ended && length > 0 => return Err(Malformed),
            Some(length) => BodyLength::Exact(length),
            None if ended => BodyLength::None,
            None => BodyLength::Unknown,
        };
        Ok(())
    }
}

/// A builder of request trailers from field lines. Fields that are not allowed in trailers are omitted (RFC 9110
/// §6.5.1).
pub struct TrailerBuilder {
    /// The trailers so far.
    fields: Fields,
    /// The size of the section so far.
    spent: SectionUsage,
}

impl TrailerBuilder {
    /// Creates an empty builder.
    pub const fn new(limits: SectionLimits) -> Self {
        Self { fields: Fields::new(), spent: SectionUsage::new(limits) }
    }

    /// Adds the next field line.
    ///
    /// # Errors
    /// [`SectionError`] if the line makes the section malformed or exceeds a limit.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), SectionError> {
        self.spent.count(name.len(), value.len())?;
        let id = Name::of(name);
        // Pseudo-header fields are not allowed in trailers; a colon is not part of a token.
        let class = check(id, name, value)?;
        if may_be_trailer(id, name) {
            self.fields.push_known(id, class, name, value);
        }
        Ok(())
    }

    /// Returns the fields that are allowed in trailers.
    pub fn finish(self) -> Fields {
        self.fields
    }
}

/// Returns the three decimal digits of a status in ASCII. A status above 999 becomes 999.
pub(crate) fn status_digits(status: u16) -> [u8; 3] {
    let status = status.min(999);
    [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8]
}

/// Formats a number as decimal digits at the end of `digits`, and returns the part that is used.
pub fn digits(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

/// The names of fields that are not allowed in trailers, besides those that begin with `content-` and those with a
/// meaning for a proxy.
const NO_TRAILERS: [&[u8]; 13] = [
    b"authorization",
    b"cache-control",
    b"cookie",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"pragma",
    b"range",
    b"set-cookie",
];

/// Returns whether a field is allowed in a trailer section (RFC 9110 §6.5.1). Fields that frame, route, authenticate or
/// condition a message, and those that only a proxy may set, are not, in any spelling that a backend could take for
/// them. `id` must be that of `name`.
pub fn may_be_trailer(id: Name, name: &[u8]) -> bool {
    const CONTENT: &[u8] = b"content-";
    let of_content = name.get(..CONTENT.len()).is_some_and(|begin| is_same_variable(begin, CONTENT));
    id == Name::Other
        && crate::field_names::folded(name) == Name::Other
        && !of_content
        && !NO_TRAILERS.iter().any(|other| is_same_variable(name, other))
}
