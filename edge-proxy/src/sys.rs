//! System calls for kernel TLS and for network interfaces (linux/tls.h, tcp(7), ip(7)). The only module of this crate
//! with `unsafe`.
#![allow(unsafe_code)]

mod datagram;

pub(super) use datagram::{DatagramNote, receive as receive_datagram};

use crate::tls13::{Cipher, TrafficKeys};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use zeroize::Zeroizing;

/// The socket option with the keys of the sending direction (`linux/tls.h`).
const TLS_TX: libc::c_int = 1;
/// The type of the control message with the content type of a record (`linux/tls.h`).
const TLS_SET_RECORD_TYPE: libc::c_int = 1;
/// The version number of TLS 1.3.
const TLS_1_3_VERSION: u16 = 0x0304;
/// The state of a closed TCP connection (`linux/tcp_states.h`).
const TCP_CLOSE: u8 = 7;
/// The kernel's number for AES-128-GCM (`linux/tls.h`).
const TLS_CIPHER_AES_GCM_128: u16 = 51;
/// The kernel's number for AES-256-GCM (`linux/tls.h`).
const TLS_CIPHER_AES_GCM_256: u16 = 52;
/// The kernel's number for ChaCha20-Poly1305 (`linux/tls.h`).
const TLS_CIPHER_CHACHA20_POLY1305: u16 = 54;

/// The size of the largest structure `tls12_crypto_info_*` in bytes.
const MAX_CRYPTO_INFO: usize = 56;
/// The size in bytes of the record sequence number at the end of `tls12_crypto_info_*`.
const SEQUENCE: usize = 8;

/// Returns the kernel's structure `tls12_crypto_info_*` (linux/tls.h) for these traffic keys, followed by zeros, and
/// its length in bytes. `sequence` is the number of the next record. TLS 1.3 uses the structures of TLS 1.2.
fn crypto_info(keys: &TrafficKeys, sequence: u64) -> (Zeroizing<[u8; MAX_CRYPTO_INFO]>, usize) {
    let (kind, salt) = match keys.cipher() {
        Cipher::Aes128Gcm => (TLS_CIPHER_AES_GCM_128, 4),
        Cipher::Aes256Gcm => (TLS_CIPHER_AES_GCM_256, 4),
        Cipher::ChaCha20Poly1305 => (TLS_CIPHER_CHACHA20_POLY1305, 0),
    };
    let mut bytes = Zeroizing::new([0; MAX_CRYPTO_INFO]);
    let mut length = 0;
    let (salt, iv) = keys.iv().split_at(salt);
    for part in [
        &TLS_1_3_VERSION.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        iv,
        keys.key(),
        salt,
        &sequence.to_be_bytes(),
    ] {
        bytes[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    (bytes, length)
}

/// Converts the returned value of a system call: 0 is success.
///
/// # Errors
/// The thread's `errno` for any other value.
fn done(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Attaches the kernel's TLS upper-layer protocol to a TCP socket (TCP_ULP). Data passes unchanged until keys are set.
///
/// # Errors
/// The error of the system call, for example if the kernel has no TLS module.
pub(super) fn attach(socket: BorrowedFd<'_>) -> io::Result<()> {
    let name = b"tls";
    // SAFETY: the option's value is a name of this length, which the kernel copies.
    done(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_ULP,
            name.as_ptr().cast(),
            name.len() as libc::socklen_t,
        )
    })
}

/// Sets the keys by which the kernel encrypts all further output of a socket that [`attach`] was called for.
/// `sequence` is the number of the next record.
///
/// # Errors
/// The error of the system call.
pub(super) fn encrypt(socket: BorrowedFd<'_>, keys: &TrafficKeys, sequence: u64) -> io::Result<()> {
    let (info, length) = crypto_info(keys, sequence);
    // SAFETY: the option's value is a structure of this length, which the kernel copies.
    done(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_TLS,
            TLS_TX,
            info.as_ptr().cast(),
            length as libc::socklen_t,
        )
    })
}

/// Returns the sequence number of the next record that the kernel writes. `keys` are those in use, which determine the
/// size of the structure.
///
/// # Errors
/// The error of the system call.
pub(super) fn sequence(socket: BorrowedFd<'_>, keys: &TrafficKeys) -> io::Result<u64> {
    let (mut info, length) = crypto_info(keys, 0);
    let mut found = length as libc::socklen_t;
    // SAFETY: the kernel writes at most as much as the length says, which is within the buffer.
    done(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_TLS, TLS_TX, info.as_mut_ptr().cast(), &raw mut found)
    })?;
    let mut number = [0; SEQUENCE];
    number.copy_from_slice(&info[length - SEQUENCE..length]);
    Ok(u64::from_be_bytes(number))
}

/// Writes a record of the content type `kind` that contains `content` without blocking, on a socket whose output the
/// kernel encrypts. Returns the number of bytes of `content` that were written.
///
/// # Errors
/// The error of the system call, `WouldBlock` if the send queue is full.
pub(super) fn send_control(socket: BorrowedFd<'_>, kind: u8, content: &[u8]) -> io::Result<usize> {
    /// A buffer for one control message, aligned as its header requires.
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: content.as_ptr().cast_mut().cast(), iov_len: content.len() };
    // SAFETY: the header is plain numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: computes a length; CMSG_SPACE(1) is 24 bytes, within the buffer.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(1) } as _;
    // SAFETY: the first header is within the buffer, which is aligned and long enough for one byte of data behind it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_TLS;
        (*header).cmsg_type = TLS_SET_RECORD_TYPE;
        (*header).cmsg_len = libc::CMSG_LEN(1) as _;
        *libc::CMSG_DATA(header) = kind;
    }
    // SAFETY: all that the message points to outlives the call, and the kernel only reads it.
    let sent = unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h), in units of 8 bytes: 8 bytes, 24 numbers of 4
