//! A service with a handler for each test, and engines that run it.

use crate::body::{BodyError, BodyPart};
use crate::downstream::h3::{
    AcceptedConnection, CloseReason, DropReason, EngineConfig, EngineControl, H3Stream, Handover,
    HelloVerdict, QuicLimits, QuicServerConfig, Service, open, server_config,
};
use crate::exchange::{Abort, ClientGone, Downstream};
use bytes::Bytes;
use edge_http::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use edge_policy::config::Congestion;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

pub(super) const NAME: &str = "example.org";

/// Runs a test on one thread, as a worker is.
pub(super) fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("in time");
    });
}

#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    pub(super) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    pub(super) fn tls(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivatePkcs8KeyDer::from(self.key.clone()).into(),
            )
            .unwrap();
        tls.max_early_data_size = u32::MAX;
        tls
    }
}

/// What the handlers saw.
#[derive(Default)]
pub(super) struct Log {
    pub(super) hellos: RefCell<Vec<Option<String>>>,
    pub(super) opened: RefCell<Vec<AcceptedConnection>>,
    pub(super) closed: RefCell<Vec<CloseReason>>,
    pub(super) dropped: RefCell<Vec<DropReason>>,
    pub(super) requests: RefCell<Vec<RequestHead>>,
    pub(super) peers: RefCell<Vec<SocketAddr>>,
    pub(super) early: Cell<usize>,
    pub(super) lost: Cell<usize>,
    pub(super) malformed: Cell<usize>,
    pub(super) sent: Cell<usize>,
    pub(super) ended: Cell<usize>,
}

/// Tasks need the log for longer than a call.
struct EngineState(Rc<Log>);

impl Service for EngineState {
    type Conn = ();
    type Permit = ();

    fn admit(&self, _: SocketAddr) -> Option<()> {
        Some(())
    }

    fn hello(&self, _: SocketAddr, sni: Option<&str>) -> HelloVerdict {
        self.0.hellos.borrow_mut().push(sni.map(str::to_owned));
        match sni {
            Some(NAME) => HelloVerdict::Accept,
            Some("alert.example") => HelloVerdict::Alert,
            _ => HelloVerdict::Silent,
        }
    }

    fn opened(&self, opened: AcceptedConnection) {
        self.0.opened.borrow_mut().push(opened);
    }

    fn request(&self, _: &Rc<()>, (peer, _): (SocketAddr, bool), head: RequestHead, stream: H3Stream) {
        self.0.requests.borrow_mut().push(head.clone());
        self.0.peers.borrow_mut().push(peer);
        if stream.is_early() {
            self.0.early.set(self.0.early.get() + 1);
        }
        let log = Rc::clone(&self.0);
        spawn_local(async move {
            let outcome = handle(&log, &head, stream).await;
            let counter = match outcome {
                Ok(()) => &log.ended,
                Err(BodyError::Lost) => &log.lost,
                Err(BodyError::Malformed) => &log.malformed,
            };
            counter.set(counter.get() + 1);
        });
    }

    fn closed(&self, _: &Rc<()>, why: CloseReason) {
        self.0.closed.borrow_mut().push(why);
    }

    fn dropped(&self, _: SocketAddr, why: DropReason) {
        self.0.dropped.borrow_mut().push(why);
    }
}

impl From<ClientGone> for BodyError {
    fn from(_: ClientGone) -> Self {
        Self::Lost
    }
}

async fn send(log: &Log, stream: &mut H3Stream, mut data: Bytes) -> Result<(), BodyError> {
    while !data.is_empty() {
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?;
        let part = data.split_to(room.min(data.len()).min(64 * 1024));
        log.sent.set(log.sent.get() + part.len());
        stream.send_bytes(part);
    }
    Ok(())
}

