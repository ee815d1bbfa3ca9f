//! Authentication methods and their options, as `parse_hba_auth_opt` in hba.c reads them.

use crate::connection::ConnectionType;
use crate::error::Refusal;
use crate::server::{Capability, Server, Version};
use std::borrow::Cow;
use std::fmt;

/// Authentication method of a record. Displayed as the keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Method {
    /// The method `bsd`: a clear-text password, checked by BSD authentication.
    Bsd,
    /// The method `cert`: a client certificate, whose common name (with `clientname=DN`, the distinguished name) must be
    /// the role or map to it. `hostssl` records only.
    Cert,
    /// The method `gss`: GSSAPI (Kerberos), over TCP only.
    Gss,
    /// The method `ident`: the ident server of the client host, over TCP (RFC 1413). In `local` records read as `peer`.
    Ident,
    /// The method `ldap`: a clear-text password, checked by LDAP.
    Ldap,
    /// The method `md5`: a password by MD5, or by SCRAM-SHA-256 if the stored verifier is one.
    Md5,
    /// The method `oauth`: an OAuth bearer token (from version 18).
    Oauth,
    /// The method `pam`: a clear-text password, checked by PAM.
    Pam,
    /// The method `password`: a clear-text password, compared with the stored verifier.
    Password,
    /// The method `peer`: the operating system user at the other end of the Unix-domain socket. `local` records only.
    Peer,
    /// The method `radius`: a clear-text password, checked by RADIUS (until version 18).
    Radius,
    /// The method `reject`: the connection is rejected.
    Reject,
    /// The method `scram-sha-256`: a password by SCRAM-SHA-256 (RFC 7677).
    Scram,
    /// The method `sspi`: SSPI (Windows).
    Sspi,
    /// The method `trust`: no authentication.
    Trust,
}

impl Method {
    /// All methods, in alphabetical order of their keywords.
    pub const ALL: [Self; 15] = [
        Self::Bsd,
        Self::Cert,
        Self::Gss,
        Self::Ident,
        Self::Ldap,
        Self::Md5,
        Self::Oauth,
        Self::Pam,
        Self::Password,
        Self::Peer,
        Self::Radius,
        Self::Reject,
        Self::Scram,
        Self::Sspi,
        Self::Trust,
    ];

    /// Returns the keyword by which `pg_hba.conf` names the method, such as `scram-sha-256`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bsd => "bsd",
            Self::Cert => "cert",
            Self::Gss => "gss",
            Self::Ident => "ident",
            Self::Ldap => "ldap",
            Self::Md5 => "md5",
            Self::Oauth => "oauth",
            Self::Pam => "pam",
            Self::Password => "password",
            Self::Peer => "peer",
            Self::Radius => "radius",
            Self::Reject => "reject",
            Self::Scram => "scram-sha-256",
            Self::Sspi => "sspi",
            Self::Trust => "trust",
        }
    }

    /// Returns `true` for every method except [`Method::Reject`].
    #[must_use]
    pub fn admits(self) -> bool {
        self != Self::Reject
    }

    /// Returns the feature of the build without which the server rejects the method: for `bsd`, `gss`, `ldap`, `pam`
    /// and `sspi` the feature of that name, and TLS for `cert`. `None` for the other methods.
    fn needs(self) -> Option<Capability> {
        Some(match self {
            Self::Bsd => Capability::Bsd,
            Self::Cert => Capability::Tls,
            Self::Gss => Capability::Gss,
            Self::Ldap => Capability::Ldap,
            Self::Pam => Capability::Pam,
            Self::Sspi => Capability::Sspi,
            _ => return None,
        })
    }

    /// Parses the method field. `ident` in a `local` record gives [`Method::Peer`].
    ///
    /// # Errors
    /// Returns the [`Refusal`] for a method that the version or the build does not have, or that the connection type
    /// does not permit.
    pub(crate) fn parse(word: &str, connection: ConnectionType, server: &Server) -> Result<Self, Refusal> {
        let unknown = || Refusal::Method(word.to_owned());
        let mut method = Self::ALL.into_iter().find(|method| method.as_str() == word).ok_or_else(unknown)?;
        if method == Self::Oauth && server.version() < Version::V18 {
            return Err(unknown());
        }
        if method == Self::Radius && !server.version().has_radius() {
            return Err(Refusal::RadiusGone);
        }
        if method.needs().is_some_and(|capability| !server.has(capability)) {
            return Err(Refusal::MethodNotBuilt(word.to_owned()));
        }
        if connection == ConnectionType::Local && method == Self::Ident {
            method = Self::Peer;
        }
        match (method, connection) {
            (Self::Gss, ConnectionType::Local) => Err(Refusal::GssOverSocket),
            (Self::Peer, ConnectionType::Local) => Ok(method),
            (Self::Peer, _) => Err(Refusal::PeerOverTcp),
            (Self::Cert, ConnectionType::HostSsl) => Ok(method),
            (Self::Cert, _) => Err(Refusal::CertWithoutTls),
            _ => Ok(method),
        }
    }
}

