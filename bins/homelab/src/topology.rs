//! The hosts and their networks: a public network, a tailnet, and a machine in place of the rest of the internet.
//!
//! A new host needs a field of [`Topology`], which [`Topology::new`] boots and connects, and its addresses in
//! [`PLACES`].

use crate::host::{ACME_GROUP, EDGE, Host, HostResources};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use testkit::Authority;

/// Host, interface, network and addresses with prefix lengths of each connection.
const PLACES: &[(&str, &str, &str, &[&str])] = &[
    ("vps-pacman", "eth0", "public", &["203.0.113.1/24", "2001:db8::1/64"]),
    ("vps-pacman", "tailscale0", "tailnet", &["100.64.0.1/10", "fd7a:115c:a1e0::1/48"]),
    ("vps-galaga", "eth0", "public", &["203.0.113.3/24", "2001:db8::3/64"]),
    ("vps-galaga", "tailscale0", "tailnet", &["100.64.0.4/10", "fd7a:115c:a1e0::4/48"]),
    ("lab-matrix", "eth0", "public", &["203.0.113.2/24"]),
    ("lab-matrix", "tailscale0", "tailnet", &["100.64.0.2/10", "fd7a:115c:a1e0::2/48"]),
    ("id3-eniac", "tailscale0", "tailnet", &["100.64.0.3/10", "fd7a:115c:a1e0::3/48"]),
    ("laptop", "tailscale0", "tailnet", &["100.64.0.9/10"]),
    ("client", "eth0", "public", &["203.0.113.7/24", "2001:db8::7/64"]),
    ("attacker", "eth0", "public", &["203.0.113.66/24"]),
    (
        "internet",
        "eth0",
        "public",
        &["203.0.113.53/24", "203.0.113.80/24", "203.0.113.25/24", "203.0.113.26/24"],
    ),
];

/// Names that MagicDNS resolves, in the format of /etc/hosts.
const TAILNET_NAMES: &str =
    "100.64.0.1 vps-pacman\n100.64.0.2 lab-matrix\n100.64.0.3 id3-eniac\n100.64.0.4 vps-galaga\n";

/// Addresses of a host on the public network, IPv4 and IPv6.
pub(crate) struct Address {
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
}

/// Addresses of the host `vps-pacman`: the edge, or the first edge of the scenario with two.
pub(crate) const PACMAN: Address = Address { v4: "203.0.113.1", v6: "2001:db8::1" };
/// Addresses of the host `vps-galaga`, the second edge of the scenario with two.
pub(crate) const GALAGA: Address = Address { v4: "203.0.113.3", v6: "2001:db8::3" };

/// Name server of the internet, which resolves every external name that the hosts use.
pub(crate) const NAME_SERVER: &str = "203.0.113.53:53";
/// Address and port of the CA and of the APIs of Cloudflare and deSEC.
pub(crate) const WEB: &str = "203.0.113.80:443";
/// Address and port of the mail server Stalwart of this network.
pub(crate) const STALWART: &str = "203.0.113.25:465";
/// Address and port of the submission server of Mailjet.
pub(crate) const MAILJET: &str = "203.0.113.26:465";

