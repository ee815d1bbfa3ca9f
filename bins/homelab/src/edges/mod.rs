//! Two edges in front of the same nodes: certificates for both, sessions that resume at the other edge, the loss and
//! promotion of a database, and either edge killed under load.

mod ask;
mod boot;
mod database;
mod ends;
mod sessions;

use crate::external::ExternalServers;
use crate::facts::{Facts, ensure, until};
use crate::host::{EDGE, Host, Running};
use crate::postgres;
use crate::topology::{GALAGA, PACMAN, Topology};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::{RequestOutcome, ResumingClient, tls_client};

/// Configuration file of both edges.
const CONFIG: &str = "/srv/two-edges/edge.toml";
/// Name that the second node serves, with early data.
const EARLY: &str = "eniac.example.org";
/// Name that the first node serves, without early data.
const TICKETS: &str = "git.example.org";
/// Number of attempts for checks that fail if the database is too slow, as on a loaded machine.
const TRIES: usize = 8;
/// Name for which the edges themselves respond.
const APEX: &str = "www.example.org";

/// The lab with two edges: its hosts, the servers of the internet, and the running programs.
pub(crate) struct TwoEdgeLab {
    pub(crate) topology: Topology,
    pub(crate) external: ExternalServers,
    edges: [Mutex<Option<Running>>; 2],
    services: Mutex<Vec<Running>>,
}

impl TwoEdgeLab {
    /// Starts the servers of the internet, and writes the secrets and certificates. None of the programs under test
    /// runs yet.
    ///
    /// # Errors
    /// Returns a description of what could not be started or written.
    pub(crate) fn new(topology: Topology) -> Result<Self, String> {
        let external = ExternalServers::start(&topology, &[PACMAN, GALAGA], "")?;
        let edges = Self { topology, external, edges: Default::default(), services: Mutex::default() };
        edges.secrets().map_err(|why| format!("secrets: {why}"))?;
        Ok(edges)
    }

    /// Writes the secrets and certificates of the hosts.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    fn secrets(&self) -> std::io::Result<()> {
        for edge in self.hosts() {
            let credential =
                |name, text| edge.secret(&format!("run/credentials/edge-proxyd.service/{name}"), text, EDGE);
            credential("cloudflare", TOKEN)?;
            credential("database", "host=id3-eniac,lab-matrix user=edges dbname=edges sslmode=disable")?;
            credential("shared", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=")?;
        }
        let matrix = &self.topology.matrix;
        let account = postgres::postgres_uid(matrix);
        matrix.secret("run/credentials/pg-ensure.service/replicator", database::REPLICATOR, account)?;
        self.topology.lay_out(&self.external.issuing_root)
    }

    /// Returns the hosts of both edges.
    ///
    /// # Panics
    /// Panics if the lab has one edge.
    fn hosts(&self) -> [&Host; 2] {
        [&self.topology.vps, self.topology.galaga.as_ref().expect("this form has two edges")]
    }

    /// Starts an edge, by its index 0 or 1.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started.
    fn start(&self, edge: usize) -> Result<(), String> {
        let running = crate::programs::edge(self.hosts()[edge], CONFIG, "")?;
        *self.edges[edge].lock().expect("no panic") = Some(running);
        Ok(())
    }

    /// Kills an edge with SIGKILL, by its index. No effect if it does not run.
    fn kill(&self, edge: usize) {
        if let Some(mut running) = self.edges[edge].lock().expect("no panic").take() {
            running.kill();
        }
    }

    /// Returns the lines that an edge wrote to standard error since its start. Empty if it does not run.
    fn log_lines(&self, edge: usize) -> Vec<String> {
        let mut running = self.edges[edge].lock().expect("no panic");
        running.as_mut().map(|running| running.all().to_vec()).unwrap_or_default()
    }

    /// Creates a client without a session, with a timeout of 20 s for responses.
    fn client(&self) -> ResumingClient {
        let mut client = ResumingClient::new(tls_client(&self.external.issuing_root, &[b"http/1.1"]));
        client.patience = Duration::from_secs(20);
        client
    }

