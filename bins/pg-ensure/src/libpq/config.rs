//! Conversion of connection parameters for tokio-postgres.

use super::{Parameters, VARIABLES, option_error};
use cli_support::outcome::Failure;

/// Parameters with the same name in tokio-postgres.
const SAME: [&str; 14] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "port",
    "sslnegotiation",
    "user",
];

impl Parameters {
    /// Converts the remaining parameters to a configuration of tokio-postgres. `target_session_attrs=primary` becomes
    /// `read-write`.
    ///
    /// # Errors
    /// Returns a failure with the name of a parameter that is not supported, or the error of tokio-postgres.
    pub(crate) fn config(mut self) -> Result<tokio_postgres::Config, Failure> {
        let password = self.0.remove("password");
        self.0.remove("passfile");
        let target = self.0.remove("target_session_attrs");
        let target = match target.as_deref() {
            None => None,
            Some("any" | "read-write" | "read-only") => target,
            // Changes require a server that accepts writes.
            Some("primary") => Some("read-write".to_owned()),
            Some(other) => {
                return Err(option_error(format!(
                    "target_session_attrs={other} is not supported: use any, primary or read-write"
                )));
            }
        };
        let mut text = String::new();
        let mut say = |name: &str, value: &str| {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            text.push_str(&format!("{name}='{quoted}' "));
        };
        for (name, value) in &self.0 {
            match (name.as_str(), value.as_str()) {
                (name, value) if SAME.contains(&name) => say(name, value),
                ("keepalives_count", value) => say("keepalives_retries", value),
                ("tcp_user_timeout", value) => say("tcp_user_timeout", &milliseconds(value)?),
                // Parameters whose value is the behaviour of this program in any case.
                ("client_encoding", value)
                    if ["auto", "utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {}
                ("gssencmode", "disable" | "prefer")
                | ("gssdelegation" | "sslcompression", "0")
                | ("gsslib" | "krbsrvname", _)
                | ("max_protocol_version", "3.0" | "3.2" | "latest")
                | ("min_protocol_version", "3.0")
                | ("sslcertmode", "allow")
                | ("sslsni", "1")
                | ("ssl_max_protocol_version", "TLSv1.3")
                | ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2") => {}
                (name, value) if is_known(name) => {
                    return Err(option_error(format!("{name}={value} is not supported by this program")));
                }
                // The value of a parameter that is not known may be a secret.
                (name, _) => {
                    return Err(option_error(format!("{name} is not supported by this program")));
                }
            }
        }
        if let Some(target) = target {
            say("target_session_attrs", &target);
        }
        // The errors of tokio-postgres do not repeat the password.
        let mut config: tokio_postgres::Config = text
            .parse()
            .map_err(|why: tokio_postgres::Error| option_error(cli_support::outcome::chain(&why)))?;
        if let Some(password) = password {
            config.password(password);
        }
        Ok(config)
    }
}

/// Returns whether a parameter that is not supported is one of libpq's without a secret in its value.
fn is_known(name: &str) -> bool {
    name == "ssl" || VARIABLES.iter().any(|(_, known)| *known == name && name != "password")
}

/// Converts milliseconds to seconds, rounded up.
///
/// # Errors
/// Returns a [`Failure`] if the value is not a whole number.
fn milliseconds(value: &str) -> Result<String, Failure> {
    let number: u64 =
        value.parse().map_err(|_| option_error(format!("tcp_user_timeout={value} is not a number")))?;
    Ok(number.div_ceil(1000).to_string())
}
