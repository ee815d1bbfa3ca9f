//! The sending side of a connection, while rustls has it and after the kernel got it.

use super::keys::{ALERT, Cipher, HANDSHAKE, KEY_UPDATE, Keys, OVERHEAD, Secret};
use super::probe::Support;
use super::sys;
use crate::server::socket::Socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Sleep, sleep};

/// The kernel is asked how many records there were after at most so many, an eighth of what a key may encrypt.
const ASK_AFTER: u64 = 1 << 21;
/// Records that one call can make: as many as a pipe has pages, and more than a buffer has.
const RECORDS_OF_A_CALL: u64 = 256;
/// How often it is looked whether the kernel has got rid of its records.
const NAP: Duration = Duration::from_millis(5);

/// Who sends.
pub(crate) enum Sender {
    /// rustls, and it stays so.
    Userspace,
    /// rustls, and it is watched, so that the kernel can go on where it stops.
    Watched(Box<Watch>),
    /// The kernel.
    Kernel(Box<Kernel>),
}

impl Sender {
    /// The kernel's, if it sends.
    pub(crate) fn kernel(&mut self) -> Option<&mut Kernel> {
        match self {
            Self::Kernel(kernel) => Some(kernel),
            _ => None,
        }
    }

    /// These bytes were written to the socket by rustls.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        if let Self::Watched(watch) = self
            && !watch.wrote(bytes)
        {
            *self = Self::Userspace;
        }
    }

    /// Gives the socket to the kernel, if all is known that it needs. Whether the kernel sends now.
    pub(crate) fn hand_over(&mut self, io: &Socket) -> bool {
        if matches!(self, Self::Watched(watch) if watch.is_ready())
            && let Self::Watched(watch) = std::mem::replace(self, Self::Userspace)
            && let Ok(kernel) = socket(io).and_then(|socket| watch.hand_over(socket))
        {
            // Where it fails (a suite that this kernel has not) nothing of the connection has changed.
            *self = Self::Kernel(Box::new(kernel));
        }
        matches!(self, Self::Kernel(_))
    }

    /// The watch, if rustls is watched.
    pub(crate) fn watch(&mut self) -> Option<&mut Watch> {
        match self {
            Self::Watched(watch) => Some(watch),
            _ => None,
        }
    }
}

/// Whether the keys and the count of records are right is not assumed, but seen: by decrypting a record that rustls wrote.
enum Proof {
    NotWanted,
    /// The next record is kept, as far as it was written.
    Wanted(Vec<u8>),
    Given(Keys),
}

/// Counts the records that rustls writes with the keys of content.
pub(crate) struct Watch {
    support: Support,
    secret: Secret,
    /// The handshake's records are all written.
    begun: bool,
    /// The number of the next record.
    sequence: u64,
    head: [u8; 5],
    filled: usize,
    /// Bytes of the record that are still to come.
    left: usize,
    cipher: Option<Cipher>,
    proof: Proof,
}

impl Watch {
    pub(crate) const fn new(support: Support, secret: Secret) -> Self {
        Self {
            support,
            secret,
            begun: false,
            sequence: 0,
            head: [0; 5],
            filled: 0,
            left: 0,
            cipher: None,
            proof: Proof::NotWanted,
        }
    }

    /// What is written from now on is encrypted by the keys of content.
    pub(crate) const fn begin(&mut self) {
        self.begun = true;
    }

    /// The kernel is to take over; the next record shows whether it can.
    pub(crate) fn want(&mut self, cipher: Option<Cipher>) {
        if matches!(self.proof, Proof::NotWanted) && self.begun && cipher.is_some() {
            self.cipher = cipher;
            self.proof = Proof::Wanted(Vec::new());
        }
    }

    /// Whether what was written last was the end of a record, and all is known that the kernel needs.
    const fn is_ready(&self) -> bool {
        self.filled == 0 && matches!(self.proof, Proof::Given(_))
    }

