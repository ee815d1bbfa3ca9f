//! One side of a comparison, within its namespaces: adds the addresses to the loopback interface, starts the server and
//! the recorders, and sends the requests.

use super::client;
use super::job::{Job, Reply};
use super::recorder;
use crate::cli::Exit;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest time for all requests of a side.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest time until the server listens on all addresses.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs one side of a comparison by its job, the path of a JSON file, and prints the replies as JSON to standard
/// output. Returns [`Exit::Failed`] after an error, which is printed to standard error.
pub(crate) fn side(job: &Path) -> Exit {
    match run(job) {
        Ok(answers) => {
            let text = serde_json::to_string(&answers).unwrap_or_default();
            let written = writeln!(std::io::stdout(), "{text}");
            if written.is_ok() { Exit::Done } else { Exit::Failed }
        }
        Err(why) => {
            eprintln!("{why}");
            Exit::Failed
        }
    }
}

/// Runs one side by its job, the path of a JSON file: configures the network, starts the server and the recorders, and
/// returns the replies in the order of the requests.
///
/// # Errors
/// The job cannot be read, the process is not isolated, the network could not be configured, the server could not be
/// run, or the requests took longer than [`REQUESTS_TIMEOUT`].
fn run(job: &Path) -> Result<Vec<Reply>, String> {
    let text = std::fs::read_to_string(job).map_err(|why| format!("{}: {why}", job.display()))?;
    let job: Job = serde_json::from_str(&text).map_err(|why| format!("not a job: {why}"))?;
    ensure_isolated()?;
    network(&job)?;
    let folder = Path::new(&job.folder);
    recorder::name_server(&std::fs::read_to_string(&job.hosts).unwrap_or_default());
    let clients = client::clients(folder).ok_or("no certificates of clients")?;
    let mut server = start(&job)?;
    // After it: a server may refuse ports on which others listen.
    for recorder in &job.recorders {
        recorder::start(recorder, folder);
    }
    let until = Instant::now() + REQUESTS_TIMEOUT;
    let mut answers = Vec::new();
    for request in &job.requests {
        if Instant::now() > until {
            return Err(format!("asking took longer than {} s", REQUESTS_TIMEOUT.as_secs()));
        }
        answers.push(client::ask(request, &clients));
    }
    let _ = server.0.kill();
    Ok(answers)
}

/// Checks that no network interface other than loopback and no IPv4 route exists, so that no real service is reached.
/// Interfaces whose names end in `0` are ignored, since every namespace has tunnels with such names.
///
/// # Errors
/// The message, if one exists, or the list of interfaces cannot be read.
fn ensure_isolated() -> Result<(), String> {
    let interfaces =
        std::fs::read_to_string("/proc/self/net/dev").map_err(|why| format!("/proc/self/net/dev: {why}"))?;
    let names =
        interfaces.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    // Tunnels of the kernel's own that every namespace has lead nowhere.
    let other: Vec<&str> = names.filter(|name| *name != "lo" && !name.ends_with('0')).collect();
    let route = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    if !other.is_empty() || route.lines().skip(1).any(|line| !line.trim().is_empty()) {
        return Err("not in a network namespace of its own: refused, so that no service is reached".into());
    }
    Ok(())
}

/// Enables the loopback interface and adds the addresses of a job to it, and mounts over `/etc/hosts`, `/run` and the
/// folder of sockets. Addresses that cannot be added are ignored.
///
/// # Errors
/// The message, if `ip` cannot be run or `mount` fails.
fn network(job: &Job) -> Result<(), String> {
    let mut script = String::from("link set lo up\n");
    for address in &job.addresses {
        match address {
            // These are on it already.
            IpAddr::V4(four) if four.is_loopback() => {}
            IpAddr::V4(_) => script += &format!("addr add {address}/32 dev lo\n"),
            IpAddr::V6(six) if six.is_loopback() => {}
            IpAddr::V6(_) => script += &format!("addr add {address}/128 dev lo nodad\n"),
        }
    }
    let mut ip = Command::new("ip");
    ip.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = ip.spawn().map_err(|why| format!("ip: {why}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(|why| format!("ip: {why}"))?;
    }
    child.wait().map_err(|why| format!("ip: {why}"))?;
    // Sockets of services are of one side, and those of the system are out of sight.
    let sockets = format!("{}/sockets", job.folder);
    let mounts: [&[&str]; 3] = [
        &["--bind", &job.hosts, "/etc/hosts"],
        &["-t", "tmpfs", "tmpfs", &sockets],
        &["-t", "tmpfs", "tmpfs", "/run"],
    ];
    for arguments in mounts {
        let out = Command::new("mount").args(arguments).output().map_err(|why| format!("mount: {why}"))?;
        if !out.status.success() {
            return Err(format!("mount: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
    }
    Ok(())
}

/// A server process that is killed and waited for when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the server, and waits until it accepts TCP connections on the addresses of the job.
///
/// # Errors
/// The server could not be started, has ended, or does not listen within [`START_TIMEOUT`]. The message includes what
/// the server wrote to standard error.
fn start(job: &Job) -> Result<Running, String> {
    let said = Path::new(&job.said);
    let file = std::fs::File::create(said).map_err(|why| format!("{}: {why}", said.display()))?;
    let [program, arguments @ ..] = job.command.as_slice() else { return Err("no server to run".into()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut server = Running(command.spawn().map_err(|why| format!("{program}: {why}"))?);
    let until = Instant::now() + START_TIMEOUT;
    for address in &job.listens {
        let mut address = *address;
        if address.ip().is_unspecified() {
            let ip = if address.is_ipv4() {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            } else {
                IpAddr::V6([0, 0, 0, 0, 0, 0, 0, 1].into())
            };
            address = SocketAddr::new(ip, address.port());
        }
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let text = || std::fs::read_to_string(said).unwrap_or_default();
            if let Ok(Some(status)) = server.0.try_wait() {
                return Err(format!("ended with {status}: {}", text().trim()));
            }
            if Instant::now() > until {
                return Err(format!("does not listen on {address}: {}", text().trim()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(server)
}