    /// Returns the value of a metric of an edge. `name` includes the labels.
    ///
    /// # Errors
    /// Returns an error if the edge does not respond, or the metric is missing or not a whole number.
    fn metric(&self, edge: usize, name: &str) -> Result<u64, String> {
        let said = self.hosts()[edge].ask("curl -sS --max-time 5 http://127.0.0.1:9180/metrics")?;
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.ok_or_else(|| format!("{name} is missing"))
    }

    /// Waits up to `within` until an edge reaches a writable database.
    ///
    /// # Errors
    /// Returns the last log line of the edge, or the reason why its metrics are missing.
    fn wait_for_database(&self, edge: usize, within: Duration) -> Result<(), String> {
        until(within, || {
            let up = self.metric(edge, "edge_shared_up")?;
            ensure(up == 1, || self.log_lines(edge).last().cloned().unwrap_or_default())
        })
    }

    /// Creates a client that has at least two sessions of an edge, and waits until the database has them, too.
    ///
    /// # Errors
    /// Returns an error if the edge does not respond, or the database does not have the sessions within 20 s.
    fn client_with_sessions(&self, edge: usize) -> Result<ResumingClient, String> {
        let kept = || self.metric(edge, "edge_shared_sessions_total{result=\"kept\"}");
        let (client, had) = (self.client(), kept()?);
        let made = self.topology.client.run_inside(|| client.ask(addresses()[edge], EARLY, "/made"));
        made.map_err(|why| format!("{why:?}"))?;
        until(Duration::from_secs(20), || {
            ensure(kept()? >= had + 2, || "the database does not have the sessions".into())
        })?;
        Ok(client)
    }

    /// Sends a request as early data to the edge that did not issue the session; `from` is the index of the one that
    /// did. The path contains `name`. Returns the outcome and the path of the request. An edge waits at most 200 ms for
    /// the database, which a loaded machine may exceed: the request then follows a full handshake, and another session
    /// is tried, up to [`TRIES`] times. In every case, each request must arrive exactly once.
    ///
    /// # Errors
    /// Returns an error if a request does not arrive once, or no session is resumed with early data.
    fn send_early_to_other(&self, from: usize, name: &str) -> Result<(RequestOutcome, String), String> {
        let to = addresses()[1 - from];
        for number in 1..=TRIES {
            let (client, path) = (self.client_with_sessions(from)?, format!("/{name}-{number}"));
            let went = self.topology.client.run_inside(|| client.ask(to, EARLY, &path));
            let went = went.map_err(|why| format!("{why:?}"))?;
            let count = self.count(&path)?;
            ensure(went.status == 200 && count == 1, || format!("it arrived {count} times: {went:?}"))?;
            if went.resumed && went.early {
                return Ok((went, path));
            }
        }
        Err(format!("no session of {TRIES} was resumed with early data"))
    }

    /// Returns the sum of a counter over both edges.
    ///
    /// # Errors
    /// Returns a description if an edge does not respond or has no such counter.
    fn sum(&self, name: &str) -> Result<u64, String> {
        Ok(self.metric(0, name)? + self.metric(1, name)?)
    }

    /// Returns the number of requests for a path that reached the application of the second node. The query is sent on
    /// that host, not through the edges.
    ///
    /// # Errors
    /// Returns a description if the application does not respond.
    fn count(&self, path: &str) -> Result<u64, String> {
        let eniac = self.topology.eniac.lock().expect("no panic");
        let said = eniac.ask(&format!("curl -sS --max-time 10 'http://127.0.0.1:3000/count?of={path}'"))?;
        let json: serde_json::Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
        json["count"].as_u64().ok_or(said)
    }
}

/// Returns the addresses of both edges, with port 443.
fn addresses() -> [SocketAddr; 2] {
    [PACMAN, GALAGA].map(|edge| (edge.v4.parse::<Ipv4Addr>().expect("an address"), 443).into())
}

/// Runs all chapters, and adds the results of their checks to `facts`.
///
/// # Errors
/// Returns the reason why the remaining chapters cannot run.
pub(crate) fn run(edges: &TwoEdgeLab, facts: &Facts) -> Result<(), String> {
    boot::run(edges, facts)?;
    sessions::run(edges, facts);
    database::lose_primary(edges, facts)?;
    boot::renewal(edges, facts);
    ends::run(edges, facts);
    Ok(())
}