/// bytes and 2 of 8 precede it.
const BYTES_ACKED: usize = (8 + 24 * 4 + 2 * 8) / 8;

/// Returns the total number of bytes that the peer of a TCP socket has acknowledged, counted from an unspecified but
/// fixed start.
///
/// # Errors
/// `NotConnected` if the connection is closed, `Unsupported` if the kernel does not report the count, or the error of
/// the system call.
pub(crate) fn acknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u64; BYTES_ACKED + 1];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most as much of the structure as the length says, which is the buffer's.
    done(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    if length as usize != size_of_val(&info) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // `tcpi_state` is the first byte: nothing is queued any more.
    if info[0].to_ne_bytes()[0] == TCP_CLOSE {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(info[BYTES_ACKED])
}

/// Returns the total number of bytes written to a TCP socket, counted from the start of [`acknowledged`]: those
/// acknowledged, and those in the send queue. While acknowledgements arrive the result may be too low, but never too
/// high.
///
/// # Errors
/// As [`acknowledged`].
pub(super) fn queued(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // What is acknowledged between the two calls is counted by neither.
    Ok(acknowledged(socket)? + u64::from(unacknowledged(socket)?))
}

/// Returns the number of bytes in the send queue of a socket that the peer has not acknowledged (SIOCOUTQ).
///
/// # Errors
/// The error of the system call.
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) })?;
    Ok(waiting.unsigned_abs())
}

/// Returns whether a listening socket has a connection to accept, or an error to return. Also true if that cannot be
/// determined. The check costs a tenth of a failing `accept`, for which the kernel creates a socket first.
pub(super) fn has_waiting(listener: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one valid entry, and the count is 1.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready != 0
}

/// Returns the index of the interface with this name. `None` if there is none, or the name contains a NUL.
pub(super) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a string with its end, which is only read.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Returns the name of the interface with this index. `None` if there is none, or the name is not UTF-8.
pub(super) fn interface_name(index: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: at most IF_NAMESIZE bytes are written, the end included.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    CStr::from_bytes_until_nul(&name).ok()?.to_str().ok().map(str::to_owned)
}

/// The index of the loopback interface in every network namespace. A packet whose source is the address that it is
/// sent to comes from this machine over loopback, although the kernel reports the interface that has the address.
pub(super) const LOOPBACK: u32 = 1;

/// Returns the index of the interface that a TCP connection arrived on, as the kernel recorded it. `v6` is true for an
/// IPv6 socket. `None` if the kernel has no record or a system call fails.
pub(super) fn incoming_interface(socket: BorrowedFd<'_>, v6: bool) -> Option<u32> {
    let (level, wish, question) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, libc::IPV6_2292PKTOPTIONS)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_PKTOPTIONS)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which the kernel copies.
    done(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            wish,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    })
    .ok()?;
    // Control messages, which are aligned as a size is.
    let mut control = [0usize; 32];
    let mut length = size_of_val(&control) as libc::socklen_t;
    // SAFETY: the kernel writes at most as much as the length says, which is the buffer's.
    done(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, question, control.as_mut_ptr().cast(), &raw mut length)
    })
    .ok()?;
    // SAFETY: all bits at zero are a header without any messages.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = (length as usize).min(size_of_val(&control)) as _;
    // SAFETY: the header describes the buffer, which lives until the end of this function; the macros stay within the
    // length, and what is read of a message is within the length that its header has.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const message);
        while !at.is_null() {
            let header = &*at;
            let enough = |size: usize| header.cmsg_len as usize >= libc::CMSG_LEN(size as u32) as usize;
            let data = libc::CMSG_DATA(at);
            let index = match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if enough(size_of::<libc::in_pktinfo>()) => {
                    data.cast::<libc::in_pktinfo>().read_unaligned().ipi_ifindex as u32
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO | libc::IPV6_2292PKTINFO)
                    if enough(size_of::<libc::in6_pktinfo>()) =>
                {
                    data.cast::<libc::in6_pktinfo>().read_unaligned().ipi6_ifindex as u32
                }
                _ => 0,
            };
            if index != 0 {
                return Some(index);
            }
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_waiting_connection_is_seen_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!has_waiting(listener.as_fd()));
        let clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        for _ in &clients {
            assert!(has_waiting(listener.as_fd()));
            listener.accept().unwrap();
        }
        assert!(!has_waiting(listener.as_fd()));
    }

    #[test]
    fn a_connection_over_loopback_came_by_lo() {
        let lo = interface_index("lo").unwrap();
        assert_eq!(interface_name(lo).as_deref(), Some("lo"));
        assert_eq!(interface_index("no-such-one"), None);
        assert_eq!(interface_name(u32::MAX - 1), None);
        for (address, v6) in [("127.0.0.1:0", false), ("[::1]:0", true)] {
            let listener = TcpListener::bind(address).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(incoming_interface(accepted.as_fd(), v6), Some(lo), "{address}");
        }
    }
}
