//! Scheduling of turns: at each workload all contenders run at the same time and take turns round by round, so that
//! other load of the machine affects all alike.

use crate::args::Args;
use crate::client::{self, ConnectionScenario};
use crate::contender::{ALL, Contender};
use crate::cost;
use crate::figures::{Line, Sample};
use crate::http3;
use crate::instructions;
use crate::lab::Lab;
use crate::load::{LoadResult, LoadSpec, Protocol, RunLimit};
use crate::program::Running;
use crate::report::Report;
use crate::workload::{self, Kind, Workload};
use std::time::{Duration, Instant};

/// Number of connections of the memory measurement.
const OPEN_CONNECTIONS: usize = 10_000;

/// Runs the selected workloads with the selected contenders, prints the figures and the table, and writes the files if
/// a folder is given.
///
/// # Errors
/// Returns the first workload that failed, or the file that cannot be written.
pub(crate) fn all(args: &Args) -> Result<(), String> {
    let lab = Lab::new(args)?;
    let contenders: Vec<Contender> = ALL
        .iter()
        .copied()
        .filter(|contender| {
            args.contenders.is_empty() || args.contenders.iter().any(|name| name == contender.name())
        })
        .filter(|contender| *contender != Contender::Pingora || args.pingora.is_some())
        .collect();
    let mut report = Report::new(args, &contenders);
    for workload in workload::ALL {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == workload.name) {
            continue;
        }
        let able: Vec<Contender> =
            contenders.iter().copied().filter(|contender| workload.is_supported_by(*contender)).collect();
        let samples = match workload.kind {
            Kind::Idle => memory(&lab, args, &able)?,
            _ => turns(&lab, args, workload, &able)?,
        };
        let line = Line::new(workload, &able, samples);
        println!("{line}");
        report.add(line);
    }
    if args.only.is_empty() || args.only.iter().any(|name| name == "instructions") {
        report.instructions = instructions::count(&lab.parts(args))?;
    }
    print!("{}", report.table());
    args.out.as_ref().map_or(Ok(()), |folder| report.write(folder))
}

/// Starts the contenders, and runs rounds in which each has one turn. Returns the samples of each contender, without
/// those of a first round to warm up.
///
/// # Errors
/// Returns the turn that failed, or the contender that could not be started.
fn turns(
    lab: &Lab,
    args: &Args,
    workload: &Workload,
    contenders: &[Contender],
) -> Result<Vec<Vec<Sample>>, String> {
    let parts = lab.parts(args);
    let mut running: Vec<Running> = Vec::new();
    for contender in contenders {
        running.push(contender.start(&parts, workload.workers())?);
    }
    let mut samples = vec![Vec::new(); contenders.len()];
    // The first round warms up caches, upstream connections and program pages.
    for round in 0..=args.rounds {
        for at in 0..contenders.len() {
            // The first contender of a round changes, so that none is favoured.
            let at = (at + round) % contenders.len();
            let pid = running[at].pid();
            let before = cost::processor(pid);
            let said = turn(lab, args, workload, contenders[at], round == 0)
                .map_err(|why| format!("{}, {}: {why}", workload.name, contenders[at].name()))?;
            let spent = wait_until_idle(pid) - before;
            if round > 0 {
                samples[at].push(Sample {
                    processor: spent as f64 / 1e3 / said.requests,
                    rate: said.rate,
                    p50: said.p50,
                    p99: said.p99,
                    memory: cost::peak(pid) as f64,
                });
            }
        }
    }
    Ok(samples)
}

/// Waits, at most 200 ms, until a contender uses less than 0.2 ms of processor time within 20 ms. Returns its processor
/// time so far in nanoseconds.
pub(crate) fn wait_until_idle(pid: u32) -> u64 {
    let mut last = cost::processor(pid);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(20));
        let now = cost::processor(pid);
        if now - last < 200_000 {
            return now;
        }
        last = now;
    }
    last
}