impl fmt::Display for Method {
    /// Formats as the keyword. Honours width and alignment.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// An option after the method (`name=value`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    pub(crate) name: Cow<'static, str>,
    pub(crate) value: String,
}

impl Setting {
    /// Returns the name of the option, as in the manual.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value as written, without quotes.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the effective value: `1` or `0` for a boolean option, of which any value but `1` is off; for
    /// `clientcert`, `verify-ca` in place of `1`, and `off` in place of `0` and `no-verify`; the number of `ldapport`;
    /// otherwise the value as written.
    pub(crate) fn meaning(&self) -> String {
        match (&*self.name, &*self.value) {
            (
                "pam_use_hostname"
                | "ldaptls"
                | "include_realm"
                | "compat_realm"
                | "upn_username"
                | "delegate_ident_mapping",
                value,
            ) => (if value == "1" { "1" } else { "0" }).to_owned(),
            ("clientcert", "1") => "verify-ca".to_owned(),
            ("clientcert", "0" | "no-verify") => "off".to_owned(),
            ("ldapport", value) => atoi(value).to_string(),
            (_, value) => value.to_owned(),
        }
    }
}

/// An option, with its first version and the methods that support it.
struct OptionSpec {
    name: &'static str,
    since: Version,
    /// Methods that support it. Empty if all do.
    methods: &'static [Method],
    /// The methods as listed in the server's message. Empty if all do.
    words: &'static str,
}

/// Creates an [`OptionSpec`] from the values of its fields.
const fn kind(
    name: &'static str,
    since: Version,
    methods: &'static [Method],
    words: &'static str,
) -> OptionSpec {
    OptionSpec { name, since, methods, words }
}

/// All options of the supported versions, each with its first version and its methods.
const KINDS: &[OptionSpec] = &[
    kind(
        "map",
        Version::V13,
        &[Method::Ident, Method::Peer, Method::Gss, Method::Sspi, Method::Cert, Method::Oauth],
        "ident, peer, gssapi, sspi, and cert",
    ),
    kind("clientcert", Version::V13, &[], ""),
    kind("clientname", Version::V14, &[], ""),
    kind("pamservice", Version::V13, &[Method::Pam], "pam"),
    kind("pam_use_hostname", Version::V13, &[Method::Pam], "pam"),
    kind("ldapurl", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldaptls", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapscheme", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapserver", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapport", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapbinddn", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapbindpasswd", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapsearchattribute", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapsearchfilter", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapbasedn", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapprefix", Version::V13, &[Method::Ldap], "ldap"),
    kind("ldapsuffix", Version::V13, &[Method::Ldap], "ldap"),
    kind("krb_realm", Version::V13, &[Method::Gss, Method::Sspi], "gssapi and sspi"),
    kind("include_realm", Version::V13, &[Method::Gss, Method::Sspi], "gssapi and sspi"),
    kind("compat_realm", Version::V13, &[Method::Sspi], "sspi"),
    kind("upn_username", Version::V13, &[Method::Sspi], "sspi"),
    kind("radiusservers", Version::V13, &[Method::Radius], "radius"),
    kind("radiusports", Version::V13, &[Method::Radius], "radius"),
    kind("radiussecrets", Version::V13, &[Method::Radius], "radius"),
    kind("radiusidentifiers", Version::V13, &[Method::Radius], "radius"),
    kind("issuer", Version::V18, &[Method::Oauth], "oauth"),
    kind("scope", Version::V18, &[Method::Oauth], "oauth"),
    kind("validator", Version::V18, &[Method::Oauth], "oauth"),
    kind("delegate_ident_mapping", Version::V18, &[Method::Oauth], "oauth"),
];

