//! The image in operation: started in namespaces of its own, it serves an upstream by the hosts file and one by DNS.

use super::super::files::{Build, run, write};
use super::{inside, libraries};
use crate::process::Outcome;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Environment variable with the root folder, for this program when it is started again.
const ROOT: &str = "XTASK_IMAGE_ROOT";

/// Configuration of the edge.
const CONFIG: &str = "\
[[listen]]
address = \"127.0.0.1:80\"

[[site]]
hosts = \"hosts.test\"
plain = \"serve\"
upstream = \"http://by-hosts:3000\"

[[site]]
hosts = \"dns.test\"
plain = \"serve\"
upstream = \"http://by-dns.test:3000\"
";

/// Starts the image's program in a network of its own, and checks that it serves.
///
/// # Errors
/// Returns the output if it does not.
pub(super) fn prove(build: &Build, root: &Path) -> Outcome {
    write(&root.join("etc/edge-proxyd/edge.toml"), CONFIG)?;
    write(&root.join("etc/hosts"), "127.0.0.1 localhost by-hosts\n")?;
    write(&root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n")?;
    if !build.fixed {
        libraries(&root.join("usr/bin/edge-proxyd"), root)?;
    }
    // A copy of the running program, since a build may have replaced its file meanwhile.
    let own = root.with_extension("xtask");
    std::fs::copy("/proc/self/exe", &own).map_err(|why| format!("{}: {why}", own.display()))?;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--fork", "--kill-child"]).arg(&own).arg("image-inside");
    run(command.env(ROOT, root)).map(drop)
}

/// Runs the part of the proof inside the namespace: starts origin, name server and edge, and requests both hosts.
///
/// # Errors
/// Returns the response of a host that is not served within 20 s.
pub(crate) fn within() -> Outcome {
    let root = std::env::var_os(ROOT).ok_or("the root is missing")?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let said = |why: std::io::Error| why.to_string();
    let origin = TcpListener::bind("127.0.0.1:3000").map_err(said)?;
    std::thread::spawn(move || origin.incoming().flatten().for_each(answer));
    let dns = UdpSocket::bind("127.0.0.1:53").map_err(said)?;
    std::thread::spawn(move || resolve(&dns));
    let arguments = ["run", "--config", "/etc/edge-proxyd/edge.toml"];
    let mut edge = inside(Path::new(&root), "/usr/bin/edge-proxyd", &arguments, true);
    let mut edge = KillOnDrop(edge.spawn().map_err(said)?);
    for host in ["hosts.test", "dns.test"] {
        let began = Instant::now();
        loop {
            match get(host) {
                Ok(response) if response.starts_with("HTTP/1.1 200 ") && response.ends_with("served") => {
                    break;
                }
                other if began.elapsed() > Duration::from_secs(20) => {
                    return Err(format!("the image does not serve {host}: {other:?}"));
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
    let _ = edge.0.kill();
    Ok(())
}

/// A child process that is killed when this is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request for a host. Returns the whole response.
///
/// # Errors
/// Returns an error if the connection fails, or there is no response within 5 s.
fn get(host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect("127.0.0.1:80")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// Responds to every read of a connection with status 200 and the content `served`, in a thread of its own.
fn answer(mut client: TcpStream) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while client.read(&mut bytes).is_ok_and(|count| count > 0) {
            if client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved").is_err() {
                break;
            }
        }
    });
}

/// Answers every question of an A record with 127.0.0.1, and others with an empty answer.
fn resolve(socket: &UdpSocket) {
    let mut bytes = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let question = &bytes[12.min(length)..length];
        let Some(end) = question.iter().position(|byte| *byte == 0).filter(|end| end + 5 <= question.len())
        else {
            continue;
        };
        let is_ipv4 = question[end + 1..end + 3] == [0, 1];
        let mut reply = Vec::from(&bytes[..2]);
        reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
        reply.extend(&question[..end + 5]);
        if is_ipv4 {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&reply, from);
    }
}
