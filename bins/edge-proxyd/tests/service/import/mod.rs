//! An imported nginx configuration: real nginx with the original and edge-proxyd with the result respond alike.

mod logs;
mod proof;
mod random;

use super::{KillOnDrop, PROGRAM, free_port};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, answer};

const SITE: &str = include_str!("site.conf");

/// The nginx that the tests' setup installed, which every account can run.
fn nginx() -> Command {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let root = target.join("tools/newer-nginx");
    assert!(root.exists(), "{} is missing: cargo xtask tools installs it", root.display());
    let root = testkit::postgres::readable_folder(&root, "usr/sbin/nginx");
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).arg(root.join("usr/sbin/nginx"));
    command
}

/// An origin that responds with the request and its relevant fields.
fn origin() -> Origin {
    Origin::scripted(|bytes| {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let field = |wanted: &str| {
            text.lines()
                .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case(wanted)))
                .map(|(_, value)| value.trim().to_owned())
        };
        let end = head + field("content-length").map_or(0, |length| length.parse().expect("a number"));
        if bytes.len() < end {
            return None;
        }
        let asked: Vec<&str> = text.lines().next()?.split(' ').take(2).collect();
        let mut said = asked.join(" ");
        for name in ["host", "x-real-ip", "x-kind", "x-secret", "content-length"] {
            // edge-proxyd tells every upstream the client's address; nginx only where configured.
            if name != "x-real-ip" || field("x-kind").is_some() {
                said += &format!("\n{name}: {}", field(name).unwrap_or_default());
            }
        }
        // The last entry, which many applications take for the client.
        if field("x-kind").is_some() {
            let chain = field("x-forwarded-for").unwrap_or_default();
            said += &format!("\nlast: {}", chain.rsplit(',').next().unwrap_or_default().trim());
        }
        // Long enough to be compressed.
        if asked[1].contains("long") {
            said += &"\nlong text".repeat(500);
        }
        let mut bytes = answer(&said);
        if asked[1].contains("wide") {
            let at = bytes.windows(2).position(|two| two == b"\r\n").expect("a status line") + 2;
            bytes.splice(at..at, format!("X-Wide: {}\r\n", "y".repeat(40_000)).into_bytes());
        }
        Some((bytes, end))
    })
}

/// The compared parts of a response: status, some fields, content. None without a response.
type Answer = Option<(u16, BTreeMap<String, String>, Vec<u8>)>;

fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut got = Vec::new();
    // A reset ends the connection too.
    let _ = stream.read_to_end(&mut got);
    let end = got.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let status: u16 = head.get(9..12)?.parse().ok()?;
    let wanted = ["location", "x-frame-options", "content-encoding", "www-authenticate"];
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.replace(", charset=\"UTF-8\"", "")));
    let fields: BTreeMap<_, _> = fields
        .filter(|(name, _)| wanted.contains(&name.as_str()))
        // edge-proxyd adds fields of a site to forwarded responses, not to its own refusals.
        .filter(|(name, _)| status < 400 || name != "x-frame-options")
        .collect();
    // Error pages differ.
    let content = if status == 200 && !fields.contains_key("content-encoding") {
        got[end + 4..].to_vec()
    } else {
        Vec::new()
    };
    Some((status, fields, content))
}

fn import(file: &Path) -> std::process::Output {
    Command::new(PROGRAM).arg("import").arg(file).output().expect("it was built")
}

