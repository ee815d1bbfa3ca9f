//! HTTP/3 across takeovers by new processes, which receive from the same sockets.

use crate::{KillOnDrop, Manager, PROGRAM, ends, free_port, signal};
use bytes::Buf;
use quinn::crypto::rustls::QuicClientConfig;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Authority, answer, tls_client};

/// The parts of a long download, which arrive at intervals of [`PAUSE`].
const PARTS: usize = 60;
const PART: usize = 50_000;
const PAUSE: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An origin with a long download at `/long`.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut part) {
                    if !part[..n].starts_with(b"GET /long ") {
                        let _ = stream.write_all(&answer("ok"));
                        continue;
                    }
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PARTS * PART);
                    let _ = stream.write_all(head.as_bytes());
                    for _ in 0..PARTS {
                        std::thread::sleep(PAUSE);
                        if stream.write_all(&vec![b'x'; PART]).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Requests a path over a new connection. Returns the length of the content, and true if datagrams were lost.
async fn get(address: SocketAddr, root: &str, path: &str) -> Result<(usize, bool), Failure> {
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let tls = QuicClientConfig::try_from(tls_client(root, &[b"h3"]))?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    let connection = endpoint.connect(address, "a.test")?.await?;
    let (mut driver, mut send) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await?;
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let request = http::Request::get(format!("https://a.test{path}")).body(())?;
    let mut stream = send.send_request(request).await?;
    stream.finish().await?;
    let status = stream.recv_response().await?.status();
    if status != http::StatusCode::OK {
        return Err(format!("answered {status}").into());
    }
    let mut length = 0;
    while let Some(part) = stream.recv_data().await? {
        length += part.remaining();
    }
    driving.abort();
    Ok((length, connection.stats().path.lost_packets > 0))
}

/// The number of new clients by which it is judged whether datagrams reach the right process: so many that neither those
/// that a busy machine delays nor chance decide.
const NEW_CLIENTS: u32 = 36;

/// The service, whichever process it is, and a client's view of it.
struct Service {
    manager: Manager,
    address: SocketAddr,
    root: String,
    process: u32,
    runtime: tokio::runtime::Runtime,
}

impl Service {
    /// Has a new process take over, and returns the one before.
    fn take_over(&mut self) -> u32 {
        signal(self.process, "USR2");
        let successor = self.manager.hear("MAINPID=")[8..].parse().expect("a number");
        self.manager.hear("READY=1");
        std::mem::replace(&mut self.process, successor)
    }

    fn begin(&self, path: &'static str) -> tokio::task::JoinHandle<Result<usize, Failure>> {
        let (address, root) = (self.address, self.root.clone());
        self.runtime.spawn(async move { get(address, &root, path).await.map(|(length, _)| length) })
    }

    /// Asserts that new clients are served, and that at most a third lose datagrams: half would without links.
    #[track_caller]
    fn serves_new_clients(&self, when: &str) {
        let mut losing = 0;
        for _ in 0..NEW_CLIENTS {
            let got = self.runtime.block_on(get(self.address, &self.root, "/"));
            let (length, lost) = got.expect(when);
            assert_eq!(length, 2, "{when}");
            losing += u32::from(lost);
        }
        // A busy machine delays some until their datagrams are taken for lost.
        assert!(3 * losing <= NEW_CLIENTS, "{when}: {losing} of {NEW_CLIENTS} lost datagrams");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its launcher, whose child it is, ends with it.
        let _ = std::process::Command::new("kill").args(["-TERM", &self.process.to_string()]).status();
    }
}

#[test]
fn a_download_over_http3_crosses_two_takeovers() {
    let manager = Manager::new(origin());
    let authority = Authority::new();
    authority.write(&manager.folder.path().join("acme/a.test"), &["a.test"]);
    let port = free_port();
    let mut config = std::fs::read_to_string(manager.config()).expect("a file");
    config += &format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\ntls = true\nhttp3 = true\n[certificates]\nfolder = \"{}/acme\"\n",
        manager.folder.path().display()
    );
    std::fs::write(manager.config(), config).expect("a file");
    let mut first = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let mut service = Service {
        manager,
        address: ([127, 0, 0, 1], port).into(),
        root: authority.root().to_owned(),
        process: first.0.id(),
        runtime: runtime.expect("a runtime"),
    };
    // Several, since one of a single address may have its datagrams at the right process by chance.
    let begin = |service: &Service| (0..4).map(|_| service.begin("/long")).collect::<Vec<_>>();
    let mut downloads = begin(&service);
    std::thread::sleep(3 * PAUSE);
    service.take_over();
    downloads.extend(begin(&service));
    service.serves_new_clients("after a takeover");
    service.take_over();
    service.serves_new_clients("after another takeover");
    for download in downloads {
        let got = service.runtime.block_on(download).expect("it did not panic");
        assert_eq!(got.expect("a download is not broken off"), PARTS * PART);
    }
    ends(&mut first.0);
    // A process that is killed takes its own connections along, and nobody else's.
    let lost = service.begin("/long");
    std::thread::sleep(3 * PAUSE);
    let third = service.take_over();
    // By then the old process passes all new clients on.
    service.serves_new_clients("after a third takeover");
    let kept = service.begin("/long");
    std::thread::sleep(3 * PAUSE);
    signal(third, "KILL");
    service.serves_new_clients("after the end of the old process");
    assert_eq!(service.runtime.block_on(kept).expect("it did not panic").expect("a download"), PARTS * PART);
    lost.abort();
}
