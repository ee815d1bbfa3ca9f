//! The service that handles the requests of the HTTP/3 engine.

use crate::downstream::h3::{
    AcceptedConnection, CloseReason, DropReason, H3Stream, HelloVerdict, RejectedHeads, Service,
};
use crate::exchange::{Connection, serve};
use crate::limits::sketch::ConnectionPermit;
use crate::observe::ConnectionRejected;
use crate::sys;
use crate::tls::TlsParameters;
use crate::worker::Worker;
use edge_http::h3::Code;
use edge_http::{RequestHead, host};
use edge_policy::Reason;
use edge_policy::config::{Listener, Reject};
use edge_policy::decide::{self, Rejection, Transport};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// The service behind the HTTP/3 engine of one listener on one worker: it decides about connections and serves
/// requests.
pub(crate) struct H3Service {
    /// The worker of the engine.
    worker: Rc<Worker>,
    /// The name of the interface that the socket is bound to. `None` if it is bound to none.
    interface: Option<Rc<str>>,
    /// The name of the listener. `None` if it has no name.
    listener: Option<Rc<str>>,
    /// The local address of the listener.
    address: SocketAddr,
}

impl H3Service {
    /// Creates the service. `interface` is the one that the socket is bound to, `None` if it is bound to none.
    /// `address` is the bound address.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listener: &Listener,
        interface: Option<String>,
        address: SocketAddr,
    ) -> Self {
        Self {
            worker,
            interface: interface.map(Rc::from),
            listener: listener.name.as_deref().map(Rc::from),
            address,
        }
    }

    /// Returns the index of the site for this server name, or the rejection. The client's address is not considered,
    /// since the source of a first flight is not validated.
    ///
    /// # Errors
    /// [`Rejection`] if the name is missing or unknown, or its site is not served over QUIC.
    fn decide(&self, sni: Option<&str>) -> Result<usize, Rejection> {
        let view = self.worker.view();
        decide::hello(view.runtime.snapshot(), Transport::Quic, self.listener.as_deref(), None, sni)
    }

    /// Counts a rejected QUIC connection, datagram or request and reports it to the observer, with the listener's
    /// address as the local one.
    fn rejected(&self, peer: SocketAddr, sni: Option<&str>, reason: Reason) {
        self.worker.rejected(&ConnectionRejected { peer, local: self.address, sni, quic: true, reason });
    }
}

impl Service for H3Service {
    type Conn = Connection;
    type Permit = Option<ConnectionPermit>;

    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict {
        if self.worker.view().runtime.is_full_for(peer.ip()) {
            let sni = sni.map(host::normalize);
            self.rejected(peer, sni.as_deref(), Reason::TooManyConnectionsOfClient);
            return HelloVerdict::Silent;
        }
        self.confirm(peer, sni)
    }

    fn confirm(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict {
        let sni = sni.map(host::normalize);
        // Address lists are applied to each request instead.
        match self.decide(sni.as_deref()) {
            Ok(_) => HelloVerdict::Accept,
            Err(rejection) => {
                self.rejected(peer, sni.as_deref(), rejection.why);
                if rejection.how == Reject::Alert { HelloVerdict::Alert } else { HelloVerdict::Silent }
            }
        }
    }

    fn serves(&self, peer: SocketAddr, sni: &str) -> bool {
        let view = self.worker.view();
        !view.runtime.is_full_for(peer.ip()) && self.decide(Some(&host::normalize(sni))).is_ok()
    }

    fn returns(&self, peer: SocketAddr) -> bool {
        let view = self.worker.view();
        view.runtime.returning.contains(peer.ip(), Instant::now()) && !view.runtime.is_full_for(peer.ip())
    }

    fn completed(&self, peer: SocketAddr) {
        self.worker.view().runtime.returning.add(peer.ip(), Instant::now());
    }

    fn admit(&self, peer: SocketAddr) -> Option<Self::Permit> {
        let held = self.worker.view().runtime.hold(peer.ip());
        if held.is_err() {
            self.rejected(peer, None, Reason::TooManyConnectionsOfClient);
        }
        held.ok()
    }

    fn opened(&self, opened: AcceptedConnection) -> Connection {
        self.worker.with_counts(|counts| {
            counts.quic.add(1);
            counts.quic_open.add(1);
        });
        let ip = opened.local_ip.unwrap_or(self.address.ip());
        Connection {
            transport: Transport::Quic,
            peer: opened.peer,
            local: SocketAddr::new(ip, self.address.port()),
            proxied: None,
            proxy_extensions: None,
            interface: self
                .interface
                .clone()
                .or_else(|| opened.interface.and_then(sys::interface_name).map(Rc::from)),
            listener: self.listener.clone(),
            certificate: None,
            tls: Some(TlsParameters::QUIC),
            alpn: Some("h3"),
            sni: opened.sni.map(|name| host::normalize(&name).into_boxed_str()),
        }
    }

    fn request(
        &self,
        conn: &Rc<Connection>,
        (peer, by_one): (SocketAddr, bool),
        head: RequestHead,
        mut stream: H3Stream,
    ) {
        let worker = self.worker.clone();
        let same = by_one || conn.interface == self.interface;
        let connection = if conn.peer == peer && same {
            conn.clone()
        } else {
            // The interface is unknown if the request arrived by several.
            let interface = if same { conn.interface.clone() } else { None };
            Rc::new(Connection { peer, interface, ..(**conn).clone() })
        };
        tokio::task::spawn_local(async move {
            let deadline = worker.sweep().deadline();
            serve(&worker, &connection, head, &mut stream, &deadline).await;
        });
    }

    fn refused(&self, conn: &Rc<Connection>, heads: RejectedHeads) {
        for (count, reason) in [
            (heads.too_large, Reason::HeadTooLarge),
            (heads.too_slow, Reason::HeadTooSlow),
            (heads.malformed, Reason::MalformedHead),
        ] {
            (0..count).for_each(|_| self.rejected(conn.peer, conn.sni.as_deref(), reason));
        }
    }

    fn closed(&self, conn: &Rc<Connection>, why: CloseReason) {
        self.worker.with_counts(|counts| counts.quic_open.subtract(1));
        let reason = match why {
            CloseReason::Local(Code::H3_NO_ERROR) => return,
            CloseReason::Local(Code::H3_EXCESSIVE_LOAD) => Reason::Http3Flood,
            CloseReason::Local(_) => Reason::Http3Error,
            CloseReason::Peer(_)
            | CloseReason::PeerTransport(_)
            | CloseReason::Transport(_)
            | CloseReason::TimedOut => return,
        };
        self.rejected(conn.peer, conn.sni.as_deref(), reason);
    }

    fn dropped(&self, peer: SocketAddr, why: DropReason) {
        let reason = match why {
            DropReason::Garbage => Reason::QuicGarbage,
            DropReason::Version => Reason::QuicVersion,
            DropReason::Malformed => Reason::QuicMalformedHello,
            DropReason::Overload => Reason::QuicOverload,
        };
        self.rejected(peer, None, reason);
    }
}
