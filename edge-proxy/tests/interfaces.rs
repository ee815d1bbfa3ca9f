//! Listeners that are bound to an interface, in namespaces of this machine: interfaces that come, go, and are made
//! anew; sockets that somebody else opened.

#![cfg(feature = "server")]

#[path = "common/wire3.rs"]
mod wire3;

use edge_proxy::config::{
    Access, Action, Check, Config, Forward, Listener, PathMatch, PlainHttp, Protocol, Response, Route, Site,
    Target, Trust, Upstream,
};
use edge_proxy::{Cause, Certificates, ListenerEvent, Observer, Proxy, ProxyHandle};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};
use testkit::Authority;

/// Runs this test once more in network namespaces of its own, and says whether this is that run.
fn is_inside(test: &str) -> bool {
    if std::env::var_os("IN_NAMESPACE").is_some() {
        return true;
    }
    let done = Command::new("unshare")
        .args(["-rn", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("IN_NAMESPACE", "edge")
        .status()
        .unwrap_or_else(|why| panic!("unshare: {why}; it is of the package util-linux"));
    assert!(done.success(), "it failed in its namespace: its output says how");
    false
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The namespace of a machine at the other end.
struct Peer(Child);

impl Peer {
    fn new() -> Self {
        sh("ip link set lo up");
        let child = Command::new("unshare").args(["-n", "sleep", "600"]).spawn().unwrap();
        let peer = Self(child);
        // Until it has a namespace of its own.
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", peer.0.id());
        while std::fs::read_link(&theirs).is_ok_and(|found| found == own) {
            std::thread::sleep(Duration::from_millis(10));
        }
        sh(&format!("nsenter -t {} -n ip link set lo up", peer.0.id()));
        peer
    }

    /// The interface appears at both ends, without an address at ours.
    fn link(&self) {
        let id = self.0.id();
        sh(&format!(
            "ip link add ts0 type veth peer name pe0 netns {id}; ip link set ts0 up
             nsenter -t {id} -n ip address add 10.9.0.2/24 dev pe0; nsenter -t {id} -n ip link set pe0 up"
        ));
    }

    fn unlink() {
        sh("ip link delete ts0");
    }

    /// Returns the index of an interface there.
    fn index(&self, interface: &str) -> u32 {
        let id = self.0.id().to_string();
        let shown =
            Command::new("nsenter").args(["-t", &id, "-n", "ip", "-o", "link", "show", interface]).output();
        String::from_utf8_lossy(&shown.unwrap().stdout).split(':').next().unwrap().parse().unwrap()
    }

    /// What a client there gets, whatever it is.
    fn get(&self, address: &str, fields: &str) -> String {
        let id = self.0.id().to_string();
        got(Command::new("nsenter").args(["-t", &id, "-n"]), address, fields)
    }

    /// The status that a client there gets over HTTP/3.
    fn get3(&self, test: &str, address: &str, root: &str) -> String {
        let id = self.0.id().to_string();
        got3(Command::new("nsenter").args(["-t", &id, "-n"]), test, address, root)
    }
}

fn got3(command: &mut Command, test: &str, address: &str, root: &str) -> String {
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs([("IN_NAMESPACE", "client"), ("ADDRESS", address), ("ROOT", root)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.split("status=").nth(1)).unwrap_or("none").to_owned()
}

/// The client of HTTP/3, in whose environment the address and the root are. It claims to be 6.6.6.6. Returns false in
/// another process.
fn is_client() -> bool {
    if std::env::var("IN_NAMESPACE").is_ok_and(|role| role == "client") {
        let (address, root) = (std::env::var("ADDRESS").unwrap(), std::env::var("ROOT").unwrap());
        let asked = async {
            let client = wire3::Http3::connect(address.parse().unwrap(), &root, "a.test").await;
            let request = wire3::request("GET", "a.test", "/", &[(b"x-forwarded-for", b"6.6.6.6")]);
            client.ask(&request).await.status().unwrap_or("none").to_owned()
        };
        let status = wire3::run(async { tokio::time::timeout(Duration::from_secs(3), asked).await });
        println!("status={}", status.unwrap_or_else(|_| "none".into()));
        return true;
    }
    false
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn got(command: &mut Command, address: &str, fields: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/{host}/{port} && printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n{fields}\\r\\n' >&3 && cat <&3"
    );
    let output =
        command.args(["timeout", "2", "bash", "-c", &script]).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn own(address: &str, fields: &str) -> String {
    got(&mut Command::new("env"), address, fields)
}

/// Whether this becomes true in so many seconds.
fn within(seconds: u64, mut asked: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if asked() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// An observer that uses the proxy whenever it is called, as a status page does.
#[derive(Default)]
struct RecordingObserver {
    served: Mutex<Vec<bool>>,
    proxy: OnceLock<Weak<ProxyHandle>>,
}

impl Observer for RecordingObserver {
    fn listener(&self, event: &ListenerEvent<'_>) {
        self.served.lock().unwrap().push(event.why.is_none());
        if let Some(proxy) = self.proxy.get().and_then(Weak::upgrade) {
            let listeners = proxy.listeners();
            assert!(listeners.iter().any(|one| one.address == event.address), "{listeners:?}");
        }
    }
}

fn config(listeners: Vec<Listener>) -> Config {
    let said = Response { status: 200, content_type: "text/plain".into(), body: b"ok".to_vec() };
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()])
        .route(Route::new(PathMatch::Prefix("/".into()), Action::Respond(said)));
    site.plain = PlainHttp::Serve;
    Config { listeners, sites: vec![site], ..Config::default() }
}

fn on(interface: &str, mut listener: Listener) -> Listener {
    listener.interface = Some(interface.into());
    listener
}

fn is_served(text: &str) -> bool {
    text.starts_with("HTTP/1.1 200")
}

fn serving(proxy: &ProxyHandle) -> bool {
    proxy.listeners().iter().all(|listener| listener.serving)
}

#[test]
fn d19_an_interface_that_is_made_anew() {
    const NAME: &str = "d19_an_interface_that_is_made_anew";
    if is_client() || !is_inside(NAME) {
        return;
    }
    let peer = Peer::new();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    let events = Arc::new(RecordingObserver::default());
    let at = |port: u16| SocketAddr::from(([10, 9, 0, 1], port));
    let listeners = vec![on("ts0", Listener::plain(at(80))), on("ts0", Listener::tls(at(443)).http3(true))];
    // Neither the interface nor the address is there, and it starts.
    let proxy = Proxy::builder()
        .config(config(listeners))
        .certificates(certificates)
        .observer(events.clone())
        .workers(2)
        .start()
        .unwrap();
    let proxy = Arc::new(proxy);
    events.proxy.set(Arc::downgrade(&proxy)).unwrap();
    assert!(proxy.listeners().iter().all(|listener| !listener.serving));
    for round in 0..3 {
        peer.link();
        // The address comes later than the interface.
        std::thread::sleep(Duration::from_millis(if round == 1 { 1200 } else { 0 }));
        sh("ip address add 10.9.0.1/24 dev ts0");
        assert!(within(4, || serving(&proxy)), "round {round}: {:?}", proxy.listeners());
        assert!(within(4, || is_served(&peer.get("10.9.0.1:80", ""))), "round {round}");
        let mut status = String::new();
        assert!(
            within(10, || {
                status = peer.get3(NAME, "10.9.0.1:443", authority.root());
                status == "200"
            }),
            "round {round}: HTTP/3 {status}"
        );
        Peer::unlink();
        assert!(within(4, || proxy.listeners().iter().all(|listener| !listener.serving)), "round {round}");
    }
    // Once each way, of two listeners, the start among them.
    let events = events.served.lock().unwrap().clone();
    assert_eq!(events, [&[false; 2][..], &[true, true, false, false].repeat(3)].concat());
    // Made anew so fast that nobody saw it gone.
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    assert!(within(4, || is_served(&peer.get("10.9.0.1:80", ""))));
    Peer::unlink();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    assert!(within(4, || is_served(&peer.get("10.9.0.1:80", ""))));
}

/// Asserts that all sockets of a proxy are bound to `ts0`, and that there are some of both kinds.
#[track_caller]
fn assert_bound(proxy: &ProxyHandle) {
    let (tcp, udp) = proxy.sockets().unwrap();
    let tcp: Vec<_> = tcp.iter().map(|socket| SockRef::from(socket).device()).collect();
    let udp: Vec<_> = udp.iter().map(|socket| SockRef::from(socket).device()).collect();
    assert!(!tcp.is_empty() && !udp.is_empty());
    for device in tcp.into_iter().chain(udp) {
        assert_eq!(device.unwrap().as_deref(), Some(&b"ts0"[..]));
    }
}

#[test]
fn s24_inherited_sockets_are_bound_to_the_interface() {
    const NAME: &str = "s24_inherited_sockets_are_bound_to_the_interface";
    if is_client() || !is_inside(NAME) {
        return;
    }
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    let over_quic = |address: &str| got3(&mut Command::new("env"), NAME, address, authority.root());
    let peer = Peer::new();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    // By a service manager that binds to no interface.
    let socket = TcpListener::bind("0.0.0.0:81").unwrap();
    let tls = (TcpListener::bind("0.0.0.0:443").unwrap(), UdpSocket::bind("0.0.0.0:443").unwrap());
    let any = |port: u16| SocketAddr::from(([0, 0, 0, 0], port));
    let both = |plain: u16, tls: u16| [Listener::plain(any(plain)), Listener::tls(any(tls)).http3(true)];
    let config = config(both(81, 443).map(|listener| on("ts0", listener)).into());
    let proxy = Proxy::builder()
        .config(config.clone())
        .certificates(certificates.clone())
        .workers(1)
        .sockets(vec![socket, tls.0], vec![tls.1])
        .start()
        .unwrap();
    assert_bound(&proxy);
    assert!(is_served(&peer.get("10.9.0.1:81", "")));
    assert_eq!(own("127.0.0.1:81", ""), "");
    assert_eq!(peer.get3(NAME, "10.9.0.1:443", authority.root()), "200");
    assert_eq!(over_quic("127.0.0.1:443"), "none");
    // By a predecessor whose configuration had no interface.
    let mut before = config.clone();
    before.listeners = both(82, 444).into();
    let before =
        Proxy::builder().config(before).certificates(certificates.clone()).workers(1).start().unwrap();
    assert!(is_served(&own("127.0.0.1:82", "")));
    assert_eq!(over_quic("127.0.0.1:444"), "200");
    let (tcp, udp) = before.sockets().unwrap();
    let mut after = config.clone();
    after.listeners = both(82, 444).map(|listener| on("ts0", listener)).into();
    let after = Proxy::builder()
        .config(after)
        .certificates(certificates.clone())
        .workers(1)
        .sockets(tcp, udp)
        .start()
        .unwrap();
    drop(before);
    assert_bound(&after);
    assert!(is_served(&peer.get("10.9.0.1:82", "")));
    assert_eq!(own("127.0.0.1:82", ""), "");
    assert_eq!(peer.get3(NAME, "10.9.0.1:444", authority.root()), "200");
    assert_eq!(over_quic("127.0.0.1:444"), "none");
    // They survive the interface, too.
    Peer::unlink();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    assert!(within(4, || is_served(&peer.get("10.9.0.1:81", ""))));
    assert!(within(4, || is_served(&peer.get("10.9.0.1:82", ""))));
    for address in ["10.9.0.1:443", "10.9.0.1:444"] {
        assert!(within(10, || peer.get3(NAME, address, authority.root()) == "200"), "{address}");
    }
    assert_eq!((own("127.0.0.1:81", ""), own("127.0.0.1:82", "")), (String::new(), String::new()));
    drop((proxy, after));
}

#[test]
fn a_forward_has_the_interface_of_its_listener() {
    if !is_inside("a_forward_has_the_interface_of_its_listener") {
        return;
    }
    let peer = Peer::new();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    // The service answers HTTP, so that the same question shows who gets to it.
    let mut behind = config(vec![Listener::plain(SocketAddr::from(([127, 0, 0, 1], 90)))]);
    behind.sites[0].plain = PlainHttp::Serve;
    let _service = Proxy::builder().config(behind).workers(1).start().unwrap();
    let forward = on("ts0", Listener::tcp(SocketAddr::from(([0, 0, 0, 0], 91)), Forward::to("raw")));
    let mut config = config(vec![forward]);
    let target = Target::Tcp { host: "127.0.0.1".into(), port: 90 };
    config.upstreams = vec![Upstream { protocol: Protocol::Tcp, ..Upstream::new("raw", target) }];
    // A site that must not be what answers here.
    config.sites.clear();
    let proxy = Proxy::builder().config(config).workers(1).start().unwrap();
    assert!(is_served(&peer.get("10.9.0.1:91", "")), "by the interface");
    assert_eq!(own("127.0.0.1:91", ""), "", "by another interface");
    // It survives the interface, and takes nobody else in the meantime.
    Peer::unlink();
    assert_eq!(own("127.0.0.1:91", ""), "");
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    assert!(within(4, || is_served(&peer.get("10.9.0.1:91", ""))), "by the interface that was made anew");
    assert_eq!(own("127.0.0.1:91", ""), "");
    drop(proxy);
}

#[test]
fn a_link_local_address_is_served_by_its_zone() {
    if !is_inside("a_link_local_address_is_served_by_its_zone") {
        return;
    }
    let peer = Peer::new();
    peer.link();
    sh("ip address add fe80::86/64 dev ts0 nodad; ip address add fe80::87/64 dev ts0 nodad");
    sh(&format!(
        "nsenter -t {0} -n ip address add fe80::99/64 dev pe0 nodad; nsenter -t {0} -n ip link set pe0 up",
        peer.0.id()
    ));
    let shown = Command::new("ip").args(["-o", "link", "show", "ts0"]).output().unwrap();
    let zone: u32 = String::from_utf8_lossy(&shown.stdout).split(':').next().unwrap().parse().unwrap();
    let address = SocketAddrV6::new("fe80::86".parse().unwrap(), 86, 0, zone);
    let proxy =
        Proxy::builder().config(config(vec![Listener::plain(address.into())])).workers(1).start().unwrap();
    assert!(serving(&proxy));
    assert_eq!(proxy.addresses(), [SocketAddr::from(address)]);
    assert!(within(4, || is_served(&peer.get("fe80::86%pe0:86", ""))));
    assert_eq!(peer.get("fe80::87%pe0:86", ""), "", "another address");
}

/// Adds a link-local address to each end of a link.
fn link_local(peer: &Peer) {
    sh("ip address add fe80::86/64 dev ts0 nodad");
    sh(&format!("nsenter -t {} -n ip address add fe80::99/64 dev pe0 nodad", peer.0.id()));
}

#[test]
fn a_zone_that_is_a_name_survives_its_interface() {
    const NAME: &str = "a_zone_that_is_a_name_survives_its_interface";
    if is_client() || !is_inside(NAME) {
        return;
    }
    let peer = Peer::new();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    let address = "[fe80::86]:443".parse().unwrap();
    let config = config(vec![
        on("ts0", Listener::tls(address).http3(true)),
        on("ts0", Listener::plain("[fe80::86]:80".parse().unwrap())),
    ]);
    let proxy = Proxy::builder()
        .config(config.clone())
        .certificates(certificates.clone())
        .workers(2)
        .start()
        .unwrap();
    assert!(proxy.listeners().iter().all(|listener| !listener.serving), "there is no such interface");
    for round in 0..2 {
        peer.link();
        link_local(&peer);
        assert!(within(4, || serving(&proxy)), "round {round}: {:?}", proxy.listeners());
        assert!(within(4, || is_served(&peer.get("fe80::86%pe0:80", ""))), "round {round}");
        let zone = peer.index("pe0");
        let over3 = || peer.get3(NAME, &format!("[fe80::86%{zone}]:443"), authority.root());
        assert!(within(10, || over3() == "200"), "round {round}: HTTP/3");
        // The sockets have the index in their address, and a successor takes them nevertheless.
        let (tcp, udp) = proxy.sockets().unwrap();
        let before: Vec<u64> = tcp.iter().map(inode).collect();
        let successor = Proxy::builder()
            .config(config.clone())
            .certificates(certificates.clone())
            .workers(2)
            .sockets(tcp, udp)
            .start()
            .unwrap();
        assert!(serving(&successor));
        let after: Vec<u64> = successor.sockets().unwrap().0.iter().map(inode).collect();
        assert_eq!(before, after, "round {round}");
        drop(successor);
        Peer::unlink();
        assert!(within(4, || proxy.listeners().iter().all(|listener| !listener.serving)), "round {round}");
    }
}

/// The number of the socket itself, of which a descriptor is one of several.
fn inode(socket: &TcpListener) -> u64 {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
}

/// A service at the other end of the link, which keeps connections open. It refuses a Host that it does not expect.
fn service() -> ! {
    let listener = TcpListener::bind("[::]:80").unwrap();
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                head.extend_from_slice(&buffer[..n]);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    let host = text.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
                    // That of the client, and that of the health checks.
                    let status =
                        if matches!(host, "a.test" | "[fe80::99]") { "200 OK" } else { "400 Bad Request" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
    }
    unreachable!("it listens until it is killed");
}

#[test]
fn a_target_in_a_zone_is_reached_also_when_its_interface_was_made_anew() {
    const NAME: &str = "a_target_in_a_zone_is_reached_also_when_its_interface_was_made_anew";
    if std::env::var("IN_NAMESPACE").is_ok_and(|role| role == "service") {
        service();
    }
    if !is_inside(NAME) {
        return;
    }
    let peer = Peer::new();
    let mut service = Command::new("nsenter")
        .args(["-t", &peer.0.id().to_string(), "-n"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env("IN_NAMESPACE", "service")
        .spawn()
        .unwrap();
    let mut config = config(vec![Listener::plain(SocketAddr::from(([127, 0, 0, 1], 90)))]);
    let target = Target::Tcp { host: "fe80::99%ts0".into(), port: 80 };
    let mut upstream = Upstream::new("node", target);
    let mut check = Check::new("/");
    check.interval = Duration::from_millis(200);
    upstream.health.check = Some(check);
    config.upstreams = vec![upstream];
    config.sites[0].routes =
        vec![Route::new(PathMatch::Prefix("/".into()), Action::Forward { upstream: "node".into() })];
    let proxy = Proxy::builder().config(config).workers(1).start().unwrap();
    let said = || own("127.0.0.1:90", "");
    let cause = || proxy.targets()[0].last_failure.map(|(cause, _)| cause);
    let refused = said();
    assert!(refused.starts_with("HTTP/1.1 50"), "{refused}");
    assert_eq!(cause(), Some(Cause::NoInterface));
    assert_eq!(proxy.targets()[0].failures, 0, "it is not the target's");
    for round in 0..3 {
        peer.link();
        link_local(&peer);
        // A kept connection over the interface that is gone would be silent until the time limit of responses.
        assert!(within(8, || said().starts_with("HTTP/1.1 200")), "round {round}: {}", said());
        assert!(said().starts_with("HTTP/1.1 200"), "round {round}: on a kept connection");
        Peer::unlink();
    }
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn listeners_of_two_interfaces_change_at_one_address_in_one_reload() {
    const NAME: &str = "listeners_of_two_interfaces_change_at_one_address_in_one_reload";
    if is_client() || !is_inside(NAME) {
        return;
    }
    let peer = Peer::new();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0");
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    let any = SocketAddr::from(([0, 0, 0, 0], 85));
    let both = |names: Option<[&str; 2]>| {
        let [tailnet, local] = ["ts0", "lo"].map(|interface| on(interface, Listener::tls(any).http3(true)));
        let [tailnet, local] = match names {
            Some([first, second]) => [tailnet.named(first), local.named(second)],
            None => [tailnet, local],
        };
        // In both orders, since whichever is first would take the sockets of both.
        if names.is_some() { vec![local, tailnet] } else { vec![tailnet, local] }
    };
    let mut config = config(both(None));
    let proxy =
        Proxy::builder().config(config.clone()).certificates(certificates).workers(1).start().unwrap();
    let mut check = |names: Option<[&str; 2]>| {
        config.listeners = both(names);
        proxy.reload(config.clone()).unwrap();
        assert!(serving(&proxy), "{names:?}");
        assert_eq!(peer.get3(NAME, "10.9.0.1:85", authority.root()), "200", "{names:?}");
        assert_eq!(
            got3(&mut Command::new("env"), NAME, "127.0.0.1:85", authority.root()),
            "200",
            "{names:?}"
        );
    };
    check(Some(["tailnet", "local"]));
    check(None);
    check(Some(["one", "two"]));
}

#[test]
fn s24_a_hop_is_one_by_the_interface_that_the_kernel_names() {
    if !is_inside("s24_a_hop_is_one_by_the_interface_that_the_kernel_names") {
        return;
    }
    let peer = Peer::new();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0; ip address add fd09::1/64 dev ts0 nodad");
    // On all interfaces, without one of its own.
    let mut config = config(vec![Listener::plain(SocketAddr::from(([0, 0, 0, 0], 83)))]);
    let ranges = ["10.9.0.0/24", "127.0.0.0/8"].map(|range| range.parse().unwrap()).into();
    config.trust = Trust { ranges, interface: Some("ts0".into()), ..Trust::default() };
    config.sites[0].access = Access { allow: vec!["6.6.6.6/32".parse().unwrap()], deny: Vec::new() };
    let _proxy = Proxy::builder().config(config).workers(1).start().unwrap();
    let claim = "X-Forwarded-For: 6.6.6.6\\r\\n";
    assert!(is_served(&peer.get("10.9.0.1:83", claim)), "a hop by its interface");
    assert_eq!(own("127.0.0.1:83", claim), "", "a trusted address by another interface");
    assert_eq!(
        own("10.9.0.1:83", claim),
        "",
        "a process of this machine, to its own address of that interface"
    );
}

#[test]
fn s24_a_hop_over_quic_is_one_by_the_interface_that_the_kernel_names() {
    const NAME: &str = "s24_a_hop_over_quic_is_one_by_the_interface_that_the_kernel_names";
    if is_client() || !is_inside(NAME) {
        return;
    }
    let peer = Peer::new();
    peer.link();
    sh("ip address add 10.9.0.1/24 dev ts0; ip address add fd09::1/64 dev ts0 nodad");
    sh(&format!("nsenter -t {} -n ip address add fd09::2/64 dev pe0 nodad", peer.0.id()));
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    // Sockets that are bound to no interface, for both families.
    let any = |address: &str| Listener::tls(address.parse().unwrap()).http3(true);
    let mut config = config(vec![any("0.0.0.0:443"), any("[::]:444")]);
    let ranges =
        ["10.9.0.0/24", "fd09::/64", "127.0.0.0/8", "::1/128"].map(|range| range.parse().unwrap()).into();
    config.trust = Trust { ranges, interface: Some("ts0".into()), ..Trust::default() };
    config.sites[0].access = Access { allow: vec!["6.6.6.6/32".parse().unwrap()], deny: Vec::new() };
    let proxy =
        Proxy::builder().config(config.clone()).certificates(certificates).workers(1).start().unwrap();
    let here = |address: &str| got3(&mut Command::new("env"), NAME, address, authority.root());
    assert_eq!(peer.get3(NAME, "10.9.0.1:443", authority.root()), "200", "a hop by its interface");
    assert_eq!(peer.get3(NAME, "[fd09::1]:444", authority.root()), "200", "a hop by its interface");
    assert_eq!(here("127.0.0.1:443"), "none", "a trusted address by another interface");
    assert_eq!(here("[::1]:444"), "none", "a trusted address by another interface");
    assert_eq!(
        here("10.9.0.1:443"),
        "none",
        "a process of this machine, to its own address of that interface"
    );
    assert_eq!(
        here("[fd09::1]:444"),
        "none",
        "a process of this machine, to its own address of that interface"
    );
    // A reload says whether it matters.
    config.trust.interface = Some("lo".into());
    proxy.reload(config.clone()).unwrap();
    assert_eq!(here("127.0.0.1:443"), "200");
    assert_eq!(peer.get3(NAME, "10.9.0.1:443", authority.root()), "none");
    config.trust.interface = None;
    proxy.reload(config).unwrap();
    assert_eq!(peer.get3(NAME, "10.9.0.1:443", authority.root()), "200");
}
