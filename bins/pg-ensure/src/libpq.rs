//! Connection parameters as libpq reads them: a connection string or URI, a service file, the environment, a password
//! file, and defaults. A parameter that is not supported is an error.

use cli_support::outcome::Failure;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Connection parameters by their name in libpq.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(BTreeMap<String, String>);

/// Environment variables, each with its parameter.
const VARIABLES: [(&str, &str); 34] = [
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCLIENTENCODING", "client_encoding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGGSSDELEGATION", "gssdelegation"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGGSSLIB", "gsslib"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGKRBSRVNAME", "krbsrvname"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGMAXPROTOCOLVERSION", "max_protocol_version"),
    ("PGMINPROTOCOLVERSION", "min_protocol_version"),
    ("PGOPTIONS", "options"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLCOMPRESSION", "sslcompression"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLSNI", "sslsni"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGUSER", "user"),
];

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

/// The environment from which libpq takes defaults.
pub(crate) struct ProcessEnvironment<'s> {
    /// Function that returns the value of an environment variable. `None` if it is not set.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<String>,
    /// Home directory. `None` if not known.
    pub(crate) home: Option<PathBuf>,
    /// Name of the account. `None` if not known.
    pub(crate) account: Option<String>,
}

/// Returns whether a parameter that is not supported is one of libpq's without a secret in its value.
fn is_known(name: &str) -> bool {
    name == "ssl" || VARIABLES.iter().any(|(_, known)| *known == name && name != "password")
}

/// Creates a configuration error about `--connect`.
fn option_error(why: impl Into<String>) -> Failure {
    Failure::Configuration(format!("--connect: {}", why.into()))
}

