//! HTTPS client with time limits, a limit for response bodies, additional root certificates and the proxies of the
//! environment.

use crate::deferred::Deferred;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OnceCell;
use tower_service::Service;

/// Maximum size of a response body, in bytes.
const MAX_BODY_SIZE: usize = 4 << 20;

/// Error of an HTTP request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No root certificate is available, or one is not valid.
    #[error("the certificate authorities to trust: {0}")]
    Roots(String),
    /// The URL or a header field is not valid.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// No connection could be made, it broke before the response was complete, or the response body is larger than 4
    /// MiB.
    #[error("{url}: {why}")]
    Connection {
        /// URL of the request.
        url: String,
        /// Description of the error, with its causes.
        why: String,
    },
    /// The response was not complete within the time limit.
    #[error("{url}: no answer within {} s", within.as_secs())]
    TimedOut {
        /// URL of the request.
        url: String,
        /// The time limit that passed.
        within: Duration,
    },
}

/// A complete HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code of the response.
    pub status: StatusCode,
    /// Header fields of the response.
    pub headers: HeaderMap,
    /// Body of the response.
    pub body: Bytes,
}

impl Response {
    /// Returns the first value of a header field with this name, in any case. `None` if there is none or it is not
    /// visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the delay of Retry-After, at most four weeks. A date is taken relative to the response's Date field, or
    /// else to the system's clock; a past date is zero. `None` without a valid Retry-After.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.said_retry_after().map(|after| after.min(crate::ledger::LONGEST_RETRY_AFTER))
    }

    /// Returns the delay of Retry-After like [`retry_after`](Self::retry_after), without an upper limit.
    fn said_retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?;
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(value).ok()?;
        let now = self
            .header("date")
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or_else(std::time::SystemTime::now);
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// Returns the server's clock, from the Date field. `None` without a valid one.
    #[must_use]
    pub fn date(&self) -> Option<crate::Time> {
        let date = httpdate::parse_http_date(self.header("date")?).ok()?;
        let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(crate::Time::from_secs(since.as_secs()))
    }
}

/// Connector to a host: directly, or for `https` through a CONNECT tunnel of the proxy that the environment names for
/// the host.
#[derive(Clone)]
struct ProxyConnector {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for ProxyConnector {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        match self.proxies.intercept(&to).filter(|_| to.scheme_str() == Some("https")) {
            None => Box::pin(async move { Ok(tcp.call(to).await?) }),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                Box::pin(async move { Ok(tunnel.call(to).await?) })
            }
        }
    }
}

/// Connections of a client.
type Connections = Client<HttpsConnector<ProxyConnector>, Full<Bytes>>;

/// Source of the connections of a client.
#[derive(Clone)]
enum ConnectionSource {
    /// Connections with known root certificates.
    Ready(Arc<Connections>),
    /// Connections that are created as soon as the root certificates are available.
    Deferred {
        /// Root certificates in PEM.
        roots: Deferred<String>,
        /// The connections, once they were created.
        connections: Arc<OnceCell<Connections>>,
    },
}

/// An HTTP/1.1 client for `https` and `http` URLs. HTTPS goes through the proxy of `HTTPS_PROXY` (or `ALL_PROXY`),
/// unless `NO_PROXY` names the host. Plain HTTP is never sent through a proxy.
#[derive(Clone)]
pub struct Http {
    source: ConnectionSource,
    within: Duration,
    agent: String,
}

/// A header field of a request. `Debug` does not print the value, which may be a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// Name of the field, in lower case.
    pub name: &'a str,
    /// Value of the field.
    pub value: &'a str,
}

impl<'a> HeaderField<'a> {
    /// Creates a field. It is validated when it is sent.
    #[must_use]
    pub fn new(name: &'a str, value: &'a str) -> Self {
        Self { name, value }
    }
}

impl fmt::Debug for HeaderField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderField").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("within", &self.within).finish_non_exhaustive()
    }
}

