//! Connections that are kept: a pool a worker and upstream, last in first out.

use super::connect::{Announce, dial};
use super::{Exchange, UpstreamError, h1, h2};
use crate::RequestHead;
use crate::config::{Protocol, Target, Upstream};
use crate::server::deadline::Deadline;
use crate::server::socket::Socket;
use crate::server::tls::TlsStream;
use rustls::{ClientConfig, ClientConnection};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Kept connections older than this are not used: services close theirs after a minute or more.
const IDLE: Duration = Duration::from_secs(50);

/// A connection to a service.
pub(crate) enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<ClientConnection>>),
}

impl Wire {
    /// Whether a kept connection is still usable: nothing came, and it was not closed. No system call is made if the
    /// runtime knows of no readiness.
    fn is_quiet(&mut self) -> bool {
        let mut byte = [0u8; 1];
        let mut space = ReadBuf::new(&mut byte);
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut space).is_pending()
    }

    /// Ends our direction of a tunnel.
    pub(crate) fn half_close(&mut self) {
        // In a tunnel everything before was flushed; if this fails the other direction ends soon too.
        let _ = Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Plain($io) => $call,
            Wire::Tls($io) => {
                let $io = &mut **$io;
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

struct Kept {
    wire: Wire,
    since: Instant,
}

/// The connections of one worker to one target.
struct Shelf {
    target: Target,
    kept: RefCell<Vec<Kept>>,
    multiplexed: RefCell<Option<h2::Client>>,
    limit: usize,
}

/// Where a connection goes back to after its exchange.
pub(crate) struct Home(Option<Rc<Shelf>>);

impl Home {
    pub(super) fn keep(self, wire: Wire) {
        if let Some(shelf) = self.0 {
            let mut kept = shelf.kept.borrow_mut();
            if kept.len() < shelf.limit {
                kept.push(Kept { wire, since: Instant::now() });
            }
        }
    }
}

/// The connections of one worker to one upstream.
pub(crate) struct Pool {
    upstream: Upstream,
    tls: Option<(Arc<ClientConfig>, Option<String>)>,
    shelves: Vec<Rc<Shelf>>,
    next: Cell<usize>,
}

/// All pools of a worker, in the order of the configuration's upstreams.
pub(crate) type Pools = Vec<Rc<Pool>>;

/// For whom an exchange is: what the PROXY header says.
pub(crate) struct Lease<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The deadline by which a new connection is made.
    pub(crate) deadline: &'a Deadline,
    pub(crate) connect: Duration,
    /// Whether only a new connection will do.
    pub(crate) fresh: bool,
    pub(crate) websocket: bool,
}

impl Pool {
    pub(crate) fn new(upstream: Upstream, tls: Option<Arc<ClientConfig>>, limit: usize) -> Self {
        let shelves = upstream
            .targets
            .iter()
            .map(|target| {
                Rc::new(Shelf {
                    target: target.clone(),
                    kept: RefCell::default(),
                    multiplexed: RefCell::default(),
                    limit,
                })
            })
            .collect();
        let tls = tls.map(|config| (config, upstream.tls.as_ref().and_then(|tls| tls.server_name.clone())));
        Self { upstream, tls, shelves, next: Cell::new(0) }
    }

    /// Whether this pool serves that upstream, so that a reload can keep it.
    pub(crate) fn serves(&self, upstream: &Upstream, tls: Option<&Arc<ClientConfig>>) -> bool {
        self.upstream == *upstream
            && match (&self.tls, tls) {
                (Some((mine, _)), Some(other)) => Arc::ptr_eq(mine, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// The Host to send for a request to this authority.
    fn host<'a>(&'a self, authority: &'a str) -> &'a str {
        self.upstream.host.as_deref().unwrap_or(authority)
    }

    /// Begins an exchange: on a kept connection, or on a new one to one of the targets. Gives the target's position.
    pub(crate) async fn begin(
        &self,
        head: &RequestHead,
        lease: &Lease<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let mut last = UpstreamError::Connect;
        for step in 0..self.shelves.len() {
            let shelf = &self.shelves[(turn + step) % self.shelves.len()];
            match self.begin_at(shelf, head, lease).await {
                Ok(exchange) => return Ok(exchange),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn begin_at(
        &self,
        shelf: &Rc<Shelf>,
        head: &RequestHead,
        lease: &Lease<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let host = self.host(&head.authority);
        let announce = self.upstream.proxy_protocol.map(|version| Announce {
            version,
            client: lease.client,
            local: lease.local,
        });
        let shared = announce.is_none();
        // WebSocket to services goes over HTTP/1.1, which every service speaks.
        if self.upstream.protocol == Protocol::Http2 && !lease.websocket {
            let known = if shared && !lease.fresh { shelf.multiplexed.borrow().clone() } else { None };
            if let Some(client) = known
                && let Ok(exchange) = h2::Exchange::begin(client, head, host, true, self.tls.is_some()).await
            {
                return Ok(Exchange::H2(Box::new(exchange)));
            }
            let wire = self.dial(shelf, announce.as_ref(), lease).await?;
            let client = h2::connect(wire).await?;
            if shared {
                *shelf.multiplexed.borrow_mut() = Some(client.clone());
            }
            let exchange = h2::Exchange::begin(client, head, host, false, self.tls.is_some()).await?;
            return Ok(Exchange::H2(Box::new(exchange)));
        }
        if shared && !lease.fresh {
            loop {
                let Some(mut kept) = shelf.kept.borrow_mut().pop() else { break };
                if kept.since.elapsed() < IDLE && kept.wire.is_quiet() {
                    let home = Home(Some(shelf.clone()));
                    let exchange = h1::Exchange::begin(kept.wire, home, true, head, host, lease.websocket);
                    return Ok(Exchange::H1(Box::new(exchange)));
                }
            }
        }
        let wire = self.dial(shelf, announce.as_ref(), lease).await?;
        let home = Home(shared.then(|| shelf.clone()));
        Ok(Exchange::H1(Box::new(h1::Exchange::begin(wire, home, false, head, host, lease.websocket))))
    }

    async fn dial(
        &self,
        shelf: &Shelf,
        announce: Option<&Announce>,
        lease: &Lease<'_>,
    ) -> Result<Wire, UpstreamError> {
        let dialled =
            lease.deadline.within(lease.connect, dial(&shelf.target, self.tls.as_ref(), announce)).await;
        dialled.unwrap_or(Err(UpstreamError::Connect))
    }
}