async fn echo(log: &Log, stream: &mut H3Stream) -> Result<(), BodyError> {
    loop {
        match poll_fn(|cx| stream.poll_body(cx)).await {
            Ok(BodyPart::Data) => {
                let n = stream.chunk().len();
                let data = stream.take(n);
                send(log, stream, data).await?;
            }
            Ok(BodyPart::End) => return Ok(()),
            Err(BodyError::Malformed) => {
                stream.abort(Abort::Malformed);
                return Err(BodyError::Malformed);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn handle(log: &Log, head: &RequestHead, mut stream: H3Stream) -> Result<(), BodyError> {
    let mut answer = ResponseHead::new(200);
    answer.fields.push(b"Server", b"test");
    match head.target.as_str() {
        "/hello" => {
            answer.body = BodyLength::Exact(5);
            if head.method == Method::Head {
                stream.send_head(&answer, true);
            } else {
                let mut hints = ResponseHead::new(103);
                hints.fields.push(b"Link", b"</x>");
                stream.send_interim(&hints);
                stream.send_head(&answer, false);
                stream.send_data(b"hel");
                stream.send_data(b"lo");
                stream.send_end(None);
            }
            poll_fn(|cx| stream.poll_flush(cx)).await?;
        }
        "/tunnel" => {
            stream.send_tunnel(&answer, "websocket");
            echo(log, &mut stream).await?;
            stream.send_end(None);
        }
        "/early" => {
            let early = stream.is_early();
            poll_fn(|cx| stream.poll_handshake(cx)).await?;
            assert!(!stream.is_early());
            answer.body = BodyLength::Unknown;
            stream.send_head(&answer, false);
            stream.send_data(if early { b"early" } else { b"late" });
            stream.send_end(None);
        }
        "/at-once" => {
            answer.body = BodyLength::Unknown;
            stream.send_head(&answer, false);
            stream.send_data(if stream.is_early() { b"early" } else { b"late" });
            stream.send_end(None);
        }
        "/big" => {
            let size = 10 * 1024 * 1024;
            answer.body = BodyLength::Exact(size as u64);
            stream.send_head(&answer, false);
            send(log, &mut stream, Bytes::from(vec![b'x'; size])).await?;
            stream.send_end(None);
        }
        "/short" => {
            answer.body = BodyLength::Exact(10);
            stream.send_head(&answer, false);
            stream.send_data(b"hello");
            stream.send_end(None);
        }
        "/truncated" => {
            answer.body = BodyLength::Unknown;
            stream.send_head(&answer, false);
            stream.send_data(b"hello");
            stream.abort(Abort::Truncated);
        }
        "/refused" => stream.abort(Abort::Refused),
        "/dropped" => {}
        "/unread" => {
            stream.send_head(&answer, true);
            poll_fn(|cx| stream.poll_flush(cx)).await?;
        }
        // Nothing is read or sent as long as the client is there.
        "/stuck" => {
            poll_fn(|cx| stream.poll_lost(cx)).await;
            return Err(BodyError::Lost);
        }
        "/wait" => {
            while poll_fn(|cx| stream.poll_body(cx)).await? == BodyPart::Data {
                stream.consume(stream.chunk().len());
            }
            poll_fn(|cx| stream.poll_lost(cx)).await;
            return Err(BodyError::Lost);
        }
        _ => {
            answer.body = BodyLength::Unknown;
            stream.send_head(&answer, false);
            echo(log, &mut stream).await?;
            let trailers: Fields = stream.trailers().iter().map(|field| (field.name, field.value)).collect();
            stream.send_end(Some(&trailers));
        }
    }
    Ok(())
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) identity: Identity,
    pub(super) log: Rc<Log>,
    pub(super) control: EngineControl,
    pub(super) task: JoinHandle<io::Result<()>>,
    pub(super) config: Arc<QuicServerConfig>,
}

pub(super) fn start(limits: &QuicLimits) -> Server {
    start_some(1, limits).pop().unwrap()
}

/// Engines that share an address.
pub(super) fn start_some(workers: u8, limits: &QuicLimits) -> Vec<Server> {
    let identity = Identity::new();
    let config = server_config(identity.tls(), limits, Congestion::Cubic).unwrap();
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut servers = Vec::new();
    for handover in Handover::mesh(workers) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        let log = Rc::new(Log::default());
        let (control, receiver) = EngineControl::new();
        let engine = EngineConfig {
            socket: socket.into(),
            server: Arc::clone(&config),
            handover,
            limits: limits.clone(),
        };
        let service = Rc::new(EngineState(Rc::clone(&log)));
        servers.push(Server {
            address,
            identity: identity.clone(),
            log,
            control,
            task: spawn_local(open(engine, service, receiver).unwrap()),
            config: Arc::clone(&config),
        });
    }
    servers
}
