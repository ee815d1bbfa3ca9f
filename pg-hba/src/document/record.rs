//! Interpretation of a line's fields, as by `parse_hba_line` in hba.c.

use crate::address::{Network, cidr_mask, numeric};
use crate::connection::ConnectionType;
use crate::error::Refusal;
use crate::method::{self, Method};
use crate::regex::Pattern;
use crate::rule::{Address, Database, Origin, Rule, User};
use crate::server::{Capability, Server};
use crate::token::{Field, Token};

/// Error of a record: the token that caused it, `None` at the end of the line, and the reason.
type RecordError = (Option<Token>, Refusal);

/// Returns the server's notice about a record type that cannot match on this server: `hostssl` without TLS in the build
/// or with `ssl` off, and `hostgssenc` without GSSAPI in the build. `None` for all others.
pub(super) fn notice(connection: ConnectionType, server: &Server) -> Option<&'static str> {
    match connection {
        ConnectionType::HostSsl if !server.has(Capability::Tls) => {
            Some("hostssl record cannot match because SSL is not supported by this build")
        }
        ConnectionType::HostSsl if !server.tls_is_on() => {
            Some("hostssl record cannot match because SSL is disabled")
        }
        ConnectionType::HostGssEnc if !server.has(Capability::Gss) => {
            Some("hostgssenc record cannot match because GSSAPI is not supported by this build")
        }
        _ => None,
    }
}

/// Interprets the fields of a record as `parse_hba_line` does. Returns the rule, with an empty origin, and the notice
/// about a record type that cannot match; `None` without a notice, and for the method `oauth`.
///
/// # Errors
/// Returns the first error, with its token.
pub(super) fn rule(fields: &[Field], server: &Server) -> Result<(Rule, Option<&'static str>), RecordError> {
    let mut rest = fields.iter();
    let kind = one(rest.next(), "connection type", "connection type")?;
    let connection = ConnectionType::from_word(&kind.text).ok_or_else(|| {
        let is_include = matches!(kind.text.as_str(), "include" | "include_dir" | "include_if_exists");
        // With one name, the directive was followed before.
        let reason = if is_include && server.version().has_includes() {
            Refusal::IncludeArguments(kind.text.clone())
        } else {
            Refusal::ConnectionType(kind.text.clone())
        };
        (Some(kind.clone()), reason)
    })?;
    let mut notice = notice(connection, server);
    let possible = notice.is_none();
    let missing = |what| (None, Refusal::Missing(what));
    let databases = rest.next().ok_or_else(|| missing("database specification"))?;
    let databases = databases.iter().map(|token| database(token, server)).collect::<Result<_, _>>()?;
    let users = rest.next().ok_or_else(|| missing("role specification"))?;
    let users = users.iter().map(|token| user(token, server)).collect::<Result<_, _>>()?;
    let address = if connection == ConnectionType::Local {
        Address::All
    } else {
        let token = one(rest.next(), "IP address specification", "host address")?;
        address(token, &mut rest)?
    };
    let word = one(rest.next(), "authentication method", "authentication type")?;
    let method =
        Method::parse(&word.text, connection, server).map_err(|refusal| (Some(word.clone()), refusal))?;
    let mut settings = Vec::new();
    for token in rest.flatten() {
        let setting = method::setting(&token.text, connection, method, server);
        settings.push(setting.map_err(|refusal| (Some(token.clone()), refusal))?);
    }
    method::check(method, &settings, server).map_err(|refusal| (Some(word.clone()), refusal))?;
    // `check_oauth_validator` clears the error text, and with it the notice about the record type.
    if method == Method::Oauth {
        notice = None;
    }
    let origin = Origin::default();
    Ok((Rule { connection, databases, users, address, method, settings, possible, origin }, notice))
}

/// Returns the only token of a field.
///
/// # Errors
/// Returns [`Refusal::Missing`] with `missing` without a field, and [`Refusal::Multiple`] with `multiple`, at the
/// second token, for several tokens.
fn one<'f>(
    field: Option<&'f Field>,
    missing: &'static str,
    multiple: &'static str,
) -> Result<&'f Token, RecordError> {
    match field.map(Vec::as_slice) {
        None | Some([]) => Err((None, Refusal::Missing(missing))),
        Some([token]) => Ok(token),
        Some([_, second, ..]) => Err((Some(second.clone()), Refusal::Multiple(multiple))),
    }
}