/// Parses an option `name=value`. Values are checked only for `clientcert`, `clientname`, `ldapport`, `ldapurl` and the
/// four lists of RADIUS; names of RADIUS servers are not looked up.
///
/// # Errors
/// Returns the [`Refusal`] for text without an equals sign, an option that the version does not have or the method or
/// connection type does not permit, and a value that the server rejects.
pub(crate) fn setting(
    text: &str,
    connection: ConnectionType,
    method: Method,
    server: &Server,
) -> Result<Setting, Refusal> {
    let (name, value) = text.split_once('=').ok_or_else(|| Refusal::OptionForm(text.to_owned()))?;
    let version = server.version();
    if version >= Version::V19
        && let Some(own) = name.strip_prefix("validator.")
    {
        return validator_setting(name, own, value, method);
    }
    let kind = KINDS
        .iter()
        .find(|kind| kind.name == name && version >= kind.since)
        .filter(|kind| version.has_radius() || kind.methods != [Method::Radius])
        .ok_or_else(|| Refusal::OptionName(name.to_owned()))?;
    if !kind.methods.is_empty() && !kind.methods.contains(&method) {
        let methods = if name == "map" && version >= Version::V18 {
            "ident, peer, gssapi, sspi, cert, and oauth"
        } else {
            kind.words
        };
        return Err(Refusal::OptionMethod { name: kind.name.into(), methods });
    }
    let silent = || Refusal::SilentValue { name: kind.name.into(), value: value.to_owned() };
    match name {
        "clientcert" | "clientname" if connection != ConnectionType::HostSsl => {
            return Err(Refusal::OptionNeedsTls(kind.name));
        }
        "clientcert" => {
            client_cert(value, method, version).map_err(|refusal| refusal.unwrap_or_else(silent))?;
        }
        "clientname" if !matches!(value, "CN" | "DN") => return Err(silent()),
        "ldapport" if atoi(value) == 0 => return Err(Refusal::LdapPort(value.to_owned())),
        "ldapurl" => ldap_url(value)?,
        "radiusports" => {
            let ports = split_list(value).ok_or_else(|| Refusal::RadiusPorts(value.to_owned()))?;
            if ports.iter().any(|port| atoi(port) == 0) {
                return Err(silent());
            }
        }
        "radiusservers" => {
            let servers = split_list(value).ok_or_else(silent)?;
            // The server looks names up here. Lookups in DNS are assumed to succeed.
            if servers.iter().any(String::is_empty) {
                return Err(silent());
            }
        }
        "radiussecrets" | "radiusidentifiers" => {
            split_list(value).ok_or_else(silent)?;
        }
        _ => {}
    }
    Ok(Setting { name: kind.name.into(), value: value.to_owned() })
}

