//! The record layer of TLS 1.3 after the handshake (RFC 8446 §5), one direction at a time and without I/O.

use super::keys::{Cipher, Secret, TrafficKeys};
use super::sealed::RecordBuffer;
use aws_lc_rs::aead;
use std::fmt;

/// The content type of alerts (RFC 8446 §5.1).
pub(crate) const ALERT: u8 = 21;
/// The content type of handshake messages.
pub(crate) const HANDSHAKE: u8 = 22;
/// The content type of application data.
pub(crate) const APPLICATION_DATA: u8 = 23;
/// The message header of a KeyUpdate, whose content is one byte (RFC 8446 §4.6.3).
pub(crate) const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
/// The length of a record's header in bytes.
pub(crate) const HEAD: usize = 5;
/// The length of an authentication tag in bytes.
const TAG: usize = 16;
/// The number of bytes that encryption adds to each record: header, content type and tag.
pub(crate) const OVERHEAD: usize = HEAD + 1 + TAG;
/// The highest number of content bytes in a record (RFC 8446 §5.1).
pub(crate) const MAX_CONTENT: usize = 1 << 14;
/// The highest number of bytes behind a record's header, which includes type, padding and tag (RFC 8446 §5.2).
const MAX_BODY: usize = MAX_CONTENT + 256;
/// The highest number of successive records without content. More end the connection, since they only cost work.
const MAX_EMPTY_RECORDS: u8 = 32;

/// The error of an invalid record, by the alert that reports it (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// The alert `unexpected_message`: a record or message that is not permitted at this point.
    Unexpected,
    /// The alert `bad_record_mac`: the record is not authentic.
    BadMac,
    /// The alert `record_overflow`: the record or its content is too long.
    Overflow,
    /// The alert `illegal_parameter`: a KeyUpdate has an undefined value.
    Illegal,
    /// The alert `decode_error`: a record, an alert or a KeyUpdate has a wrong length.
    Decode,
    /// The alert `internal_error`: encryption failed, or the keys cannot be updated.
    Internal,
    /// The peer sent the alert with this description. No alert is sent in response.
    Alerted(u8),
}

