//! SSH through the forwards of an edge and a node: git pushes and clones with a real client, to a server that reads the
//! client's address from the PROXY header, as Forgejo's built-in one does.

use super::{KillOnDrop, PROGRAM, free_port};
use edge_http::proxy_protocol::{ProxyHeader, parse};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The address that the client connects from, told apart from those of the hops.
const CLIENT: &str = "127.0.0.77";

/// Runs a command to its end, and returns what it printed.
fn ran(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program is there");
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{said}\n{}", String::from_utf8_lossy(&stderr));
    said
}

/// A server of SSH for the account of this test, which accepts one key.
fn sshd(folder: &Path) -> (KillOnDrop, u16) {
    for name in ["host", "client"] {
        ran(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
    }
    std::fs::copy(folder.join("client.pub"), folder.join("authorized")).expect("a file");
    // Only root's server separates its privileges, into this folder.
    let _ = std::fs::create_dir("/run/sshd");
    let port = free_port();
    let at = folder.display();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n\
         MaxStartups 100\n"
    );
    std::fs::write(folder.join("sshd_config"), config).expect("a file");
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(folder.join("sshd.log")).expect("a file"))
        .spawn()
        .expect("sshd is there; cargo xtask tools installs it");
    (KillOnDrop(child), port)
}

/// The front of a server that reads PROXY headers: it notes the client of each connection, and passes the rest on.
fn front(server: u16) -> (SocketAddr, Arc<Mutex<Vec<IpAddr>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let clients: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let seen = clients.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || {
                let (mut bytes, mut part) = (Vec::new(), [0; 512]);
                let (header, used) = loop {
                    match parse(&bytes) {
                        Ok(Some(found)) => break found,
                        Ok(None) => match client.read(&mut part) {
                            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
                            _ => return,
                        },
                        // A server that expects a header takes no connection without one.
                        Err(_) => return,
                    }
                };
                let ProxyHeader::Proxied { source, .. } = header else { return };
                seen.lock().expect("no panic").push(source.ip());
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)) else { return };
                if server.write_all(&bytes[used..]).is_err() {
                    return;
                }
                let (mut up, mut down) =
                    (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut server);
                    let _ = server.shutdown(std::net::Shutdown::Write);
                });
                let _ = std::io::copy(&mut down, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (address, clients)
}

/// Runs edge-proxyd with a forward, in its sandbox.
fn hop(folder: &Path, name: &str, more: &str, target: SocketAddr) -> (KillOnDrop, u16, PathBuf) {
    let (port, log) = (free_port(), folder.join(format!("{name}.log")));
    let config = format!(
        "listen = [{{ name = 'ssh', address = '127.0.0.1:{port}', forward = 'forgejo-ssh'{more} }}]\n\
         [log]\nfile = '{}'\n[upstream.forgejo-ssh]\ntarget = 'tcp://{target}'\nproxy_protocol = 'v2'\n",
        log.display()
    );
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, config).expect("a file");
    let child = Command::new(PROGRAM)
        .args(["run", "--workers", "1", "--config"])
        .arg(&path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built");
    (KillOnDrop(child), port, log)
}

fn listens(port: u16) {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn git_over_ssh_crosses_an_edge_and_a_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (_sshd, server) = sshd(folder);
    let (front, clients) = front(server);
    let (_node, node, _) = hop(folder, "node", ", proxy_protocol = '127.0.0.1'", front);
    let (_edge, edge, log) = hop(folder, "edge", "", ([127, 0, 0, 1], node).into());
    listens(server);
    listens(node);
    listens(edge);

    let user = ran(Command::new("id").arg("-un"));
    let git = |arguments: &[&str], at: &Path| {
        let ssh = format!(
            "ssh -F /dev/null -i {0}/client -b {CLIENT} -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile={0}/known -o ConnectTimeout=20",
            folder.display()
        );
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@a.test", "-c", "init.defaultBranch=main"]);
        command.args(arguments).current_dir(at);
        command.env("GIT_SSH_COMMAND", ssh).env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("SSH_AUTH_SOCK");
        ran(&mut command)
    };
    let bare = folder.join("forge.git");
    git(&["init", "-q", "--bare", bare.to_str().expect("UTF-8")], folder);
    let work = folder.join("work");
    std::fs::create_dir(&work).expect("a folder");
    git(&["init", "-q"], &work);
    // Random, so that it does not shrink: 20 MB cross both hops in each direction.
    let mut content = vec![0; 20_000_000];
    std::fs::File::open("/dev/urandom").expect("a file").read_exact(&mut content).expect("bytes");
    std::fs::write(work.join("large"), &content).expect("a file");
    git(&["add", "."], &work);
    git(&["commit", "-q", "-m", "one"], &work);
    let url = format!("ssh://{}@127.0.0.1:{edge}{}", user.trim(), bare.display());
    git(&["push", "-q", &url, "main"], &work);
    git(&["clone", "-q", &url, "cloned"], folder);
    assert!(std::fs::read(folder.join("cloned/large")).expect("it was cloned") == content);

    // The server learned the address of the client, not of a hop, for each of its connections.
    let told = clients.lock().expect("no panic").clone();
    let client: IpAddr = CLIENT.parse().expect("an address");
    assert!(told.iter().filter(|told| **told == client).count() >= 2, "{told:?}");
    // The edge has a record of each, with what crossed it.
    let until = Instant::now() + Duration::from_secs(20);
    let records = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let records: Vec<_> = lines.filter(|line| line["client"] == CLIENT).collect();
        if records.len() >= 2 {
            break records;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let moved = |key: &str| records.iter().filter_map(|line| line[key].as_u64()).max().unwrap_or(0);
    assert!(moved("received") > 20_000_000 && moved("sent") > 20_000_000, "{records:?}");
    assert!(records.iter().all(|line| line["listener"] == "ssh" && line["forwarded"] == "forgejo-ssh"));

    // Without a header the node's forward takes nobody who is to send one.
    let mut stream = TcpStream::connect(("127.0.0.1", node)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").expect("it is open");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert_eq!(got, b"");
}
