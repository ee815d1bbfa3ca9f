//! The command `demo`: an edge with its own certificate authority and services, and clients that make real requests.
//! Each line of the table is an observation.

mod checks;
mod client;
mod lab;
mod origin;

use lab::Lab;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The options of `demo`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// The port for HTTPS, on TCP and UDP of 127.0.0.1
    #[arg(long, default_value_t = 8443)]
    tls_port: u16,
    /// The port for plain HTTP on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Exit after the table, successfully only if every check passed
    #[arg(long)]
    once: bool,
    /// Print the table as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A capability that was checked: a line of the table.
struct Capability {
    /// The name of the capability.
    capability: &'static str,
    /// The observation, or the error.
    seen: Result<String, String>,
    /// The duration of the check.
    took: Duration,
}

/// Runs the checks and prints the table. Without `--once`, then waits for SIGINT. Returns success if every check
/// passed, and failure otherwise or if the edge could not start. A check fails after 20 s.
pub(crate) fn run(arguments: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("edge-proxyd: cannot start a runtime: {why}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let lab = match Lab::start(arguments.tls_port, arguments.http_port).await {
            Ok(lab) => lab,
            Err(why) => {
                eprintln!("edge-proxyd: {why}");
                return ExitCode::FAILURE;
            }
        };
        let mut lines = Vec::new();
        if !arguments.json {
            println!("an edge at https://{} (TCP and UDP) and http://{}\n", lab.tls, lab.plain);
        }
        for (capability, check) in checks::ALL {
            let began = Instant::now();
            let outcome = tokio::time::timeout(Duration::from_secs(20), check(&lab)).await;
            let seen = match outcome {
                Ok(Ok(seen)) => Ok(seen),
                Ok(Err(why)) => Err(why.to_string()),
                Err(_) => Err("no result within 20 s".into()),
            };
            let line = Capability { capability, seen, took: began.elapsed() };
            if !arguments.json {
                print(&line);
            }
            lines.push(line);
        }
        let held = lines.iter().filter(|line| line.seen.is_ok()).count();
        if arguments.json {
            println!("{}", json(&lines));
        } else {
            println!("\n{held} of {} checks passed", lines.len());
        }
        if !arguments.once {
            wait_for_interrupt(&lab).await;
        }
        let all = held == lines.len();
        lab.stop();
        if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}

/// Prints a line of the table.
fn print(line: &Capability) {
    let (mark, text) = match &line.seen {
        Ok(seen) => ("ok  ", seen),
        Err(why) => ("FAIL", why),
    };
    println!("{mark}  {:<42} {text}", line.capability);
}

/// Returns the table as a JSON array.
fn json(lines: &[Capability]) -> String {
    let rows: Vec<_> = lines
        .iter()
        .map(|line| {
            serde_json::json!({
                "capability": line.capability,
                "holds": line.seen.is_ok(),
                "seen": match &line.seen { Ok(text) | Err(text) => text },
                "milliseconds": line.took.as_millis() as u64,
            })
        })
        .collect();
    serde_json::Value::from(rows).to_string()
}

/// Prints commands to try, and waits for SIGINT.
async fn wait_for_interrupt(lab: &Lab) {
    let mut text = String::from("\ntry it:\n");
    let root = lab.root_path();
    let root = root.display();
    let (tls, plain) = (lab.tls.port(), lab.plain.port());
    for line in [
        format!("curl --cacert {root} https://app.localhost:{tls}/"),
        format!("curl --http2 --cacert {root} https://app.localhost:{tls}/"),
        format!("curl --http3-only --cacert {root} https://app.localhost:{tls}/"),
        format!("curl -i http://app.localhost:{plain}/"),
        format!("curl -k https://127.0.0.1:{tls}/      # no name: silence"),
        format!("curl -H 'Host: unknown.example' http://127.0.0.1:{plain}/      # silence"),
    ] {
        let _ = writeln!(text, "  {line}");
    }
    println!("{text}\nCtrl-C stops it");
    // Without signals, wait for the end of the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
