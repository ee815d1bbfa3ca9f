//! The request of `explain`, built from the arguments as the parser of the proxy would produce it.

use crate::cli::ExplainArgs;
use edge_http::grammar::{decimal, is_field_value, is_target, is_token, trim};
use edge_proxy::{BodyLength, Method, Name, RequestHead, Version};

/// Sets `plain`, `host` and `path` of the arguments from a URL. The path includes the query, and is `/` if the URL has
/// none. The fragment is dropped.
///
/// # Errors
/// The URL is not one of http or https, has no host, has user information, or is one of http together with `--quic` or
/// `--early`.
pub(super) fn take_url(url: &str, args: &mut ExplainArgs) -> Result<(), String> {
    let wrong = || format!("`{url}` is not a valid URL: expected https://git.example.org/path or http://…");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    args.plain = match scheme.to_ascii_lowercase().as_str() {
        "https" => false,
        "http" if args.quic || args.early => return Err("--quic and --early need https".to_owned()),
        "http" => true,
        _ => return Err(wrong()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(wrong());
    }
    args.host = Some(authority.to_owned());
    // Clients send no fragment.
    let target = target.split('#').next().unwrap_or_default();
    args.path = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(())
}

/// Builds the head of the request from the arguments: HTTP/3 with `--quic`, otherwise HTTP/1.1. `Content-Length`,
/// `Transfer-Encoding` and, in HTTP/1.1, `Upgrade` are not among its fields, as in the parser's result.
///
/// # Errors
/// The method, the path or a header field is not valid, or `Host` is given as a field.
pub(super) fn head(args: &ExplainArgs) -> Result<RequestHead, String> {
    let version = if args.quic { Version::Http3 } else { Version::Http11 };
    let mut head = RequestHead::new(version);
    let method = Method::parse(args.method.as_bytes());
    head.method = method.ok_or_else(|| format!("--method `{}` is not a valid method", args.method))?;
    if !is_target(args.path.as_bytes()) {
        return Err(format!(
            "--path `{}` is not a valid target: write it as browsers send it, such as /a%20b?c=d",
            args.path
        ));
    }
    args.host().clone_into(&mut head.authority);
    head.target.clone_from(&args.path);
    for line in &args.headers {
        let wrong = || format!("--header `{line}` is not a valid field: expected 'Name: value'");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let value = trim(value.as_bytes());
        if !is_token(name.as_bytes()) || !(value.is_empty() || is_field_value(value)) {
            return Err(wrong());
        }
        // Parsers remove these from the fields.
        match Name::of(name.as_bytes()) {
            Name::Host => return Err("--header Host: use --host".into()),
            Name::ContentLength => head.body = BodyLength::Exact(decimal(value).ok_or_else(wrong)?),
            Name::TransferEncoding => head.body = BodyLength::Unknown,
            Name::Upgrade if !args.quic => {
                head.upgrade = std::str::from_utf8(value).ok().map(Into::into);
            }
            _ => head.fields.push(name.as_bytes(), value),
        }
    }
    Ok(head)
}
