//! Logs of sites, and a format of one's own.

use crate::{KillOnDrop, Manager, PROGRAM};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, free_port};

fn ask(manager: &Manager, host: &str, path: &str) {
    let mut stream = TcpStream::connect(manager.plain).expect("it serves");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: a\"b\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[track_caller]
fn line_in(file: &Path) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < until, "{} has no line", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_site_has_a_log_of_its_own_in_the_owners_format() {
    let origin = Origin::simple();
    let manager = Manager::new(origin.address());
    let logs = manager.folder.path().join("logs");
    std::fs::create_dir(&logs).expect("a folder");
    let text = std::fs::read_to_string(manager.config()).expect("the file");
    let log = format!(
        "[log]\nfile = {:?}\ntemplate = '{{site}} {{method}} {{target}} {{status}} \"{{user_agent}}\" {{reason}}'\nsites.\"a.test\" = {:?}\n",
        logs.join("all").display().to_string(),
        logs.join("a").display().to_string()
    );
    let more = format!(
        "[[site]]\nname = \"rest\"\nhosts = \"*\"\nplain = \"serve\"\nupstream = \"http://{}\"\n",
        origin.address()
    );
    std::fs::write(manager.config(), text.replace("[log]\nformat = \"off\"\n", &log) + &more)
        .expect("a file");
    let service =
        KillOnDrop(manager.command(Path::new(PROGRAM)).stderr(Stdio::null()).spawn().expect("it was built"));
    manager.hear("READY=1");
    ask(&manager, "a.test", "/one");
    ask(&manager, "nobody-has-this.test", "/two");
    assert_eq!(line_in(&logs.join("a")), "a.test GET /one 200 \"a\\x22b\" -\n");
    assert_eq!(line_in(&logs.join("all")), "rest GET /two 200 \"a\\x22b\" -\n");
    // After a rotation, each file is opened anew.
    for name in ["a", "all"] {
        std::fs::rename(logs.join(name), logs.join(format!("{name}.1"))).expect("a name");
    }
    crate::signal(service.0.id(), "USR1");
    let until = Instant::now() + Duration::from_secs(20);
    while !(logs.join("a").exists() && logs.join("all").exists()) {
        assert!(Instant::now() < until, "the files are not opened again");
        std::thread::sleep(Duration::from_millis(10));
    }
    ask(&manager, "a.test", "/three");
    assert!(line_in(&logs.join("a")).starts_with("a.test GET /three "));
    // Faults are named.
    for (from, to, said) in [
        ("{site}", "{stie}", "did you mean {site}?"),
        ("\"a.test\" =", "\"a.tset\" =", "did you mean `a.test`?"),
    ] {
        let text = std::fs::read_to_string(manager.config()).expect("the file");
        let file = manager.folder.path().join("wrong.toml");
        std::fs::write(&file, text.replacen(from, to, 1)).expect("a file");
        let output = Command::new(PROGRAM)
            .args(["check", "--no-files", "--config"])
            .arg(&file)
            .output()
            .expect("it was built");
        let words =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(2) && words.contains(said), "{words}");
    }
}

/// Connections whose TLS is passed through are lines of their site, rejected ones are not.
#[test]
fn a_site_whose_tls_is_passed_through_has_a_log_of_its_own() {
    let manager = Manager::new(Origin::simple().address());
    let service = Origin::scripted(|bytes| Some((Vec::new(), bytes.len())));
    let (logs, port) = (manager.folder.path().join("logs"), free_port());
    let certificates = manager.folder.path().join("certificates");
    std::fs::create_dir(&logs).expect("a folder");
    let authority = Authority::new();
    authority.write(&certificates.join("a.test"), &["a.test"]);
    let text = std::fs::read_to_string(manager.config()).expect("the file");
    let log = format!(
        "[log]\nfile = {:?}\nrejected = true\nsites.raw = {:?}\n[certificates]\nfolder = {:?}\n",
        logs.join("all").display().to_string(),
        logs.join("raw").display().to_string(),
        certificates.display().to_string()
    );
    let text = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n{text}")
        .replace("[log]\nformat = \"off\"\n", &log);
    let more = format!(
        "[[site]]\nname = \"raw\"\nhosts = \"raw.test\"\npassthrough = \"tcp://{}\"\n",
        service.address()
    );
    std::fs::write(manager.config(), text + &more).expect("a file");
    let _service =
        KillOnDrop(manager.command(Path::new(PROGRAM)).stderr(Stdio::null()).spawn().expect("it was built"));
    manager.hear("READY=1");
    for name in ["raw.test", "nobody-has-this.test"] {
        let mut session = rustls::ClientConnection::new(
            testkit::tls_client(authority.root(), &[]).into(),
            name.try_into().expect("a name"),
        )
        .expect("a session");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it serves");
        session.write_tls(&mut stream).expect("a ClientHello");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let line: serde_json::Value = serde_json::from_str(&line_in(&logs.join("raw"))).expect("one line");
    assert_eq!((&line["site"], &line["sni"]), (&"raw".into(), &"raw.test".into()), "{line}");
    let line: serde_json::Value = serde_json::from_str(&line_in(&logs.join("all"))).expect("one line");
    assert_eq!(
        (&line["turned_away"], &line["sni"]),
        (&"unknown-name".into(), &"nobody-has-this.test".into())
    );
}
