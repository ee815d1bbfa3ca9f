//! The report: one HTML page without scripts or external resources.

use crate::external::ExternalServers;
use crate::facts::{Fact, Facts};
use crate::postgres::programs;
use crate::topology::Topology;
use std::fmt::Write;

/// Style sheet of the report.
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6673;--line:#d8dee6;--page:#fbfcfd;--card:#fff;--good:#13795b;--bad:#b3261e;--accent:#2257a8}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa5b1;--line:#333b45;--page:#14171b;--card:#1b2026;--good:#5cc9a1;--bad:#ff8a80;--accent:#8fb8f5}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:1.7rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.sum{display:flex;gap:2rem;flex-wrap:wrap;margin:1.2rem 0}.sum div{min-width:7rem}.sum b{display:block;font-size:1.5rem}.sum span{color:var(--soft)}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line)}
td,th{padding:.5rem .7rem;border-top:1px solid var(--line);vertical-align:top;text-align:left}th{font-weight:600;color:var(--soft);border-top:0}
td:first-child{width:5.2rem;font-weight:600}td.t{width:5rem;text-align:right;font-variant-numeric:tabular-nums;color:var(--soft);white-space:nowrap}
td.s{width:42%;color:var(--soft);overflow-wrap:anywhere;white-space:pre-wrap}.good{color:var(--good)}.bad{color:var(--bad)}
svg{width:100%;height:auto;max-width:60rem}svg text{font:13px system-ui,sans-serif;fill:var(--ink)}svg .q{fill:var(--soft);font-size:11.5px}
svg rect{fill:var(--card);stroke:var(--line)}svg .n{stroke:var(--accent);stroke-width:2;fill:none}footer{margin-top:2.5rem;color:var(--soft)}
";

/// Texts of a report, and the diagram of the hosts.
pub(crate) struct ReportTemplate {
    title: &'static str,
    command: &'static str,
    /// Positions of the hosts in the diagram, in pixels: x, y, name, role.
    hosts: &'static [(u32, u32, &'static str, &'static str)],
    /// Links between hosts, as an SVG path.
    wires: &'static str,
    /// Major versions of PostgreSQL in use.
    postgres: &'static [u32],
}

/// Report of the scenario with one edge.
pub(crate) const ONE_EDGE: ReportTemplate = ReportTemplate {
    title: "Scenario with one edge",
    command: "cargo xtask homelab",
    hosts: &[
        (10, 20, "client", "203.0.113.7"),
        (10, 90, "attacker", "203.0.113.66"),
        (10, 160, "internet", "CA, Cloudflare, DNS, mail"),
        (370, 20, "vps-pacman", "203.0.113.1, 100.64.0.1"),
        (370, 160, "laptop", "100.64.0.9"),
        (720, 20, "lab-matrix", "100.64.0.2, PostgreSQL"),
        (720, 160, "id3-eniac", "100.64.0.3, double TLS"),
    ],
    wires: "M290 45V190 M240 45H370 M240 115H290 M240 190H290 M650 45V190 M600 45H720 M600 190H720 M650 190H720",
    postgres: &[17, 18],
};

/// Report of the scenario with two edges.
pub(crate) const TWO_EDGES: ReportTemplate = ReportTemplate {
    title: "Scenario with two edges",
    command: "cargo xtask homelab -- --two-edges",
    hosts: &[
        (10, 20, "client", "203.0.113.7"),
        (10, 90, "attacker", "203.0.113.66"),
        (10, 160, "internet", "CA, Cloudflare, DNS"),
        (370, 20, "vps-pacman", "203.0.113.1, 100.64.0.1"),
        (370, 160, "vps-galaga", "203.0.113.3, 100.64.0.4"),
        (720, 20, "lab-matrix", "100.64.0.2, PostgreSQL: primary"),
        (720, 160, "id3-eniac", "100.64.0.3, PostgreSQL: replica"),
    ],
    wires: "M290 45V190 M240 45H370 M240 115H290 M240 190H370 M650 45V190 M600 45H720 M600 190H720 M650 190H720",
    postgres: &[18],
};

