//! `cargo xtask bench`: edge-proxyd beside nginx, HAProxy, Caddy and a small pingora proxy. Each does the same work on a core
//! of its own, in turns, and what is compared is the processor time that each spends on a request.

mod args;
mod chart;
mod client;
mod contender;
mod cost;
mod http3;
mod lab;
mod load;
mod origin;
mod report;
mod run;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = args::Args::parse(std::env::args().skip(1)).and_then(|args| run::all(&args));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peer-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
