//! The laboratory of the scenario with one edge: the servers of the internet, the programs under test, and the clients
//! of the chapters.

use crate::external::ExternalServers;
use crate::facts::{ensure, until};
use crate::front::forward;
use crate::host::{EDGE, Host, Running};
use crate::topology::{MAILJET, PACMAN, STALWART, Topology};
use crate::{postgres, programs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::mail::{CertificateFiles, Postfix};
use testkit::tls_client;

/// Password of the accounts at Mailjet and Stalwart.
pub(crate) const MAIL_PASSWORD: &str = "pa#ss;w%rd`\"";
/// API key of the account at Mailjet.
pub(crate) const MAIL_KEY: &str = "0123456789abcdef0123456789abcdef";
/// Public IPv4 address of the edge.
pub(crate) const EDGE_ADDRESS: &str = PACMAN.v4;

/// The lab with one edge: its hosts, the servers of the internet, and the running programs.
pub(crate) struct Lab {
    pub(crate) topology: Topology,
    pub(crate) external: ExternalServers,
    pub(crate) stalwart: Postfix,
    pub(crate) mailjet: Postfix,
    pub(crate) edge: Mutex<Option<Running>>,
    /// Locked for writing while Vaultwarden's database is unavailable, and for reading by checks that need its site.
    pub(crate) vault_outage: RwLock<()>,
    services: Mutex<Vec<Running>>,
}

/// DNS records for mail, in zone file format.
pub(crate) const MAIL: &str = "mail A 203.0.113.25\n@ MX 10 mail\n\
    @ TXT \"v=spf1 ip4:203.0.113.25 include:spf.mailjet.com -all\"\n\
    _dmarc TXT \"v=DMARC1; p=reject; adkim=s\"";

/// Creates a key pair, and returns its DKIM records for both mail services, as lines of a zone file. Nothing is signed
/// by it.
///
/// # Errors
/// Returns a description if openssl fails.
pub(crate) fn domain_keys() -> Result<String, String> {
    let script =
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkey -pubout | grep -v ^-";
    let output =
        std::process::Command::new("sh").args(["-c", script]).output().map_err(|why| why.to_string())?;
    let key: String = String::from_utf8_lossy(&output.stdout).split_whitespace().collect();
    let (first, second) = key.split_at_checked(200).ok_or("openssl made no key")?;
    let record = |who: &str| format!("{who}._domainkey TXT \"v=DKIM1; k=rsa; p={first}\" \"{second}\"");
    Ok(["mailjet", "stalwart"].map(record).join("\n"))
}

impl Lab {
    /// Starts the servers of the internet and of mail, and writes the secrets and certificates. None of the programs
    /// under test runs yet.
    ///
    /// # Errors
    /// Returns a description of what could not be started or written.
    pub(crate) fn new(topology: Topology) -> Result<Self, String> {
        let internet = &topology.internet;
        let mail = |name: &str, account: &str| {
            let pair =
                CertificateFiles::write(&topology.folder, name, &topology.public_authority.issue(&[name]));
            internet.run_inside(|| Postfix::start_for(&pair, account, MAIL_PASSWORD, "forge"))
        };
        let external = ExternalServers::start(&topology, &[PACMAN], &format!("{MAIL}\n{}", domain_keys()?))?;
        let stalwart = mail("mail.example.org", "forge");
        let mailjet = mail("in-v3.mailjet.com", MAIL_KEY);
        internet.run_inside(|| {
            forward(STALWART, ([127, 0, 0, 1], stalwart.smtps).into())?;
            forward(MAILJET, ([127, 0, 0, 1], mailjet.smtps).into())
        })?;
        let lab = Self {
            topology,
            external,
            stalwart,
            mailjet,
            edge: Mutex::default(),
            vault_outage: RwLock::default(),
            services: Mutex::default(),
        };
        lab.secrets().map_err(|why| format!("secrets: {why}"))?;
        Ok(lab)
    }

    /// Writes the secrets of the hosts, as agenix or systemd does, and their certificates.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    fn secrets(&self) -> std::io::Result<()> {
        let (vps, matrix) = (&self.topology.vps, &self.topology.matrix);
        vps.secret("run/credentials/edge-proxyd.service/cloudflare", TOKEN, EDGE)?;
        let account = postgres::postgres_uid(matrix);
        for name in ["vaultwarden", "headscale", "forgejo"] {
            matrix.secret(&format!("run/secrets/{name}-db"), &format!("first of {name}"), account)?;
        }
        matrix.secret("run/credentials/pg-ensure.service/grafana-db", "first of grafana", account)?;
        matrix.secret("run/agenix/mailjet-secret-key", MAIL_PASSWORD, 0)?;
        matrix.secret("run/agenix/forgejo-smtp", MAIL_PASSWORD, 0)?;
        self.topology.lay_out(&self.external.issuing_root)
    }

    /// Starts the edge, with additional environment variables as `NAME=value` for env(1). An edge that runs is killed.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started.
    pub(crate) fn start_edge(&self, environment: &str) -> Result<(), String> {
        let edge = programs::edge(&self.topology.vps, "/srv/vps-pacman/edge.toml", environment)?;
        *self.edge.lock().expect("no panic") = Some(edge);
        Ok(())
    }

    /// Starts the edge of a node, and keeps it running with the lab.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started.
    pub(crate) fn start_node(&self, host: &Host) -> Result<(), String> {
        self.keep(programs::node(host)?);
        Ok(())
    }

    /// Starts an application on a node, and keeps it running with the lab.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started.
    pub(crate) fn start_service(&self, host: &Host, arguments: &str) -> Result<(), String> {
        self.keep(programs::service(host, arguments)?);
        Ok(())
    }

    /// Starts the edge and the application of the second node.
    ///
    /// # Errors
    /// Returns a description if a program cannot be started.
    pub(crate) fn start_second_node(&self) -> Result<(), String> {
        let node = self.topology.eniac.lock().expect("no panic");
        self.start_node(&node)?;
        self.start_service(&node, "eniac 127.0.0.1:3000")
    }

    /// Keeps a program running with the lab.
    fn keep(&self, running: Running) {
        self.services.lock().expect("no panic").push(running);
    }

    /// Runs curl on the client's host, with these arguments, the CA as the only root and a limit of 15 s. Returns the
    /// content of the response and, on a line of its own, version and status, such as `3 200`.
    ///
    /// # Errors
    /// Returns the output if curl fails.
    pub(crate) fn curl(&self, arguments: &str) -> Result<String, String> {
        self.curl_from(&self.topology.client, arguments)
    }

    /// Runs curl on a host, as [`curl`](Self::curl) does.
    ///
    /// # Errors
    /// Returns the output and the status if curl fails.
    pub(crate) fn curl_from(&self, host: &Host, arguments: &str) -> Result<String, String> {
        host.ask(&format!(
            "/opt/newer/curl -sS --max-time 15 --cacert /run/issuing.pem -w '\\n%{{http_version}} %{{http_code}}' {arguments}"
        ))
    }

    /// Runs `client.py` on the client's host, and returns its output.
    ///
    /// # Errors
    /// Returns the output if it fails or takes longer than 40 s.
    pub(crate) fn python_client(&self, arguments: &str) -> Result<String, String> {
        let client = &self.topology.client;
        std::fs::write(client.folder.join("run/client.py"), include_str!("client.py"))
            .map_err(|why| why.to_string())?;
        client.ask(&format!("PYTHONPATH=/opt/python-judges timeout 40 python3 -B /run/client.py {arguments}"))
    }

    /// Returns the last two access log lines with a status 5xx of both edges, for error messages.
    pub(crate) fn refused_by_edges(&self) -> String {
        let last = |host: &Host| {
            let log = std::fs::read_to_string(host.folder.join("run/access.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"status\":5")).collect();
            format!("{}: {}", host.name, lines[lines.len().saturating_sub(2)..].join("; "))
        };
        format!("{}; {}", last(&self.topology.vps), last(&self.topology.matrix))
    }

    /// Returns the TLS configuration of a client that trusts only the CA and offers HTTP/1.1.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::new(tls_client(&self.external.issuing_root, &[b"http/1.1"]))
    }

    /// Sends a request to the edge over HTTP/1.1 on its own connection, from this thread's network; one with the method
    /// POST has an empty body. Returns status and content.
    ///
    /// # Errors
    /// Returns the reason if the connection fails, or there is no status. Each read may take 70 s.
    pub(crate) fn request(
        &self,
        tls: &Arc<ClientConfig>,
        method: &str,
        host: &str,
        path: &str,
    ) -> Result<(u16, String), String> {
        let said = |why: std::io::Error| why.to_string();
        let address = (EDGE_ADDRESS, 443);
        let tcp = TcpStream::connect(address).map_err(said)?;
        tcp.set_read_timeout(Some(Duration::from_secs(70))).map_err(said)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|why| why.to_string())?;
        let connection = ClientConnection::new(tls.clone(), name).map_err(|why| why.to_string())?;
        let mut stream = StreamOwned::new(connection, tcp);
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}Connection: close\r\n\r\n")
            .map_err(said)?;
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let Some(status) = status else {
            return Err(read.map_or_else(|why| why.to_string(), |_| "no answer".into()));
        };
        Ok((status, text.split_once("\r\n\r\n").map_or("", |(_, content)| content).to_owned()))
    }

    /// Executes a statement as the superuser of the first node's PostgreSQL, and returns its result.
    ///
    /// # Errors
    /// Returns the output of psql if it fails.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Result<String, String> {
        postgres::sql(&self.topology.matrix, database, statement)
    }

    /// Requests a path of a site from the client's host until the status of the response is `status`, at most for
    /// `within`. Returns the content.
    ///
    /// # Errors
    /// Returns the last response or error.
    pub(crate) fn wait_for_status(
        &self,
        host: &str,
        path: &str,
        status: u16,
        within: Duration,
    ) -> Result<String, String> {
        let tls = self.tls();
        self.topology.client.run_inside(|| {
            until(within, || {
                let (got, content) = self.request(&tls, "GET", host, path)?;
                ensure(got == status, || format!("{host}{path} answers {got}: {content}"))?;
                Ok(content)
            })
        })
    }
}

/// Returns the value of a header field that the application received, from `content`, its response. Several values are
/// joined by commas; empty if there is none.
///
/// # Errors
/// Returns an error if the content is not from the application.
pub(crate) fn field(content: &str, name: &str) -> Result<String, String> {
    let json = content.lines().next().unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(json).map_err(|why| format!("{why}: {content}"))?;
    let fields = value["headers"].as_array().ok_or_else(|| format!("no fields: {content}"))?;
    let found: Vec<&str> =
        fields.iter().filter(|field| field[0] == name).filter_map(|field| field[1].as_str()).collect();
    Ok(found.join(", "))
}
