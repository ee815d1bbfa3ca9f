//! What a run is told.

use std::path::PathBuf;

/// A run.
pub(crate) struct Args {
    /// edge-proxyd, built for release.
    pub(crate) edge: PathBuf,
    /// The folder into which the peers' packages are unpacked.
    pub(crate) peers: PathBuf,
    /// The pingora proxy, if it was built.
    pub(crate) pingora: Option<PathBuf>,
    /// Workloads to run, by the beginning of their names; all if empty.
    pub(crate) only: Vec<String>,
    /// How often each contender has its turn at each workload.
    pub(crate) rounds: usize,
    /// How long a turn is, in seconds.
    pub(crate) seconds: u32,
    /// Contenders to run; all if empty.
    pub(crate) contenders: Vec<String>,
    /// The folder for `BENCHMARKS.md`, `benchmarks.json` and `benchmarks.svg`; nothing is written without it.
    pub(crate) out: Option<PathBuf>,
}

const USAGE: &str = "usage: peer-bench --edge PROGRAM --peers FOLDER [--pingora PROGRAM] [--rounds N] [--seconds N] \
    [--only WORKLOAD]… [--contender NAME]… [--out FOLDER]";

impl Args {
    /// Reads them.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            edge: PathBuf::new(),
            peers: PathBuf::new(),
            pingora: None,
            only: Vec::new(),
            rounds: 5,
            seconds: 2,
            contenders: Vec::new(),
            out: None,
        };
        let mut args = args;
        while let Some(key) = args.next() {
            let value = args.next().ok_or_else(|| format!("{key} wants a value\n{USAGE}"))?;
            let number =
                |value: &str| value.parse::<u32>().map_err(|_| format!("{key}: {value} is no number"));
            match key.as_str() {
                "--edge" => parsed.edge = value.into(),
                "--peers" => parsed.peers = value.into(),
                "--pingora" => parsed.pingora = Some(value.into()),
                "--rounds" => parsed.rounds = number(&value)?.max(1) as usize,
                "--seconds" => parsed.seconds = number(&value)?.max(1),
                "--only" => parsed.only.push(value),
                "--contender" => parsed.contenders.push(value),
                "--out" => parsed.out = Some(value.into()),
                _ => return Err(format!("{key} is not known\n{USAGE}")),
            }
        }
        if parsed.edge.as_os_str().is_empty() || parsed.peers.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(parsed)
    }
}