#[test]
fn both_answer_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().display().to_string();
    // nginx drops to another user, who must be able to read the files.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    Authority::new().write(&folder.path().join("acme/git.test"), &["git.test", "www.git.test"]);
    let users = Command::new("htpasswd").args(["-nbB", "eve", "open sesame"]).output();
    let users = users.expect("htpasswd is there; cargo xtask tools installs it").stdout;
    std::fs::write(folder.path().join("users"), users).expect("a file");
    let origin = origin();
    let filled = |plain: u16, tls: u16| {
        SITE.replace("ORIGIN", &origin.address().port().to_string())
            .replace("PLAIN", &plain.to_string())
            .replace("TLS ssl", &format!("{tls} ssl"))
            .replace("FOLDER", &root)
    };
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));

    let theirs = local(free_port());
    std::fs::write(folder.path().join("site.conf"), filled(theirs.port(), free_port())).expect("a file");
    let main = format!(
        "daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log {root}/error.log;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {root}/b;\nproxy_temp_path {root}/p;\nfastcgi_temp_path {root}/f;\n\
         uwsgi_temp_path {root}/u;\nscgi_temp_path {root}/s;\ninclude {root}/site.*;\n}}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), &main).expect("a file");
    let run = nginx()
        .args(["-p", &root, "-c", "nginx.conf", "-e", "stderr"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _nginx = KillOnDrop(run.expect("nginx runs"));

    // The same on other ports, through the main file and its include.
    let ours = local(free_port());
    std::fs::create_dir(folder.path().join("other")).expect("a folder");
    std::fs::write(folder.path().join("other/site.conf"), filled(ours.port(), free_port())).expect("a file");
    std::fs::write(folder.path().join("other/nginx.conf"), main.replace(&format!("{root}/site.*"), "site.*"))
        .expect("a file");
    let imported = import(&folder.path().join("other/nginx.conf"));
    let said = String::from_utf8_lossy(&imported.stderr);
    let text = String::from_utf8_lossy(&imported.stdout).into_owned();
    // All that has no counterpart is harmless: it is counted, not listed.
    assert_eq!(imported.status.code(), Some(0), "{said}");
    assert!(said.lines().all(|line| line.starts_with("Harmless: ")), "{said}");
    // Differences that no directive expresses are listed at the top.
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    for part in ["X-Real-IP", "X-Accel", "add_header", "gzip_types", "%2F"] {
        assert_eq!(head.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {head:#?}");
    }
    std::fs::write(folder.path().join("edge.toml"), &text).expect("a file");
    let mut edge = Command::new(PROGRAM);
    edge.args(["run", "--workers", "1", "--config"]).arg(folder.path().join("edge.toml"));
    let edge = edge
        .stdout(Stdio::null())
        .stderr(Stdio::from(std::fs::File::create(folder.path().join("said")).expect("a file")));
    let _edge = KillOnDrop(edge.spawn().expect("it was built"));
    let until = Instant::now() + Duration::from_secs(20);
    for address in [theirs, ours] {
        while TcpStream::connect(address).is_err() {
            let said = std::fs::read_to_string(folder.path().join("said")).unwrap_or_default();
            let error = std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < until, "{address} is not served:\n{text}\n{said}\n{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    let get = |host: &str, path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")
    };
    let post = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: git.test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    let far = "X-Forwarded-For: 203.0.113.9\r\n";
    let requests = [
        (get("git.test", "/", ""), Some(200)),
        (get("www.git.test", "/a%20b/c?d=e%2ff", far), Some(200)),
        (
            get(
                "git.test",
                "/",
                "X-Forwarded-For: 198.51.100.1, 203.0.113.9, 127.0.0.1\r\nX-Real-IP: 6.6.6.6\r\n",
            ),
            Some(200),
        ),
        (get("git.test", "/", "X-Secret: s\r\nX-Kind: mine\r\n"), Some(200)),
        (get("git.test", "/api/users?id=1", far), Some(200)),
        (get("git.test", "/api/", ""), Some(200)),
        (get("git.test", "/apis", ""), Some(200)),
        (get("git.test", "/kept/x", ""), Some(200)),
        (get("git.test", "/healthz", ""), Some(200)),
        (get("git.test", "/healthz/x", ""), Some(200)),
        (get("git.test", "/old/page?x=1", ""), Some(301)),
        (get("git.test", "/gone/x", ""), Some(410)),
        (get("git.test", "/private/x", far), Some(403)),
        (get("git.test", "/private/x", "X-Forwarded-For: 10.1.2.3\r\n"), Some(200)),
        (get("git.test", "/secret/x", ""), Some(401)),
        (get("git.test", "/secret/x", "Authorization: Basic ZXZlOndyb25n\r\n"), Some(401)),
        (get("git.test", "/secret/x", "Authorization: Basic ZXZlOm9wZW4gc2VzYW1l\r\n"), Some(200)),
        (post("/up", 10_000), Some(200)),
        (post("/up", 20_000), Some(413)),
        (post("/kept/up", 20_000), Some(200)),
        (get("a.old.test", "/x?y", ""), Some(302)),
        (get("old.test", "/", ""), Some(302)),
        (get("drop.test", "/", ""), None),
        (get("unknown.test", "/", ""), None),
        (get("git.test", "/long.html", "Accept-Encoding: gzip\r\n"), Some(200)),
        (get("git.test", "/long.html", ""), Some(200)),
        // Heads that only fit by the sizes of the configuration.
        (get("git.test", "/", &format!("Cookie: a={}\r\n", "y".repeat(20_000))), Some(200)),
        (get("git.test", "/wide", ""), Some(200)),
    ];
    for (request, status) in requests {
        let (one, other) = (ask(theirs, &request), ask(ours, &request));
        let short: String = request.chars().take(200).collect();
        assert_eq!(one.as_ref().map(|answer| answer.0), status, "nginx: {short}");
        // By default nginx compresses HTML only; the test is about the rest.
        assert_eq!(other, one, "edge-proxyd differs: {short}\n{text}");
    }
}

#[test]
fn differences_are_listed_by_harm_with_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("site.conf");
    let text = "server {\n  listen 443 ssl;\n  server_name a.test;\n  \
                ssl_certificate /etc/letsencrypt/live/a/fullchain.pem;\n  ssl_certificate_key /etc/letsencrypt/live/a/privkey.pem;\n  \
                root /srv;\n  location ~ \\.php$ {\n    fastcgi_pass x;\n  }\n  location /a {\n    proxy_pass http://127.0.0.1:1;\n    \
                proxy_set_header X-Id $msec;\n  }\n  limit_req zone=x;\n  auth_jwt on;\n}\nserver {\n  listen 80;\n  server_name a.test;\n  \
                return 301 https://$host$request_uri;\n}\n";
    std::fs::write(&file, text).expect("a file");
    let output = import(&file);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let place = |wanted: &str| {
        lines.iter().position(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{wanted}\n{said}"))
    };
    let of = |line: usize, what: &str| place(&format!("{}:{line}: {what}", file.display()));
    let order = [
        place("This is now open:"),
        of(14, "limit_req zone=x: "),
        place("This is now closed:"),
        of(8, "fastcgi_pass x: only HTTP is forwarded"),
        place("This is different:"),
        of(12, "proxy_set_header X-Id $msec: its value is not known here"),
        place("Harmless: "),
    ];
    assert!(order.is_sorted(), "{said}");
    of(15, "auth_jwt on: clients had to authenticate");
    // The result is a valid configuration, apart from the certificate, which is not there.
    let config = folder.path().join("edge.toml");
    std::fs::write(&config, &output.stdout).expect("a file");
    let check = Command::new(PROGRAM)
        .args(["check", "--no-files"])
        .arg("--config")
        .arg(&config)
        .output()
        .expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(check.status.success(), "{}{text}", String::from_utf8_lossy(&check.stderr));
    assert!(text.contains("folder = \"/etc/letsencrypt/live\""), "{text}");
    // A file that is not an nginx configuration changes nothing, and the error names its line.
    std::fs::write(&file, "server {\n  listen 80\n}\n").expect("a file");
    let output = import(&file);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("site.conf:2:1: error[syntax]: missing ; after `listen`")
            && output.stdout.is_empty()
    );
}

#[test]
fn includes_are_relative_to_the_prefix_and_absolute_ones_below_the_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |path: &str| folder.path().join(path);
    for (path, text) in [
        ("nginx/sites/a.conf", "server { listen 80; server_name app.*; include snippets/app.conf; }"),
        (
            "nginx/snippets/app.conf",
            "location / { include /config/proxy.conf; proxy_pass http://127.0.0.1:1; }",
        ),
        ("copy/config/proxy.conf", "proxy_set_header X-A b;"),
    ] {
        std::fs::create_dir_all(of(path).parent().expect("a folder")).expect("a folder");
        std::fs::write(of(path), text).expect("a file");
    }
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("import").arg(of("nginx/sites/a.conf")).args(more);
        command.output().expect("it was built")
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = run(&[]);
    assert!(missing.status.code() == Some(2) && said(&missing).contains("--prefix"), "{}", said(&missing));
    let prefix = of("nginx").display().to_string();
    let missing = run(&["--prefix", &prefix]);
    assert!(missing.status.code() == Some(2) && said(&missing).contains("--root"), "{}", said(&missing));
    let root = of("copy").display().to_string();
    let found = run(&["--prefix", &prefix, "--root", &root, "--domain", "example.org"]);
    let text = String::from_utf8_lossy(&found.stdout);
    assert!(
        found.status.success() && text.contains("app.example.org") && text.contains("\"X-A\" = \"b\""),
        "{text}"
    );
}
