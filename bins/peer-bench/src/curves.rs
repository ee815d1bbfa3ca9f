//! Curves: how the cost of a request grows with the work beside it, for edge-proxyd and nginx with their defaults.

use crate::args::Args;
use crate::client::{self, ConnectionScenario};
use crate::contender::{Contender, Parts, Scale};
use crate::cost;
use crate::figures::{Figures, Sample, amount};
use crate::lab::Lab;
use crate::load::{LoadResult, LoadSpec, Protocol, RunLimit};
use crate::run::wait_until_idle;
use crate::workload::Measure;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

/// The ratio of neighbouring points from which on the table marks a step.
const STEP: f64 = 1.3;

/// The shortest turn in seconds with at least [`MANY`] connections, of clients or to the origin, which take seconds to be
/// established.
const LONG_TURN: u32 = 10;

/// The number of connections of clients from which on a turn is a long one.
const MANY: usize = 4_096;

/// The number of concurrent requests over multiplexed connections from which on a turn is a long one.
const MANY_STREAMS: usize = 16_384;

/// Connections of a curve that does not vary them.
const CLIENTS: usize = 64;

/// The load of a point.
#[derive(Clone, Copy)]
enum Load {
    /// Requests without TLS over HTTP/1.1: connections, and bytes of additional fields of each request.
    Requests { clients: usize, fields: usize },
    /// Requests over multiplexed connections: connections and streams of each.
    Streams { protocol: Protocol, clients: usize, streams: usize },
    /// Full TLS handshakes with a request each.
    Handshakes,
}

/// A point of a curve.
struct Point {
    label: String,
    scale: Scale,
    load: Load,
}

impl Point {
    /// Returns the number of file descriptors that a proxy needs: two for each request of HTTP/1.1, else one for each
    /// request and few more.
    const fn descriptors(&self) -> u64 {
        let connections = match self.load {
            Load::Requests { clients, .. } => 2 * clients,
            Load::Streams { clients, streams, .. } => clients * (streams + 1),
            Load::Handshakes => CLIENTS,
        };
        connections as u64 + 500
    }
}

/// A curve: its title, the contenders that are measured, and its points in ascending order.
struct Curve {
    title: &'static str,
    contenders: &'static [Contender],
    points: Vec<Point>,
}

