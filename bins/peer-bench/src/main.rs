//! `cargo xtask bench`: edge-proxyd beside nginx, HAProxy, Caddy and a small pingora proxy. Each does the same work on
//! the same core, in turns, and the processor time per request is compared.

mod args;
mod chart;
mod client;
mod contender;
mod cores;
mod cost;
mod curves;
mod figures;
mod files;
mod http3;
mod instructions;
mod lab;
mod load;
mod origin;
mod ports;
mod program;
mod report;
mod run;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = args::Args::parse(std::env::args().skip(1))
        .and_then(|args| if args.curves { curves::run(&args) } else { run::all(&args) });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peer-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
