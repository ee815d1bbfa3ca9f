//! The command line of the benchmark.

use std::path::PathBuf;

/// The options of a run.
pub(crate) struct Args {
    /// The release build of edge-proxyd.
    pub(crate) edge: PathBuf,
    /// The folder of the unpacked peer packages.
    pub(crate) peers: PathBuf,
    /// The folder of an h2load with HTTP/3 and its libraries, if it was built.
    pub(crate) h2load_http3: Option<PathBuf>,
    /// The pingora proxy, if it was built.
    pub(crate) pingora: Option<PathBuf>,
    /// Names of the workloads to run; all if empty.
    pub(crate) only: Vec<String>,
    /// Turns of each contender at each workload.
    pub(crate) rounds: usize,
    /// The length of a turn in seconds.
    pub(crate) seconds: u32,
    /// Names of the contenders to run; all if empty.
    pub(crate) contenders: Vec<String>,
    /// The folder for `BENCHMARKS.md`, `benchmarks.json` and `benchmarks.svg`; without it nothing is written.
    pub(crate) out: Option<PathBuf>,
}

const USAGE: &str = "usage: peer-bench --edge PROGRAM --peers FOLDER [--h2load-http3 FOLDER] [--pingora PROGRAM] [--rounds N] [--seconds N] \
    [--only WORKLOAD]… [--contender NAME]… [--out FOLDER]";

impl Args {
    /// Parses the command line.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            edge: PathBuf::new(),
            peers: PathBuf::new(),
            h2load_http3: None,
            pingora: None,
            only: Vec::new(),
            rounds: 5,
            seconds: 2,
            contenders: Vec::new(),
            out: None,
        };
        let mut args = args;
        while let Some(key) = args.next() {
            let value = args.next().ok_or_else(|| format!("{key} needs a value\n{USAGE}"))?;
            let number =
                |value: &str| value.parse::<u32>().map_err(|_| format!("{key}: {value} is not a number"));
            match key.as_str() {
                "--edge" => parsed.edge = value.into(),
                "--peers" => parsed.peers = value.into(),
                "--h2load-http3" => parsed.h2load_http3 = Some(value.into()),
                "--pingora" => parsed.pingora = Some(value.into()),
                "--rounds" => parsed.rounds = number(&value)?.max(1) as usize,
                "--seconds" => parsed.seconds = number(&value)?.max(1),
                "--only" => parsed.only.push(value),
                "--contender" => parsed.contenders.push(value),
                "--out" => parsed.out = Some(value.into()),
                _ => return Err(format!("unknown option {key}\n{USAGE}")),
            }
        }
        if parsed.edge.as_os_str().is_empty() || parsed.peers.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(parsed)
    }
}
