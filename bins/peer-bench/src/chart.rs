//! Chart of ratios, as SVG.

use crate::figures::Line;
use crate::workload::Measure;
use std::fmt::Write as _;

/// Height of a row in pixels.
const ROW: usize = 26;
/// Horizontal position of the bars in pixels.
const LEFT: usize = 360;
/// Maximum length of a bar in pixels, which stands for a ratio of 1.6 or more.
const BAR_WIDTH: f64 = 420.0;

/// Returns the chart as SVG, with one bar for each workload: the figure of edge-proxyd relative to the best peer's. A
/// bar is green if edge-proxyd is not behind. Workloads without a ratio are left out.
pub(crate) fn draw(lines: &[Line]) -> String {
    let rows: Vec<(&Line, f64, &str)> = lines
        .iter()
        .filter_map(|line| line.ratio().map(|(ratio, peer)| (line, ratio, peer.name())))
        .collect();
    let height = 60 + rows.len() * ROW;
    let scale = BAR_WIDTH / 1.6;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{height}\" viewBox=\"0 0 900 {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">edge-proxyd ÷ the best peer (the line is 1; shorter is better, \
         for rates longer)</text>\n"
    );
    for (at, (line, ratio, peer)) in rows.iter().enumerate() {
        let y = 40 + at * ROW;
        let length = (ratio * scale).min(BAR_WIDTH);
        let ahead = if line.measure == Measure::Rate { *ratio >= 1.0 } else { *ratio <= 1.0 };
        let colour = if ahead { "#2a7d4f" } else { "#6b7280" };
        let unit = if line.measure == Measure::Rate { "×" } else { "" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{ratio:.2}{unit} of {peer}</text>",
            LEFT - 8,
            y + 13,
            escape(line.title),
            y,
            LEFT as f64 + length + 6.0,
            y + 13,
        );
    }
    let one = LEFT as f64 + scale;
    let _ = writeln!(
        svg,
        "<line x1=\"{one}\" x2=\"{one}\" y1=\"34\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>",
        height - 14
    );
    svg.push_str("</svg>\n");
    svg
}

/// Escapes text for XML content.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