/// All hosts and networks. They end when this is dropped.
pub(crate) struct Topology {
    pub(crate) vps: Host,
    /// The second edge. `None` in the scenario with one edge.
    pub(crate) galaga: Option<Host>,
    pub(crate) matrix: Host,
    pub(crate) eniac: Mutex<Host>,
    pub(crate) laptop: Host,
    pub(crate) client: Host,
    pub(crate) attacker: Host,
    pub(crate) internet: Host,
    pub(crate) switch: Host,
    /// CA of the servers of the internet.
    pub(crate) public_authority: Authority,
    /// CA of the tailnet, for double TLS.
    pub(crate) tailnet_authority: Authority,
    /// Folder of the programs.
    pub(crate) programs: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Topology {
    /// Boots all hosts, with one edge or two, and connects them. Requires root.
    ///
    /// # Errors
    /// Returns a description if a host does not boot or cannot be connected.
    pub(crate) fn new(folder: &Path, programs: &Path, two_edges: bool) -> Result<Self, String> {
        let (public_authority, tailnet_authority) = (Authority::new(), Authority::new());
        let (tools, configurations) = (testkit::tools(), configurations());
        let given = given(folder, public_authority.root(), programs, &tools, &configurations);
        let boot = |name| Host::boot(name, &given);
        let switch = boot("switch")?;
        switch.ask(
            "ip link add public type bridge && ip link set public up && \
             ip link add tailnet mtu 1280 type bridge && ip link set tailnet up",
        )?;
        let topology = Self {
            vps: boot("vps-pacman")?,
            galaga: two_edges.then(|| boot("vps-galaga")).transpose()?,
            matrix: boot("lab-matrix")?,
            eniac: Mutex::new(boot("id3-eniac")?),
            laptop: boot("laptop")?,
            client: boot("client")?,
            attacker: boot("attacker")?,
            internet: boot("internet")?,
            switch,
            public_authority,
            tailnet_authority,
            programs: programs.to_owned(),
            folder: folder.to_owned(),
        };
        for host in [
            &topology.vps,
            &topology.matrix,
            &topology.laptop,
            &topology.client,
            &topology.attacker,
            &topology.internet,
        ] {
            topology.connect(host)?;
        }
        topology.galaga.iter().try_for_each(|host| topology.connect(host))?;
        topology.connect(&topology.eniac.lock().expect("no panic"))?;
        Ok(topology)
    }

    /// Connects a host to the networks that [`PLACES`] lists for it, with an MTU of 1280 on the tailnet and 1500 on the
    /// public one.
    ///
    /// # Errors
    /// Returns the command that failed.
    fn connect(&self, host: &Host) -> Result<(), String> {
        for (_, interface, network, addresses) in PLACES.iter().filter(|place| place.0 == host.name) {
            let port = port(host.name, network);
            let mtu = if *network == "tailnet" { 1280 } else { 1500 };
            // Run from outside, since the switch's namespace does not contain the process IDs of other hosts.
            let mut plug = Command::new("nsenter");
            plug.args(["--target", &self.switch.pid().to_string(), "--net", "ip", "link", "add", &port]);
            plug.args(["mtu", &mtu.to_string(), "type", "veth", "peer", "name", interface]);
            plug.args(["mtu", &mtu.to_string(), "netns", &host.pid().to_string()]);
            // The kernel removes the port of a host that lost power some time after its namespace has ended.
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                let output = plug.output().map_err(|why| format!("nsenter: {why}"))?;
                if output.status.success() {
                    break;
                }
                let why = String::from_utf8_lossy(&output.stderr);
                if !why.contains("File exists") || Instant::now() > until {
                    return Err(format!("{plug:?}: {why}"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            self.switch.ask(&format!("ip link set {port} master {network} up"))?;
            host.ask(&format!("ip link set {interface} up"))?;
            for address in *addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                host.ask(&format!("ip address add {address} dev {interface} {nodad}"))?;
            }
        }
        Ok(())
    }

    /// Writes certificates and roots: the second node's certificate of the tailnet's CA, the roots of the tailnet's CA
    /// and of the household's and the certificate folder for the edges, the root of issued certificates for the client,
    /// the attacker and the laptop, and client certificates for the client.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub(crate) fn lay_out(&self, issuing_root: &str) -> std::io::Result<()> {
        let folder = self.eniac.lock().expect("no panic").folder.join("var-lib/tailnet-ca/eniac.example.org");
        self.tailnet_authority.write(&folder, &["eniac.example.org", "*.eniac.example.org"]);
        for edge in std::iter::once(&self.vps).chain(&self.galaga) {
            std::fs::create_dir_all(edge.folder.join("etc/edge-proxyd"))?;
            std::fs::write(
                edge.folder.join("etc/edge-proxyd/tailnet-ca.pem"),
                self.tailnet_authority.root(),
            )?;
            let acme = edge.folder.join("var-lib/acme");
            std::fs::create_dir_all(&acme)?;
            chown(&acme, Some(EDGE), Some(ACME_GROUP))?;
        }
        for host in [&self.client, &self.attacker, &self.laptop] {
            std::fs::write(host.folder.join("run/issuing.pem"), issuing_root)?;
        }
        let (household, others) = (Authority::named("the household"), Authority::named("others"));
        std::fs::write(self.vps.folder.join("etc/edge-proxyd/household-ca.pem"), household.root())?;
        for (name, (chain, key)) in
            [("ann", household.issue_client("Ann", 1)), ("stranger", others.issue_client("Ann", 1))]
        {
            std::fs::write(self.client.folder.join(format!("run/{name}.pem")), chain)?;
            std::fs::write(self.client.folder.join(format!("run/{name}.key")), key)?;
        }
        Ok(())
    }

    /// Connects a host to a network if `up` is `true`, or else disconnects it, by the state of its port at the switch.
    ///
    /// # Errors
    /// Returns the output and the status if `ip` fails.
    pub(crate) fn plug(&self, host: &str, network: &str, up: bool) -> Result<(), String> {
        let state = if up { "up" } else { "down" };
        self.switch.ask(&format!("ip link set {} {state}", port(host, network))).map(drop)
    }

    /// Boots the second node again after its power was cut, with the files that it had, and connects it.
    ///
    /// # Errors
    /// Returns a description if the host cannot be started or connected.
    pub(crate) fn boot_eniac_again(&self) -> Result<(), String> {
        let mut eniac = self.eniac.lock().expect("no panic");
        let (tools, configurations) = (testkit::tools(), configurations());
        let given =
            given(&self.folder, self.public_authority.root(), &self.programs, &tools, &configurations);
        *eniac = Host::boot("id3-eniac", &given)?;
        self.connect(&eniac)
    }
}

/// Returns the folder of the example configurations.
fn configurations() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts"))
}

/// Returns the resources of the hosts, with the names that MagicDNS resolves.
fn given<'a>(
    folder: &'a Path,
    roots: &'a str,
    programs: &'a Path,
    tools: &'a Path,
    configurations: &'a Path,
) -> HostResources<'a> {
    HostResources { folder, roots, names: TAILNET_NAMES, programs, tools, configurations }
}

/// Returns the interface name of a host's port at the switch of a network, at most 12 characters: the first three of
/// the network, `-`, and the first eight letters and digits of the host.
pub(crate) fn port(host: &str, network: &str) -> String {
    let short: String = host.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}-{short}", &network[..3])
}
