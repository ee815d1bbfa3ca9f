//! The day's morning: servers of the internet, the owner's programs, and what chapters ask them with.

use crate::facts::{ensure, until};
use crate::front::{Front, forward};
use crate::host::{ACME_GROUP, EDGE, Host, Running};
use crate::world::{MAILJET, NAME_SERVER, STALWART, WEB, World};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::mail::{Pair, Postfix};
use testkit::{CloudflareMock, Knot, Pebble, PebbleVersion, tls_client};

/// The owner's zone.
pub(crate) const ZONE: &str = "example.org";
/// What the account at Mailjet and that at Stalwart are proven by.
pub(crate) const MAIL_PASSWORD: &str = "pa#ss;w%rd`\"";
/// The account at Mailjet: an API key.
pub(crate) const MAIL_KEY: &str = "0123456789abcdef0123456789abcdef";
/// The public address of the edge.
pub(crate) const EDGE_ADDRESS: &str = "203.0.113.1";

/// PostgreSQL's programs as the hosts see them.
pub(crate) fn programs_of_postgres(major: u32) -> String {
    // The 17 with ICU is of a suite whose fixes are newer than those of the 18: an upgrade from it is refused, rightly.
    if major == 17 { "/opt/postgresql-17/bin".to_owned() } else { format!("/opt/postgresql-{major}-icu/bin") }
}

/// Everything that runs.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) front: Arc<Front>,
    pub(crate) cloudflare: CloudflareMock,
    pub(crate) knot: Knot,
    pub(crate) pebble: Pebble,
    pub(crate) stalwart: Postfix,
    pub(crate) mailjet: Postfix,
    /// The root of what the CA issues, in PEM.
    pub(crate) issuing_root: String,
    pub(crate) edge: Mutex<Option<Running>>,
    services: Mutex<Vec<Running>>,
}

/// The zones of the name server besides the owner's.
const REST: &[(&str, &str)] = &[
    ("org", "example NS ns.example\nns.example A 203.0.113.53\nacme-v02.api.letsencrypt A 203.0.113.80"),
    (
        "com",
        "api.cloudflare A 203.0.113.80\nin-v3.mailjet A 203.0.113.26\nspf.mailjet TXT \"v=spf1 ip4:203.0.113.26 -all\"",
    ),
];

const OWNERS: &str = "@ A 203.0.113.1\n@ AAAA 2001:db8::1\n* A 203.0.113.1\n* AAAA 2001:db8::1\n\
    *.eniac A 203.0.113.1\n*.eniac AAAA 2001:db8::1\neniac A 203.0.113.1\neniac AAAA 2001:db8::1\n\
    mail A 203.0.113.25\n@ MX 10 mail\n@ TXT \"v=spf1 ip4:203.0.113.25 include:spf.mailjet.com -all\"\n\
    _dmarc TXT \"v=DMARC1; p=reject; adkim=s\"";

