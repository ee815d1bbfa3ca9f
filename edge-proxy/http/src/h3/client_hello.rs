//! A parser of TLS ClientHello messages, for the server name and the offered session (RFC 8446 §4.1.2, RFC 6066 §3).

/// The parts of a ClientHello that are needed before a response is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The server name (SNI). `None` if the extension is missing. An extension without a host name is malformed.
    pub sni: Option<&'a str>,
    /// True if TLS 1.3 is supported (`supported_versions`, RFC 8446 §4.2.1).
    pub tls13: bool,
    /// The identity of the first session that is offered (`pre_shared_key`, RFC 8446 §4.2.11), the only one that can
    /// have early data. `None` without one, or if the extension is malformed, which TLS reports later.
    pub identity: Option<&'a [u8]>,
}

/// The error for bytes that cannot be a ClientHello, or for frames of an Initial packet that cannot carry one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedHello;

/// Parses a ClientHello: a handshake message without record headers. Returns `Ok(None)` if it is incomplete.
///
/// # Errors
/// [`MalformedHello`] if the message is of another type or malformed, or the server name is repeated.
pub fn parse(message: &[u8]) -> Result<Option<ClientHello<'_>>, MalformedHello> {
    match message.first() {
        None => return Ok(None),
        Some(1) => {}
        Some(_) => return Err(MalformedHello),
    }
    let Some((head, rest)) = message.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let mut body = HelloReader(body);
    // legacy_version and random.
    body.skip(2 + 32)?;
    let session_id = body.vector8()?;
    let suites = body.vector16()?;
    let compression = body.vector8()?;
    if session_id.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compression.is_empty() {
        return Err(MalformedHello);
    }
    let mut hello = ClientHello::default();
    if body.0.is_empty() {
        return Ok(Some(hello));
    }
    let mut extensions = HelloReader(body.vector16()?);
    if !body.0.is_empty() {
        return Err(MalformedHello);
    }
    let mut seen = false;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector16()?;
        if kind == 0 {
            // RFC 8446 §4.2: no extension may be repeated. Two names would let two readers see different ones.
            if std::mem::replace(&mut seen, true) {
                return Err(MalformedHello);
            }
            hello.sni = Some(server_name(content)?);
        }
        match kind {
            41 => {
                hello.identity =
                    HelloReader(content).vector16().and_then(|list| HelloReader(list).vector16()).ok();
            }
            43 => {
                hello.tls13 =
                    versions(content).is_ok_and(|list| list.chunks_exact(2).any(|one| one == [3, 4]));
            }
            _ => {}
        }
    }
    Ok(Some(hello))
}

/// Iterates over the possible server names in a part of a ClientHello, which may begin and end anywhere: every run of
/// bytes that parses as a `server_name` extension. Such bytes can also occur in other fields, so a name found here
/// proves only that the client knows it.
pub fn names(part: &[u8]) -> impl Iterator<Item = &str> {
    let candidate = |at: usize| {
        let mut extension = HelloReader(part.get(at..)?);
        let known = extension.u16() == Ok(0);
        if !known {
            return None;
        }
        server_name(extension.vector16().ok()?).ok()
    };
    (0..part.len()).filter_map(candidate)
}

/// Parses the content of a `server_name` extension, which must have exactly one host name of visible ASCII characters.
///
/// # Errors
/// [`MalformedHello`] otherwise.
fn server_name(content: &[u8]) -> Result<&str, MalformedHello> {
    let mut content = HelloReader(content);
    let mut list = HelloReader(content.vector16()?);
    if !content.0.is_empty() {
        return Err(MalformedHello);
    }
    let kind = list.u8()?;
    let name = list.vector16()?;
    // RFC 6066 §3: one name of each type, and only one type exists.
    if kind != 0 || name.is_empty() || !list.0.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Err(MalformedHello);
    }
    std::str::from_utf8(name).map_err(|_| MalformedHello)
}

/// Returns the content of a `supported_versions` extension: versions of two bytes each, without the length before them.
///
/// # Errors
/// The content is shorter than its length says.
fn versions(content: &[u8]) -> Result<&[u8], MalformedHello> {
    HelloReader(content).vector8()
}

/// A reader that takes the parts of a message from the front. Every method returns an error if too few bytes are left.
struct HelloReader<'a>(&'a [u8]);

impl<'a> HelloReader<'a> {
    /// Returns the next `n` bytes.
    ///
    /// # Errors
    /// [`MalformedHello`] if there are fewer.
    fn take(&mut self, n: usize) -> Result<&'a [u8], MalformedHello> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(MalformedHello)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Skips the next `n` bytes.
    ///
    /// # Errors
    /// [`MalformedHello`] if there are fewer.
    fn skip(&mut self, n: usize) -> Result<(), MalformedHello> {
        self.take(n).map(drop)
    }

    /// Returns the next byte.
    ///
    /// # Errors
    /// [`MalformedHello`] if there is none.
    fn u8(&mut self) -> Result<u8, MalformedHello> {
        Ok(self.take(1)?[0])
    }

    /// Returns the next two bytes as a big-endian number.
    ///
    /// # Errors
    /// [`MalformedHello`] if there are fewer.
    fn u16(&mut self) -> Result<u16, MalformedHello> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Returns the content of a vector whose length is in one byte before it.
    ///
    /// # Errors
    /// [`MalformedHello`] if it is incomplete.
    fn vector8(&mut self) -> Result<&'a [u8], MalformedHello> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// Returns the content of a vector whose length is in two bytes before it.
    ///
    /// # Errors
    /// [`MalformedHello`] if it is incomplete.
    fn vector16(&mut self) -> Result<&'a [u8], MalformedHello> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}