    /// These bytes were written to the socket. `false` if it is not as it was thought to be, and rustls should go on sending.
    fn wrote(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let n = if self.filled < self.head.len() {
                let n = bytes.len().min(self.head.len() - self.filled);
                self.head[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
                self.filled += n;
                if self.filled == self.head.len() {
                    self.left = usize::from(u16::from_be_bytes([self.head[3], self.head[4]]));
                    if let Proof::Wanted(record) = &mut self.proof {
                        record.clear();
                        record.extend_from_slice(&self.head);
                    }
                }
                n
            } else {
                let n = bytes.len().min(self.left);
                self.left -= n;
                if let Proof::Wanted(record) = &mut self.proof
                    && !record.is_empty()
                {
                    record.extend_from_slice(&bytes[..n]);
                }
                n
            };
            bytes = &bytes[n..];
            if self.filled == self.head.len() && self.left == 0 && !self.record() {
                return false;
            }
        }
        true
    }

    /// A record is complete.
    fn record(&mut self) -> bool {
        self.filled = 0;
        if !self.begun {
            return true;
        }
        let number = self.sequence;
        self.sequence += 1;
        // If it was wanted in the middle of a record, that one is not whole.
        if let Proof::Wanted(record) = &mut self.proof
            && !record.is_empty()
        {
            let keys = self.cipher.and_then(|cipher| self.secret.keys(cipher));
            match keys.filter(|keys| keys.open(number, record).is_some()) {
                Some(keys) => self.proof = Proof::Given(keys),
                None => return false,
            }
        }
        true
    }

    /// Gives the socket to the kernel. All that rustls encrypted is written, to the end of a record.
    fn hand_over(self, socket: BorrowedFd<'_>) -> io::Result<Kernel> {
        let Proof::Given(keys) = self.proof else { return Err(io::ErrorKind::InvalidInput.into()) };
        sys::attach(socket)?;
        let base = sys::queued(socket)?;
        sys::encrypt(socket, &keys, self.sequence)?;
        let shadow_keys = self.secret.keys(keys.cipher()).ok_or(io::ErrorKind::InvalidInput)?;
        let shadow = Shadow { secret: self.secret.clone(), keys: shadow_keys, sequence: self.sequence };
        Ok(Kernel {
            support: self.support,
            secret: self.secret,
            keys,
            shadow,
            owes_keys: false,
            base,
            content: 0,
            first: self.sequence,
            before: 0,
            unasked: 0,
            alert: None,
            ended: false,
            drained: 0,
            nap: None,
        })
    }
}

/// What rustls would send. It goes on reading, and does not know that the kernel sends: what it has to say besides is taken
/// from it, decrypted, and said by way of the kernel. Nothing of what it encrypts leaves the process, so it does no harm that
/// it numbers its records as the kernel does.
struct Shadow {
    secret: Secret,
    keys: Keys,
    sequence: u64,
}

/// What rustls wants said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Alert([u8; 2]),
    /// The client asked for new keys.
    KeysAnswered,
    /// Nothing that matters to others.
    Nothing,
}

impl Shadow {
    fn record(&mut self, record: &mut [u8]) -> io::Result<Says> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a record of rustls that cannot be read");
        let (kind, content) = self.keys.open(self.sequence, record).ok_or_else(unknown)?;
        self.sequence += 1;
        Ok(match (kind, content) {
            (ALERT, [level, what]) => Says::Alert([*level, *what]),
            (HANDSHAKE, [24, 0, 0, 1, asks]) => {
                let asks = *asks;
                let cipher = self.keys.cipher();
                self.secret = self.secret.next(cipher).ok_or_else(unknown)?;
                self.keys = self.secret.keys(cipher).ok_or_else(unknown)?;
                self.sequence = 0;
                // Where it asks the client by itself, it is for a number of records that were never sent.
                if asks == 0 { Says::KeysAnswered } else { Says::Nothing }
            }
            _ => Says::Nothing,
        })
    }
}

/// The kernel's side of a connection.
pub(crate) struct Kernel {
    support: Support,
    secret: Secret,
    keys: Keys,
    shadow: Shadow,
    /// A KeyUpdate is due before any more content.
    owes_keys: bool,
    /// Where TCP's queue was when the kernel took over.
    base: u64,
    /// Bytes inside of records since then.
    content: u64,
    /// The number of this key's first record.
    first: u64,
    /// Records since then by keys that are gone.
    before: u64,
    /// Records since the kernel was asked for their number, at most.
    unasked: u64,
    /// What rustls has against the client.
    alert: Option<[u8; 2]>,
    /// The end was said.
    ended: bool,
    /// How much of the content is known to be in TCP's queue.
    drained: u64,
    nap: Option<Pin<Box<Sleep>>>,
}

