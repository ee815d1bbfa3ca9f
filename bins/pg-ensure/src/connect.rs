//! From the command line to a server.

use crate::args::ServerArgs;
use crate::tls::{Connector, Mode};
use cli_support::outcome::Failure;
use pg_ensure::client::{Patience, Server};
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

pub(crate) fn server(args: &ServerArgs) -> Result<Server<Connector>, Failure> {
    let (config, connector) = config(args)?;
    let patience = Patience { connect: Duration::from_secs(args.timeout), ..Patience::default() };
    Ok(Server::new(config, connector).patience(patience))
}

pub(crate) fn config(args: &ServerArgs) -> Result<(Config, Connector), Failure> {
    let (mut config, said) = parse(&args.connect)?;
    if config.get_password().is_some() {
        let why = "--connect holds a password, which everybody can see; say --password file:/… instead";
        return Err(Failure::Configuration(why.to_owned()));
    }
    if let Some(reference) = &args.password {
        config.password(reference.read()?.expose_secret());
    }
    let rest = |mode: Mode| match mode {
        Mode::Disable => SslMode::Disable,
        Mode::Prefer => SslMode::Prefer,
        _ => SslMode::Require,
    };
    // A socket needs no TLS, and has none.
    let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let mode = args.sslmode.or(said.mode).unwrap_or(if local { Mode::Disable } else { Mode::Prefer });
    config.ssl_mode(rest(mode));
    let root = args.sslrootcert.clone().or(said.root);
    Ok((config, Connector::new(mode, root.as_deref())?))
}

/// Parameters of libpq that tokio-postgres has in its own way.
#[derive(Debug, Default, PartialEq)]
struct Said {
    mode: Option<Mode>,
    root: Option<PathBuf>,
}

/// Reads how to connect, with `sslmode` and `sslrootcert` as libpq knows them.
pub(crate) fn parse_config(text: &str) -> Result<Config, Failure> {
    parse(text).map(|(config, _)| config)
}

fn parse(text: &str) -> Result<(Config, Said), Failure> {
    let (rest, pairs) = split(text);
    let mut said = Said::default();
    for (key, value) in pairs {
        if key == "sslmode" {
            let known = <Mode as clap::ValueEnum>::from_str(&value, false);
            said.mode = Some(known.map_err(|_| {
                let list = "disable, prefer, require, verify-ca or verify-full";
                Failure::Configuration(format!("sslmode={value} is unknown; it is one of {list}"))
            })?);
        } else {
            said.root = Some(value.into());
        }
    }
    // What tokio-postgres says of a wrong text does not repeat a password.
    let config = rest.parse().map_err(|why: tokio_postgres::Error| {
        Failure::Configuration(format!("--connect: {}", cli_support::outcome::chain(&why)))
    })?;
    Ok((config, said))
}

/// Takes `sslmode` and `sslrootcert` out of a text.
fn split(text: &str) -> (String, Vec<(String, String)>) {
    let ours = |key: &str| matches!(key, "sslmode" | "sslrootcert");
    let mut found = Vec::new();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let Some((address, query)) = text.split_once('?') else { return (text.to_owned(), found) };
        let mut kept = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some((key, value)) if ours(key) => found.push((key.to_owned(), value.replace("%2F", "/"))),
                _ => kept.push(pair),
            }
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        return (format!("{address}{query}"), found);
    }
    let mut kept = Vec::new();
    for (raw, key, value) in pairs(text) {
        if ours(&key) {
            found.push((key, value));
        } else {
            kept.push(raw);
        }
    }
    (kept.join(" "), found)
}

/// The pairs of `key = 'value'`, each with the text that it is.
fn pairs(text: &str) -> Vec<(String, String, String)> {
    let mut pairs = Vec::new();
    let mut chars = text.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some((start, _)) = chars.peek().copied() else { return pairs };
        let mut key = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| *c != '=') {
            key.push(c);
        }
        chars.next();
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
        let mut value = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| quoted || !c.is_whitespace()) {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                '\'' if quoted => break,
                c => value.push(c),
            }
        }
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        pairs.push((text[start..end].to_owned(), key.trim().to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_tls_are_taken_out() {
        let (rest, pairs) =
            split("host=/run/x user='a b' sslmode=verify-full sslrootcert = '/a b/c.pem' port=1");
        assert_eq!(rest, "host=/run/x user='a b' port=1");
        assert_eq!(pairs[0], ("sslmode".to_owned(), "verify-full".to_owned()));
        assert_eq!(pairs[1], ("sslrootcert".to_owned(), "/a b/c.pem".to_owned()));
        let (rest, pairs) = split("postgresql://u@h:1/d?sslmode=require&application_name=x");
        assert_eq!(rest, "postgresql://u@h:1/d?application_name=x");
        assert_eq!(pairs.len(), 1);
        assert!(parse("host=x sslmode=maybe").is_err());
    }
}