/// Parses an option of a validator library (`validator.own=value`, from version 19). The library itself checks it when
/// a client connects.
///
/// # Errors
/// Returns the [`Refusal`] for another method than `oauth`, and for a name `own` that is empty or has characters other
/// than ASCII letters, digits, `-` and `_`.
fn validator_setting(name: &str, own: &str, value: &str, method: Method) -> Result<Setting, Refusal> {
    let name = Cow::Owned(name.to_owned());
    if method != Method::Oauth {
        return Err(Refusal::OptionMethod { name, methods: "oauth" });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if own.is_empty() || !own.bytes().all(allowed) {
        return Err(Refusal::SilentValue { name, value: value.to_owned() });
    }
    Ok(Setting { name, value: value.to_owned() })
}

/// Checks a value of `clientcert`: `verify-full` is valid; `verify-ca` too, except with the method `cert` from version
/// 14; in version 13 also `1` and, except with `cert`, `0` and `no-verify`.
///
/// # Errors
/// Returns the [`Refusal`] for a value that is not permitted with `cert`, and `None` for any other value, which the
/// server rejects without a message.
fn client_cert(value: &str, method: Method, version: Version) -> Result<(), Option<Refusal>> {
    let cert = method == Method::Cert;
    match value {
        "verify-full" => Ok(()),
        "verify-ca" if cert && version >= Version::V14 => Err(Some(Refusal::ClientCertWithCert(
            "clientcert can only be set to \"verify-full\" when using \"cert\" authentication",
        ))),
        "verify-ca" => Ok(()),
        "1" if version == Version::V13 => Ok(()),
        "0" | "no-verify" if version == Version::V13 && cert => Err(Some(Refusal::ClientCertWithCert(
            "clientcert cannot be set to \"no-verify\" when using \"cert\" authentication",
        ))),
        "0" | "no-verify" if version == Version::V13 => Ok(()),
        _ => Err(None),
    }
}

/// Checks the options that `ldap`, `radius` and `oauth` require or that exclude each other, and the numbers of elements
/// of the RADIUS lists, after all options have been parsed. Of a repeated option, the last value counts. Other methods
/// have no such requirements.
///
/// # Errors
/// Returns the first [`Refusal`].
pub(crate) fn check(method: Method, settings: &[Setting], server: &Server) -> Result<(), Refusal> {
    let value = |name: &str| settings.iter().rev().find(|s| s.name == name).map(|s| s.value.as_str());
    let list = |name: &str| value(name).and_then(split_list).unwrap_or_default();
    match method {
        Method::Ldap => {
            let url = value("ldapurl").is_some();
            let search =
                ["ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"];
            if value("ldapprefix").or_else(|| value("ldapsuffix")).is_some() {
                if url || search.iter().any(|name| value(name).is_some()) {
                    return Err(Refusal::LdapModes(if server.version() >= Version::V18 {
                        "cannot mix options for simple bind and search+bind modes"
                    } else {
                        "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, \
                         ldapsearchfilter, or ldapurl together with ldapprefix"
                    }));
                }
            } else if value("ldapbasedn").is_none() && !url {
                return Err(Refusal::Required {
                    method: "ldap",
                    argument: "\"ldapbasedn\", \"ldapprefix\", or \"ldapsuffix\"",
                });
            }
            // The URL gives an attribute and a filter too.
            let in_url = |part: usize| {
                let parts = value("ldapurl").and_then(|url| Some(url.split_once("://")?.1.split('?')));
                parts.and_then(|mut parts| parts.nth(part)).is_some_and(|part| !part.is_empty())
            };
            let given = |name: &str, part: usize| value(name).is_some() || in_url(part);
            if given("ldapsearchattribute", 1) && given("ldapsearchfilter", 3) {
                return Err(Refusal::LdapModes(
                    "cannot use ldapsearchattribute together with ldapsearchfilter",
                ));
            }
        }
        Method::Radius => {
            let servers = list("radiusservers");
            let secrets = list("radiussecrets");
            for (list, argument) in [(&servers, "\"radiusservers\""), (&secrets, "\"radiussecrets\"")] {
                if list.is_empty() {
                    return Err(Refusal::Required { method: "radius", argument });
                }
            }
            for (what, count, least) in [
                ("secrets", secrets.len(), 1),
                ("ports", list("radiusports").len(), 0),
                ("identifiers", list("radiusidentifiers").len(), 0),
            ] {
                if !(count == least || count == 1 || count == servers.len()) {
                    return Err(Refusal::RadiusCount { what, count, servers: servers.len() });
                }
            }
        }
        Method::Oauth => {
            for (name, argument) in [("scope", "\"scope\""), ("issuer", "\"issuer\"")] {
                if value(name).is_none() {
                    return Err(Refusal::Required { method: "oauth", argument });
                }
            }
            // The words of 19, and those of 18.
            let (unset, several, setting) = if server.version() >= Version::V19 {
                (
                    "parameter \"oauth_validator_libraries\" must be set for authentication method \"oauth\"",
                    "authentication method \"oauth\" requires option \"validator\" to be set when \
                     \"oauth_validator_libraries\" contains multiple options",
                    "\"oauth_validator_libraries\"",
                )
            } else {
                (
                    "oauth_validator_libraries must be set for authentication method oauth",
                    "authentication method \"oauth\" requires argument \"validator\" to be set when \
                     oauth_validator_libraries contains multiple options",
                    "oauth_validator_libraries",
                )
            };
            let allowed = server.oauth_validators();
            match value("validator") {
                _ if allowed.is_empty() => return Err(Refusal::OauthLibraries(unset)),
                None if allowed.len() > 1 => return Err(Refusal::OauthValidator(several)),
                Some(name) if !allowed.iter().any(|known| known == name) => {
                    return Err(Refusal::OauthNotPermitted { validator: name.to_owned(), setting });
                }
                _ => {}
            }
            if value("delegate_ident_mapping") == Some("1") && value("map").is_some() {
                return Err(Refusal::OauthMap);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Parses a number as C's `atoi` does, except that a minus sign is ignored and a number that is too large gives the
/// maximum. 0 if there are no digits. Sufficient to distinguish zero from other numbers.
fn atoi(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    digits[..end].parse().unwrap_or(if end == 0 { 0 } else { i64::MAX })
}

/// Checks that a URL begins with `ldap://` or `ldaps://`, in any case.
///
/// # Errors
/// Returns [`Refusal::LdapScheme`] for `ldapi://` and `cldap://`, and [`Refusal::LdapUrl`] for any other text.
fn ldap_url(url: &str) -> Result<(), Refusal> {
    let lower = url.to_ascii_lowercase();
    match lower.split_once("://") {
        Some(("ldap" | "ldaps", _)) => Ok(()),
        Some((scheme @ ("ldapi" | "cldap"), _)) => Err(Refusal::LdapScheme(scheme.to_owned())),
        _ => Err(Refusal::LdapUrl(url.to_owned())),
    }
}

/// Splits a list at commas, as `SplitGUCList` of varlena.c does. White space around items is ignored; quoted items may
/// contain commas, white space, and quotes, which are doubled. White space alone gives an empty list. `None` for an
/// empty item, an unclosed quote, or white space within an unquoted item.
fn split_list(text: &str) -> Option<Vec<String>> {
    let space = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];
    let mut rest = text.trim_start_matches(space);
    let mut found = Vec::new();
    if rest.is_empty() {
        return Some(found);
    }
    loop {
        let mut item = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let end = rest.find('"')?;
                item.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(more) => {
                        item.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.find(|c| c == ',' || space.contains(&c)).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            item.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        found.push(item);
        rest = rest.trim_start_matches(space);
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start_matches(space),
            None if rest.is_empty() => return Some(found),
            None => return None,
        }
    }
}
