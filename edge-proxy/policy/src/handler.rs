//! Handlers: code of the embedding program that acts on the requests of a route.
//!
//! A [`Handler`] is called before a request is forwarded, and again with the response. It may respond itself, edit the message,
//! or leave it unchanged. It runs after admission and authentication and before the fields that only a proxy may set are written,
//! so a handler cannot weaken them by mistake.

use edge_http::grammar::{is_field_value, is_target, is_token};
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Code that acts on the requests of a route: see [`Action::Handle`](crate::config::Action::Handle).
///
/// The methods are called synchronously on a worker's thread and must not block. A panic ends the request with 500 and the reason
/// `handler-failed`.
///
/// ```
/// use edge_policy::handler::{Handler, HandlerAction, HandlerRequest, LocalReply};
///
/// struct Version;
///
/// impl Handler for Version {
///     fn request(&self, _request: &mut HandlerRequest<'_>) -> HandlerAction {
///         HandlerAction::Respond(LocalReply::new(200).content("text/plain", "1.2.3\n"))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Acts on a request before it is forwarded. The default implementation returns [`HandlerAction::Forward`].
    fn request(&self, _request: &mut HandlerRequest<'_>) -> HandlerAction {
        HandlerAction::Forward
    }

    /// Edits the final response of an upstream, after all other edits. Not called for interim responses and responses generated
    /// by the proxy. The default implementation does nothing.
    fn response(&self, _response: &mut HandlerResponse<'_>) {}
}

/// The action that a handler chooses for a request.
#[derive(Debug)]
pub enum HandlerAction {
    /// Forwards the request to the upstream of the route; 404 if the route has none.
    Forward,
    /// Sends this response to the client. Nothing is forwarded.
    Respond(LocalReply),
}

/// A shared [`Handler`] as a value of a configuration. Equality compares identity: clones are equal, separately created
/// references are not.
#[derive(Clone)]
pub struct HandlerRef(Arc<dyn Handler>);

impl HandlerRef {
    /// Creates a reference to this handler.
    pub fn new(handler: impl Handler) -> Self {
        Self(Arc::new(handler))
    }

    /// Returns the handler.
    pub fn get(&self) -> &dyn Handler {
        &*self.0
    }
}

impl fmt::Debug for HandlerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerRef")
    }
}

impl PartialEq for HandlerRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

/// The error of an edit that would make a message invalid. The message is left unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The name is not a token (RFC 9110 §5.6.2) of at most 256 bytes.
    #[error("not a valid field name: expected letters, digits and hyphens")]
    Name,
    /// The value is not a valid field value (RFC 9110 §5.5).
    #[error("not a valid field value: control characters and line breaks are not allowed")]
    Value,
    /// The field frames the message or is hop-by-hop: Connection, Content-Length, Host, Keep-Alive, Proxy-Connection, TE,
    /// Trailer, Transfer-Encoding or Upgrade.
    #[error("the field frames messages or concerns one connection: it cannot be edited")]
    Reserved,
    /// The target is not in origin form: a path that begins with `/`, with an optional query.
    #[error("not a valid target: expected a path that begins with /")]
    Target,
}

/// Checks that a field of this name and value may be written.
///
/// # Errors
/// [`EditError`] if the name or the value is invalid, or the field is reserved.
fn check(name: &str, value: &[u8]) -> Result<(), EditError> {
    if !is_token(name.as_bytes()) || name.len() > 256 {
        return Err(EditError::Name);
    }
    if !value.is_empty() && !is_field_value(value) {
        return Err(EditError::Value);
    }
    match Name::of(name.as_bytes()) {
        Name::Connection
        | Name::ContentLength
        | Name::Host
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::Te
        | Name::Trailer
        | Name::TransferEncoding
        | Name::Upgrade => Err(EditError::Reserved),
        _ => Ok(()),
    }
}

/// Replaces all fields of this name by one with this value.
fn set(fields: &mut Fields, name: &str, value: &[u8]) -> Result<(), EditError> {
    check(name, value)?;
    fields.remove_named(name.as_bytes());
    fields.push(name.as_bytes(), value);
    Ok(())
}

