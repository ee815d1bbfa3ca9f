//! A service one of whose addresses does not answer.

use super::{RecordingObserver, edge, get};
use edge_proxy::config::{Target, Upstream};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Creates a listener with a full queue that accepts no connection. Attempts to connect get no answer while the result
/// exists.
///
/// # Errors
/// The error of the system if the address cannot be bound.
fn silent(address: SocketAddr) -> std::io::Result<(socket2::Socket, Vec<TcpStream>)> {
    let domain = socket2::Domain::for_address(address);
    let listener = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    listener.bind(&address.into())?;
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => waiting.push(stream),
            Err(why) if why.kind() == std::io::ErrorKind::TimedOut => return Ok((listener, waiting)),
            Err(why) => panic!("{address}: {why}"),
        }
    }
    panic!("{address} accepts everybody");
}

/// Binds a service to `alive` with a port that is free at `dead` too, where a listener of [`silent`] takes it.
fn with_a_silent_port(
    dead: IpAddr,
    alive: SocketAddr,
) -> (TcpListener, u16, (socket2::Socket, Vec<TcpStream>)) {
    let mut last = None;
    for _ in 0..20 {
        let service = TcpListener::bind(alive).unwrap();
        let port = service.local_addr().unwrap().port();
        match silent(SocketAddr::new(dead, port)) {
            Ok(listener) => return (service, port, listener),
            // Another program may have the port there.
            Err(why) => last = Some(why),
        }
    }
    panic!("{dead}: no port that is free at {alive} can be bound: {last:?}");
}

/// Runs this test once more where `two.test` has the addresses ::1 and 127.0.0.1, and says whether this is that run.
fn has_a_name_of_two_addresses(test: &str) -> bool {
    if std::env::var_os("IN_NAMESPACE").is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost two.test\n::1 two.test\n").unwrap();
    let done = std::process::Command::new("unshare")
        .args(["-rm", "--", "sh", "-ec", "mount --bind \"$0\" /etc/hosts; exec \"$@\""])
        .arg(&hosts)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("IN_NAMESPACE", "hosts")
        .status()
        .unwrap_or_else(|why| panic!("unshare: {why}; it is of the package util-linux"));
    assert!(done.success(), "it failed in its namespace: its output says how");
    false
}

#[test]
fn a_silent_address_of_a_name_costs_nothing_after_the_first_time() {
    if !has_a_name_of_two_addresses("silent::a_silent_address_of_a_name_costs_nothing_after_the_first_time") {
        return;
    }
    let known: Vec<SocketAddr> =
        std::net::ToSocketAddrs::to_socket_addrs(&("two.test", 0)).unwrap().collect();
    let [dead, alive] = known[..] else {
        panic!(
            "two.test has {known:?} instead of ::1 and 127.0.0.1: IPv6 is missing on the loopback interface"
        )
    };
    let (service, port, _dead) = with_a_silent_port(dead.ip(), alive);
    std::thread::spawn(move || {
        // Each request needs a connection of its own.
        for mut stream in service.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let notes = Arc::new(RecordingObserver::default());
    let proxy = edge(Upstream::new("service", Target::Tcp { host: "two.test".into(), port }), &notes);
    let times: Vec<Duration> = (0..8)
        .map(|_| {
            let begun = Instant::now();
            assert!(get(&proxy).starts_with("HTTP/1.1 200 "));
            begun.elapsed()
        })
        .collect();
    // RFC 8305 §8: the next address is tried after 250 ms.
    let delay = Duration::from_millis(250);
    assert!(times[0] >= delay && times[0] < Duration::from_secs(4), "{times:?}");
    // A busy machine may be slow once, but not each time.
    let mut later = times[1..].to_vec();
    later.sort_unstable();
    assert!(later[later.len() / 2] < delay, "{times:?}");
    assert!(notes.targets.lock().unwrap().is_empty());
}