/// Returns the number as it is written in tables, with commas between thousands.
fn grouped(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Returns the curve of one protocol by the number of concurrent requests.
fn concurrent(title: &'static str, protocol: Protocol) -> Curve {
    let multiplexed = [(1, 1), (16, 1), (16, 4), (16, 32), (128, 32), (512, 32)];
    let points = multiplexed.map(|(clients, streams)| {
        let load = match protocol {
            Protocol::Plain => Load::Requests { clients: clients * streams, fields: 0 },
            _ => Load::Streams { protocol, clients, streams },
        };
        // Each request needs a connection of the proxy to the origin, beside that of the client.
        let scale = Scale { connections: 40_000, ..Scale::default() };
        Point { label: grouped(clients * streams), scale, load }
    });
    Curve { title, contenders: &[Contender::Edge, Contender::Nginx], points: points.into() }
}

/// Returns all curves.
fn all() -> Vec<Curve> {
    let both = &[Contender::Edge, Contender::Nginx];
    let scaled = |title, numbers: &[usize], contenders, load, scale: fn(usize) -> Scale| {
        let point = |number: &usize| Point { label: grouped(*number), scale: scale(*number), load };
        Curve { title, contenders, points: numbers.iter().map(point).collect() }
    };
    let usual = Load::Requests { clients: CLIENTS, fields: 0 };
    let sections = [200, 1024, 4096, 14_336].map(|bytes| Point {
        label: format!("{} B", grouped(bytes)),
        scale: Scale::default(),
        load: Load::Requests { clients: CLIENTS, fields: bytes },
    });
    vec![
        concurrent("requests at once, HTTP/1.1", Protocol::Plain),
        concurrent("requests at once, HTTP/2", Protocol::Http2),
        concurrent("requests at once, HTTP/3", Protocol::Http3),
        scaled("sites", &[1, 10, 1_000, 10_000], both, usual, |sites| Scale { sites, ..Scale::default() }),
        scaled("routes of the site", &[1, 10, 100, 1_000], both, usual, |routes| Scale {
            routes,
            ..Scale::default()
        }),
        scaled(
            "certificates, a full handshake and one request",
            &[1, 100, 10_000],
            &[Contender::Edge],
            Load::Handshakes,
            |certificates| Scale { certificates, ..Scale::default() },
        ),
        Curve {
            title: "fields of the request beside the usual ones",
            contenders: both,
            points: sections.into(),
        },
    ]
}

/// Returns the options of wrk for additional fields of this many bytes, in lines of at most 500.
fn additional_fields(bytes: usize) -> Vec<String> {
    let lines = bytes.div_ceil(500);
    (0..lines)
        .map(|line| {
            let length = bytes / lines;
            let name = format!("X-Field-{line}: ");
            format!("-H{name}{}", "v".repeat(length.saturating_sub(name.len() + 2)))
        })
        .collect()
}

/// Runs one turn of a contender at a point, for a number of seconds.
///
/// # Errors
/// Returns a description if the load generator or a request fails.
fn turn(lab: &Lab, contender: Contender, load: Load, seconds: u32) -> Result<LoadResult, String> {
    let ports = contender.ports();
    match load {
        Load::Requests { clients, fields } => {
            let more = additional_fields(fields);
            lab.tools.wrk(ports, Protocol::Plain, "/1k", clients, seconds, &more)
        }
        Load::Streams { protocol, clients, streams } => {
            let until = RunLimit::Seconds(seconds);
            let work = LoadSpec { path: "/1k", clients, streams, until, upload: false, cores: None };
            lab.tools.h2load(ports, protocol, &work)
        }
        Load::Handshakes => {
            let began = Instant::now();
            let scenario = ConnectionScenario::Request(client::tls(&lab.roots, false));
            let count = client::visit(ports, &scenario, seconds)? as f64;
            Ok(LoadResult {
                requests: count,
                rate: count / began.elapsed().as_secs_f64(),
                ..LoadResult::default()
            })
        }
    }
}

/// Measures a contender at a point, alone: beside another one the ports of the loopback address would not suffice for
/// the largest points.
///
/// # Errors
/// Returns a description if the contender or the load generator fails.
fn measure(lab: &Lab, args: &Args, contender: Contender, point: &Point) -> Result<Figures, String> {
    let parts = Parts { scale: point.scale, ..lab.parts(args) };
    let running = contender.start(&parts, 1)?;
    let mut samples = Vec::new();
    for round in 0..=args.rounds {
        let before = cost::processor(running.pid());
        let usual = if round == 0 { 1 } else { args.seconds };
        let many = match point.load {
            Load::Requests { clients, .. } => clients >= MANY,
            Load::Streams { clients, streams, .. } => clients * streams >= MANY_STREAMS,
            Load::Handshakes => false,
        };
        let seconds = if many { usual.max(LONG_TURN) } else { usual };
        let said = turn(lab, contender, point.load, seconds)?;
        let spent = wait_until_idle(running.pid()) - before;
        if round > 0 {
            samples.push(Sample {
                processor: spent as f64 / 1e3 / said.requests,
                rate: said.rate,
                p50: said.p50,
                p99: said.p99,
                memory: cost::peak(running.pid()) as f64,
            });
        }
    }
    Ok(Figures { contender, samples })
}

/// Returns the curves with the points whose title and label contain one of the texts `only`, all of them if it is empty.
///
/// # Errors
/// Returns the text that no point contains.
fn selected(only: &[String]) -> Result<Vec<Curve>, String> {
    let mut curves = all();
    let contains = |title: &str, point: &Point, text: &String| {
        format!("{title}: {}", point.label).contains(text.as_str())
    };
    for text in only {
        if !curves.iter().any(|curve| curve.points.iter().any(|point| contains(curve.title, point, text))) {
            let titles: Vec<_> = curves.iter().map(|curve| curve.title).collect();
            return Err(format!("--only {text}: no point of a curve; the curves are {titles:?}"));
        }
    }
    if !only.is_empty() {
        for Curve { title, points, .. } in &mut curves {
            points.retain(|point| only.iter().any(|text| contains(title, point, text)));
        }
        curves.retain(|curve| !curve.points.is_empty());
    }
    Ok(curves)
}

/// Measures all curves, or the points that `--only` selects, prints each as a table, and writes them into
/// `BENCHMARKS.md` if a folder is given, between two marks.
///
/// # Errors
/// Returns the point that failed, the text of `--only` that selects none, or the file that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let curves = selected(&args.only)?;
    let lab = Lab::new(args)?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut text = format!("\n{}.\n", crate::report::conditions(args));
    for curve in curves {
        let mut rows = Vec::new();
        for point in &curve.points {
            if point.descriptors() > limit {
                let needed = format!(
                    "{} (needs {} descriptors, the limit is {limit})",
                    point.label,
                    point.descriptors()
                );
                rows.push((needed, Vec::new()));
                continue;
            }
            lab.set_certificates(point.scale.certificates)?;
            let each = curve.contenders.iter().map(|contender| {
                measure(&lab, args, *contender, point)
                    .map_err(|why| format!("{}, {}, {}: {why}", curve.title, point.label, contender.name()))
            });
            rows.push((point.label.clone(), each.collect::<Result<Vec<_>, _>>()?));
        }
        lab.set_certificates(0)?;
        let table = table(&curve, &rows);
        print!("{table}");
        text.push_str(&table);
    }
    args.out.as_ref().map_or(Ok(()), |folder| write(folder, &text))
}

