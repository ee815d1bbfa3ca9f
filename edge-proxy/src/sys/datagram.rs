//! The receiving of datagrams with the interface that they arrived on (ip(7), ipv6(7)).

use super::{LOOPBACK, done};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The metadata of the datagrams of one sender that one system call received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatagramNote {
    /// The total length of the datagrams in bytes.
    pub(crate) length: usize,
    /// The length of each datagram in bytes; the last one may be shorter.
    pub(crate) stride: usize,
    /// The address of the sender.
    pub(crate) remote: SocketAddr,
    /// The local address that the datagrams were sent to. `None` if the kernel did not report it.
    pub(crate) local_ip: Option<IpAddr>,
    /// The index of the interface that the datagrams arrived on; loopback if the sender's address is the one that they
    /// were sent to. `None` if the kernel did not report it.
    pub(crate) interface: Option<u32>,
    /// The ECN codepoint: the two lowest bits of the traffic class.
    pub(crate) ecn: u8,
}

/// Receives the datagrams of one sender, which the kernel may have merged, into `buffer`, and returns their metadata.
/// The options for packet information, ECN and GRO must be set on the socket.
///
/// # Errors
/// Those of recvmsg(2), such as `WouldBlock`; `InvalidData` if the sender has no IP address.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<DatagramNote> {
    // Control messages, which are aligned as a size is.
    let mut control = [0usize; 32];
    // SAFETY: all bits at zero are an address of no family.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all bits at zero are a header without any buffers.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header describes buffers that live until the end of this function, each with its own length.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    done(if length < 0 { -1 } else { 0 })?;
    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
    let remote = socket_address(&name).ok_or(io::ErrorKind::InvalidData)?;
    let mut note =
        DatagramNote { length, stride: length.max(1), remote, local_ip: None, interface: None, ecn: 0 };
    // SAFETY: the kernel has set the length of the control messages; the macros stay within it, and what is read of a
    // message is within the length that its header has.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const message);
        while !at.is_null() {
            let header = &*at;
            let enough = |size: usize| header.cmsg_len as usize >= libc::CMSG_LEN(size as u32) as usize;
            let data = libc::CMSG_DATA(at);
            match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if enough(size_of::<libc::in_pktinfo>()) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    note.local_ip = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                    note.interface = u32::try_from(info.ipi_ifindex).ok().filter(|index| *index != 0);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if enough(size_of::<libc::in6_pktinfo>()) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    note.local_ip = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    note.interface = Some(info.ipi6_ifindex as u32).filter(|index| *index != 0);
                }
                (libc::IPPROTO_IP, libc::IP_TOS) if enough(1) => note.ecn = data.read() & 3,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) if enough(size_of::<libc::c_int>()) => {
                    note.ecn = (data.cast::<libc::c_int>().read_unaligned() & 3) as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) if enough(size_of::<libc::c_int>()) => {
                    let stride = data.cast::<libc::c_int>().read_unaligned();
                    note.stride = usize::try_from(stride).unwrap_or(0).clamp(1, note.stride);
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    if note.local_ip.is_some_and(|local| local.to_canonical() == note.remote.ip().to_canonical()) {
        note.interface = Some(LOOPBACK);
    }
    Ok(note)
}

/// Converts an address that the kernel wrote. `None` unless its family is IPv4 or IPv6.
fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let place: *const libc::sockaddr_storage = name;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is as large as every address and aligned for it, and the family says which it is.
            let v4 = unsafe { &*place.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*place.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernel_names_the_interface() {
        let lo = super::super::interface_index("lo");
        for (any, local) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let socket = UdpSocket::bind(any).unwrap();
            // It sets the options.
            let _state = quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
            let local: IpAddr = local.parse().unwrap();
            let client = UdpSocket::bind((local, 0)).unwrap();
            client.send_to(b"datagram", (local, socket.local_addr().unwrap().port())).unwrap();
            let mut buffer = [0; 2000];
            let note = receive(socket.as_fd(), &mut buffer).unwrap();
            assert_eq!(&buffer[..note.length], b"datagram");
            assert_eq!((note.interface, note.ecn, note.stride), (lo, 0, 8), "{any} {local}");
            assert_eq!(note.remote.ip().to_canonical(), local);
            assert_eq!(note.remote.port(), client.local_addr().unwrap().port());
            assert_eq!(note.local_ip.map(|ip| ip.to_canonical()), Some(local));
            socket.set_nonblocking(true).unwrap();
            let nothing = receive(socket.as_fd(), &mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
