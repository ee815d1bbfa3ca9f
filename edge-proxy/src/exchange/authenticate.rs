//! Authentication of a request by password, or by a subrequest to an external service.

use super::admit::Denial;
use super::context::ExchangeContext;
use super::reply::error;
use crate::passwords::{self, PasswordVerdict};
use crate::upstream::{ConnectOptions, UpstreamError, read_whole};
use edge_http::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use edge_policy::Reason;
use edge_policy::auth::{basic, forward};
use edge_policy::config::{Auth, BasicAuth, ForwardAuth};
use edge_policy::decide::request_fields;
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

/// The highest number of bytes of content in a response of the authentication service. A longer response is an error.
const MAX_DENIAL_CONTENT: usize = 256 * 1024;

/// The result of a successful authentication.
#[derive(Default)]
pub(super) enum AuthIdentity<'a> {
    /// No authentication is required.
    #[default]
    Unasked,
    /// The settings, and the name of the user who was authenticated by a password.
    Basic(&'a BasicAuth, String),
    /// The settings, and two sets of fields from the authentication service's response: those for the request to the
    /// upstream, then those for the response to the client.
    Forward(&'a ForwardAuth, Fields, Fields),
}

impl AuthIdentity<'_> {
    /// Returns the name of a user who was authenticated by a password. `None` otherwise.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Basic(_, user) => Some(user),
            Self::Unasked | Self::Forward(..) => None,
        }
    }

    /// Sets the identity fields in the request to the upstream, and removes those of the same names that the client
    /// sent. After a password, Authorization is removed, too. No effect without authentication.
    pub(super) fn set_request_fields(&self, fields: &mut Fields) {
        match self {
            Self::Unasked => {}
            Self::Basic(auth, user) => {
                fields.remove_named(b"authorization");
                if let Some(name) = &auth.user_field {
                    fields.remove_named(name.as_bytes());
                    fields.push(name.as_bytes(), user.as_bytes());
                }
            }
            Self::Forward(auth, said, _) => forward::set_identity_fields(auth, said, fields),
        }
    }

    /// Appends the fields that the authentication service returned for the response to the client. No effect for other
    /// kinds of authentication.
    pub(super) fn add_response_fields(&self, fields: &mut Fields) {
        if let Self::Forward(_, _, said) = self {
            said.iter().for_each(|field| fields.push(field.name, field.value));
        }
    }
}

/// The authentication of one request.
pub(super) struct Authentication<'c, 'a> {
    /// The context of the request.
    pub(super) context: &'c ExchangeContext<'a>,
    /// True if the request is early data and the handshake is incomplete.
    pub(super) early: bool,
}