impl Kernel {
    /// Takes what rustls has written for nobody: whole records.
    pub(crate) fn shadow(&mut self, mut records: &mut [u8]) -> io::Result<()> {
        while let Some(head) = records.first_chunk::<5>() {
            let length = 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
            let Some((record, rest)) = records.split_at_mut_checked(length) else { break };
            match self.shadow.record(record)? {
                Says::Alert(alert) => self.alert = self.alert.or(Some(alert)),
                Says::KeysAnswered => self.owes_keys = true,
                Says::Nothing => {}
            }
            records = rest;
        }
        Ok(())
    }

    /// Until what is due before any more content was written.
    ///
    /// # Errors
    /// New keys are due and this kernel cannot change them. Whoever goes on sending breaks the protocol, and whoever stops
    /// without a word truncates: the connection is to be reset.
    pub(crate) fn poll_settle(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if self.alert.is_some() || self.ended {
            return Poll::Ready(Ok(()));
        }
        let most = self.keys.cipher().most_records().min(self.support.records);
        if self.unasked >= ASK_AFTER.min(most / 8) {
            self.unasked = 0;
            // So many more may come before the kernel is asked again.
            self.owes_keys |= sys::sequence(socket(io)?, &self.keys)? >= most / 8 * 6;
        }
        if !self.owes_keys {
            return Poll::Ready(Ok(()));
        }
        if !self.support.rekeys {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "new keys are due, which this kernel cannot take",
            )));
        }
        let [kind, a, b, c] = KEY_UPDATE;
        ready!(self.poll_control(cx, io, HANDSHAKE, &[kind, a, b, c, 0]))?;
        let socket = socket(io)?;
        let cipher = self.keys.cipher();
        let next = self.secret.next(cipher).ok_or(io::ErrorKind::InvalidInput)?;
        let keys = next.keys(cipher).ok_or(io::ErrorKind::InvalidInput)?;
        let sequence = sys::sequence(socket, &self.keys)?;
        sys::encrypt(socket, &keys, 0)?;
        self.before += sequence - self.first;
        (self.secret, self.keys, self.first, self.unasked, self.owes_keys) = (next, keys, 0, 0, false);
        Poll::Ready(Ok(()))
    }

    /// # Errors
    /// Nothing may be written any more.
    pub(crate) fn may_write(&self) -> io::Result<()> {
        if self.alert.is_some() || self.ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// One call wrote so many bytes of content.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.content += bytes as u64;
        self.unasked += RECORDS_OF_A_CALL.min(bytes as u64);
    }

    fn poll_control(
        &mut self,
        cx: &mut Context<'_>,
        io: &Socket,
        kind: u8,
        content: &[u8],
    ) -> Poll<io::Result<()>> {
        let sent = |socket: BorrowedFd<'_>| sys::send_control(socket, kind, content);
        // A record this short is taken whole or not at all.
        let n = ready!(io.poll_io(cx, Interest::WRITABLE, sent))?;
        self.wrote(n);
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes, once; or why, if rustls has something against the client.
    pub(crate) fn poll_say_end(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if !self.ended {
            let close_notify = [1, 0];
            ready!(self.poll_control(cx, io, ALERT, &self.alert.unwrap_or(close_notify)))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Until all that was written is in TCP's queue. The kernel keeps records that found the queue full, and throws them away
    /// when the socket is closed; what is in the queue is sent after that too.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        while self.drained < self.content {
            let socket = socket(io)?;
            let records = self.before + sys::sequence(socket, &self.keys)? - self.first;
            if sys::queued(socket)? - self.base >= self.content + records * OVERHEAD {
                self.drained = self.content;
                break;
            }
            // Nobody tells when that changes.
            ready!(self.nap.get_or_insert_with(|| Box::pin(sleep(NAP))).as_mut().poll(cx));
            self.nap = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// Only TCP has kernel TLS.
fn socket(io: &Socket) -> io::Result<BorrowedFd<'_>> {
    match io {
        Socket::Tcp(stream) => Ok(stream.as_fd()),
        Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
