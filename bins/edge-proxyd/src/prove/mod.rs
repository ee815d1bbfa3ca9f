//! The comparison of an imported configuration with nginx: nginx with the original and edge-proxyd with the converted
//! configuration get the same requests, each in user, network, mount and process namespaces of its own, where recorders
//! replace every service. Nothing outside is accessed or changed.

mod client;
mod compare;
mod job;
mod modern;
mod modules;
mod paths;
mod recorder;
mod requests;
mod shares;
mod side;
mod stage;

pub(crate) use side::side;

use crate::cli::{Exit, ImportArgs};
use crate::import::{Directive, Impact, Options, Outline, import};
use compare::Difference;
use job::{ClientCertificateKind, Job, Probe, Reply, Version};
use serde::Serialize;
use serde_json::json;
use shares::Groups;
use stage::Stage;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Compares both servers, and prints the differences. Returns [`Exit::Done`] if there are none, [`Exit::Differs`] if
/// there are some, and [`Exit::Failed`], after a message on standard error, if the comparison is not possible.
pub(crate) fn prove(directives: &[Directive], options: &Options, args: &ImportArgs) -> Exit {
    match run(directives, options, &args.nginx, args.requests) {
        Ok(proof) => {
            let found = &proof.found;
            report(&proof, args.json);
            if found.is_empty() { Exit::Done } else { Exit::Differs }
        }
        Err(why) => {
            eprintln!("edge-proxyd import: {why}");
            Exit::Failed
        }
    }
}

/// The result of a comparison.
struct ComparisonResult {
    /// The differences, the worst first.
    found: Vec<Difference>,
    /// The number of requests that were sent.
    asked: usize,
    /// The number of requests that were left out because of the largest number of requests.
    left_out: usize,
    /// True if `stream` was left out because nginx has no module for it.
    without_stream: bool,
    /// The numbers of requests that reached services through nginx.
    reached: ReachedRequests,
}

/// The numbers of requests of each kind by the replies of nginx, as evidence of what the comparison covers.
#[derive(Debug, Default, Serialize)]
struct ReachedRequests {
    /// Requests over HTTP/1.1.
    http1: usize,
    /// Requests over HTTP/2.
    http2: usize,
    /// Requests over HTTP/3.
    http3: usize,
    /// Connections that are forwarded as TCP.
    tcp: usize,
    /// Requests with a trusted client certificate that reached a service.
    with_certificate: usize,
    /// Responses with both a redirect and cookies of a service.
    redirected: usize,
    /// Requests that reached an upstream with several targets.
    balanced: usize,
    /// Responses with an error page.
    pages: usize,
    /// Requests with a revoked client certificate that did not reach a service.
    kept_from_revoked: usize,
}

impl ReachedRequests {
    /// Counts the requests `asked` by the replies of nginx, `answers`, which are in the same order.
    fn of(asked: &[Probe], answers: &[Reply], outline: &Outline) -> Self {
        let groups = Groups::of(outline);
        let is_kept = |(request, answer): &(&Probe, &Reply)| {
            request.certificate == Some(ClientCertificateKind::Revoked) && answer.service.is_none()
        };
        let mut found = Self {
            pages: answers.iter().filter(|answer| answer.page.is_some()).count(),
            kept_from_revoked: asked.iter().zip(answers).filter(is_kept).count(),
            ..Self::default()
        };
        for (request, answer) in asked.iter().zip(answers) {
            let Some(service) = &answer.service else { continue };
            *match request.version {
                Version::Http1 => &mut found.http1,
                Version::Http2 => &mut found.http2,
                Version::Http3 => &mut found.http3,
                Version::Text => &mut found.tcp,
            } += 1;
            found.with_certificate += usize::from(request.certificate == Some(ClientCertificateKind::Known));
            found.redirected += usize::from(answer.location.is_some() && !answer.cookies.is_empty());
            found.balanced += usize::from(groups.has(&service.name));
        }
        found
    }
}