/// Runs one turn of a contender at a workload, which lasts as long as the options say. A turn to warm up is shorter: 1
/// s or a few requests.
///
/// # Errors
/// Returns a description if the load generator fails, or the workload is [`Kind::Idle`], which is measured separately.
fn turn(
    lab: &Lab,
    args: &Args,
    workload: &Workload,
    contender: Contender,
    warm_up: bool,
) -> Result<LoadResult, String> {
    let ports = contender.ports();
    let seconds = if warm_up { 1 } else { args.seconds };
    let load = |protocol, work: &LoadSpec<'_>| match protocol {
        Protocol::Http3Quinn => http3::load(ports, &lab.roots, work),
        _ => lab.tools.h2load(ports, protocol, work),
    };
    let visits = |visit: &ConnectionScenario| {
        let began = Instant::now();
        let count = client::visit(ports, visit, seconds)? as f64;
        Ok(LoadResult {
            requests: count,
            rate: count / began.elapsed().as_secs_f64(),
            ..LoadResult::default()
        })
    };
    match workload.kind {
        Kind::Small { protocol: protocol @ (Protocol::Plain | Protocol::Http1), clients, .. } => {
            lab.tools.wrk(ports, protocol, "/1k", clients, seconds, &[])
        }
        Kind::Small { protocol, clients, streams } => {
            let until = RunLimit::Seconds(seconds);
            load(protocol, &LoadSpec { path: "/1k", clients, streams, until, upload: false, cores: None })
        }
        Kind::TwoWorkers { protocol, clients, streams } => {
            let (until, cores) = (RunLimit::Seconds(seconds), Some("0,1"));
            load(protocol, &LoadSpec { path: "/1k", clients, streams, until, upload: false, cores })
        }
        Kind::Down { protocol, path, requests, clients } => {
            let until = RunLimit::Requests(if warm_up { clients as u32 } else { requests });
            load(protocol, &LoadSpec { path, clients, streams: 1, until, upload: false, cores: None })
        }
        Kind::Up { protocol, requests } => {
            let until = RunLimit::Requests(if warm_up { 4 } else { requests });
            let work = LoadSpec { path: "/upload", clients: 2, streams: 1, until, upload: true, cores: None };
            load(protocol, &work)
        }
        Kind::Handshakes { resumed } => {
            visits(&ConnectionScenario::Request(client::tls(&lab.roots, resumed)))
        }
        Kind::UnknownName => {
            let hello = client::hello_for_a_stranger(&client::tls(&lab.roots, false));
            visits(&ConnectionScenario::UnknownName(hello))
        }
        Kind::UnknownHost => visits(&ConnectionScenario::UnknownHost),
        Kind::Idle => Err("measured separately".into()),
    }
}

/// Measures the memory of idle connections in one sample for each contender, since it is stable. Each contender runs
/// alone, newly started.
///
/// # Errors
/// Returns a description if a contender or a connection fails.
fn memory(lab: &Lab, args: &Args, contenders: &[Contender]) -> Result<Vec<Vec<Sample>>, String> {
    let parts = lab.parts(args);
    let config = client::tls(&lab.roots, false);
    let mut samples = Vec::new();
    for contender in contenders {
        let running = contender.start(&parts, 1)?;
        // Single allocations, such as the first buffers, do not count as memory of a connection.
        drop(client::open_connections(contender.ports(), &config, 64)?);
        std::thread::sleep(Duration::from_millis(500));
        let before = cost::resident(running.pid());
        let open = client::open_connections(contender.ports(), &config, OPEN_CONNECTIONS)?;
        std::thread::sleep(Duration::from_secs(2));
        let after = cost::resident(running.pid());
        let each = after.saturating_sub(before) as f64 / open.len() as f64;
        samples.push(vec![Sample { memory: each, ..Sample::default() }]);
    }
    Ok(samples)
}
