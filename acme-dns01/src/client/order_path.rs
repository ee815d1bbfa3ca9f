//! The order path through instant-acme: orders, authorizations, challenges, certificate requests, chains, revocation.
//!
//! instant-acme signs requests and follows RFC 8555; [`Transport`] is its HTTP client. It sends requests by
//! [`Http`](super::Http), with its timeouts and the nonces of [`Acme`], and stores each response: Retry-After,
//! alternate chains and the details of problem documents are read from it, even if instant-acme cannot parse the body.
//! [`Account`](super::Account) and [`Acme`] list what instant-acme 0.8 lacks.

use super::acme::{Acme, OrderRequest};
use super::answer::{problem_type, signed_error};
use super::http::Response;
use super::jws::AccountKey;
use crate::machine::{AcmeError, ErrorKind};
use crate::name::Name;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AuthorizationHandle, BodyWrapper, BytesResponse, CertificateIdentifier, ChallengeType, Error,
    HttpClient, Identifier, NewOrder, Order, RevocationReason, RevocationRequest,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of calls of instant-acme for one request while the CA rejects the nonce. instant-acme sends each
/// request up to three times.
const MAX_CALLS: u32 = 20;
/// Number of order handles at which the cache is cleared before another one is added. An order that is not cached is
/// fetched again.
const MAX_OPEN_ORDERS: usize = 500;

/// Locks a mutex, even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The HTTP client given to instant-acme. `last` is the response to the last POST, or the error of the last request;
/// `None` if it was taken.
#[derive(Clone, Debug)]
struct Transport {
    acme: Acme,
    last: Arc<Mutex<Option<Result<Response, AcmeError>>>>,
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let transport = self.clone();
        Box::pin(async move { transport.exchange(request).await })
    }
}

impl Transport {
    /// Creates a transport without a recorded response.
    fn new(acme: Acme) -> Self {
        Self { acme, last: Arc::default() }
    }

    /// Answers a request of instant-acme: GET with the cached directory, HEAD with a nonce of [`Acme`], and every other
    /// method by sending the request to the CA. Stores the CA's response, or any error, in `last`.
    ///
    /// # Errors
    /// Returns the error of the request, reduced to its reason.
    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let given = match head.method {
            Method::GET => {
                self.acme.directory_body().await.map(|body| (StatusCode::OK, HeaderMap::new(), body))
            }
            Method::HEAD => self.acme.nonce().await.and_then(|nonce| {
                let nonce = nonce.parse().map_err(|_| {
                    AcmeError::new(ErrorKind::Transient, "the authority gave a nonce that is not valid")
                })?;
                Ok((StatusCode::OK, HeaderMap::from_iter([(REPLAY_NONCE, nonce)]), Bytes::new()))
            }),
            _ => {
                let body = match body.collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(never) => match never {},
                };
                self.acme.exchange(&head.uri.to_string(), body.to_vec()).await.map(|response| {
                    *lock(&self.last) = Some(Ok(response.clone()));
                    // `exchange` has added the nonce to the pool already.
                    let mut headers = response.headers;
                    headers.remove(REPLAY_NONCE);
                    (response.status, headers, response.body)
                })
            }
        };
        match given {
            Ok((status, headers, body)) => {
                let mut response = http::Response::new(Full::new(body));
                (*response.status_mut(), *response.headers_mut()) = (status, headers);
                Ok(response.into())
            }
            Err(error) => {
                let reason = error.reason.clone();
                *lock(&self.last) = Some(Err(error));
                Err(Error::Other(reason.into()))
            }
        }
    }

    /// Takes the stored response to the last call, whose result is `called`. `None` if the CA rejected the nonce, so
    /// that the caller repeats the call. `missing` is the kind of the error for status 404.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] for an error response, or if there was no response; `url` is named in the message.
    fn response<T>(
        &self,
        called: &Result<T, Error>,
        url: &str,
        missing: ErrorKind,
    ) -> Result<Option<Response>, AcmeError> {
        match (lock(&self.last).take(), called) {
            (Some(Ok(response)), _) if response.status.is_success() => Ok(Some(response)),
            (Some(Ok(response)), _) if problem_type(&response).as_deref() == Some("badNonce") => Ok(None),
            (Some(Ok(response)), _) => Err(signed_error(&response, url, missing)),
            (Some(Err(error)), _) => Err(error),
            (None, Err(error)) => Err(AcmeError::new(ErrorKind::Transient, format!("{url}: {error}"))),
            (None, Ok(_)) => Err(AcmeError::new(ErrorKind::Transient, format!("{url}: nothing was sent"))),
        }
    }
}