/// Sends the requests, at most `most`, to both servers at the same time, and compares the replies. `nginx` is the path
/// of the program.
///
/// # Errors
/// Namespaces are not available, a file could not be written, or a server could not be run.
fn run(
    directives: &[Directive],
    options: &Options,
    nginx: &Path,
    most: usize,
) -> Result<ComparisonResult, String> {
    ensure_namespaces()?;
    let folder = tempfile::tempdir().map_err(|why| format!("no temporary folder: {why}"))?;
    // What both sides read is staged: certificates, passwords and sockets of its own.
    let outline = import(directives, options).outline;
    let stage = Stage::new(folder.path(), nginx, directives, &outline)?;
    let staged = import(&stage.directives, options);
    let (asked, left_out) = requests::requests(&staged.outline, most);
    let config = folder.path().join("edge.toml");
    let text = format!("{}\n[sandbox]\nmode = \"off\"\n\n[log]\nformat = \"off\"\n", staged.text);
    std::fs::write(&config, text).map_err(|why| format!("{}: {why}", config.display()))?;
    let job = |name: &str, command: Vec<String>| Job {
        command,
        said: folder.path().join(name).display().to_string(),
        hosts: folder.path().join("hosts").display().to_string(),
        folder: folder.path().display().to_string(),
        addresses: stage.addresses(&staged.outline, &asked),
        recorders: stage.recorders.clone(),
        listens: {
            let forwards = staged.outline.forwards.iter().flat_map(|one| one.addresses.clone());
            staged.outline.listens.iter().map(|(address, ..)| *address).chain(forwards).collect()
        },
        requests: asked.clone(),
    };
    let own =
        std::env::current_exe().map_err(|why| format!("the path of this program is not known: {why}"))?;
    let theirs = job(
        "nginx.said",
        vec![
            nginx.display().to_string(),
            "-p".into(),
            folder.path().display().to_string(),
            "-c".into(),
            folder.path().join("nginx.conf").display().to_string(),
            "-e".into(),
            "stderr".into(),
        ],
    );
    let ours = job(
        "edge.said",
        ["run", "--workers", "1", "--grace", "0", "--config"].iter().fold(
            vec![own.display().to_string()],
            |mut all, one| {
                all.push((*one).to_owned());
                all
            },
        ),
    );
    let mut ours = ours;
    ours.command.push(config.display().to_string());
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| in_namespaces(&own, &theirs, &folder.path().join("nginx.job")));
        let ours = in_namespaces(&own, &ours, &folder.path().join("edge.job"));
        (theirs.join(), ours)
    });
    let theirs =
        theirs.map_err(|_| "the comparison broke off".to_owned())?.map_err(|why| format!("nginx: {why}"))?;
    let ours = ours.map_err(|why| format!("edge-proxyd: {why}"))?;
    let found = compare::differences(&asked, &theirs, &ours, &staged.outline);
    let reached = ReachedRequests::of(&asked, &theirs, &staged.outline);
    Ok(ComparisonResult {
        reached,
        found,
        asked: asked.len(),
        left_out,
        without_stream: stage.without_stream,
    })
}

/// The options of `unshare` for the namespaces of one side, up to the program to run.
const NAMESPACES: [&str; 8] =
    ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--"];

/// Tries to create the namespaces and to configure the loopback interface in them.
///
/// # Errors
/// A message if the system does not allow it, or `unshare` or `ip` is missing.
fn ensure_namespaces() -> Result<(), String> {
    let out = Command::new("unshare").args(NAMESPACES).args(["ip", "link", "set", "lo", "up"]).output();
    let why = match out {
        Ok(out) if out.status.success() => return Ok(()),
        Ok(out) => String::from_utf8_lossy(&out.stderr).trim().to_owned(),
        Err(why) => why.to_string(),
    };
    Err(format!(
        "--prove needs user and network namespaces, so that nothing outside is reached, and this system allows none (unshare, ip: {why})"
    ))
}

/// Runs one side of the comparison in namespaces, and returns the replies in the order of the requests. `own` is the
/// path of this program, and `file` that of a file to which the job is written.
///
/// # Errors
/// The file could not be written, the server could not be run, or the replies cannot be read.
fn in_namespaces(own: &Path, job: &Job, file: &Path) -> Result<Vec<Reply>, String> {
    let text = serde_json::to_string(job).map_err(|why| why.to_string())?;
    std::fs::write(file, text).map_err(|why| format!("{}: {why}", file.display()))?;
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).arg(own).args(["import", "--side"]).arg(file).stdin(Stdio::null());
    let out = command.output().map_err(|why| format!("unshare: {why}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
    }
    serde_json::from_slice(&out.stdout).map_err(|why| format!("its answers cannot be read: {why}"))
}

/// The largest number of differences that are printed for one place, as text.
const MAX_SHOWN: usize = 3;

/// Prints the result to standard output: as JSON if `as_json`, otherwise as text, with the differences by impact and
/// place.
fn report(proof: &ComparisonResult, as_json: bool) {
    let ComparisonResult { found, asked, left_out, without_stream, reached } = proof;
    let mut out = std::io::stdout();
    // The reader may have closed its end of the pipe.
    if as_json {
        let all: Vec<_> = found
            .iter()
            .map(|one| json!({ "harm": one.impact.word(), "place": one.place, "request": one.request, "nginx": one.nginx, "edge_proxyd": one.edge }))
            .collect();
        let _ = writeln!(
            out,
            "{}",
            json!({ "requests": asked, "left_out": left_out, "without_stream": without_stream, "reached": reached, "differences": all })
        );
        return;
    }
    for impact in Impact::ALL {
        let of: Vec<&Difference> = found.iter().filter(|one| one.impact == impact).collect();
        if of.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}:", impact.heading());
        let mut places: Vec<&str> = of.iter().map(|one| one.place.as_str()).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let here: Vec<&&Difference> = of.iter().filter(|one| one.place == place).collect();
            for one in here.iter().take(MAX_SHOWN) {
                let _ = writeln!(
                    out,
                    "{place}: {}\n    nginx: {}\n    edge-proxyd: {}",
                    one.request, one.nginx, one.edge
                );
            }
            if here.len() > MAX_SHOWN {
                let _ = writeln!(out, "{place}: and {} more (--json lists them)", here.len() - MAX_SHOWN);
            }
        }
    }
    let beyond = if *left_out > 0 { format!("; {left_out} more were left out") } else { String::new() };
    let same = if found.is_empty() {
        "both answer alike".into()
    } else {
        format!("{} are answered otherwise", found.len())
    };
    if *without_stream {
        let _ = writeln!(
            out,
            "stream was not compared: this nginx has no module for it (Debian: libnginx-mod-stream, and its load_module)"
        );
    }
    let _ = writeln!(out, "{asked} requests were asked: {same}{beyond}");
}
