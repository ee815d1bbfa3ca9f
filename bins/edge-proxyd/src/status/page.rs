//! The status page: a single HTML page without scripts, rendered for each request.

use super::chart::{Series, format_span, svg};
use super::history::{History, RateSample, STEP};
use super::report::{Report, bound, bytes, duration, state};
use std::fmt::Write;

/// The style sheet of the page.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2330;--soft:#667085;--line:#d9dee7;--ground:#f6f7f9;--card:#fff;--a:#2563eb;--b:#d97706;--bad:#c81e1e;--good:#15803d}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2c3443;--ground:#10141b;--card:#171c26;--a:#60a5fa;--b:#fbbf24;--bad:#f87171;--good:#4ade80}}\
*{box-sizing:border-box}body{margin:0;padding:24px;background:var(--ground);color:var(--ink);font:14px/1.5 system-ui,sans-serif}\
main{max-width:1100px;margin:auto}h1{font-size:20px;margin:0}h2{font-size:13px;margin:28px 0 8px;color:var(--soft);text-transform:uppercase;letter-spacing:.06em}\
header{display:flex;gap:16px;align-items:baseline;flex-wrap:wrap}header p{margin:0;color:var(--soft)}\
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:16px}\
.facts div,figure,.table{background:var(--card);border:1px solid var(--line);border-radius:8px}\
.facts div{padding:10px 14px}.facts b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.facts span{color:var(--soft)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:12px}figure{margin:0;padding:10px 14px}\
figcaption{display:flex;justify-content:space-between;color:var(--soft)}figcaption i{display:inline-block;width:10px;height:3px;margin:0 4px 3px 10px;background:currentColor}\
svg{width:100%;display:block}svg line{stroke:var(--line)}svg text{fill:var(--soft);font-size:10px}svg path{fill:none;stroke-width:1.5;stroke:currentColor}.a{color:var(--a)}.b{color:var(--b)}\
.table{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{padding:6px 14px;text-align:left;border-top:1px solid var(--line)}thead th{border:0;color:var(--soft);font-weight:500}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}.none{padding:10px 14px;color:var(--soft);margin:0}";

/// Returns the page as HTML. It reloads every 5 s.
pub(super) fn html(report: &Report, history: &History) -> String {
    let mut page = String::with_capacity(64 * 1024);
    // Writing to memory does not fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>edge-proxyd</title><style>{STYLE}</style><main>\
         <header><h1>edge-proxyd</h1><p>{} · up {}</p></header>",
        escape_html(&report.version),
        duration(report.uptime)
    );
    facts(&mut page, report);
    charts(&mut page, history);
    sites(&mut page, report);
    certificates(&mut page, report);
    targets(&mut page, report);
    listeners(&mut page, report);
    reasons(&mut page, "Connections rejected", &report.rejected);
    reasons(&mut page, "Requests refused or aborted", &report.refused);
    page.push_str("</main></html>");
    page
}

/// Appends the most important numbers; and warnings about lost log lines and spans, if there are any.
fn facts(page: &mut String, report: &Report) {
    let requests: u64 = report.sites.iter().map(|site| site.requests).sum();
    let sent: u64 = report.sites.iter().map(|site| site.sent).sum();
    let away: u64 = report.rejected.iter().map(|(_, count)| count).sum();
    let soonest = report.certificates.iter().map(|found| found.days).min();
    let facts = [
        ("requests", requests.to_string()),
        ("sent", bytes(sent as f64)),
        ("open, TCP", report.connections.tcp_open.to_string()),
        ("open, QUIC", report.connections.quic_open.to_string()),
        ("rejected", away.to_string()),
        ("days to the next expiry", soonest.map_or("–".into(), |days| days.to_string())),
    ];
    page.push_str("<div class=\"facts\">");
    for (name, value) in facts {
        let _ = write!(page, "<div><b>{value}</b><span>{name}</span></div>");
    }
    page.push_str("</div>");
    for held in &report.held_back {
        let _ = write!(
            page,
            "<p class=\"bad\">{} is not renewed: {}</p>",
            escape_html(&held.certificate),
            escape_html(&held.reason)
        );
    }
    for lacking in &report.not_ready {
        let _ = write!(page, "<p class=\"bad\">[acme] {}</p>", escape_html(&lacking.reason));
    }
    if report.log_lines_lost > 0 {
        let _ = write!(
            page,
            "<p class=\"bad\">{} lines of the access log were not written: the disk is too slow</p>",
            report.log_lines_lost
        );
    }
    if report.spans_lost > 0 {
        let _ = write!(
            page,
            "<p class=\"bad\">{} spans were lost: the collector of [tracing] is slow, unavailable or rejects them</p>",
            report.spans_lost
        );
    }
}

