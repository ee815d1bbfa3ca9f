//! Everything at the same time: three versions of HTTP, WebSockets, uploads and downloads, reloads, an origin that dies
//! and returns, attacks, clients that do not read, a guesser of passwords, an interface that comes and goes. No request
//! may be lost, memory must stay flat, and nothing may panic. `cargo xtask soak` runs it longer (`SOAK_SECONDS`).

mod attacks;
mod link;
mod neighbours;
mod origin;
mod traffic;

use super::{KillOnDrop, PROGRAM, free_port, signal};
use origin::Service;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Authority, tls_client};

/// The resident memory in KiB up to which a process may grow, whatever it began with: after half a minute it is
/// constant at 88 MiB, as runs of one and three minutes show, and a run of 20 s ends on the way there.
const WARM_KIB: u64 = 96 * 1024;

/// The state shared by all tasks.
pub(super) struct Lab {
    tls: SocketAddr,
    plain: SocketAddr,
    root: String,
    over: AtomicBool,
    /// Odd while the interface is there, and has been for longer than a listener may take; it grows with each change.
    linked: AtomicU64,
}

impl Lab {
    fn over(&self) -> bool {
        self.over.load(SeqCst)
    }

    fn client(&self, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        Arc::new(tls_client(&self.root, alpn))
    }
}

/// The results of requests of one kind.
#[derive(Default)]
pub(super) struct Tally {
    served: AtomicU64,
    /// Responses with 502 or 503.
    unavailable: AtomicU64,
    lost: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a response. Returns whether the connection can be reused.
    fn add(&self, outcome: Result<traffic::Outcome<u16>, tokio::time::error::Elapsed>) -> bool {
        match outcome {
            Ok(Ok(200)) => drop(self.served.fetch_add(1, SeqCst)),
            Ok(Ok(502 | 503)) => {
                self.unavailable.fetch_add(1, SeqCst);
                // A response sent before the request's content arrived may close the connection.
                return false;
            }
            Ok(Ok(status)) => self.push(format!("answered {status}")),
            Ok(Err(why)) => {
                self.lost(why.as_ref());
                return false;
            }
            Err(_) => {
                self.push("not answered in time".into());
                return false;
            }
        }
        true
    }

