//! Responses of a CA: the objects of RFC 8555, and problem documents.

use super::http::{HttpError, Response};
use crate::machine::{AcmeError, ErrorKind, Order, Status};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Parses the JSON body of a response.
///
/// # Errors
/// Returns a transient error if the body cannot be parsed.
pub(super) fn read<T: serde::de::DeserializeOwned>(response: &Response) -> Result<T, AcmeError> {
    serde_json::from_slice(&response.body).map_err(|why| {
        AcmeError::new(ErrorKind::Transient, format!("the CA's answer cannot be parsed: {why}"))
    })
}

/// Parses an order object (RFC 8555 §7.1.3) of a response, with the response's Retry-After. `url` is the order's URL,
/// which the object does not contain. Missing lists and URLs are empty.
///
/// # Errors
/// Returns a transient error if the response does not contain an order object.
pub(super) fn order(response: &Response, url: String) -> Result<Order, AcmeError> {
    /// Order object (RFC 8555 §7.1.3).
    #[derive(Deserialize)]
    struct OrderObject {
        status: String,
        #[serde(default)]
        authorizations: Vec<String>,
        #[serde(default)]
        finalize: String,
        certificate: Option<String>,
        error: Option<Value>,
    }
    let found: OrderObject = read(response)?;
    Ok(Order {
        url,
        status: status(&found.status),
        authorizations: found.authorizations,
        finalize: found.finalize,
        certificate: found.certificate,
        problem: found.error.as_ref().map(words),
        retry_after: response.retry_after(),
    })
}

/// Converts a status of an ACME object. Every unknown word, and `invalid`, `expired`, `deactivated` and `revoked`, are
/// [`Status::Invalid`].
pub(super) fn status(word: &str) -> Status {
    match word {
        "pending" => Status::Pending,
        "ready" => Status::Ready,
        "processing" => Status::Processing,
        "valid" => Status::Valid,
        // invalid, expired, deactivated, revoked, and unknown words.
        _ => Status::Invalid,
    }
}

/// Returns the target URLs of the response's Link fields with this relation (RFC 8288, quoted or not), in order. Links
/// without `<…>` are skipped.
pub(super) fn links(response: &Response, relation: &str) -> Vec<String> {
    let (quoted, bare) = (format!("rel=\"{relation}\""), format!("rel={relation}"));
    let values = response.headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter(|link| link.contains(&quoted) || link.contains(&bare))
        .filter_map(|link| Some(link.split_once('<')?.1.split_once('>')?.0.to_owned()))
        .collect()
}

/// Formats a problem document (RFC 9457) for display: its detail (`no detail` without one), the last part of its type
/// in parentheses unless that is missing, then `; ` and identifier with description for each subproblem.
pub(super) fn words(problem: &Value) -> String {
    let detail = problem["detail"].as_str().unwrap_or("no detail");
    let kind = problem["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default();
    let below = problem["subproblems"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|sub| format!("; {}: {}", sub["identifier"]["value"].as_str().unwrap_or("?"), words(sub)));
    let below: String = below.collect();
    if kind.is_empty() { format!("{detail}{below}") } else { format!("{detail} ({kind}){below}") }
}

/// Returns the ACME error type of a problem document (RFC 8555 §6.7), without its URN prefix. `None` for other bodies.
pub(super) fn problem_type(response: &Response) -> Option<String> {
    let problem: Value = serde_json::from_slice(&response.body).ok()?;
    problem["type"].as_str()?.strip_prefix("urn:ietf:params:acme:error:").map(str::to_owned)
}

/// Converts the error of an HTTP request without a complete response to a transient error.
pub(super) fn unreached(why: &HttpError) -> AcmeError {
    AcmeError::new(ErrorKind::Transient, why.to_string())
}

/// Classifies an error response to a signed request. `what` begins the message. `missing` is the kind for status 404,
/// unless the problem document has a more specific type.
pub(super) fn signed_error(response: &Response, what: &str, missing: ErrorKind) -> AcmeError {
    let mut error = problem_error(response, what);
    if response.status == StatusCode::NOT_FOUND && error.kind == ErrorKind::Refused {
        error.kind = missing;
    }
    error
}

/// Classifies an error response by its ACME problem type, or else by its status. `what` begins the message. A rate
/// limit without Retry-After is retried after an hour.
pub(super) fn problem_error(response: &Response, what: &str) -> AcmeError {
    let retry_after = response.retry_after();
    let code = response.status.as_u16();
    let problem: Option<Value> = serde_json::from_slice(&response.body).ok();
    let acme = problem_type(response);
    let why = match &problem {
        Some(problem) if problem.is_object() => format!("{what}: {code}: {}", words(problem)),
        _ => format!("{what}: {code}, and no problem document"),
    };
    let kind = match acme.as_deref() {
        Some("rateLimited") => ErrorKind::RateLimited,
        Some("accountDoesNotExist") => ErrorKind::AccountUnknown,
        Some("alreadyReplaced") => ErrorKind::AlreadyReplaced,
        Some("badPublicKey" | "badCSR") => ErrorKind::KeyRefused,
        Some("serverInternal" | "orderNotReady" | "badNonce") => ErrorKind::Transient,
        _ if code == 429 || (code == 503 && retry_after.is_some()) => ErrorKind::RateLimited,
        _ if code == 409 => ErrorKind::AlreadyReplaced,
        _ if code >= 500 || code == 408 => ErrorKind::Transient,
        // A response without a problem document comes from an intermediary, not from the CA.
        None if problem.is_none() && code != 404 => ErrorKind::Transient,
        _ => ErrorKind::Refused,
    };
    let retry_after = match kind {
        ErrorKind::RateLimited => Some(retry_after.unwrap_or(Duration::from_secs(3600))),
        _ => retry_after,
    };
    AcmeError::new(kind, why).after(retry_after)
}