impl Parameters {
    /// Parses a connection string in keyword/value form, or a URI.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the syntax is not valid.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let uri = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        let found = match uri {
            Some(rest) => parse_uri(rest)?,
            None => parse_keyword_value(text)?,
        };
        Ok(Self(found))
    }

    /// Adds parameters that are not set, except a password: of a service, the environment, `fallback`, and libpq's
    /// defaults.
    ///
    /// # Errors
    /// Returns a failure if the connection string contains a password, or the service is not found.
    pub(crate) fn complete(
        mut self,
        around: &ProcessEnvironment<'_>,
        fallback: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        if self.0.contains_key("password") {
            return Err(option_error(
                "it holds a password, which everybody can see; use --password file:/… instead",
            ));
        }
        if let Some(service) = self.0.remove("service").or_else(|| (around.variable)("PGSERVICE")) {
            let found = service_of(&service, self.0.remove("servicefile").as_deref(), around)?;
            self.add(found);
        }
        let environment = VARIABLES.iter().filter_map(|(variable, name)| {
            let value = (around.variable)(variable).filter(|value| !value.is_empty())?;
            Some(((*name).to_owned(), value))
        });
        self.add(environment.collect());
        // What is said to be empty is the default, whatever the environment says.
        self.0.retain(|_, value| !value.is_empty());
        let addressed = self.0.contains_key("hostaddr");
        let fallback = fallback.iter().filter(|(name, _)| !(addressed && *name == "host"));
        self.add(fallback.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        if let Some(name) = self.0.remove("fallback_application_name") {
            self.0.entry("application_name".to_owned()).or_insert(name);
        }
        if !self.0.contains_key("host") {
            // An address alone is the server's name, too.
            let port = self.0.get("port").map(String::as_str);
            let host = self.0.get("hostaddr").cloned().unwrap_or_else(|| default_host(port));
            self.0.insert("host".to_owned(), host);
        }
        if let (false, Some(account)) = (self.0.contains_key("user"), &around.account) {
            self.0.insert("user".to_owned(), account.clone());
        }
        Ok(self)
    }

    /// Adds the password of the password file, unless a password is set.
    ///
    /// # Errors
    /// Returns a failure if the file has different passwords for several hosts.
    pub(crate) fn with_password(mut self, around: &ProcessEnvironment<'_>) -> Result<Self, Failure> {
        if !self.0.contains_key("password") {
            let found = self.password_of(around)?;
            self.0.extend(found.map(|password| ("password".to_owned(), password)));
        }
        Ok(self)
    }

    /// Adds parameters that are not set yet.
    fn add(&mut self, more: BTreeMap<String, String>) {
        for (name, value) in more {
            self.0.entry(name).or_insert(value);
        }
    }

    /// Removes a parameter and returns its value. `None` if it is not set.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

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

    /// Returns the password from the password file. `None` if no line matches, the password is empty, or the file
    /// cannot be read, is not a plain file or can be accessed by others than its owner; the latter two are reported on
    /// standard error.
    ///
    /// # Errors
    /// Returns a failure if the passwords of several hosts differ.
    fn password_of(&self, around: &ProcessEnvironment<'_>) -> Result<Option<String>, Failure> {
        let default = || around.home.as_ref().map(|home| home.join(".pgpass"));
        let Some(path) = self.0.get("passfile").map(PathBuf::from).or_else(default) else { return Ok(None) };
        let Ok(about) = std::fs::metadata(&path) else { return Ok(None) };
        if !about.is_file() {
            eprintln!("pg-ensure: {}: ignored, since it is not a plain file", path.display());
            return Ok(None);
        }
        if about.permissions().mode() & 0o077 != 0 {
            eprintln!("pg-ensure: {}: ignored, since others can read it: chmod 0600", path.display());
            return Ok(None);
        }
        let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
        // Names of other servers may be in any encoding.
        let text = String::from_utf8_lossy(&bytes);
        let list = |name: &str| -> Vec<&str> {
            self.0.get(name).map(|value| value.split(',').collect()).unwrap_or_default()
        };
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        let user = self.0.get("user").map_or("", String::as_str);
        let database = self.0.get("dbname").map_or("postgres", String::as_str);
        let mut found: Option<(&str, String)> = None;
        for (index, host) in hosts.iter().enumerate() {
            let host = if host.is_empty() { addresses.get(index).copied().unwrap_or_default() } else { host };
            // The default socket folders match `localhost`.
            let host = if host.is_empty() || DEFAULT_FOLDERS.contains(&host) { "localhost" } else { host };
            let port = ports.get(index).or(ports.first()).copied().filter(|port| !port.is_empty());
            let values = [host, port.unwrap_or("5432"), database, user];
            let Some(password) = text.lines().find_map(|line| password_in(line, values)) else { continue };
            match &found {
                Some((first, known)) if *known != password => {
                    return Err(Failure::Configuration(format!(
                        "{}: the passwords for {first} and {host} differ, which is not supported: use --password",
                        path.display()
                    )));
                }
                Some(_) => {}
                None => found = Some((host, password)),
            }
        }
        Ok(found.map(|(_, password)| password).filter(|password| !password.is_empty()))
    }
}

/// Folders in which distributions put the server's socket.
const DEFAULT_FOLDERS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];

/// Returns the first default folder that contains a socket for the first port, or the first folder.
fn default_host(port: Option<&str>) -> String {
    let port = port.and_then(|ports| ports.split(',').next()).unwrap_or("5432");
    let socket = |folder: &&&str| {
        let path = Path::new(folder).join(format!(".s.PGSQL.{port}"));
        std::fs::metadata(path).is_ok_and(|about| about.file_type().is_socket())
    };
    (*DEFAULT_FOLDERS.iter().find(socket).unwrap_or(&DEFAULT_FOLDERS[0])).to_owned()
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

/// Returns the password in a line of a password file, as `passwordFromFile()` in libpq: up to the first unescaped
/// colon. `values` are host, port, database and user. `None` if the line is a comment, has fewer fields, or one of the
/// first four is neither equal to its value nor an unescaped `*`. A backslash escapes the next character.
fn password_in(line: &str, values: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut chars = line.chars();
    let mut field = || {
        let (mut text, mut escaped, mut ended) = (String::new(), false, false);
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    escaped = true;
                    text.extend(chars.next().or(Some('\\')));
                }
                ':' => {
                    ended = true;
                    break;
                }
                c => text.push(c),
            }
        }
        (text, escaped, ended)
    };
    for value in values {
        let (text, escaped, ended) = field();
        if !ended || !(text == value || text == "*" && !escaped) {
            return None;
        }
    }
    Some(field().0)
}