impl RecordError {
    /// Returns the fatal alert to send, as the bytes of its level and its description. `None` if the peer sent an
    /// alert.
    pub(crate) const fn alert(self) -> Option<[u8; 2]> {
        let description = match self {
            Self::Unexpected => 10,
            Self::BadMac => 20,
            Self::Overflow => 22,
            Self::Illegal => 47,
            Self::Decode => 50,
            Self::Internal => 80,
            Self::Alerted(_) => return None,
        };
        Some([2, description])
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alerted(description) => write!(f, "the peer ended TLS with alert {description}"),
            Self::Unexpected => f.write_str("an unexpected record or message of TLS"),
            Self::BadMac => f.write_str("a record of TLS that was not encrypted by the peer's key"),
            Self::Overflow => f.write_str("a record of TLS that is too long"),
            Self::Illegal => f.write_str("a message of TLS with a forbidden value"),
            Self::Decode => f.write_str("a message of TLS that cannot be read"),
            Self::Internal => f.write_str("keys of TLS that cannot be changed"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Returns the length in bytes of the record at the beginning of `bytes`, its header included. `None` if the header is
/// incomplete. The record itself may be incomplete.
///
/// # Errors
/// [`RecordError::Unexpected`] if the type is not application data, which all encrypted records have;
/// [`RecordError::Overflow`] if the record is too long.
pub(crate) fn record_len(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some([kind, _, _, high, low]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    if *kind != APPLICATION_DATA {
        return Err(RecordError::Unexpected);
    }
    match usize::from(u16::from_be_bytes([*high, *low])) {
        body @ ..=MAX_BODY => Ok(Some(HEAD + body)),
        _ => Err(RecordError::Overflow),
    }
}

/// The state of one direction: the traffic secret, the keys, and the number of the next record.
struct Direction {
    /// The AEAD algorithm.
    cipher: Cipher,
    /// The present key of the AEAD.
    key: aead::LessSafeKey,
    /// The present initialization vector.
    iv: [u8; 12],
    /// The number of the next record under the present key.
    sequence: u64,
    /// The traffic secret from which the present keys are derived.
    secret: Secret,
}

impl Direction {
    /// Creates the state of a direction. `sequence` is the number of the next record under these keys. `None` if the
    /// library rejects the key.
    fn new(secret: Secret, keys: &TrafficKeys, sequence: u64) -> Option<Self> {
        let key = aead::UnboundKey::new(keys.cipher().algorithm(), keys.key()).ok()?;
        Some(Self {
            cipher: keys.cipher(),
            key: aead::LessSafeKey::new(key),
            iv: *keys.iv(),
            sequence,
            secret,
        })
    }

    /// Returns the nonce of the next record (RFC 8446 §5.3), and increments the sequence number.
    fn nonce(&mut self) -> aead::Nonce {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, with)| *byte ^= with);
        self.sequence += 1;
        aead::Nonce::assume_unique_for_key(nonce)
    }

    /// Derives the current keys from the secret. `None` if they are not the keys in use, since the secret belongs to
    /// another connection.
    fn keys(&self) -> Option<TrafficKeys> {
        self.secret.keys(self.cipher).filter(|keys| *keys.iv() == self.iv)
    }

    /// Replaces the secret and the keys by the next ones (RFC 8446 §7.2). Sequence numbers begin at 0 again.
    ///
    /// # Errors
    /// [`RecordError::Internal`] if the secret does not belong to the keys in use, or the next ones cannot be derived.
    fn advance_keys(&mut self) -> Result<(), RecordError> {
        self.keys().ok_or(RecordError::Internal)?;
        let next = self.secret.updated(self.cipher).ok_or(RecordError::Internal)?;
        let keys = next.keys(self.cipher).ok_or(RecordError::Internal)?;
        *self = Self::new(next, &keys, 0).ok_or(RecordError::Internal)?;
        Ok(())
    }
}

/// The meaning of a decrypted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceivedRecord {
    /// Content of this many bytes, at least one.
    Content(usize),
    /// No content, and no action is necessary: an empty record, a `user_canceled` alert, or a KeyUpdate that is
    /// incomplete or requests nothing.
    Nothing,
    /// A KeyUpdate of the peer that requests one in return. The receiving keys were updated.
    AsksForKeys,
    /// The end of the peer's output (`close_notify`).
    End,
}

/// The receiving side of the record layer: decrypts records.
pub(crate) struct RecordOpener {
    /// The keys and the number of the next record.
    direction: Direction,
    /// The number of successive records without content, up to the last one.
    fruitless: u8,
    /// The received part of a handshake message that spans records.
    message: [u8; KEY_UPDATE.len() + 1],
    /// The length of the part in `message`.
    filled: usize,
}

impl RecordOpener {
    /// Creates the receiving side. `sequence` is the number of the next record under these keys. `None` if the library
    /// rejects the key.
    pub(crate) fn new(secret: Secret, keys: &TrafficKeys, sequence: u64) -> Option<Self> {
        let direction = Direction::new(secret, keys, sequence)?;
        Some(Self { direction, fruitless: 0, message: [0; 5], filled: 0 })
    }

    /// Decrypts a complete record in place. Its content then begins behind the header.
    ///
    /// # Errors
    /// [`RecordError`] if the record is not authentic or not permitted. It cannot be decrypted again.
    pub(crate) fn open_in_place(&mut self, record: &mut [u8]) -> Result<ReceivedRecord, RecordError> {
        let (head, body) = record.split_first_chunk_mut::<HEAD>().ok_or(RecordError::Decode)?;
        let nonce = self.direction.nonce();
        let inner = self
            .direction
            .key
            .open_in_place(nonce, aead::Aad::from(*head), body)
            .map_err(|_| RecordError::BadMac)?;
        let (kind, length) = inner_type(inner)?;
        self.take_content(kind, &inner[..length])
    }

    /// Decrypts a complete record to the beginning of `out`. Returns `None`, without any effect, if `out` is shorter
    /// than the encrypted content with type and padding, or the record has no complete header or tag.
    ///
    /// # Errors
    /// [`RecordError`] if the record is not authentic or not permitted.
    pub(crate) fn open_to(
        &mut self,
        record: &[u8],
        out: &mut [u8],
    ) -> Option<Result<ReceivedRecord, RecordError>> {
        let (head, body) = record.split_first_chunk::<HEAD>()?;
        let (body, tag) = body.split_last_chunk::<TAG>()?;
        let out = out.get_mut(..body.len())?;
        let nonce = self.direction.nonce();
        let opened = self.direction.key.open_separate_gather(nonce, aead::Aad::from(*head), body, tag, out);
        let inner = opened.map_err(|_| RecordError::BadMac).and_then(|()| inner_type(out));
        Some(inner.and_then(|(kind, length)| self.take_content(kind, &out[..length])))
    }

