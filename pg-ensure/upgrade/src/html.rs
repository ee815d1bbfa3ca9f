//! Report as a single HTML file, without scripts and external resources.

use super::machine::State;
use super::preflight::Severity;
use super::record::{Entry, Record};
use super::report::{backup, plural, span, standing, time};
use super::step::Step;
use std::fmt::Write as _;

/// Style sheet of the page.
const STYLE: &str = "
:root{--paper:#f7f7f4;--card:#fff;--ink:#1d2327;--soft:#5d6871;--line:#dfe2e0;--run:#336791;--down:#c2662d;--bad:#b3261e;
--good:#2e7d4f;--warn:#946200}
@media(prefers-color-scheme:dark){:root{--paper:#14181b;--card:#1c2226;--ink:#e6eaec;--soft:#9aa6ae;--line:#30383d;
--run:#6fa3cf;--down:#e0894f;--bad:#f2887f;--good:#6cc592;--warn:#e0b055}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
header p{margin:.25rem 0;color:var(--soft)}
h1{font-size:1.9rem;line-height:1.2;margin:0}
h2{font-size:1.05rem;margin:2.5rem 0 .75rem}
.state{display:inline-block;font-weight:600;color:var(--good)}
.state.open{color:var(--warn)}.state.failed{color:var(--bad)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.75rem 0 0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.7rem .9rem;min-width:0}
.facts b{display:block;font-size:1.25rem;font-weight:600}
.facts span,.facts small{color:var(--soft);font-size:.82rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.4rem 1rem}
.step{display:grid;grid-template-columns:7rem 1fr 6.5rem;gap:0 1rem;padding:.55rem 0;border-top:1px solid var(--line)}
.step:first-child{border-top:0}
.step .track{align-self:center;height:.7rem;border-radius:.35rem;background:var(--paper);overflow:hidden}
.step .bar{display:block;height:100%;min-width:3px;border-radius:.35rem;background:var(--run)}
.step.down .bar{background:var(--down)}.step.failed .bar{background:var(--bad)}
.step .took{text-align:right;font-variant-numeric:tabular-nums}
.step .notes{grid-column:2/4;color:var(--soft);font-size:.86rem;overflow-wrap:anywhere}
.step .notes.why{color:var(--bad);white-space:pre-wrap}
.key{color:var(--soft);font-size:.85rem;margin:.6rem 0 0}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.25rem;margin:0 .35rem 0 1rem;vertical-align:-.08rem}
.key i:first-child{margin-left:0}
table{width:100%;border-collapse:collapse}
td,th{text-align:left;vertical-align:top;padding:.5rem .9rem .5rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
tr:first-child>*{border-top:0}
th{font-weight:600;white-space:nowrap}
td small{display:block;color:var(--soft)}
.warning,.consent{color:var(--warn);font-weight:600}.blocker{color:var(--bad);font-weight:600}.note{color:var(--soft)}
.card.chips{display:flex;flex-wrap:wrap;gap:.5rem;padding:.8rem 1rem}
.chips span{border:1px solid var(--line);border-radius:1rem;padding:.1rem .7rem;font-size:.88rem}
.chips b{font-variant-numeric:tabular-nums}
ul{padding-left:1.1rem;margin:.5rem 0}li{margin:.3rem 0;overflow-wrap:anywhere}
details summary{cursor:pointer;color:var(--soft);padding:.5rem 0}
code{font:.88em ui-monospace,monospace}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
@media(max-width:36rem){.step{grid-template-columns:6rem 1fr 5rem}}
@media print{body{background:#fff}.card,.facts div{break-inside:avoid}}
";

/// Returns the report of an upgrade as an HTML page.
#[must_use]
pub fn html(record: &Record) -> String {
    let choices = &record.choices;
    let title = format!("PostgreSQL {} to {}", choices.old_version, choices.new_version);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<main>\n<header>\n<h1>{0}</h1>\n",
        text(&title)
    );
    let failed = record.history.last().is_some_and(|entry| entry.failed.is_some());
    let class = match record.state {
        State::Done => "",
        _ if failed => " failed",
        _ => " open",
    };
    let began = record.history.first().map_or(0, |entry| entry.began);
    let _ = write!(
        out,
        "<p><span class=\"state{class}\">{}</span></p>\n<p>{}, {}</p>\n</header>\n",
        text(&standing(record)),
        text(&record.id),
        time(began)
    );
    facts(record, &mut out);
    steps(record, &mut out);
    write_comparison(record, &mut out);
    left(record, &mut out);
    settings(record, &mut out);
    findings(record, &mut out);
    let _ = write!(
        out,
        "<footer>Old programs in <code>{}</code>, new ones in <code>{}</code>.</footer>\n</main>\n</html>\n",
        text(&choices.old_bin.display().to_string()),
        text(&choices.new_bin.display().to_string())
    );
    out
}

/// Writes the key figures of the upgrade: time without a server, time of all completed attempts, and mode; and a table
/// with the old folder, the new folder and the backup.
fn facts(record: &Record, out: &mut String) {
    let choices = &record.choices;
    let total: u64 =
        record.history.iter().filter_map(|entry| Some(entry.ended?.saturating_sub(entry.began))).sum();
    let down = record.downtime().map_or_else(|| "–".to_owned(), span);
    let kept =
        if choices.mode.keeps_the_old() { "the old cluster stays whole" } else { "the old cluster is spent" };
    out.push_str("<section class=\"facts\">\n");
    for (value, name, more) in [
        (down, "without a server", String::new()),
        (span(total), "in all steps", String::new()),
        (choices.mode.to_string(), "mode", kept.to_owned()),
    ] {
        let more = if more.is_empty() { more } else { format!("<br><small>{}</small>", text(&more)) };
        let _ = writeln!(out, "<div><b>{}</b><span>{name}</span>{more}</div>", text(&value));
    }
    out.push_str("</section>\n<h2>Folders</h2>\n<div class=\"card\"><table>\n");
    for (name, value) in [
        ("old", format!("<code>{}</code>", text(&choices.old_data.display().to_string()))),
        ("new", format!("<code>{}</code>", text(&choices.new_data.display().to_string()))),
        ("backup", text(&backup(record))),
    ] {
        let _ = writeln!(out, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    out.push_str("</table></div>\n");
}

/// Writes the attempts of steps in order, each with its duration as text and as a bar relative to the longest, its
/// notes and its error. Those from the stop of a running old server to the start of the new one are marked as without a
/// server for clients.
fn steps(record: &Record, out: &mut String) {
    let took = |entry: &Entry| entry.ended.map_or(0, |ended| ended.saturating_sub(entry.began));
    let longest = record.history.iter().map(took).max().unwrap_or(1).max(1);
    let live = record.was_live;
    out.push_str("<h2>Steps</h2>\n<div class=\"card\">\n");
    let (mut down, mut any) = (false, false);
    for entry in &record.history {
        // From the stop of the old server to the end of the step that starts the new one.
        down |= entry.step == Step::Quiesce && live;
        any |= down;
        let class = match (&entry.failed, down) {
            (Some(_), _) => " failed",
            (None, true) => " down",
            (None, false) => "",
        };
        let shown = match entry.ended {
            Some(_) if entry.failed.is_some() => "failed".to_owned(),
            Some(_) => span(took(entry)),
            None => "cut short".to_owned(),
        };
        // In tenths of a percent, as a plain number, since the journal's content is not trusted.
        let width = took(entry).saturating_mul(1_000) / longest;
        let _ = write!(
            out,
            "<div class=\"step{class}\"><div>{}</div><div class=\"track\"><span class=\"bar\" style=\"width:{}.{}%\"></span>\
             </div><div class=\"took\">{shown}</div>",
            entry.step,
            width / 10,
            width % 10
        );
        if !entry.notes.is_empty() {
            let notes: Vec<String> = entry.notes.iter().map(|note| text(note)).collect();
            let _ = write!(out, "<div class=\"notes\">{}</div>", notes.join("<br>"));
        }
        if let Some(why) = &entry.failed {
            let _ = write!(out, "<div class=\"notes why\">{}</div>", text(why));
        }
        out.push_str("</div>\n");
        if entry.step == Step::Start && entry.ended.is_some() && entry.failed.is_none() {
            down = false;
        }
    }
    out.push_str("</div>\n");
    if any {
        out.push_str(
            "<p class=\"key\"><i style=\"background:var(--run)\"></i>clients work<i style=\"background:var(--down)\"></i>\
             no server for clients</p>\n",
        );
    }
}

/// Writes the numbers of compared facts by kind. Nothing if none were compared.
fn write_comparison(record: &Record, out: &mut String) {
    if record.compared.is_empty() {
        return;
    }
    out.push_str("<h2>Compared before the switch, and found equal</h2>\n<div class=\"card chips\">\n");
    for (kind, count) in &record.compared {
        let _ = writeln!(out, "<span><b>{count}</b> {}</span>", text(&plural(kind, *count)));
    }
    out.push_str("</div>\n");
}

/// Writes the remarks and remaining tasks. Nothing without any.
fn left(record: &Record, out: &mut String) {
    if record.remarks.is_empty() {
        return;
    }
    out.push_str("<h2>Left to do or to know</h2>\n<div class=\"card\"><ul>\n");
    for left in &record.remarks {
        let _ = writeln!(out, "<li>{}</li>", text(left));
    }
    out.push_str("</ul></div>\n");
}

/// Writes the edits of the configuration with parameter, description, file and line. Nothing without any.
fn settings(record: &Record, out: &mut String) {
    if record.edits.is_empty() {
        return;
    }
    out.push_str("<h2>Changed in the configuration</h2>\n<div class=\"card\"><table>\n");
    for edit in &record.edits {
        let _ = writeln!(
            out,
            "<tr><th><code>{}</code></th><td>{}<small>{} line {}</small></td></tr>",
            text(&edit.name),
            text(&edit.what),
            text(&edit.file),
            edit.line
        );
    }
    out.push_str("</table></div>\n");
}

/// Writes the findings of the preflight, with notes collapsed. Nothing without any.
fn findings(record: &Record, out: &mut String) {
    let rows = |out: &mut String, notes: bool| {
        out.push_str("<table>\n");
        for finding in record.findings.iter().filter(|finding| (finding.severity == Severity::Note) == notes)
        {
            let fix = if finding.fix.is_empty() {
                String::new()
            } else {
                format!("<small>{}</small>", text(&finding.fix))
            };
            let _ = writeln!(
                out,
                "<tr><th class=\"{0}\">{0}</th><td><code>{1}</code></td><td>{2}{fix}</td></tr>",
                finding.severity,
                text(&finding.code),
                text(&finding.what)
            );
        }
        out.push_str("</table>\n");
    };
    if record.findings.is_empty() {
        return;
    }
    out.push_str("<h2>Found before anything was changed</h2>\n<div class=\"card\">\n");
    if record.findings.iter().any(|finding| finding.severity > Severity::Note) {
        rows(out, false);
    }
    let notes = record.findings.iter().filter(|finding| finding.severity == Severity::Note).count();
    let _ = writeln!(out, "<details><summary>{notes} notes</summary>");
    rows(out, true);
    out.push_str("</details></div>\n");
}

/// Escapes text for HTML.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(text("<b a='1'>&"), "&lt;b a=&#39;1&#39;&gt;&amp;");
    }
}