/// Header of a nonce in a response (RFC 8555 §6.5.1).
const REPLAY_NONCE: http::HeaderName = http::HeaderName::from_static("replay-nonce");

/// Returns the transient error for a request to `url` for which every nonce was rejected.
fn refused_nonces(url: &str) -> AcmeError {
    let why = format!("{url}: the authority refused {} nonces in a row", MAX_CALLS * 3);
    AcmeError::new(ErrorKind::Transient, why)
}

/// An order handle of instant-acme, with the transport that it sends by.
struct OpenOrder {
    order: Order,
    transport: Transport,
}

/// The order path of an account whose key is ES256, the only algorithm that instant-acme 0.8 signs with. `url` is the
/// account URL, and `open` caches order handles by order URL.
pub(super) struct OrderPath {
    acme: Acme,
    url: String,
    key: PrivatePkcs8KeyDer<'static>,
    open: Mutex<HashMap<String, Arc<tokio::sync::Mutex<OpenOrder>>>>,
}

impl fmt::Debug for OrderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderPath").field("url", &self.url).finish_non_exhaustive()
    }
}

impl OrderPath {
    /// Creates the order path of an account. `None` if its key is not ES256.
    pub(super) fn new(acme: Acme, key: &AccountKey, url: String) -> Option<Self> {
        let key = key.es256_pkcs8()?;
        Some(Self { acme, url, key, open: Mutex::default() })
    }