/// Returns the table of a curve: for each point the processor time of each contender, the step from the point before,
/// and the 99th percentile of latency.
fn table(curve: &Curve, rows: &[(String, Vec<Figures>)]) -> String {
    let names: Vec<_> = curve.contenders.iter().map(|contender| contender.name()).collect();
    let mut text = format!("\n| {} |", curve.title);
    for name in &names {
        let _ = write!(text, " {name} | step |");
    }
    if names.len() > 1 {
        text.push_str(" ratio |");
    }
    for name in &names {
        let _ = write!(text, " p99 {name} |");
    }
    let columns = 1 + 3 * names.len() + usize::from(names.len() > 1);
    let _ = writeln!(text, "\n|{}", "-|".repeat(columns));
    let mut last: Vec<Option<f64>> = vec![None; names.len()];
    for (label, figures) in rows {
        let _ = write!(text, "| {label} |");
        if figures.is_empty() {
            let _ = writeln!(text, "{}", " – |".repeat(columns - 1));
            continue;
        }
        let best: Vec<f64> = figures.iter().map(|figures| figures.best(Measure::Processor)).collect();
        for (now, last) in best.iter().zip(&mut last) {
            let step = match last.replace(*now) {
                Some(before) if now / before > STEP => format!("**{:.2}**", now / before),
                Some(before) => format!("{:.2}", now / before),
                None => "–".into(),
            };
            let _ = write!(text, " {} | {step} |", amount(*now, Measure::Processor));
        }
        if let [ours, peer] = best[..] {
            let _ = write!(text, " {:.2} |", ours / peer);
        }
        for figures in figures {
            let p99 = figures.median_of(|sample| sample.p99);
            let said = if p99 > 0.0 { format!("{:.2} ms", p99 / 1e3) } else { "–".into() };
            let _ = write!(text, " {said} |");
        }
        text.push('\n');
    }
    text
}

/// Replaces the curves in `BENCHMARKS.md` of a folder.
///
/// # Errors
/// Returns the file if it cannot be read or written, or lacks the marks.
fn write(folder: &Path, curves: &str) -> Result<(), String> {
    let path = folder.join("BENCHMARKS.md");
    let fail = |why: std::io::Error| format!("{}: {why}", path.display());
    let known = std::fs::read_to_string(&path).map_err(fail)?;
    let (begin, end) = ("<!-- curves -->\n", "<!-- end of curves -->\n");
    let parts = known.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) =
        parts.ok_or_else(|| format!("{}: the marks of the curves are missing", path.display()))?;
    std::fs::write(&path, format!("{before}{begin}{curves}{end}{after}")).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_length_that_was_asked_for() {
        for bytes in [200, 1024, 4096, 14_336] {
            let lines = additional_fields(bytes);
            // Each has the option `-H` before it, and CRLF behind it.
            let length: usize = lines.iter().map(String::len).sum();
            assert!(length.abs_diff(bytes) <= lines.len(), "{bytes}: {length}");
        }
        assert!(additional_fields(0).is_empty());
    }

    #[test]
    fn points_are_selected_by_title_and_label() {
        let labels = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|&text| text.to_owned()).collect();
            let point = |curve: &Curve, point: &Point| format!("{}: {}", curve.title, point.label);
            selected(&only).map(|curves| {
                let each =
                    curves.iter().flat_map(|curve| curve.points.iter().map(move |at| point(curve, at)));
                each.collect::<Vec<_>>()
            })
        };
        let (streams, routes) = ("requests at once, HTTP/2: 16,384", "routes of the site: 100");
        assert_eq!(labels(&["HTTP/2: 16,384", "site: 100"]).unwrap(), [streams, routes]);
        assert_eq!(labels(&[]).unwrap().len(), all().iter().map(|curve| curve.points.len()).sum::<usize>());
        assert!(labels(&["HTTP/2", "HTTP/4"]).unwrap_err().contains("HTTP/4"));
    }

    #[test]
    fn a_step_is_marked() {
        let figures = |contender, processor| Figures {
            contender,
            samples: vec![Sample { processor, p99: 1500.0, ..Sample::default() }],
        };
        let curve = &all()[0];
        let row = |label: &str, ours, peer| {
            (label.to_owned(), vec![figures(Contender::Edge, ours), figures(Contender::Nginx, peer)])
        };
        let text = table(curve, &[row("1", 10.0, 20.0), ("8".into(), Vec::new()), row("16", 14.0, 20.0)]);
        assert!(text.contains("\n| 8 | – | – | – | – | – | – | – |\n"), "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(last, "| 16 | 14.0 µs | **1.40** | 20.0 µs | 1.00 | 0.70 | 1.50 ms | 1.50 ms |");
    }
}
