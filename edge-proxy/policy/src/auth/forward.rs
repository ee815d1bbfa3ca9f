//! Forward authentication: each request is authorized by a subrequest to a service such as Authelia or authentik.
//!
//! ```text
//! client ──→ edge ──→ GET {path}, X-Forwarded-Method, -Proto, -Host, -Uri, -For, the client's Cookie …
//!                 ←── 2xx: forward, with the copied fields (Remote-User …), cookies for the client
//!                 ←── anything else: sent to the client (401, or 302 to the portal)
//! ```
//!
//! The fields are those of Traefik's ForwardAuth and Caddy's forward_auth, which both services document.

use crate::config::ForwardAuth;
use edge_http::field_names::is_same_variable;
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, Version, hop_by_hop};

/// Builds the authorization subrequest for `head`: a GET for [`ForwardAuth::path`] without content, with the authority
/// of `head`.
///
/// The fields of `head` are copied, except Content-Length, Content-Type, Content-Encoding, Transfer-Encoding, Expect,
/// Range, TE and conditions (`If-…`). X-Forwarded-Method and X-Forwarded-Uri contain the method and the target of
/// `head`. `head` must have been prepared by [`request_fields`](crate::decide::request_fields), so that a client
/// cannot forge X-Forwarded-For, -Proto and -Host.
pub fn subrequest(auth: &ForwardAuth, head: &RequestHead) -> RequestHead {
    let mut asked = RequestHead::new(Version::Http11);
    asked.method = Method::Get;
    asked.target.clone_from(&auth.path);
    asked.authority.clone_from(&head.authority);
    asked.body = BodyLength::None;
    for field in head.fields.iter() {
        // The authentication request has no content and must not be answered from a cache.
        let left_out =
            matches!(field.id, Name::ContentLength | Name::Expect | Name::TransferEncoding | Name::Te)
                || is_any(
                    field.name,
                    &["content-type", "content-encoding", "range", "x-forwarded-method", "x-forwarded-uri"],
                )
                || field.name.len() >= 3 && field.name[..3].eq_ignore_ascii_case(b"if-");
        if !left_out {
            asked.fields.push(field.name, field.value);
        }
    }
    asked.fields.push(b"X-Forwarded-Method", head.method.as_str().as_bytes());
    asked.fields.push(b"X-Forwarded-Uri", head.target.as_bytes());
    asked
}

/// The outcome of the authorization subrequest.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthAnswer {
    /// The status is 2xx: the request may be forwarded.
    Allowed {
        /// The fields to set on the forwarded request: those named in [`ForwardAuth::copy`].
        request: Fields,
        /// The fields to add to the response to the client: Set-Cookie, unless it is named in [`ForwardAuth::copy`].
        response: Fields,
    },
    /// The status is any other. This response is sent to the client, without its hop-by-hop fields.
    Denied(ResponseHead),
}

/// Interprets the response to the authorization subrequest. A status of 2xx allows the request, with the fields of the
/// response named in [`ForwardAuth::copy`] and Set-Cookie; any other status denies it.
pub fn answer(auth: &ForwardAuth, mut head: ResponseHead) -> AuthAnswer {
    if !(200..300).contains(&head.status) {
        hop_by_hop::strip(&mut head.fields);
        return AuthAnswer::Denied(head);
    }
    let (mut request, mut response) = (Fields::new(), Fields::new());
    for field in head.fields.iter() {
        if auth.copy.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(field.name)) {
            request.push(field.name, field.value);
        } else if field.name.eq_ignore_ascii_case(b"set-cookie") {
            response.push(field.name, field.value);
        }
    }
    AuthAnswer::Allowed { request, response }
}

/// Sets the identity fields of a request, `fields`, to those that the subrequest returned, `identity`
/// ([`AuthAnswer::Allowed`]). The client's own fields of the names in [`ForwardAuth::copy`], in any spelling that a
/// backend could take for them, are removed even if the service returned none.
pub fn set_identity_fields(auth: &ForwardAuth, identity: &Fields, fields: &mut Fields) {
    fields.retain(|field| !auth.copy.iter().any(|name| is_same_variable(field.name, name.as_bytes())));
    for field in identity.iter() {
        fields.push(field.name, field.value);
    }
}

/// Returns whether the name is one of `names`, compared without regard to case.
fn is_any(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> ForwardAuth {
        ForwardAuth {
            upstream: "authelia".into(),
            path: "/api/authz/forward-auth".into(),
            copy: vec!["Remote-User".into(), "Remote-Groups".into()],
        }
    }

    fn names(fields: &Fields) -> Vec<String> {
        fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    #[test]
    fn the_question_has_the_clients_fields_and_ours() {
        let mut head = RequestHead::new(Version::Http2);
        (head.method, head.target, head.authority) = (Method::Post, "/a?b=c".into(), "git.test".into());
        head.body = BodyLength::Exact(5);
        for (name, value) in [
            ("Cookie", "authelia_session=x"),
            ("Content-Type", "text/plain"),
            ("If-None-Match", "\"a\""),
            ("Range", "bytes=0-1"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-For", "192.0.2.1"),
        ] {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        let asked = subrequest(&auth(), &head);
        assert_eq!(
            names(&asked.fields),
            ["Cookie", "X-Forwarded-For", "X-Forwarded-Method", "X-Forwarded-Uri"]
        );
        assert_eq!((asked.method, asked.target.as_str()), (Method::Get, "/api/authz/forward-auth"));
        assert_eq!(asked.body, BodyLength::None);
        let last: Vec<_> = asked.fields.iter().skip(2).map(|field| field.value.to_vec()).collect();
        assert_eq!(last, [b"POST".to_vec(), b"/a?b=c".to_vec()]);
    }

    #[test]
    fn what_is_said_replaces_what_the_client_claimed() {
        let mut said = ResponseHead::new(200);
        for (name, value) in [("remote-user", "ann"), ("Set-Cookie", "s=1"), ("Server", "x")] {
            said.fields.push(name.as_bytes(), value.as_bytes());
        }
        let AuthAnswer::Allowed { request, response } = answer(&auth(), said) else { panic!("allowed") };
        assert_eq!(
            (names(&request), names(&response)),
            (vec!["remote-user".to_owned()], vec!["Set-Cookie".to_owned()])
        );
        let mut fields = Fields::new();
        for name in ["Remote-User", "remote_user", "REMOTE.GROUPS", "Remote-Groups", "X-Other"] {
            fields.push(name.as_bytes(), b"root");
        }
        set_identity_fields(&auth(), &request, &mut fields);
        assert_eq!(names(&fields), ["X-Other", "remote-user"]);
    }

    #[test]
    fn everything_but_2xx_is_the_clients_answer() {
        for status in [100, 302, 401, 403, 500] {
            assert!(matches!(answer(&auth(), ResponseHead::new(status)), AuthAnswer::Denied(_)), "{status}");
        }
    }
}