    /// Creates instant-acme's handle of the account, which sends by `transport`.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be fetched, or instant-acme rejects the key.
    async fn account(&self, transport: &Transport) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(transport.clone()));
        let (key, directory) = (self.key.clone_key(), self.acme.url().to_owned());
        let made = builder.from_parts(self.url.clone(), key, directory).await;
        made.map_err(|error| match lock(&transport.last).take() {
            Some(Err(error)) => error,
            _ => AcmeError::new(ErrorKind::Local, format!("the account {}: {error}", self.url)),
        })
    }

    /// Adds an order handle to the cache, and returns it. A full cache is cleared first.
    fn keep(&self, order: Order, transport: Transport) -> Arc<tokio::sync::Mutex<OpenOrder>> {
        let url = order.url().to_owned();
        let kept = Arc::new(tokio::sync::Mutex::new(OpenOrder { order, transport }));
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN_ORDERS {
            open.clear();
        }
        open.insert(url, kept.clone());
        kept
    }

    /// Returns the cached handle of an order, by its URL. `None` if it is not in the cache.
    fn known_order(&self, url: &str) -> Option<Arc<tokio::sync::Mutex<OpenOrder>>> {
        lock(&self.open).get(url).cloned()
    }

    /// Creates an order at the newOrder resource `url`. Returns the CA's response.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the order.
    pub(super) async fn new_order(
        &self,
        url: &str,
        request: &OrderRequest<'_>,
    ) -> Result<Response, AcmeError> {
        let identifiers: Vec<Identifier> =
            request.names.iter().map(|name: &Name| Identifier::Dns(name.to_string())).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(profile) = request.profile {
            wanted = wanted.profile(profile);
        }
        if let Some((authority, serial)) = request.replaces.and_then(|replaces| replaces.split_once('.')) {
            wanted = wanted.replaces(CertificateIdentifier {
                authority_key_identifier: authority.into(),
                serial: serial.into(),
            });
        }
        let transport = Transport::new(self.acme.clone());
        let account = self.account(&transport).await?;
        for _ in 0..MAX_CALLS {
            let made = account.new_order(&wanted).await;
            if let Some(response) = transport.response(&made, url, ErrorKind::Refused)? {
                // An order whose body instant-acme cannot parse exists nevertheless: it is fetched by its URL later.
                if let Ok(order) = made {
                    self.keep(order, transport);
                }
                return Ok(response);
            }
        }
        Err(refused_nonces(url))
    }

    /// Fetches an order, through the cached handle if there is one. Returns the CA's response.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request. Status 404 is [`ErrorKind::OrderGone`].
    pub(super) async fn order(&self, url: &str) -> Result<Response, AcmeError> {
        if let Some(kept) = self.known_order(url) {
            let mut kept = kept.lock().await;
            for _ in 0..MAX_CALLS {
                let read = kept.order.refresh().await.map(|_| ());
                if let Some(response) = kept.transport.response(&read, url, ErrorKind::OrderGone)? {
                    return Ok(response);
                }
            }
            return Err(refused_nonces(url));
        }
        self.open(url).await.map(|(response, _)| response)
    }

    /// Fetches an order and caches its handle. Returns the CA's response, and the handle, which is `None` if
    /// instant-acme cannot parse the order.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request. Status 404 is [`ErrorKind::OrderGone`].
    async fn open(
        &self,
        url: &str,
    ) -> Result<(Response, Option<Arc<tokio::sync::Mutex<OpenOrder>>>), AcmeError> {
        let transport = Transport::new(self.acme.clone());
        let account = self.account(&transport).await?;
        for _ in 0..MAX_CALLS {
            let read = account.order(url.to_owned()).await;
            if let Some(response) = transport.response(&read, url, ErrorKind::OrderGone)? {
                let kept = read.ok().map(|order| self.keep(order, transport));
                return Ok((response, kept));
            }
        }
        Err(refused_nonces(url))
    }

    /// Returns the cached handle of an order, or fetches the order. `None` if instant-acme cannot parse it.
    ///
    /// # Errors
    /// Returns the errors of [`open`](Self::open).
    async fn find_or_open(&self, url: &str) -> Result<Option<Arc<tokio::sync::Mutex<OpenOrder>>>, AcmeError> {
        match self.known_order(url) {
            Some(kept) => Ok(Some(kept)),
            None => self.open(url).await.map(|(_, kept)| kept),
        }
    }

    /// Fetches the authorization with this URL of an order. `None` if the order does not list it, or instant-acme
    /// cannot parse the order.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request. Status 404 is [`ErrorKind::OrderGone`].
    pub(super) async fn authorization(&self, order: &str, url: &str) -> Result<Option<Response>, AcmeError> {
        let Some(kept) = self.find_or_open(order).await? else { return Ok(None) };
        let mut kept = kept.lock().await;
        let OpenOrder { order, transport } = &mut *kept;
        for _ in 0..MAX_CALLS {
            let mut all = order.authorizations();
            let mut found: Option<Result<(), Error>> = None;
            while let Some(next) = all.next().await {
                match next {
                    Ok(handle) if handle.url() != url => {
                        // An authorization of another name, which may have been fetched on the way.
                        lock(&transport.last).take();
                    }
                    // The iterator has just fetched it, or returns a cached state that has to be refreshed.
                    Ok(mut handle) => {
                        let fresh = lock(&transport.last).is_some();
                        found = Some(if fresh { Ok(()) } else { handle.refresh().await.map(|_| ()) });
                        break;
                    }
                    Err(error) => {
                        found = Some(Err(error));
                        break;
                    }
                }
            }
            let Some(read) = found else { return Ok(None) };
            if let Some(response) = transport.response(&read, url, ErrorKind::OrderGone)? {
                return Ok(Some(response));
            }
        }
        Err(refused_nonces(url))
    }

    /// Indicates to the CA that the DNS-01 challenge with the URL `challenge` is ready for validation. `order` is the
    /// URL of the order. Returns `true` after the request, and `false`, without it, if instant-acme cannot parse the
    /// order or an authorization, or no authorization has the challenge.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request. Status 404 of the challenge is
    /// [`ErrorKind::Refused`].
    pub(super) async fn trigger(&self, order: &str, challenge: &str) -> Result<bool, AcmeError> {
        let Some(kept) = self.find_or_open(order).await? else { return Ok(false) };
        let mut kept = kept.lock().await;
        let OpenOrder { order, transport } = &mut *kept;
        for _ in 0..MAX_CALLS {
            let mut all = order.authorizations();
            let mut told = None;
            while let Some(next) = all.next().await {
                let Ok(mut handle) = next else { return Ok(false) };
                lock(&transport.last).take();
                if has(&handle, challenge)
                    && let Some(mut ready) = handle.challenge(ChallengeType::Dns01)
                {
                    told = Some(ready.set_ready().await);
                    break;
                }
            }
            let Some(told) = told else { return Ok(false) };
            if transport.response(&told, challenge, ErrorKind::Refused)?.is_some() {
                return Ok(true);
            }
        }
        Err(refused_nonces(challenge))
    }

    /// Finalizes an order with a certificate signing request in DER. `url` is named in errors. Returns the CA's
    /// response; `None`, without a request, if instant-acme cannot parse the order.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request.
    pub(super) async fn finalize(
        &self,
        order: &str,
        url: &str,
        request: &[u8],
    ) -> Result<Option<Response>, AcmeError> {
        let Some(kept) = self.find_or_open(order).await? else { return Ok(None) };
        let mut kept = kept.lock().await;
        let OpenOrder { order, transport } = &mut *kept;
        for _ in 0..MAX_CALLS {
            let sent = order.finalize_csr(request).await;
            if let Some(response) = transport.response(&sent, url, ErrorKind::Refused)? {
                return Ok(Some(response));
            }
        }
        Err(refused_nonces(url))
    }

    /// Downloads the chain at `url` of an order, and removes the order from the cache. `None`, without a request, if
    /// the order is not cached, or its certificate has another URL.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request. Status 404 is [`ErrorKind::OrderGone`].
    pub(super) async fn certificate(&self, order: &str, url: &str) -> Result<Option<Response>, AcmeError> {
        let Some(kept) = self.known_order(order) else { return Ok(None) };
        let mut kept = kept.lock().await;
        if kept.order.state().certificate.as_deref() != Some(url) {
            return Ok(None);
        }
        for _ in 0..MAX_CALLS {
            let read = kept.order.certificate().await;
            if let Some(response) = kept.transport.response(&read, url, ErrorKind::OrderGone)? {
                lock(&self.open).remove(order);
                return Ok(Some(response));
            }
        }
        Err(refused_nonces(url))
    }

    /// Revokes a certificate in DER. `url` is that of the revokeCert resource, which is named in errors. Without
    /// `reason`, none is sent.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request.
    pub(super) async fn revoke(
        &self,
        url: &str,
        certificate: &[u8],
        reason: Option<RevocationReason>,
    ) -> Result<(), AcmeError> {
        let certificate = CertificateDer::from(certificate);
        let wanted = RevocationRequest { certificate: &certificate, reason };
        let transport = Transport::new(self.acme.clone());
        let account = self.account(&transport).await?;
        for _ in 0..MAX_CALLS {
            let told = account.revoke(&wanted).await;
            if transport.response(&told, url, ErrorKind::Refused)?.is_some() {
                return Ok(());
            }
        }
        Err(refused_nonces(url))
    }
}

/// Returns `true` if an authorization has a DNS-01 challenge with this URL.
fn has(handle: &AuthorizationHandle<'_>, challenge: &str) -> bool {
    handle.challenges.iter().any(|known| known.r#type == ChallengeType::Dns01 && known.url == challenge)
}

/// Converts a reason code (RFC 5280 §5.3.1) to instant-acme's revocation reason. `None` for 7 and from 11 on, which are
/// not assigned.
pub(super) const fn reason(code: u8) -> Option<RevocationReason> {
    Some(match code {
        0 => RevocationReason::Unspecified,
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        6 => RevocationReason::CertificateHold,
        8 => RevocationReason::RemoveFromCrl,
        9 => RevocationReason::PrivilegeWithdrawn,
        10 => RevocationReason::AaCompromise,
        _ => return None,
    })
}
