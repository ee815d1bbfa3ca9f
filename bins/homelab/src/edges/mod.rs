//! Two edges in front of the same nodes, and what becomes of them: one order for both, sessions that go on at the other edge,
//! a database that is lost and promoted, and either edge killed under a client that never stops asking.

mod ask;
mod boot;
mod database;
mod ends;
mod sessions;

use crate::facts::{Facts, ensure, until};
use crate::host::{EDGE, Host, Running};
use crate::outside::Outside;
use crate::postgres;
use crate::world::{GALAGA, PACMAN, World};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::{Resuming, Went, tls_client};

/// The file that both edges run by.
const CONFIG: &str = "/srv/two-edges/edge.toml";
/// Served by the second node, with early data.
const EARLY: &str = "eniac.example.org";
/// Served by the first node, without.
const TICKETS: &str = "git.example.org";
/// How often something is tried that may be too late.
const TRIES: usize = 8;
/// Answered by the edges themselves.
const APEX: &str = "www.example.org";

/// Everything that runs.
pub(crate) struct Edges {
    pub(crate) world: World,
    pub(crate) outside: Outside,
    edges: [Mutex<Option<Running>>; 2],
    services: Mutex<Vec<Running>>,
}

impl Edges {
    /// Starts the servers of the internet, and lays the owner's secrets out. None of the owner's programs runs yet.
    pub(crate) fn new(world: World) -> Result<Self, String> {
        let outside = Outside::start(&world, &[PACMAN, GALAGA], "")?;
        let edges = Self { world, outside, edges: Default::default(), services: Mutex::default() };
        edges.secrets().map_err(|why| format!("secrets: {why}"))?;
        Ok(edges)
    }

    fn secrets(&self) -> std::io::Result<()> {
        for edge in self.hosts() {
            let credential =
                |name, text| edge.secret(&format!("run/credentials/edge-proxyd.service/{name}"), text, EDGE);
            credential("cloudflare", TOKEN)?;
            credential("database", "host=id3-eniac,lab-matrix user=edges dbname=edges sslmode=disable")?;
            credential("shared", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=")?;
        }
        let matrix = &self.world.matrix;
        let account = postgres::account(matrix);
        matrix.secret("run/credentials/pg-ensure.service/replicator", database::REPLICATOR, account)?;
        self.world.lay_out(&self.outside.issuing_root)
    }

    /// Both edges' hosts.
    fn hosts(&self) -> [&Host; 2] {
        [&self.world.vps, self.world.galaga.as_ref().expect("this form has two edges")]
    }

    fn start(&self, edge: usize) -> Result<(), String> {
        let running = crate::programs::edge(self.hosts()[edge], CONFIG, "")?;
        *self.edges[edge].lock().expect("no panic") = Some(running);
        Ok(())
    }

    fn kill(&self, edge: usize) {
        if let Some(mut running) = self.edges[edge].lock().expect("no panic").take() {
            running.kill();
        }
    }

    /// What an edge has said.
    fn said(&self, edge: usize) -> Vec<String> {
        let mut running = self.edges[edge].lock().expect("no panic");
        running.as_mut().map(|running| running.all().to_vec()).unwrap_or_default()
    }

    /// A client that has no session yet.
    fn client(&self) -> Resuming {
        let mut client = Resuming::new(tls_client(&self.outside.issuing_root, &[b"http/1.1"]));
        client.patience = Duration::from_secs(20);
        client
    }

    /// A number of an edge's metrics.
    fn metric(&self, edge: usize, name: &str) -> Result<u64, String> {
        let said = self.hosts()[edge].ask("curl -sS --max-time 5 http://127.0.0.1:9180/metrics")?;
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.ok_or_else(|| format!("{name} is missing"))
    }

    /// Waits until an edge reaches the database that can be written to.
    fn reaches(&self, edge: usize, within: Duration) -> Result<(), String> {
        until(within, || {
            let up = self.metric(edge, "edge_shared_up")?;
            ensure(up == 1, || self.said(edge).last().cloned().unwrap_or_default())
        })
    }

    /// A client with sessions of an edge that the database has.
    fn with_sessions(&self, edge: usize) -> Result<Resuming, String> {
        let kept = || self.metric(edge, "edge_shared_sessions_total{result=\"kept\"}");
        let (client, had) = (self.client(), kept()?);
        let made = self.world.client.within(|| client.ask(addresses()[edge], EARLY, "/made"));
        made.map_err(|why| format!("{why:?}"))?;
        until(Duration::from_secs(20), || {
            ensure(kept()? >= had + 2, || "the database does not have the sessions".into())
        })?;
        Ok(client)
    }

    /// A request in early data at another edge than that which made the session, and its path. An edge asks the database for 200 ms
    /// at most, which a machine with other work may need: then the request comes after a full handshake, and another session is
    /// tried. Whatever happens, each has arrived once.
    fn early_elsewhere(&self, from: usize, name: &str) -> Result<(Went, String), String> {
        let to = addresses()[1 - from];
        for number in 1..=TRIES {
            let (client, path) = (self.with_sessions(from)?, format!("/{name}-{number}"));
            let went = self.world.client.within(|| client.ask(to, EARLY, &path));
            let went = went.map_err(|why| format!("{why:?}"))?;
            let count = self.count(&path)?;
            ensure(went.status == 200 && count == 1, || format!("it arrived {count} times: {went:?}"))?;
            if went.resumed && went.early {
                return Ok((went, path));
            }
        }
        Err(format!("no session of {TRIES} was resumed with early data"))
    }

    /// The sum of both edges' counters.
    fn sum(&self, name: &str) -> Result<u64, String> {
        Ok(self.metric(0, name)? + self.metric(1, name)?)
    }

    /// How often the application of the second node was asked for a path. It is asked on its host, past the edges.
    fn count(&self, path: &str) -> Result<u64, String> {
        let eniac = self.world.eniac.lock().expect("no panic");
        let said = eniac.ask(&format!("curl -sS --max-time 10 'http://127.0.0.1:3000/count?of={path}'"))?;
        let json: serde_json::Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
        json["count"].as_u64().ok_or(said)
    }
}

/// Where the edges are reached.
fn addresses() -> [SocketAddr; 2] {
    [PACMAN, GALAGA].map(|edge| (edge.v4.parse::<Ipv4Addr>().expect("an address"), 443).into())
}

/// All of it.
pub(crate) fn run(edges: &Edges, facts: &Facts) -> Result<(), String> {
    boot::run(edges, facts)?;
    sessions::run(edges, facts);
    database::lost(edges, facts)?;
    boot::renewal(edges, facts);
    ends::run(edges, facts);
    Ok(())
}