/// Appends a field.
fn add(fields: &mut Fields, name: &str, value: &[u8]) -> Result<(), EditError> {
    check(name, value)?;
    fields.push(name.as_bytes(), value);
    Ok(())
}

/// Removes all fields of this name.
fn remove(fields: &mut Fields, name: &str) -> Result<(), EditError> {
    check(name, b"")?;
    fields.remove_named(name.as_bytes());
    Ok(())
}

/// A request that a handler reads and edits. The head is as received from the client, before the proxy edits it.
#[derive(Debug)]
pub struct HandlerRequest<'a> {
    /// The head of the request.
    head: &'a mut RequestHead,
    /// The address of the client.
    client: IpAddr,
    /// The name of the site.
    site: &'a str,
    /// The user who was authenticated by a password. `None` without one.
    user: Option<&'a str>,
}

impl<'a> HandlerRequest<'a> {
    /// Creates a request of this client to the site of this name. `user` is the name that was authenticated by a
    /// password, if any.
    pub const fn new(
        head: &'a mut RequestHead,
        client: IpAddr,
        site: &'a str,
        user: Option<&'a str>,
    ) -> Self {
        Self { head, client, site, user }
    }

    /// Returns the restored address of the client.
    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// Returns the name of the site.
    pub const fn site(&self) -> &str {
        self.site
    }

    /// Returns the user name. `None` unless the request was authenticated by a password.
    pub const fn user(&self) -> Option<&str> {
        self.user
    }

    /// Returns the method of the request.
    pub const fn method(&self) -> &Method {
        &self.head.method
    }

    /// Returns the host, with a port if the client sent one.
    pub fn authority(&self) -> &str {
        &self.head.authority
    }

    /// Returns the path as received, without the query and without decoding.
    pub fn path(&self) -> &str {
        self.head.target.split('?').next().unwrap_or_default()
    }

    /// Returns the query without its `?`. `None` if there is none.
    pub fn query(&self) -> Option<&str> {
        self.head.target.split_once('?').map(|(_, query)| query)
    }

    /// Returns the fields as received and edited so far.
    pub const fn fields(&self) -> &Fields {
        &self.head.fields
    }

    /// Returns the value of the first field of this name, compared without regard to case. `None` if there is none.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.head.fields.get_named(name.as_bytes())
    }

    /// Replaces the request target: path and query in origin form. The route is not determined again.
    ///
    /// # Errors
    /// [`EditError::Target`] if the target is not in origin form.
    pub fn set_target(&mut self, target: &str) -> Result<(), EditError> {
        if !target.starts_with('/') || !is_target(target.as_bytes()) {
            return Err(EditError::Target);
        }
        self.head.target = target.into();
        Ok(())
    }

    /// Sets a field: all fields of this name are removed first.
    ///
    /// # Errors
    /// [`EditError`] if the name or the value is invalid, or the field is reserved. The request is unchanged then.
    pub fn set_field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        set(&mut self.head.fields, name, value.as_ref())
    }

    /// Appends a field, also if the request has fields of this name.
    ///
    /// # Errors
    /// [`EditError`] if the name or the value is invalid, or the field is reserved. The request is unchanged then.
    pub fn add_field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        add(&mut self.head.fields, name, value.as_ref())
    }

    /// Removes all fields of this name.
    ///
    /// # Errors
    /// [`EditError`] if the name is invalid, or the field is reserved ([`EditError::Reserved`]).
    pub fn remove_field(&mut self, name: &str) -> Result<(), EditError> {
        remove(&mut self.head.fields, name)
    }
}

/// A final response of an upstream that a handler reads and edits.
#[derive(Debug)]
pub struct HandlerResponse<'a> {
    /// The head of the response.
    head: &'a mut ResponseHead,
    /// The head of the request that is responded to.
    request: &'a RequestHead,
}

impl<'a> HandlerResponse<'a> {
    /// Creates a response to a request as it was forwarded.
    pub const fn new(head: &'a mut ResponseHead, request: &'a RequestHead) -> Self {
        Self { head, request }
    }

    /// Returns the request as it was forwarded to the upstream.
    pub const fn request(&self) -> &RequestHead {
        self.request
    }

    /// Returns the status of the response.
    pub const fn status(&self) -> u16 {
        self.head.status
    }