    /// Handles the content of a decrypted record by its content type, `kind`, and returns its meaning. A KeyUpdate
    /// updates the receiving keys.
    ///
    /// # Errors
    /// [`RecordError`] if the record is not permitted, more than [`MAX_EMPTY_RECORDS`] without content follow each
    /// other, or it is an alert other than close_notify and user_canceled.
    fn take_content(&mut self, kind: u8, content: &[u8]) -> Result<ReceivedRecord, RecordError> {
        // No other type may come in the middle of a message (RFC 8446 §5.1).
        if self.filled > 0 && kind != HANDSHAKE {
            return Err(RecordError::Unexpected);
        }
        if kind == APPLICATION_DATA && !content.is_empty() {
            self.fruitless = 0;
            return Ok(ReceivedRecord::Content(content.len()));
        }
        self.fruitless += 1;
        if self.fruitless > MAX_EMPTY_RECORDS {
            return Err(RecordError::Unexpected);
        }
        match (kind, content) {
            (APPLICATION_DATA, []) => Ok(ReceivedRecord::Nothing),
            // close_notify, and user_canceled, which precedes it (RFC 8446 §6.1). The level has no meaning in TLS 1.3.
            (ALERT, [_, 0]) => Ok(ReceivedRecord::End),
            (ALERT, [_, 90]) => Ok(ReceivedRecord::Nothing),
            (ALERT, [_, description]) => Err(RecordError::Alerted(*description)),
            (ALERT, _) => Err(RecordError::Decode),
            (HANDSHAKE, [_, ..]) => self.take_key_update(content),
            _ => Err(RecordError::Unexpected),
        }
    }

    /// Handles a part of a handshake message, which can only be a KeyUpdate (RFC 8446 §4.6.3). When it is complete,
    /// the receiving keys are updated. [`ReceivedRecord::AsksForKeys`] if it requests a KeyUpdate in return, else
    /// [`ReceivedRecord::Nothing`].
    ///
    /// # Errors
    /// [`RecordError`] for any other message, a malformed KeyUpdate, bytes behind it, or keys that cannot be updated.
    fn take_key_update(&mut self, piece: &[u8]) -> Result<ReceivedRecord, RecordError> {
        let filled = self.filled + piece.len();
        // New keys begin with a new record, so nothing may follow the message.
        self.message.get_mut(self.filled..filled).ok_or(RecordError::Unexpected)?.copy_from_slice(piece);
        self.filled = filled;
        let known = filled.min(KEY_UPDATE.len());
        if self.message[..known] != KEY_UPDATE[..known] {
            return Err(if self.message[0] == KEY_UPDATE[0] {
                RecordError::Decode
            } else {
                RecordError::Unexpected
            });
        }
        if filled < self.message.len() {
            return Ok(ReceivedRecord::Nothing);
        }
        self.filled = 0;
        let asks = match self.message[4] {
            0 => false,
            1 => true,
            _ => return Err(RecordError::Illegal),
        };
        self.direction.advance_keys()?;
        Ok(if asks { ReceivedRecord::AsksForKeys } else { ReceivedRecord::Nothing })
    }
}

/// Returns the content type of a decrypted record, and the length of its content without padding (RFC 8446 §5.4).
///
/// # Errors
/// [`RecordError::Overflow`] if the record is longer than the maximum, [`RecordError::Unexpected`] if it consists of
/// zeros only.
fn inner_type(inner: &[u8]) -> Result<(u8, usize), RecordError> {
    if inner.len() > MAX_CONTENT + 1 {
        return Err(RecordError::Overflow);
    }
    let at = inner.iter().rposition(|byte| *byte != 0).ok_or(RecordError::Unexpected)?;
    Ok((inner[at], at))
}

/// The sending side of the record layer: encrypts records.
pub(crate) struct RecordSealer {
    /// The keys and the number of the next record.
    direction: Direction,
    /// True if a KeyUpdate is to be sent before further content, because the peer requested it.
    owes_keys: bool,
    /// The highest number of records that one key may encrypt.
    records: u64,
}

impl RecordSealer {
    /// Creates the sending side. `sequence` is the number of the next record under these keys. `None` if the library
    /// rejects the key.
    pub(crate) fn new(secret: Secret, keys: &TrafficKeys, sequence: u64) -> Option<Self> {
        let direction = Direction::new(secret, keys, sequence)?;
        Some(Self { direction, owes_keys: false, records: keys.cipher().max_records() })
    }