impl<'a> Authentication<'_, 'a> {
    /// Authenticates the request by the method that the decision names, and returns the identity;
    /// [`AuthIdentity::Unasked`] if none is required.
    ///
    /// # Errors
    /// The refusal that is to be sent to the client.
    pub(super) async fn identify(&self, head: &RequestHead) -> Result<AuthIdentity<'a>, Box<Denial>> {
        match self.context.decision.auth {
            None | Some(Auth::Open) => Ok(AuthIdentity::Unasked),
            Some(Auth::Basic(auth)) => Box::pin(self.basic(auth, head)).await,
            Some(Auth::Forward(auth)) => Box::pin(self.forward(auth, head)).await,
        }
    }

    /// Authenticates the request by the user name and password in its Authorization field.
    ///
    /// # Errors
    /// 401 without a correct password, 429 after too many wrong ones, 503 while too many are being verified. The last
    /// two have Retry-After.
    async fn basic(&self, auth: &'a BasicAuth, head: &RequestHead) -> Result<AuthIdentity<'a>, Box<Denial>> {
        let refuse =
            |status, wait, reason| Err(Box::new(Denial::new(self.context, head, status, Some(wait), reason)));
        let ExchangeContext { view, decision, .. } = self.context;
        let guard = decision.site.map(|(index, _)| &view.runtime.guards[index]);
        if let Some(given) = basic::credentials(&head.fields) {
            let client = decision.client.address;
            match passwords::verify(&auth.users, &given, client, guard).await {
                PasswordVerdict::Right => return Ok(AuthIdentity::Basic(auth, given.user)),
                PasswordVerdict::Busy => {
                    return refuse(503, Duration::from_secs(2), Reason::TooManyPasswords);
                }
                PasswordVerdict::TooOften(wait) => return refuse(429, wait, Reason::WrongPasswords),
                PasswordVerdict::Wrong => {}
            }
        }
        let (mut response, content) = error(self.context, 401, head);
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
        response.fields.push(b"WWW-Authenticate", challenge.as_bytes());
        Err(Box::new(Denial { head: response, content, reason: Reason::PasswordAskedFor }))
    }

    /// Authenticates the request by subrequests to the authentication service, one for the request target and one for
    /// each other reading of an ambiguous path.
    ///
    /// # Errors
    /// The service's response if it denies one of them; 503 if there is no valid response; 400 if the identities
    /// differ.
    async fn forward(
        &self,
        auth: &'a ForwardAuth,
        head: &RequestHead,
    ) -> Result<AuthIdentity<'a>, Box<Denial>> {
        let mut prepared = head.clone();
        request_fields(self.context.decision, &self.context.facts(self.early), &mut prepared);
        // The method as the service will see it; the path as the client wrote it, and in each of its other readings.
        if self.context.decision.upgrade.is_some() && prepared.method == Method::Connect {
            prepared.method = Method::Get;
        }
        let mut allowed: Option<(Fields, Fields)> = None;
        for target in std::iter::once(&head.target).chain(&self.context.decision.readings) {
            prepared.target.clone_from(target);
            let mut subrequest = forward::subrequest(auth, &prepared);
            let Ok((response, content)) = self.ask(auth, &mut subrequest).await else {
                return Err(Box::new(Denial::new(
                    self.context,
                    head,
                    503,
                    None,
                    Reason::AuthenticationUnreachable,
                )));
            };
            match (forward::answer(auth, response), &allowed) {
                (forward::AuthAnswer::Allowed { request, response }, None) => {
                    allowed = Some((request, response));
                }
                (forward::AuthAnswer::Allowed { request, .. }, Some((first, _))) if request == *first => {}
                // The identity depends on how the path is read.
                (forward::AuthAnswer::Allowed { .. }, Some(_)) => {
                    return Err(Box::new(Denial::new(self.context, head, 400, None, Reason::AmbiguousPath)));
                }
                (forward::AuthAnswer::Denied(mut head), _) => {
                    head.body = BodyLength::Exact(content.len() as u64);
                    head.fields.remove(edge_http::Name::ContentLength);
                    return Err(Box::new(Denial { head, content, reason: Reason::AuthenticationDenied }));
                }
            }
        }
        let (request, response) = allowed.unwrap_or_default();
        Ok(AuthIdentity::Forward(auth, request, response))
    }

    /// Sends the subrequest to the authentication service and reads its response. Repeats it on a new connection,
    /// once, if a reused one was closed or the service did not process it. The target's health is changed by the
    /// outcome.
    ///
    /// # Errors
    /// [`UpstreamError`] if there is no response in time, or its content exceeds [`MAX_DENIAL_CONTENT`].
    async fn ask(
        &self,
        auth: &ForwardAuth,
        subrequest: &mut RequestHead,
    ) -> Result<(ResponseHead, Vec<u8>), UpstreamError> {
        let at = self
            .context
            .view
            .runtime
            .snapshot()
            .upstream_named(&auth.upstream)
            .ok_or(UpstreamError::NoTarget)?;
        let pool = &self.context.view.pools[at];
        let client = SocketAddr::new(
            self.context.decision.client.address,
            self.context.decision.client.port.unwrap_or(0),
        );
        let extensions = self.context.proxy_extensions(pool.upstream());
        let mut options = ConnectOptions {
            client,
            local: self.context.connection.local,
            extensions: &extensions,
            deadline: self.context.deadline,
            connect: self.context.timeouts.connect,
            fresh: false,
            shared: true,
            upgrade: None,
            sticky: None,
            missed: Cell::new(None),
            host: true,
            trace: self.context.trace,
        };
        let mut tried = edge_policy::balance::TriedTargets::default();
        pool.count_request();
        loop {
            self.context.trace.attempt(subrequest);
            let asked = pool.begin(subrequest, &options, 0, &mut tried).await;
            let outcome = match asked {
                Ok((mut exchange, flight)) => {
                    let read = self
                        .context
                        .deadline
                        .within(self.context.timeouts.response, read_whole(&mut exchange, MAX_DENIAL_CONTENT))
                        .await;
                    let outcome = read.unwrap_or(Err(UpstreamError::TimedOut));
                    let answer = (exchange.version(), outcome.as_ref().map_or(0, |(head, _)| head.status));
                    let fault = outcome.as_ref().err().map(|error| error.reason());
                    self.context.trace.attempted((pool.upstream(), flight.at), subrequest, answer, fault);
                    match &outcome {
                        Ok(_) => {
                            flight.succeeded();
                            exchange.finish();
                        }
                        Err(why) => flight.ended_by(*why),
                    }
                    outcome
                }
                Err(why) => Err(why),
            };
            match outcome {
                Err(UpstreamError::Stale | UpstreamError::Unprocessed) if !options.fresh => {
                    options.fresh = true;
                }
                Err(UpstreamError::Refused) if !options.fresh && pool.may_repeat_refused() => {
                    options.fresh = true;
                }
                outcome => return outcome,
            }
        }
    }
}