impl Http {
    /// Creates a client that trusts the system's root certificates and those in `extra_roots` (PEM). The time limit of
    /// a request is 30 s, that of connecting 10 s.
    ///
    /// # Errors
    /// Returns [`HttpError::Roots`] if no root certificate is available or `extra_roots` is not valid PEM.
    pub fn new(extra_roots: Option<&str>) -> Result<Self, HttpError> {
        Ok(Self::with(ConnectionSource::Ready(Arc::new(connections(extra_roots)?))))
    }

    /// Creates a client like [`new`](Self::new), whose extra root certificates may become available later. Until then,
    /// every request fails with [`HttpError::Roots`].
    #[must_use]
    pub fn deferred(extra_roots: Deferred<String>) -> Self {
        Self::with(ConnectionSource::Deferred { roots: extra_roots, connections: Arc::default() })
    }

    /// Creates a client with this source of connections and the default time limit.
    fn with(source: ConnectionSource) -> Self {
        let agent = concat!("acme-dns01/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { source, within: Duration::from_secs(30), agent }
    }

    /// Obtains the root certificates, if they are not available yet.
    ///
    /// # Errors
    /// Returns [`HttpError::Roots`] if they cannot be obtained, or are not valid.
    pub async fn ready(&self) -> Result<(), HttpError> {
        self.connections().await.map(drop)
    }

    /// Returns the connections, which share one pool.
    ///
    /// # Errors
    /// Returns [`HttpError::Roots`] if the root certificates are not available yet, or not valid.
    async fn connections(&self) -> Result<&Connections, HttpError> {
        match &self.source {
            ConnectionSource::Ready(found) => Ok(found),
            ConnectionSource::Deferred { roots, connections: cell } => {
                let create = async {
                    let roots = roots.get().await.map_err(HttpError::Roots)?;
                    connections(Some(&roots))
                };
                cell.get_or_try_init(|| create).await
            }
        }
    }

    /// Sets the time limit of a whole request, from connecting to the end of the response body. Default: 30 s.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sends a request and reads the whole response. Redirects are not followed. A `user-agent` field is added. The
    /// value of a field named `authorization`, in lower case, is marked as sensitive.
    ///
    /// # Errors
    /// Returns an [`HttpError`] if the root certificates cannot be obtained, the URL or a field is not valid, or there
    /// is no complete response of at most 4 MiB within the time limit. An error status (4xx, 5xx) is not an error.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[HeaderField<'_>],
        body: Vec<u8>,
    ) -> Result<Response, HttpError> {
        let mut request = Request::builder().method(method).uri(url).header("user-agent", &self.agent);
        for HeaderField { name, value } in headers {
            let mut value = http::HeaderValue::from_str(value).map_err(http::Error::from)?;
            value.set_sensitive(*name == "authorization");
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let connections = self.connections().await?;
        let failed = |why: &dyn Error| {
            let mut words = why.to_string();
            let mut below = why.source();
            while let Some(why) = below {
                words = format!("{words}: {why}");
                below = why.source();
            }
            HttpError::Connection { url: url.to_owned(), why: words }
        };
        let exchange = async {
            let response = connections.request(request).await.map_err(|why| failed(&why))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_SIZE).collect().await;
            let body = body.map_err(|why| failed(&*why))?.to_bytes();
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        let timed_out = || HttpError::TimedOut { url: url.to_owned(), within: self.within };
        tokio::time::timeout(self.within, exchange).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// Creates connections that trust the system's root certificates and those in `extra_roots` (PEM).
///
/// # Errors
/// Returns [`HttpError::Roots`] if no root certificate is available or `extra_roots` is not valid PEM.
fn connections(extra_roots: Option<&str>) -> Result<Connections, HttpError> {
    let tls = super::trust::client_config(extra_roots).map_err(HttpError::Roots)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    tcp.set_nodelay(true);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(ProxyConnector { tcp, proxies: Arc::new(Matcher::from_env()) });
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_timer(TokioTimer::new())
        .build(connector))
}