/// Appends the charts of the recorded history: requests, response time, content sent and rejected connections.
fn charts(page: &mut String, history: &History) {
    let line = |name, class, value: &dyn Fn(&RateSample) -> Option<f64>| Series {
        name,
        class,
        values: history.samples().map(value).collect(),
    };
    let count = |value: f64| if value < 10.0 { format!("{value:.1}/s") } else { format!("{value:.0}/s") };
    let span = STEP * history.samples().len().try_into().unwrap_or(u32::MAX);
    let _ = write!(page, "<h2>The last {}</h2><div class=\"charts\">", format_span(span));
    page.push_str(&svg(
        "Requests",
        &[line("all", "a", &|point| Some(point.requests)), line("5xx", "b", &|point| Some(point.errors))],
        span,
        count,
    ));
    page.push_str(&svg(
        "Response time",
        &[line("median", "a", &|point| point.median), line("p99", "b", &|point| point.p99)],
        span,
        |value| if value < 1.0 { format!("{:.0} ms", value * 1000.0) } else { format!("{value:.0} s") },
    ));
    page.push_str(&svg("Content sent", &[line("", "a", &|point| Some(point.sent))], span, |value| {
        format!("{}/s", bytes(value))
    }));
    page.push_str(&svg("Rejected", &[line("", "b", &|point| Some(point.rejected))], span, count));
    page.push_str("</div>");
}

/// Appends a table with a title, or the word `none` if it has no rows. Title, headings and cells are HTML, and not
/// escaped. A column whose heading begins with `#`, which is not shown, is numeric.
fn table(page: &mut String, title: &str, headings: &[&str], rows: &[Vec<String>]) {
    let _ = write!(page, "<h2>{title}</h2><div class=\"table\">");
    if rows.is_empty() {
        page.push_str("<p class=\"none\">none</p></div>");
        return;
    }
    let class = |at: usize| if headings[at].starts_with('#') { " class=\"n\"" } else { "" };
    page.push_str("<table><thead><tr>");
    for (at, heading) in headings.iter().enumerate() {
        let _ = write!(page, "<th{}>{}</th>", class(at), heading.trim_start_matches('#'));
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(page, "<td{}>{cell}</td>", class(at));
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

/// Appends the table of sites.
fn sites(page: &mut String, report: &Report) {
    let rows: Vec<_> = report
        .sites
        .iter()
        .map(|site| {
            let name = match (site.name.is_empty(), site.maintenance) {
                (true, _) => "<i>no site</i>".to_owned(),
                (false, true) => {
                    format!("{} <span class=\"bad\">under maintenance</span>", escape_html(&site.name))
                }
                (false, false) => escape_html(&site.name),
            };
            let any = site.requests > 0;
            let errors = if site.server_errors > 0 {
                format!("<span class=\"bad\">{}</span>", site.server_errors)
            } else {
                "0".to_owned()
            };
            vec![
                name,
                escape_html(&site.hosts.join(", ")),
                site.requests.to_string(),
                site.client_errors.to_string(),
                errors,
                bound(site.median, any),
                bound(site.p99, any),
                bytes(site.sent as f64),
                site.versions.map(|count| count.to_string()).join(" / "),
            ]
        })
        .collect();
    let headings =
        ["site", "hosts", "#requests", "#4xx", "#5xx", "#median", "#p99", "#sent", "#HTTP/1.0 / 1.1 / 2 / 3"];
    table(page, "Sites", &headings, &rows);
}

/// Appends the table of certificates. Fewer than 7 days left are marked.
fn certificates(page: &mut String, report: &Report) {
    let rows: Vec<_> = report
        .certificates
        .iter()
        .map(|found| {
            let class = if found.days < 7 { "bad" } else { "good" };
            vec![
                escape_html(&found.names.join(", ")),
                format!("<span class=\"{class}\">{}</span>", found.days),
                escape_html(&found.serial),
                escape_html(&found.folder),
            ]
        })
        .collect();
    table(page, "Certificates", &["names", "#days left", "serial", "folder"], &rows);
}

/// Appends the table of upstream targets.
fn targets(page: &mut String, report: &Report) {
    let rows: Vec<_> = report
        .targets
        .iter()
        .map(|target| {
            let class = if target.state == "well" { "good" } else { "bad" };
            vec![
                escape_html(&target.upstream),
                escape_html(&target.target),
                format!("<span class=\"{class}\">{}</span>", escape_html(state(&target.state))),
                target.in_flight.to_string(),
                target.requests.to_string(),
                target.failures.to_string(),
                escape_html(&target.last_failure()),
            ]
        })
        .collect();
    table(
        page,
        "Upstreams",
        &["upstream", "target", "state", "#in flight", "#requests", "#failures", "last failure"],
        &rows,
    );
}

/// Appends the table of listeners.
fn listeners(page: &mut String, report: &Report) {
    let rows: Vec<_> = report
        .listeners
        .iter()
        .map(|listener| {
            let (class, state) =
                if listener.serving { ("good", "served") } else { ("bad", "waits for its address") };
            vec![
                escape_html(&listener.address),
                escape_html(listener.interface.as_deref().unwrap_or("any")),
                format!("<span class=\"{class}\">{state}</span>"),
            ]
        })
        .collect();
    table(page, "Listeners", &["address", "interface", "state"], &rows);
}

/// Appends a table of reasons with their counts.
fn reasons(page: &mut String, title: &str, all: &[(String, u64)]) {
    let rows: Vec<_> =
        all.iter().map(|(reason, count)| vec![escape_html(reason), count.to_string()]).collect();
    table(page, title, &["reason", "#count"], &rows);
}

/// Escapes text for HTML, since names and paths come from files and the network.
fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
