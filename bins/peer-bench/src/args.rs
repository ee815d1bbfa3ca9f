//! Command line of the benchmark.

use std::path::PathBuf;

/// Options of a run.
pub(crate) struct Args {
    /// Path of the release build of edge-proxyd.
    pub(crate) edge: PathBuf,
    /// Folder of the unpacked peer packages.
    pub(crate) peers: PathBuf,
    /// Folder of an h2load with HTTP/3 and its libraries. `None` if it was not built.
    pub(crate) h2load_http3: Option<PathBuf>,
    /// Path of the pingora proxy. `None` if it was not built, so that it is left out.
    pub(crate) pingora: Option<PathBuf>,
    /// Names of the workloads to be run or, with `curves`, parts of titles and labels of points. All if empty.
    pub(crate) only: Vec<String>,
    /// Number of turns of each contender at each workload, at least 1. Default: 5.
    pub(crate) rounds: usize,
    /// Duration of a turn in seconds, at least 1. Default: 2.
    pub(crate) seconds: u32,
    /// Names of the contenders to be run. All contenders if empty.
    pub(crate) contenders: Vec<String>,
    /// `true` if the curves are measured instead of the workloads.
    pub(crate) curves: bool,
    /// Folder for `BENCHMARKS.md`, `benchmarks.json` and `benchmarks.svg`. `None` if no files are written.
    pub(crate) out: Option<PathBuf>,
}

/// Text of the usage.
const USAGE: &str = "usage: peer-bench --edge PROGRAM --peers FOLDER [--h2load-http3 FOLDER] [--pingora PROGRAM] [--rounds N] [--seconds N] \
    [--only WORKLOAD|POINT]… [--contender NAME]… [--curves] [--out FOLDER]";

impl Args {
    /// Parses the command line, without the name of the program. Rounds and seconds of 0 become 1.
    ///
    /// # Errors
    /// Returns the usage if a required option is missing, and a description for an unknown option or a value that is
    /// missing or not valid.
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
            curves: false,
            out: None,
        };
        let mut args = args;
        while let Some(key) = args.next() {
            let number =
                |value: &str| value.parse::<u32>().map_err(|_| format!("{key}: {value} is not a number"));
            let mut value = || args.next().ok_or_else(|| format!("{key} needs a value\n{USAGE}"));
            match key.as_str() {
                "--curves" => parsed.curves = true,
                "--edge" => parsed.edge = value()?.into(),
                "--peers" => parsed.peers = value()?.into(),
                "--h2load-http3" => parsed.h2load_http3 = Some(value()?.into()),
                "--pingora" => parsed.pingora = Some(value()?.into()),
                "--rounds" => parsed.rounds = number(&value()?)?.max(1) as usize,
                "--seconds" => parsed.seconds = number(&value()?)?.max(1),
                "--only" => parsed.only.push(value()?),
                "--contender" => parsed.contenders.push(value()?),
                "--out" => parsed.out = Some(value()?.into()),
                _ => return Err(format!("unknown option {key}\n{USAGE}")),
            }
        }
        if parsed.edge.as_os_str().is_empty() || parsed.peers.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(parsed)
    }
}