    /// Schedules a KeyUpdate before the next content. Repeated calls before that schedule only one.
    pub(crate) const fn owe_keys(&mut self) {
        self.owes_keys = true;
    }

    /// Returns the state with which another sender continues: the secret, its keys, and the number of the next record.
    /// `None` if a KeyUpdate is due, or the secret does not belong to the keys in use.
    pub(crate) fn export(&self) -> Option<(Secret, TrafficKeys, u64)> {
        let keys = self.direction.keys().filter(|_| !self.owes_keys)?;
        Some((self.direction.secret.clone(), keys, self.direction.sequence))
    }

    /// Returns the maximum total length in bytes of the records for this many content bytes, with a KeyUpdate before
    /// them.
    pub(crate) const fn max_sealed_len(content: usize) -> usize {
        let update = KEY_UPDATE.len() + 1 + OVERHEAD;
        content + content.div_ceil(MAX_CONTENT) * OVERHEAD + update
    }

    /// Appends the content of `parts` to `out` as records, as few as possible. A KeyUpdate precedes a record if one is
    /// due or the limit of records of the key is reached. Appends nothing without content.
    ///
    /// # Errors
    /// [`RecordError::Internal`] if the keys cannot be updated or encryption fails.
    pub(crate) fn content(&mut self, mut parts: &[&[u8]], out: &mut RecordBuffer) -> Result<(), RecordError> {
        let mut left: usize = parts.iter().map(|part| part.len()).sum();
        let mut begun = 0;
        while left > 0 {
            if self.owes_keys || self.direction.sequence >= self.records {
                let [kind, a, b, c] = KEY_UPDATE;
                self.record(HANDSHAKE, &[kind, a, b, c, 0], out)?;
                self.direction.advance_keys()?;
                self.owes_keys = false;
            }
            let length = left.min(MAX_CONTENT);
            left -= length;
            let Some(part) = parts.first() else { break };
            if part.len() - begun >= length {
                self.record(APPLICATION_DATA, &part[begun..begun + length], out)?;
                begun += length;
                if begun == part.len() {
                    (parts, begun) = (&parts[1..], 0);
                }
                continue;
            }
            // Content of several parts is copied to the place of the record, and encrypted there.
            let record = out.claim(length + OVERHEAD);
            let mut filled = HEAD;
            while let [part, rest @ ..] = parts
                && filled < HEAD + length
            {
                let n = (part.len() - begun).min(HEAD + length - filled);
                record[filled..filled + n].copy_from_slice(&part[begun..begun + n]);
                (filled, begun) = (filled + n, begun + n);
                if begun == part.len() {
                    (parts, begun) = (rest, 0);
                }
            }
            self.seal(APPLICATION_DATA, None, record)?;
            out.commit(length + OVERHEAD);
        }
        Ok(())
    }

    /// Appends one record of the content type `kind` to `out`. `content` must fit into one record, which is not
    /// checked.
    ///
    /// # Errors
    /// [`RecordError::Internal`] if encryption fails.
    pub(crate) fn record(
        &mut self,
        kind: u8,
        content: &[u8],
        out: &mut RecordBuffer,
    ) -> Result<(), RecordError> {
        self.seal(kind, Some(content), out.claim(content.len() + OVERHEAD))?;
        out.commit(content.len() + OVERHEAD);
        Ok(())
    }

    /// Encrypts a record of the content type `kind` into `record`, which has its final length. If `content` is `None`,
    /// the plaintext is already in its place there.
    ///
    /// # Errors
    /// [`RecordError::Internal`] if the length is out of range or encryption fails.
    fn seal(&mut self, kind: u8, content: Option<&[u8]>, record: &mut [u8]) -> Result<(), RecordError> {
        let (head, body) = record.split_first_chunk_mut::<HEAD>().ok_or(RecordError::Internal)?;
        let [high, low] = u16::try_from(body.len()).map_err(|_| RecordError::Internal)?.to_be_bytes();
        *head = [APPLICATION_DATA, 3, 3, high, low];
        let (body, end) = body.split_last_chunk_mut::<{ 1 + TAG }>().ok_or(RecordError::Internal)?;
        let (nonce, aad) = (self.direction.nonce(), aead::Aad::from(*head));
        let key = &self.direction.key;
        match content {
            Some(content) => key.seal_out_of_place_scatter(nonce, aad, content, body, &[kind], end),
            None => key.seal_in_place_scatter(nonce, aad, body, &[kind], end),
        }
        .map_err(|_| RecordError::Internal)
    }
}
