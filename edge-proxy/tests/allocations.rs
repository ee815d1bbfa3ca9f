//! The allocations of a request over HTTP/1.1, counted on the worker's thread: of one on a connection that is used for
//! many, and of one that is dropped.

use edge_proxy::config::{Listener, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::{AccessRecord, Observer, Proxy, ProxyHandle, Reason};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testkit::Origin;

/// The number of allocations on the threads that [`IS_COUNTED`] marks.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// True on a thread whose allocations are counted.
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system allocator, which counts.
struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Counts an allocation if this thread is counted.
fn count() {
    if IS_COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to the system allocator, and counting does not allocate.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from the system allocator with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `realloc`, and the block came from the system allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Marks the thread that serves requests as counted.
struct Marker;

impl Observer for Marker {
    fn access(&self, _record: &AccessRecord<'_>) {
        IS_COUNTED.set(true);
    }
}

/// Sends a request with the fields of a browser and reads the response, whose content is `ok`.
fn ask(client: &mut TcpStream) {
    client
        .write_all(
            b"GET /some/page?of=this HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test/1.0\r\nAccept: text/html\r\n\
              Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nCookie: a=1; b=2\r\nDNT: 1\r\n\r\n",
        )
        .unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 1024]);
    while !all.ends_with(b"\r\n\r\nok") {
        match client.read(&mut part).unwrap() {
            0 => panic!("no response: {}", all.escape_ascii()),
            n => all.extend_from_slice(&part[..n]),
        }
    }
    assert!(all.starts_with(b"HTTP/1.1 200 "), "{}", all.escape_ascii());
}

/// Starts a proxy with one worker in front of a service at this address, whose allocations are counted once it has
/// served a request.
fn start(address: SocketAddr) -> ProxyHandle {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("origin"));
    site.plain = PlainHttp::Serve;
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    Proxy::builder()
        .listener(Listener::plain(([127, 0, 0, 1], 0).into()))
        .site(site)
        .upstream(Upstream::new("origin", target))
        .observer(Arc::new(Marker))
        .workers(1)
        .start()
        .unwrap()
}

/// Only one test at a time counts.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_request_does_not_allocate() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = Origin::simple();
    let proxy = start(origin.address());
    let mut client = TcpStream::connect(proxy.addresses()[0]).unwrap();
    client.set_nodelay(true).unwrap();
    (0..50).for_each(|_| ask(&mut client));
    const REQUESTS: usize = 200;
    let before = ALLOCATIONS.load(Relaxed);
    (0..REQUESTS).for_each(|_| ask(&mut client));
    let each = (ALLOCATIONS.load(Relaxed) - before) as f64 / REQUESTS as f64;
    // The worker's periodic tasks may allocate a few times in between.
    assert!(each < 0.5, "{each} allocations a request");
    // The state of exchanges is allocated again after a pause, which shows that allocations are counted.
    std::thread::sleep(Duration::from_millis(1_600));
    let before = ALLOCATIONS.load(Relaxed);
    ask(&mut client);
    assert!(ALLOCATIONS.load(Relaxed) > before);
}

/// A request for an unknown host that arrives with its connection is dropped without a task for the connection, which
/// allocates nothing, and is reported as any other.
#[test]
fn a_stranger_does_not_allocate() {
    const CONNECTIONS: usize = 300;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let proxy = start(([127, 0, 0, 1], 9).into());
    let connect = |parts: [&[u8]; 2]| {
        let before = ALLOCATIONS.load(Relaxed);
        let mut client = TcpStream::connect(proxy.addresses()[0]).unwrap();
        client.write_all(parts[0]).unwrap();
        if !parts[1].is_empty() {
            std::thread::sleep(Duration::from_millis(50));
            client.write_all(parts[1]).unwrap();
        }
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        assert!(said.is_empty(), "{}", said.escape_ascii());
        ALLOCATIONS.load(Relaxed) - before
    };
    let whole: &[u8] = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    // The first one marks the thread.
    connect([whole, b""]);
    // One that arrives in parts has a task, which is counted.
    assert!(connect([&whole[..7], &whole[7..]]) > 0);
    // Where the request arrives after the accept, there is a task, too.
    let least = (2..CONNECTIONS).map(|_| connect([whole, b""])).min();
    assert_eq!(least, Some(0));
    let refused = proxy.metrics().refused;
    let dropped = refused.iter().find(|(reason, _)| *reason == Reason::UnknownName);
    assert_eq!(dropped.map(|(_, count)| *count), Some(CONNECTIONS as u64));
}