/// Escapes `&`, `<` and `>` for HTML content.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the diagram of the hosts and their links as SVG.
fn picture(form: &ReportTemplate) -> String {
    let mut svg =
        String::from("<svg viewBox='0 0 960 240' role='img' aria-label='the hosts and their networks'>");
    let _ = write!(svg, "<path class='n' d='{}'/>", form.wires);
    svg.push_str("<text x='298' y='122'>public</text><text x='580' y='122'>tailnet</text>");
    for (x, y, name, what) in form.hosts {
        let _ = write!(
            svg,
            "<rect x='{x}' y='{y}' width='230' height='52' rx='6'/><text x='{}' y='{}'>{name}</text><text class='q' x='{}' y='{}'>{what}</text>",
            x + 12,
            y + 22,
            x + 12,
            y + 40
        );
    }
    svg + "</svg>"
}

/// Returns an HTML table of checks, one row each: whether it passed, its description, the observation or the reason for
/// the failure, and the time that it took.
fn rows(facts: &[&Fact]) -> String {
    let mut text =
        String::from("<table><tr><th>passed</th><th>check</th><th>observation</th><th>time</th></tr>");
    for fact in facts {
        let (class, mark, seen) = match &fact.seen {
            Ok(seen) => ("good", "yes", seen),
            Err(why) => ("bad", "no", why),
        };
        let _ = write!(
            text,
            "<tr><td class='{class}'>{mark}</td><td>{}</td><td class='s'>{}</td><td class='t'>{:.2} s</td></tr>",
            escaped(&fact.what),
            escaped(seen),
            fact.took.as_secs_f64()
        );
    }
    text + "</table>"
}

/// Returns the page of a report: numbers of checks and requests, the diagram, a table of checks for each chapter in the
/// order of their first checks, and the versions of the programs, which are asked on the client's host.
pub(crate) fn html(
    form: &ReportTemplate,
    facts: &Facts,
    topology: &Topology,
    external: &ExternalServers,
) -> String {
    let all = facts.all();
    let failed = all.iter().filter(|fact| fact.seen.is_err()).count();
    let mut chapters: Vec<&str> = Vec::new();
    for fact in &all {
        if !chapters.contains(&fact.chapter) {
            chapters.push(fact.chapter);
        }
    }
    let version = |script: &str| {
        let said = topology.client.ask(script).unwrap_or_else(|_| "?".into());
        escaped(said.lines().next().unwrap_or_default())
    };
    let servers: Vec<String> = form
        .postgres
        .iter()
        .map(|major| version(&format!("{}/postgres --version", programs(*major))))
        .collect();
    let title = form.title;
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>\
         <title>{title}</title><style>{STYLE}</style><main><h1>{title}</h1>\
         <div class='sum'><div><b class='{}'>{} of {}</b><span>checks passed</span></div><div><b>{:.0} s</b><span>total time</span></div>\
         <div><b>{}</b><span>requests to the CA</span></div><div><b>{}</b><span>to Cloudflare's API</span></div></div>{}",
        if failed == 0 { "good" } else { "bad" },
        all.len() - failed,
        all.len(),
        facts.elapsed().as_secs_f64(),
        external.front.requests().iter().filter(|line| !line.contains("/client/v4")).count(),
        external.cloudflare.requests().len(),
        picture(form)
    );
    for chapter in chapters {
        let of: Vec<&Fact> = all.iter().filter(|fact| fact.chapter == chapter).collect();
        let _ = write!(page, "<h2>{}</h2>{}", escaped(chapter), rows(&of));
    }
    let _ = write!(
        page,
        "<footer>Generated by <code>{}</code>. Programs of this workspace as they were built; {}; pebble 2.10; {}; Linux {}.</footer></main></html>",
        form.command,
        servers.join("; "),
        version("/opt/newer/curl --version"),
        version("uname -r")
    );
    page
}