    /// Returns the fields as they will be sent to the client, before compression.
    pub const fn fields(&self) -> &Fields {
        &self.head.fields
    }

    /// Returns the value of the first field of this name, compared without regard to case. `None` if there is none.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.head.fields.get_named(name.as_bytes())
    }

    /// Sets a field: all fields of this name are removed first.
    ///
    /// # Errors
    /// [`EditError`] if the name or the value is invalid, or the field is reserved. The response is unchanged then.
    pub fn set_field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        set(&mut self.head.fields, name, value.as_ref())
    }

    /// Appends a field, also if the response has fields of this name.
    ///
    /// # Errors
    /// [`EditError`] if the name or the value is invalid, or the field is reserved. The response is unchanged then.
    pub fn add_field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        add(&mut self.head.fields, name, value.as_ref())
    }

    /// Removes all fields of this name.
    ///
    /// # Errors
    /// [`EditError`] if the name is invalid, or the field is reserved ([`EditError::Reserved`]).
    pub fn remove_field(&mut self, name: &str) -> Result<(), EditError> {
        remove(&mut self.head.fields, name)
    }
}

/// A response generated locally by a handler, without an upstream.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// The head of the response.
    head: ResponseHead,
    /// The content of the response.
    content: Vec<u8>,
}

impl LocalReply {
    /// Creates a response without content. A status outside 200 to 599 is replaced by 500.
    pub fn new(status: u16) -> Self {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        Self { head: ResponseHead::new(status), content: Vec::new() }
    }

    /// Sets the content and its media type. No effect for the statuses 204, 205 and 304, which have no content. If the
    /// media type is not a valid field value, Content-Type is omitted.
    #[must_use]
    pub fn content(mut self, media_type: &str, content: impl Into<Vec<u8>>) -> Self {
        if !matches!(self.head.status, 204 | 205 | 304) {
            self.content = content.into();
            // A media type that is not a valid field value is left out.
            let _ = set(&mut self.head.fields, "Content-Type", media_type.as_bytes());
        }
        self
    }

    /// Appends a field.
    ///
    /// # Errors
    /// [`EditError`] if the name or the value is invalid, or the field is reserved.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, EditError> {
        add(&mut self.head.fields, name, value.as_ref())?;
        Ok(self)
    }

    /// Splits the response into its head and its content, whose length the head declares.
    pub fn into_parts(mut self) -> (ResponseHead, Vec<u8>) {
        self.head.body = BodyLength::Exact(self.content.len() as u64);
        (self.head, self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_http::Version;

    #[test]
    fn edits_cannot_break_the_framing() {
        let mut head = RequestHead::new(Version::Http11);
        let mut request = HandlerRequest::new(&mut head, [192, 0, 2, 1].into(), "a", None);
        assert_eq!(request.set_field("X-A", "1\r\nEvil: yes"), Err(EditError::Value));
        assert_eq!(request.add_field("X A", "1"), Err(EditError::Name));
        assert_eq!(request.add_field("", "1"), Err(EditError::Name));
        for name in ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "te", "Upgrade"] {
            assert_eq!(request.set_field(name, "1"), Err(EditError::Reserved), "{name}");
            assert_eq!(request.remove_field(name), Err(EditError::Reserved), "{name}");
        }
        for target in ["", "a", "/a b", "/\r\n", "http://a/"] {
            assert_eq!(request.set_target(target), Err(EditError::Target), "{target}");
        }
        assert_eq!(request.set_target("/a?b"), Ok(()));
        assert_eq!((request.path(), request.query()), ("/a", Some("b")));
        assert_eq!(request.set_field("X-A", "1").and(request.set_field("x-a", "2")), Ok(()));
        assert_eq!((request.field("X-A"), request.fields().len()), (Some(&b"2"[..]), 1));
    }

    #[test]
    fn replies_are_valid_responses() {
        let (head, content) = LocalReply::new(204).content("text/plain", "x").into_parts();
        assert_eq!((head.status, content.len(), head.fields.len()), (204, 0, 0));
        assert_eq!(LocalReply::new(101).into_parts().0.status, 500);
        assert_eq!(LocalReply::new(200).field("Content-Length", "7").unwrap_err(), EditError::Reserved);
    }
}