    fn lost(&self, why: &(dyn std::error::Error + 'static)) {
        self.push(why.source().map_or_else(|| why.to_string(), |below| format!("{why}: {below}")));
    }

    fn push(&self, why: String) {
        self.lost.lock().expect("no panic").push(why);
    }
}

fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process that runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn configuration(
    lab: &Lab,
    folder: &std::path::Path,
    [lasting, mortal, h2c, linked]: [SocketAddr; 4],
) -> String {
    format!(
        "https_port = {}\n[[listen]]\naddress = \"{}\"\ntls = true\nhttp3 = true\n[[listen]]\naddress = \"{}\"\n\
         [certificates]\nfolder = \"{}/acme\"\n[log]\nfile = \"{3}/access.log\"\n\
         [limits]\nconnections_per_client = 0\n\
         [[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"http://{lasting}\"\n\
         [[site]]\nhosts = [\"both.test\"]\nplain = \"serve\"\nupstream = \"both\"\n\
         [[site]]\nhosts = [\"mortal.test\"]\nplain = \"serve\"\nupstream = \"http://{mortal}\"\n\
         [[site]]\nhosts = [\"slow.test\"]\nplain = \"serve\"\nupstream = \"h2c://{h2c}\"\n\
         [[site]]\nhosts = [\"secret.test\"]\nplain = \"serve\"\nupstream = \"http://{lasting}\"\nauth = {{ users = \"{3}/users\" }}\n\
         [[listen]]\naddress = \"{linked}\"\ninterface = \"ts0\"\n\
         [upstream.both]\ntargets = [\"http://{mortal}\", \"http://{lasting}\"]\n[upstream.both.retry]\nbudget = 100\n",
        lab.tls.port(),
        lab.tls,
        lab.plain,
        folder.display(),
    )
}

/// Returns what the log says of failures of services that do not die.
fn failures(folder: &std::path::Path) -> String {
    let log = std::fs::read_to_string(folder.join("access.log")).unwrap_or_default();
    let of_service = |line: &&str| line.contains("\"status\":50") && !line.contains("mortal.test");
    log.lines().filter(of_service).take(5).collect::<Vec<_>>().join("\n")
}

#[test]
fn soak() {
    // The processor's time is that of the clients too, and interfaces are made and deleted.
    if !link::is_inside("soak::soak") {
        return;
    }
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let table = runtime.block_on(run(Duration::from_secs(seconds)));
    println!("{table}");
    if let Some(path) = std::env::var_os("SOAK_TABLE") {
        std::fs::write(path, table).expect("a file");
    }
}

async fn run(length: Duration) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.write(&folder.path().join("acme/all"), &["a.test", "both.test", "mortal.test"]);
    let (lasting, mortal) = (Service::start().await, Service::start().await);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let lab = Arc::new(Lab {
        tls: local(free_port()),
        plain: local(free_port()),
        root: authority.root().to_owned(),
        over: AtomicBool::new(false),
        linked: AtomicU64::new(0),
    });
    let peer = link::Peer::new();
    peer.link();
    let linked = link::at(free_port());
    let users =
        Command::new("htpasswd").args(["-nbB", "-C", "5", neighbours::USER.0, neighbours::USER.1]).output();
    let users = users.expect("htpasswd is there; cargo xtask tools installs it").stdout;
    std::fs::write(folder.path().join("users"), users).expect("a file");
    let addresses = [lasting.address, mortal.address, neighbours::service().await, linked];
    let config = configuration(&lab, folder.path(), addresses);
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, &config).expect("a file");
    let said = folder.path().join("said");
    let child = Command::new(PROGRAM)
        .args(["run", "--workers", "2", "--grace", "10", "--config"])
        .arg(&path)
        .stderr(Stdio::from(std::fs::File::create(&said).expect("a file")))
        .spawn()
        .expect("the program was built");
    let mut service = KillOnDrop(child);
    let process = service.0.id();
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(lab.plain).is_err() {
        assert!(
            Instant::now() < until,
            "it does not serve: {}",
            std::fs::read_to_string(&said).expect("text")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let kinds = [
        "HTTP/1.1",
        "HTTP/1.1 over TLS",
        "HTTP/2",
        "HTTP/3",
        "WebSocket messages",
        "a pair of which one dies",
        "a service that dies",
        "beside clients that do not read",
        "a user beside two who guess the password",
        "an interface that comes and goes",
    ];
    let tallies: Vec<Arc<Tally>> = kinds.iter().map(|_| Arc::default()).collect();
    let mut clients = tokio::task::JoinSet::new();
    clients.spawn(traffic::http1(lab.clone(), tallies[0].clone(), "a.test", false, false));
    clients.spawn(traffic::http1(lab.clone(), tallies[1].clone(), "a.test", true, false));
    clients.spawn(traffic::http2(lab.clone(), tallies[2].clone()));
    clients.spawn(traffic::http3(lab.clone(), tallies[3].clone()));
    clients.spawn(traffic::websocket(lab.clone(), tallies[4].clone()));
    clients.spawn(traffic::http1(lab.clone(), tallies[5].clone(), "both.test", false, true));
    clients.spawn(traffic::http1(lab.clone(), tallies[6].clone(), "mortal.test", false, true));
    clients.spawn(traffic::http1(lab.clone(), tallies[7].clone(), "slow.test", false, true));
    clients.spawn(neighbours::user(lab.clone(), tallies[8].clone()));
    clients.spawn(neighbours::slow_readers(lab.clone()));
    lab.linked.store(1, SeqCst);
    let (other, tally) = (lab.clone(), tallies[9].clone());
    let far = peer.spawn(move || neighbours::by_the_interface(other, tally, linked));
    // The user has logged in once before somebody at the same address guesses.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let guessers = [[127, 0, 0, 1], [127, 0, 0, 3]]
        .map(|from| tokio::spawn(neighbours::guesser(lab.clone(), from.into())));
    let attacks = tokio::spawn(attacks::all(lab.clone()));

    // Inject faults, and record the resident memory.
    let (began, mut samples, mut reloads, mut deaths) = (Instant::now(), Vec::new(), 0u32, 0u32);
    let mut links = 0u32;
    let mut tick = 0u32;
    while began.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tick += 1;
        samples.push(resident(process));
        if tick.is_multiple_of(4) {
            reloads += 1;
            let changed = format!(
                "{config}# {reloads}\n[timeouts]\nconnect = \"20s\"\nidle = \"{}s\"\n",
                60 + reloads % 10
            );
            std::fs::write(&path, changed).expect("a file");
            signal(process, "HUP");
        }
        // Made anew by turns at once and after a while.
        match tick % 24 {
            8 | 18 => {
                lab.linked.store(u64::from(2 * tick), SeqCst);
                link::Peer::unlink();
                if tick % 24 == 18 {
                    peer.link();
                }
                links += 1;
            }
            11 => peer.link(),
            0 | 17 => lab.linked.store(u64::from(2 * tick + 1), SeqCst),
            _ => {}
        }
        match tick % 8 {
            3 => {
                deaths += 1;
                mortal.die().await;
            }
            5 => drop(mortal.revive().await),
            _ => {}
        }
    }
    lab.over.store(true, SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic");
    }
    far.join().expect("the client at the other end does not panic");
    for guesser in guessers {
        assert_eq!(guesser.await.expect("a guesser does not panic"), 0, "a wrong password was taken");
    }
    let (rounds, wrong) = attacks.await.expect("an attacker does not panic");
    signal(process, "TERM");
    super::ends(&mut service.0);
    let text = std::fs::read_to_string(&said).expect("text");

    // The first tenth is a warm-up.
    let steady = &samples[samples.len() / 10..];
    let third = steady.len() / 3;
    let middle = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let (first, last) = (middle(&steady[..third]), middle(&steady[steady.len() - third..]));

    let mut table = format!(
        "{} s, {reloads} reloads, {deaths} deaths of a service, {links} of an interface, {rounds} rounds of attacks\n\n",
        length.as_secs()
    );
    table += "| traffic | served | 502 or 503 | lost |\n|-|-|-|-|\n";
    for (kind, tally) in kinds.iter().zip(&tallies) {
        let (served, unavailable) = (tally.served.load(SeqCst), tally.unavailable.load(SeqCst));
        let lost = tally.lost.lock().expect("no panic").len();
        writeln!(table, "| {kind} | {served} | {unavailable} | {lost} |").expect("text");
    }
    let most = samples.iter().max().copied().unwrap_or_default();
    let mib = |kib: u64| kib / 1024;
    writeln!(
        table,
        "\nResident: {} MiB in the first third, {} MiB in the last, {} MiB at the most.",
        mib(first),
        mib(last),
        mib(most)
    )
    .expect("text");

    assert!(wrong.is_empty(), "attacks that were not ended: {wrong:?}\n{table}");
    for (kind, tally) in kinds.iter().zip(&tallies) {
        let lost = tally.lost.lock().expect("no panic");
        assert!(lost.is_empty(), "{kind}: {:?}\n{table}", &lost[..lost.len().min(5)]);
        assert!(tally.served.load(SeqCst) > length.as_secs(), "{kind}: hardly anything was served\n{table}");
        let may_be_unavailable = *kind == "a service that dies";
        let unavailable = tally.unavailable.load(SeqCst);
        assert_eq!(
            unavailable > 0,
            may_be_unavailable,
            "{kind}: {unavailable}\n{table}\n{}",
            failures(folder.path())
        );
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(text.matches("reloaded").count() as u32 >= reloads / 2, "{text}");
    assert!(last <= WARM_KIB.max(first + first / 10 + 8 * 1024), "memory grows\n{table}");
    table
}