/// The records of DKIM that both services want.
fn domain_keys() -> Result<String, String> {
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
    /// Starts the servers of the internet, and lays the owner's secrets out. None of the owner's programs runs yet.
    pub(crate) fn new(world: World) -> Result<Self, String> {
        let internet = &world.internet;
        let mail = |name: &str, account: &str| {
            let pair = Pair::write(&world.folder, name, &world.public_authority.issue(&[name]));
            internet.within(|| Postfix::start_for(&pair, account, MAIL_PASSWORD, "forge"))
        };
        let owners = format!("{OWNERS}\n{}", domain_keys()?);
        let (knot, cloudflare, pebble, front) = internet.within(|| {
            let mut zones = vec![(ZONE, owners.as_str())];
            zones.extend(REST);
            let server: std::net::SocketAddrV4 = NAME_SERVER.parse().expect("an address");
            let knot = Knot::start_at(*server.ip(), server.port(), &zones, &[]);
            let cloudflare = CloudflareMock::start(&[ZONE]);
            let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
            let front = Front::start(
                WEB,
                &world.public_authority,
                (pebble.address(), pebble.tls_root()),
                cloudflare.clone(),
                ZONE,
            )?;
            Ok::<_, String>((knot, cloudflare, pebble, front))
        })?;
        let issuing_root = internet.within(|| pebble.issuing_root());
        let stalwart = mail("mail.example.org", "forge");
        let mailjet = mail("in-v3.mailjet.com", MAIL_KEY);
        internet.within(|| {
            forward(STALWART, ([127, 0, 0, 1], stalwart.smtps).into())?;
            forward(MAILJET, ([127, 0, 0, 1], mailjet.smtps).into())
        })?;
        let lab = Self {
            world,
            front,
            cloudflare,
            knot,
            pebble,
            stalwart,
            mailjet,
            issuing_root,
            edge: Mutex::default(),
            services: Mutex::default(),
        };
        lab.secrets().map_err(|why| format!("secrets: {why}"))?;
        Ok(lab)
    }

    /// What agenix or systemd would lay out.
    fn secrets(&self) -> std::io::Result<()> {
        let (vps, matrix) = (&self.world.vps.folder, &self.world.matrix.folder);
        let secret = |path: PathBuf, text: &str, owner: u32| {
            std::fs::create_dir_all(path.parent().expect("a folder"))?;
            std::fs::write(&path, format!("{text}\n"))?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400))?;
            chown(&path, Some(owner), None)
        };
        secret(vps.join("run/credentials/edge-proxyd.service/cloudflare"), TOKEN, EDGE)?;
        let postgres = self.account_of_postgres();
        for name in ["vaultwarden", "headscale", "forgejo"] {
            secret(matrix.join(format!("run/secrets/{name}-db")), &format!("first of {name}"), postgres)?;
        }
        secret(matrix.join("run/credentials/pg-ensure.service/grafana-db"), "first of grafana", postgres)?;
        secret(matrix.join("run/agenix/mailjet-secret-key"), MAIL_PASSWORD, 0)?;
        secret(matrix.join("run/agenix/forgejo-smtp"), MAIL_PASSWORD, 0)?;
        // The CA of the tailnet: what the edge believes, and what the second node proves itself by.
        let etc = self.world.eniac.lock().expect("no panic").folder.join("var-lib/tailnet-ca");
        self.world
            .tailnet_authority
            .write(&etc.join("eniac.example.org"), &["eniac.example.org", "*.eniac.example.org"]);
        std::fs::create_dir_all(vps.join("etc/edge-proxyd"))?;
        std::fs::write(vps.join("etc/edge-proxyd/tailnet-ca.pem"), self.world.tailnet_authority.root())?;
        std::fs::create_dir_all(vps.join("var-lib/acme"))?;
        chown(vps.join("var-lib/acme"), Some(EDGE), Some(ACME_GROUP))?;
        for host in [&self.world.client, &self.world.attacker] {
            std::fs::write(host.folder.join("run/issuing.pem"), &self.issuing_root)?;
        }
        Ok(())
    }

    /// The number of PostgreSQL's account on this machine.
    pub(crate) fn account_of_postgres(&self) -> u32 {
        let text = self.world.matrix.ask("id -u postgres").unwrap_or_default();
        text.parse().unwrap_or(0)
    }

    /// A command as PostgreSQL's account, which may pass folders that are root's: the tools may be in one.
    pub(crate) fn as_postgres(&self, command: &str) -> String {
        format!(
            "setpriv --reuid postgres --regid postgres --clear-groups --inh-caps=-all,+dac_read_search \
             --ambient-caps=-all,+dac_read_search env CREDENTIALS_DIRECTORY=/run/credentials/pg-ensure.service {command}"
        )
    }

    /// The edge, as its unit runs it: an account of its own in the group `acme`, which may listen below 1024.
    pub(crate) fn start_edge(&self, environment: &str) -> Result<(), String> {
        let edge = self.world.vps.start(&format!(
            "setpriv --reuid edge-proxy --regid acme --clear-groups --inh-caps=-all,+net_bind_service \
             --ambient-caps=-all,+net_bind_service env CREDENTIALS_DIRECTORY=/run/credentials/edge-proxyd.service {environment} \
             edge-proxyd run --workers 2 --grace 2 --config /srv/vps-pacman/edge.toml >> /run/access.log"
        ))?;
        *self.edge.lock().expect("no panic") = Some(edge);
        Ok(())
    }

    /// The edge of a node.
    pub(crate) fn start_node(&self, host: &Host) -> Result<(), String> {
        let command = format!(
            "edge-proxyd run --workers 1 --grace 2 --config /srv/{}/edge.toml >> /run/access.log",
            host.name
        );
        self.keep(host.start(&command)?);
        Ok(())
    }

    /// An application, started again whenever it ends.
    pub(crate) fn start_service(&self, host: &Host, arguments: &str) -> Result<(), String> {
        let script = host.folder.join("run/service.py");
        std::fs::write(script, include_str!("service.py")).map_err(|why| why.to_string())?;
        let command = format!("sh -c 'while :; do python3 /run/service.py {arguments}; sleep 0.1; done'");
        self.keep(host.start(&command)?);
        Ok(())
    }

    fn keep(&self, running: Running) {
        self.services.lock().expect("no panic").push(running);
    }

    /// curl with HTTP/3 on the client's host. The answer's version, status and content.
    pub(crate) fn curl(&self, arguments: &str) -> Result<String, String> {
        self.curl_from(&self.world.client, arguments)
    }

    pub(crate) fn curl_from(&self, host: &Host, arguments: &str) -> Result<String, String> {
        host.ask(&format!(
            "/opt/newer/curl -sS --max-time 15 --cacert /run/issuing.pem -w '\\n%{{http_version}} %{{http_code}}' {arguments}"
        ))
    }

    /// `client.py` on the client's host: what it said.
    pub(crate) fn python_client(&self, arguments: &str) -> Result<String, String> {
        let client = &self.world.client;
        std::fs::write(client.folder.join("run/client.py"), include_str!("client.py"))
            .map_err(|why| why.to_string())?;
        client.ask(&format!("PYTHONPATH=/opt/python-judges timeout 40 python3 -B /run/client.py {arguments}"))
    }

    /// The last lines of both edges' logs about requests that were not served, for the reason.
    pub(crate) fn refused_by_edges(&self) -> String {
        let last = |host: &Host| {
            let log = std::fs::read_to_string(host.folder.join("run/access.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"status\":5")).collect();
            format!("{}: {}", host.name, lines[lines.len().saturating_sub(2)..].join("; "))
        };
        format!("{}; {}", last(&self.world.vps), last(&self.world.matrix))
    }

    /// TLS as a client that believes the CA.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::new(tls_client(&self.issuing_root, &[b"http/1.1"]))
    }

    /// One request over HTTP/1.1 on a connection of its own, from this thread's network: status and content.
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

    /// What PostgreSQL on the node says to its superuser.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let psql = format!("{}/psql", programs_of_postgres(18));
        let command = format!(
            "{psql} -qAtX -h /run/postgresql -U postgres -d {database} -v ON_ERROR_STOP=1 -c \"{statement}\""
        );
        self.world.matrix.ask(&self.as_postgres(&command))
    }

    /// Waits until a site answers with a status.
    pub(crate) fn answers(
        &self,
        host: &str,
        path: &str,
        status: u16,
        within: Duration,
    ) -> Result<String, String> {
        let tls = self.tls();
        self.world.client.within(|| {
            until(within, || {
                let (got, content) = self.request(&tls, "GET", host, path)?;
                ensure(got == status, || format!("{host}{path} answers {got}: {content}"))?;
                Ok(content)
            })
        })
    }
}

/// The value of a field that the application got.
pub(crate) fn field(content: &str, name: &str) -> Result<String, String> {
    let json = content.lines().next().unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(json).map_err(|why| format!("{why}: {content}"))?;
    let fields = value["headers"].as_array().ok_or_else(|| format!("no fields: {content}"))?;
    let found: Vec<&str> =
        fields.iter().filter(|field| field[0] == name).filter_map(|field| field[1].as_str()).collect();
    Ok(found.join(", "))
}