/// Returns the parameters of a service, from `file`, the user's service file, or the system's, as `parseServiceFile()`
/// in libpq.
///
/// # Errors
/// Returns a failure if none of the files contains the service, or a line of it is not `key=value`.
fn service_of(
    name: &str,
    file: Option<&str>,
    around: &ProcessEnvironment<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let named = file.map(PathBuf::from).or_else(|| (around.variable)("PGSERVICEFILE").map(PathBuf::from));
    let own = named.or_else(|| around.home.as_ref().map(|home| home.join(".pg_service.conf")));
    let system = (around.variable)("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let files = own.into_iter().chain([Path::new(&system).join("pg_service.conf")]);
    for path in files {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim).enumerate();
        let header = format!("[{name}]");
        if !lines.any(|(_, line)| line.starts_with(&header)) {
            continue;
        }
        let mut found = BTreeMap::new();
        for (index, line) in lines.take_while(|(_, line)| !line.starts_with('[')) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| {
                // The line itself may hold a password.
                Failure::Configuration(format!("{}:{}:1: {why}", path.display(), index + 1))
            };
            match line.split_once('=') {
                Some(("service" | "servicefile", _)) => {
                    return Err(wrong("a service cannot name another one: leave the line out"));
                }
                // libpq takes no blank around the equals sign for its own.
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    found.entry(key.to_owned()).or_insert_with(|| value.to_owned());
                }
                _ => {
                    return Err(wrong(
                        "not valid in a service file: write key=value, without blanks around =",
                    ));
                }
            }
        }
        return Ok(found);
    }
    Err(option_error(format!("the service {name:?} is in no service file: add it to ~/.pg_service.conf")))
}

/// Parses a connection string in keyword/value form, such as `host=db user='a b'`. The last value of a repeated key
/// counts.
///
/// # Errors
/// Returns a [`Failure`] if the syntax is not valid.
fn parse_keyword_value(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            key.push(c);
        }
        let key = key.trim().to_owned();
        if chars.next().is_none() || key.is_empty() {
            return Err(option_error("expected key=value"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        let mut closed = !quoted;
        while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
            match c {
                '\\' => value.extend(chars.next()),
                '\'' if quoted => {
                    closed = true;
                    break;
                }
                c => value.push(c),
            }
        }
        if !closed {
            return Err(option_error(format!("the value of {key} has no closing quote")));
        }
        pairs.insert(key, value);
    }
}

/// Parses a connection URI without its scheme: `user:password@host:port,host:port/dbname?key=value`. The last value of
/// a repeated key counts.
///
/// # Errors
/// Returns a [`Failure`] if the syntax is not valid.
fn parse_uri(rest: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (login, hosts) = authority.split_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut set = |name: &str, value: &str| -> Result<(), Failure> {
        if !value.is_empty() {
            found.insert(name.to_owned(), percent_decode(value)?);
        }
        Ok(())
    };
    set("user", user)?;
    set("password", password)?;
    set("dbname", database)?;
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, port)) => (name, port.trim_start_matches(':')),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(name);
        ports.push(port);
    }
    set("host", &names.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        let ports: Vec<&str> = ports.iter().map(|port| if port.is_empty() { "5432" } else { port }).collect();
        set("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| option_error("expected key=value in the query"))?;
        // From the days of JDBC; any other value of it is an error, as in libpq.
        let (name, value) =
            if (name, value) == ("ssl", "true") { ("sslmode", "require") } else { (name, value) };
        set(name, value)?;
    }
    Ok(found)
}

