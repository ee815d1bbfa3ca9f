//! The outage that a rehearsal predicts, held against outages of the same cluster under load, as a client sees them.
//!
//! The short form upgrades a small cluster once; `UPGRADE_INTERVAL=full` one of 1 GB ten times, on a disk, and holds the bounds. That
//! needs a machine that does nothing else: other work stretches the rehearsal and each outage by different amounts.

use crate::lab::{ClusterOptions, Lab, folder, own, succeed, until};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testkit::postgres::as_account;

/// A client of pgbench that works until it is dropped.
struct PgBench(Child);

impl PgBench {
    fn start(lab: &Lab, seconds: u32) -> Self {
        let mut command = pgbench(lab);
        // A fixed rate, so that the load is the same beside the rehearsal and before each outage.
        command.args(["-n", "-c", "2", "-R", "200", "-T", &seconds.to_string(), "postgres"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let load = Self(command.spawn().expect("pgbench starts"));
        until("pgbench works", || {
            lab.ask("postgres", "SELECT count(*) FROM pgbench_history")
                .parse::<u64>()
                .is_ok_and(|rows| rows > 0)
        });
        load
    }
}

impl Drop for PgBench {
    fn drop(&mut self) {
        // It has ended by itself where its server did.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that logs in every 50 ms, and measures the longest time without success.
struct Client {
    end: Sender<()>,
    longest: JoinHandle<Duration>,
}

impl Client {
    fn start(lab: &Lab) -> Self {
        let socket = Self::socket(lab);
        let (end, ended) = channel();
        let longest = std::thread::spawn(move || {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while ended.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                if Self::logs_in(&socket) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
            }
            longest
        });
        Self { end, longest }
    }

    fn socket(lab: &Lab) -> PathBuf {
        lab.socket_folder().join(format!(".s.PGSQL.{}", lab.port))
    }

    /// Sends a startup message. Returns `true` if the server lets the superuser in, which it does not while it starts.
    fn logs_in(socket: &Path) -> bool {
        let texts = b"user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(texts.len() + 8).expect("short").to_be_bytes();
        let message = [&length[..], &196_608_u32.to_be_bytes(), texts].concat();
        let mut answer = [0];
        let asked = UnixStream::connect(socket).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(&message)?;
            stream.read_exact(&mut answer)
        });
        asked.is_ok() && answer == *b"R"
    }

    fn longest_gap(self) -> Duration {
        drop(self.end);
        self.longest.join().expect("it ends")
    }
}

fn pgbench(lab: &Lab) -> Command {
    let mut command = as_account(&lab.old_bin.join("pgbench"));
    command.arg("-h").arg(lab.socket_folder()).args(["-p", &lab.port.to_string(), "-U", "postgres"]);
    command.stdin(Stdio::null());
    command
}

/// Copies a cluster, and waits until it is on the disk, as one that has served for a while is.
fn copied(from: &Path, to: &Path) {
    succeed(Command::new("cp").args(["-a", "--"]).arg(from).arg(to));
    succeed(Command::new("sync").arg("--file-system").arg(to));
}

/// Returns how long each step took, in milliseconds.
fn spans(steps: &Value) -> String {
    let steps = steps.as_array().map(Vec::as_slice).unwrap_or_default();
    let span = |step: &Value| {
        let took = step["ended"].as_u64().zip(step["began"].as_u64()).map(|(ended, began)| ended - began);
        let took = took.or_else(|| step["ms"].as_u64()).unwrap_or_default();
        format!("{} {took}", step["step"].as_str().unwrap_or_default())
    };
    steps.iter().map(span).collect::<Vec<_>>().join(", ")
}

#[test]
fn outages_under_load_are_as_long_as_rehearsed() {
    let full = std::env::var("UPGRADE_INTERVAL").is_ok_and(|value| value == "full");
    // A unit of the scale is 15 MB; nine of ten outages must be within the bounds.
    let (scale, outages, within) = if full { ("68", 10, 9) } else { ("2", 1, 0) };
    let mut made = ClusterOptions::new("17", "18");
    made.settings = "max_wal_size = 4GB\n";
    let base = if full { tempfile::tempdir_in("/tmp").expect("a folder") } else { folder() };
    own(base.path());
    let lab = Lab::within(&made, base.path());
    lab.start_old();
    succeed(pgbench(&lab).args(["-i", "-q", "-s", scale, "postgres"]));
    let size: u64 = lab.ask("postgres", "SELECT pg_database_size('postgres')").parse().expect("a size");
    assert!(!full || size > 1 << 30, "{size}");
    lab.stop_old();
    let kept = lab.base.join("kept");
    copied(&lab.old(), &kept);

    lab.start_old();
    let load = PgBench::start(&lab, 3600);
    let told = lab.run(&["rehearse", "--json"]).expect(0).json();
    let bound = |name: &str| told["outage_ms"][name].as_u64().unwrap_or_else(|| panic!("{told}"));
    let (shortest, longest) = (bound("shortest"), bound("longest"));
    assert!(shortest > 0 && longest <= 2 * shortest, "{told}");
    drop(load);

    let (size, runs) = (size >> 20, &told["runs_ms"]);
    println!(
        "rehearsed {shortest} to {longest} ms over {size} MB by runs of {runs}: {}",
        spans(&told["steps"])
    );
    // A machine with much other work makes fewer runs in the time for all.
    assert!(runs.as_array().is_some_and(|runs| (1..=3).contains(&runs.len())), "{told}");

    let mut seen = Vec::new();
    for _ in 0..outages {
        if !lab.live(&lab.old()) {
            lab.start_old();
        }
        let load = PgBench::start(&lab, 3600);
        let client = Client::start(&lab);
        let arguments = ["run", "--stop", "--backup-exists", "a copy of the folder", "--json"];
        let record = lab.run(&arguments).expect(0).json();
        // The outage ends with a login.
        let began = Instant::now();
        while !Client::logs_in(&Client::socket(&lab)) {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody can log in");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(200));
        let gap = u64::try_from(client.longest_gap().as_millis()).expect("a short time");
        drop(load);
        let told = record["downtime_ms"].as_u64().unwrap_or_else(|| panic!("{record}"));
        println!("without a server {gap} ms, {told} ms by the report: {}", spans(&record["history"]));
        assert!(told <= 2 * gap + 1_000 && gap <= 2 * told + 1_000, "{gap} ms, {told} ms by the report");
        seen.push(gap);
        let rows: u64 =
            lab.ask("postgres", "SELECT count(*) FROM pgbench_history").parse().expect("a number");
        assert!(rows > 0, "what pgbench wrote is there");
        lab.pg_ctl(&lab.new_bin, &lab.new_data(), &["stop", "-w", "-m", "immediate"]);
        for folder in [lab.old(), lab.new_data(), lab.work()] {
            fs::remove_dir_all(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        }
        copied(&kept, &lab.old());
    }
    let inside = seen.iter().filter(|outage| (shortest..=longest).contains(*outage)).count();
    assert!(inside >= within, "{inside} of {outages} are within {shortest} to {longest} ms: {seen:?}");
    assert!(seen.iter().all(|outage| *outage > 0), "{seen:?}");
}