/// Compiles a token that begins with a slash as a regular expression. Returns `None` for other tokens, or if
/// `from_version` is `false`.
///
/// # Errors
/// Returns [`Refusal::Pattern`] if the regular expression is not valid.
pub(crate) fn pattern(token: &Token, from_version: bool) -> Result<Option<Pattern>, RecordError> {
    match token.text.strip_prefix('/') {
        Some(text) if from_version => Pattern::new(text)
            .map(Some)
            .map_err(|error| (Some(token.clone()), Refusal::Pattern { pattern: text.to_owned(), error })),
        _ => Ok(None),
    }
}

/// Interprets a token of the database field. A quoted keyword is a name.
///
/// # Errors
/// Returns [`Refusal::Pattern`] if a regular expression is not valid.
fn database(token: &Token, server: &Server) -> Result<Database, RecordError> {
    if let Some(pattern) = pattern(token, server.version().has_patterns())? {
        return Ok(Database::Pattern(pattern));
    }
    Ok(match token.text.as_str() {
        _ if token.quoted => Database::Name(token.text.clone()),
        "all" => Database::All,
        "sameuser" => Database::SameUser,
        "samerole" | "samegroup" => Database::SameRole,
        "replication" => Database::Replication,
        _ => Database::Name(token.text.clone()),
    })
}

/// Interprets a token of the user field. A quoted `all` is a name, and `+` has no meaning in a quoted token.
///
/// # Errors
/// Returns [`Refusal::Pattern`] if a regular expression is not valid.
pub(crate) fn user(token: &Token, server: &Server) -> Result<User, RecordError> {
    if let Some(pattern) = pattern(token, server.version().has_patterns())? {
        return Ok(User::Pattern(pattern));
    }
    Ok(match token.text.strip_prefix('+') {
        _ if token.is_keyword("all") => User::All,
        Some(role) if !token.quoted => User::Member(role.to_owned()),
        _ => User::Name(token.text.clone()),
    })
}

/// Interprets the address field: a keyword without quotes (`all`, `samehost`, `samenet`), a numeric address, or a host
/// name. A numeric address without a prefix length takes its mask from the next field of `rest`.
///
/// # Errors
/// Returns the error for a host name with a prefix length, for a prefix length or mask that is not valid, for a mask
/// that is missing or a list, and for one of the other address family.
fn address<'f>(token: &Token, rest: &mut impl Iterator<Item = &'f Field>) -> Result<Address, RecordError> {
    for (word, address) in
        [("all", Address::All), ("samehost", Address::SameHost), ("samenet", Address::SameNet)]
    {
        if token.is_keyword(word) {
            return Ok(address);
        }
    }
    let fault = |reason| (Some(token.clone()), reason);
    let (text, prefix) = match token.text.split_once('/') {
        Some((text, prefix)) => (text, Some(prefix)),
        None => (token.text.as_str(), None),
    };
    match (numeric(text), prefix) {
        (None, None) => Ok(Address::Host(text.to_owned())),
        (None, Some(_)) => Err(fault(Refusal::HostWithMask(token.text.clone()))),
        (Some(base), Some(prefix)) => {
            let mask = cidr_mask(prefix, base.is_ipv4());
            let mask = mask.ok_or_else(|| fault(Refusal::CidrMask(token.text.clone())))?;
            Network::new(base, mask).map(Address::Network).ok_or_else(|| fault(Refusal::MaskFamily))
        }
        (Some(base), None) => {
            let mask = one(rest.next(), "netmask specification", "netmask")
                .map_err(|(at, reason)| (at.or_else(|| Some(token.clone())), reason))?;
            let found = numeric(&mask.text);
            let found = found.ok_or_else(|| (Some(mask.clone()), Refusal::Mask(mask.text.clone())))?;
            Network::new(base, found)
                .map(Address::Network)
                .ok_or_else(|| (Some(mask.clone()), Refusal::MaskFamily))
        }
    }
}