/// Decodes percent-encoded text.
///
/// # Errors
/// Returns a [`Failure`] if an escape is incomplete, or the result is not UTF-8.
fn percent_decode(text: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(option_error("a % in the URI is not followed by two hexadecimal digits"));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
    }
    String::from_utf8(bytes).map_err(|_| option_error("the URI is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str, variables: &[(&str, &str)], home: &Path) -> Result<Parameters, Failure> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let around = ProcessEnvironment {
            variable: &variable,
            home: Some(home.to_owned()),
            account: Some("me".to_owned()),
        };
        Parameters::parse(text)?.complete(&around, &[])?.with_password(&around)
    }

    fn get<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
        parameters.0.get(name).map(String::as_str)
    }

    #[test]
    fn strings_uris_services_the_environment_and_password_files() {
        let home = tempfile::tempdir().unwrap();
        let plain = completed(
            "dbname = 'a b' options='-c role=x\\'y'",
            &[("PGHOST", "db"), ("PGUSER", "u")],
            home.path(),
        );
        let plain = plain.unwrap();
        assert_eq!(get(&plain, "dbname"), Some("a b"));
        assert_eq!(get(&plain, "options"), Some("-c role=x'y"));
        assert_eq!((get(&plain, "host"), get(&plain, "user")), (Some("db"), Some("u")));
        let uri = completed(
            "postgresql://u%40x@h1:1,[::1]:2/d%20b?sslmode=verify-full&sslrootcert=%2Fa.pem",
            &[],
            home.path(),
        );
        let uri = uri.unwrap();
        assert_eq!((get(&uri, "user"), get(&uri, "dbname")), (Some("u@x"), Some("d b")));
        assert_eq!((get(&uri, "host"), get(&uri, "port")), (Some("h1,::1"), Some("1,2")));
        assert_eq!(get(&uri, "sslrootcert"), Some("/a.pem"));
        std::fs::write(
            home.path().join(".pg_service.conf"),
            "[other]\nhost=no\n[mine]\n# x\nhost=h\n user=s \nuser=t\n[mine]\nport=1\n",
        )
        .unwrap();
        let pgpass = home.path().join(".pgpass");
        std::fs::write(&pgpass, "# x\nh:*:postgres:s:pa\\:ss\\\\\n*:*:*:*:other\n").unwrap();
        std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).unwrap();
        let service = completed("service=mine", &[("PGUSER", "e")], home.path()).unwrap();
        assert_eq!((get(&service, "host"), get(&service, "user")), (Some("h"), Some("s")));
        assert_eq!(get(&service, "password"), Some("pa:ss\\"));
        assert_eq!(get(&service, "port"), None, "the first section of a name counts");
        std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = completed("service=mine", &[], home.path()).unwrap();
        assert_eq!(get(&open, "password"), None);
        // Nothing said: the default socket and the account.
        let empty = completed("", &[], home.path()).unwrap();
        assert!(get(&empty, "host").unwrap().starts_with('/'));
        assert_eq!(get(&empty, "user"), Some("me"));
    }

    #[test]
    fn nothing_is_ignored_in_silence() {
        let home = tempfile::tempdir().unwrap();
        for (text, word) in [
            ("host=x require_auth=scram-sha-256", "require_auth"),
            ("host=x sslcrl=/x", "sslcrl"),
            ("host=x target_session_attrs=standby", "target_session_attrs"),
            ("host=x gssencmode=require", "gssencmode"),
            ("host=x nonsense=1", "nonsense"),
            ("host=x client_encoding=LATIN1", "client_encoding"),
            ("postgresql://h/d?ssl=false", "ssl=false"),
        ] {
            let why = completed(text, &[], home.path()).unwrap().config().unwrap_err();
            assert!(format!("{why:?}").contains(word), "{text}: {why:?}");
        }
        for variable in ["PGREQUIREPEER", "PGSSLCRLDIR", "PGSSLMAXPROTOCOLVERSION", "PGSSLSNI"] {
            let why = completed("host=x", &[(variable, "odd")], home.path()).unwrap().config().unwrap_err();
            assert!(format!("{why:?}").contains("odd"), "{variable}: {why:?}");
        }
        for text in [
            "host=x gssencmode=prefer client_encoding=UTF8",
            "host=x target_session_attrs=primary keepalives_count=3",
        ] {
            assert!(completed(text, &[], home.path()).unwrap().config().is_ok(), "{text}");
        }
        for text in ["host", "host='x", "=x", "postgresql://u@h/%zz", "service=none", "host=x password=y"] {
            assert!(completed(text, &[], home.path()).is_err(), "{text}");
        }
    }

    fn with_passfile(text: &str, lines: &str) -> Result<Option<String>, Failure> {
        let home = tempfile::tempdir().unwrap();
        let pgpass = home.path().join(".pgpass");
        std::fs::write(&pgpass, lines).unwrap();
        std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).unwrap();
        Ok(get(&completed(text, &[], home.path())?, "password").map(str::to_owned))
    }

    #[test]
    fn password_files_as_libpq_reads_them() {
        for (text, lines, expected) in [
            // A password ends at a colon that is not escaped.
            ("host=h user=u", "h:5432:*:u:a:b\n", Some("a")),
            // A star that is escaped is a star.
            ("host=h user=u", "\\*:*:*:*:star\nh:*:*:*:name\n", Some("name")),
            ("host=h user=u", "h:*:*:*\nh:*:*:*:\n", None),
            ("host=/run/postgresql user=u", "localhost:*:*:*:socket\n", Some("socket")),
            ("hostaddr=192.0.2.7 user=u", "192.0.2.7:*:*:*:address\n", Some("address")),
            ("host=h hostaddr=192.0.2.7 user=u", "192.0.2.7:*:*:*:address\nh:*:*:*:name\n", Some("name")),
            ("host=a,b port=1,2 user=u", "b:2:*:*:second\n", Some("second")),
            ("host=a,b port=7 user=u", "b:7:*:*:second\n", Some("second")),
        ] {
            assert_eq!(with_passfile(text, lines).unwrap().as_deref(), expected, "{text}: {lines}");
        }
        let why = with_passfile("host=a,b user=u", "a:*:*:*:one\nb:*:*:*:two\n").unwrap_err();
        assert!(format!("{why:?}").contains("a and b differ"), "{why:?}");
    }

    #[test]
    fn what_is_empty_is_the_default_and_an_address_is_a_host() {
        let home = tempfile::tempdir().unwrap();
        let at = |text: &str, variables: &[(&str, &str)]| completed(text, variables, home.path()).unwrap();
        let empty = at("host='' port=''", &[("PGHOST", "db"), ("PGPORT", "7")]);
        assert!(get(&empty, "host").unwrap().starts_with('/') && get(&empty, "port").is_none());
        let address = at("", &[("PGHOSTADDR", "192.0.2.7")]);
        assert_eq!(get(&address, "host"), Some("192.0.2.7"));
        let port = at("postgresql://[::1]/d", &[("PGPORT", "7")]);
        assert_eq!((get(&port, "host"), get(&port, "port")), (Some("::1"), Some("7")));
        for (line, word) in
            [("host = h", "without blanks"), ("service=x", "another"), ("nonsense", "key=value")]
        {
            std::fs::write(home.path().join(".pg_service.conf"), format!("[s]\n{line}\n")).unwrap();
            let why = completed("service=s", &[], home.path()).unwrap_err();
            assert!(
                format!("{why:?}").contains(word) && format!("{why:?}").contains(":2:1:"),
                "{line}: {why:?}"
            );
        }
    }
}
