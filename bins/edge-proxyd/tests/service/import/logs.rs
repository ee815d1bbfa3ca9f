//! Logs of servers: nginx and edge-proxyd write the same lines, each server into its file.

use super::{ask, import, nginx, origin};
use crate::{KillOnDrop, PROGRAM, free_port};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The lines of a file, once there are so many.
fn lines(file: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text.lines().map(String::from).collect();
        }
        assert!(Instant::now() < until, "{}: {text}", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn both_write_the_same_lines_into_the_files_of_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    // nginx drops to another user, who must be able to write the files.
    let everybody = || std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), everybody()).expect("a mode");
    let origin = origin();
    let [theirs, ours] = ["theirs", "ours"].map(|name| {
        let logs = folder.path().join(name);
        std::fs::create_dir(&logs).expect("a folder");
        std::fs::set_permissions(&logs, everybody()).expect("a mode");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = |host: &str, file: &str| {
            format!(
                "server {{\nlisten 127.0.0.1:{};\nserver_name {host};\naccess_log {}/{file} short;\n\
                 location / {{\nproxy_pass http://{};\n}}\nlocation /gone {{\nreturn 410;\n}}\n}}\n",
                address.port(),
                logs.display(),
                origin.address()
            )
        };
        let root = folder.path().display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             client_body_temp_path {root}/b;\nproxy_temp_path {root}/p;\nfastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u;\nscgi_temp_path {root}/s;\naccess_log off;\n\
             log_format short '$remote_addr \"$request\" '\n                 '$status';\n{}{}}}\n",
            server("git.test", "git.log"),
            server("wiki.test", "wiki.log")
        );
        let file = folder.path().join(format!("{name}.conf"));
        std::fs::write(&file, text).expect("a file");
        (address, logs, file)
    });

    let run = nginx()
        .args(["-p", &folder.path().display().to_string(), "-c"])
        .arg(&theirs.2)
        .args(["-e", "stderr"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _nginx = KillOnDrop(run.expect("nginx runs"));
    let imported = import(&ours.2);
    let said = String::from_utf8_lossy(&imported.stderr);
    assert_eq!(imported.status.code(), Some(0), "{said}");
    let config = folder.path().join("edge.toml");
    std::fs::write(&config, &imported.stdout).expect("a file");
    let mut edge = Command::new(PROGRAM);
    edge.args(["run", "--workers", "1", "--config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let _edge = KillOnDrop(edge.spawn().expect("it was built"));
    let until = Instant::now() + Duration::from_secs(20);
    for (address, ..) in [&theirs, &ours] {
        while TcpStream::connect(address).is_err() {
            let text = String::from_utf8_lossy(&imported.stdout);
            assert!(Instant::now() < until, "{address} is not served:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    let asked =
        [("git.test", "/a?b=c"), ("git.test", "/gone"), ("wiki.test", "/d%20e"), ("git.test", "/%22/f")];
    for (host, path) in asked {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        for (address, ..) in [&theirs, &ours] {
            assert!(ask(*address, &request).is_some(), "{host}{path} at {address}");
        }
    }
    for (file, count) in [("git.log", 3), ("wiki.log", 1)] {
        let [nginx, edge] = [&theirs, &ours].map(|(_, logs, _)| lines(&logs.join(file), count));
        assert_eq!(edge, nginx, "{file}");
        assert_eq!(nginx.len(), count, "{file}");
    }
    let written = lines(&ours.1.join("git.log"), 3);
    assert_eq!(
        written[..2],
        ["127.0.0.1 \"GET /a?b=c HTTP/1.1\" 200", "127.0.0.1 \"GET /gone HTTP/1.1\" 410"]
    );
}
