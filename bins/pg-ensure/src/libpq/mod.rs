//! Connection parameters as libpq reads them: a connection string or URI, a service file, the environment, a password
//! file, and defaults. A parameter that is not supported is an error.

mod config;
mod passfile;
mod service;
mod syntax;

use cli_support::outcome::Failure;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
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

/// The environment from which libpq takes defaults.
pub(crate) struct ProcessEnvironment<'s> {
    /// Function that returns the value of an environment variable. `None` if it is not set.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<String>,
    /// Home directory. `None` if not known.
    pub(crate) home: Option<PathBuf>,
    /// Name of the account. `None` if not known.
    pub(crate) account: Option<String>,
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
            Some(rest) => syntax::uri(rest)?,
            None => syntax::keyword_value(text)?,
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
            let found = service::parameters(&service, self.0.remove("servicefile").as_deref(), around)?;
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
        if (around.variable)("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
            self.0.entry("sslmode".to_owned()).or_insert_with(|| "require".to_owned());
        }
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
        if let Some(user) = self.0.get("user").cloned() {
            self.0.entry("dbname".to_owned()).or_insert(user);
        }
        Ok(self)
    }

    /// Adds the password of the password file, unless a password is set.
    ///
    /// # Errors
    /// Returns a failure if the file does not have the same password for all of several hosts.
    pub(crate) fn with_password(mut self, around: &ProcessEnvironment<'_>) -> Result<Self, Failure> {
        if !self.0.contains_key("password") {
            let found = passfile::password(&self.0, around)?;
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
}

/// Folders in which distributions put the server's socket.
const DEFAULT_FOLDERS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];

/// Returns the first default folder that contains a trusted socket for the first port, or the first folder.
fn default_host(port: Option<&str>) -> String {
    let port = port.and_then(|ports| ports.split(',').next()).unwrap_or("5432");
    let socket = |folder: &&&str| is_trusted_socket(&Path::new(folder).join(format!(".s.PGSQL.{port}")));
    (*DEFAULT_FOLDERS.iter().find(socket).unwrap_or(&DEFAULT_FOLDERS[0])).to_owned()
}

/// Returns `true` if a path is a socket, and no other user can have made it. A missing account `postgres` is trusted with
/// nothing.
fn is_trusted_socket(path: &Path) -> bool {
    let is_socket = std::fs::metadata(path).is_ok_and(|about| about.file_type().is_socket());
    let folder = path.parent().and_then(|folder| std::fs::metadata(folder).ok());
    let (Some(folder), Ok(own), Ok(entry)) =
        (folder, std::fs::metadata("/proc/self"), std::fs::symlink_metadata(path))
    else {
        return false;
    };
    is_socket && is_trusted_owner(folder.mode(), entry.uid(), own.uid(), || account_id("postgres"))
}

/// Returns `true` if an entry of a folder is by an account that may be the server's. In a folder in which every user can
/// make files, such as `/tmp`, this is root, the account of this process or `postgres`: another user could make the
/// socket while the server is down, and receive the password.
fn is_trusted_owner(folder_mode: u32, owner: u32, own: u32, postgres: impl FnOnce() -> Option<u32>) -> bool {
    folder_mode & 0o002 == 0 || owner == 0 || owner == own || Some(owner) == postgres()
}

/// Returns the id of an account in `/etc/passwd`. `None` if there is none.
fn account_id(account: &str) -> Option<u32> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(account)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn completed(text: &str, variables: &[(&str, &str)], home: &Path) -> Result<Parameters, Failure> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let around = ProcessEnvironment {
            variable: &variable,
            home: Some(home.to_owned()),
            account: Some("me".to_owned()),
        };
        Parameters::parse(text)?.complete(&around, &[("dbname", "postgres")])?.with_password(&around)
    }

    fn get<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
        parameters.0.get(name).map(String::as_str)
    }

    #[test]
    fn sockets_of_other_users() {
        for (mode, owner, trusted) in [
            (0o1777, 0, true),
            (0o1777, 1000, true),
            (0o1777, 26, true),
            (0o1777, 1001, false),
            (0o3777, 1001, false),
            (0o2775, 1001, true),
            (0o755, 1001, true),
        ] {
            assert_eq!(is_trusted_owner(mode, owner, 1000, || Some(26)), trusted, "{mode:o} {owner}");
        }
        assert!(!is_trusted_owner(0o1777, 26, 1000, || None));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.5432");
        assert!(!is_trusted_socket(&path));
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(is_trusted_socket(&path));
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(!is_trusted_socket(&folder.path().join("file")));
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
            ("host=a,b port=7 user=u", "*:7:*:*:both\n", Some("both")),
            // An address need not be escaped, and may be.
            ("host=::1 user=u", "::1:5432:*:u:open\n", Some("open")),
            ("host=::1 user=u", "\\:\\:1:5432:*:u:escaped\n", Some("escaped")),
            ("host=::1 user=u", "::2:5432:*:u:other\n", None),
            ("host=a user=u", "ab:*:*:*:x\n*a:*:*:*:y\na:54321:*:*:z\n", None),
        ] {
            assert_eq!(with_passfile(text, lines).unwrap().as_deref(), expected, "{text}: {lines}");
        }
        // A password of one host is not sent to another.
        for (text, lines) in [
            ("host=a,b user=u", "a:*:*:*:one\nb:*:*:*:two\n"),
            ("host=a,b port=1,2 user=u", "b:2:*:*:second\n"),
            ("host=a,b user=u", "a:*:*:*:first\n"),
        ] {
            let why = with_passfile(text, lines).unwrap_err();
            assert!(format!("{why:?}").contains("a and b differ"), "{text}: {why:?}");
        }
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
