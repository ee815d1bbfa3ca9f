//! Line charts over time, as inline SVG.

use std::fmt::Write;
use std::time::Duration;

/// The width of a chart, in units of the SVG.
const WIDTH: f64 = 720.0;
/// The height of a chart without its time axis, in units of the SVG.
const HEIGHT: f64 = 120.0;
/// The height of the labels of the time axis, in units of the SVG.
const AXIS: f64 = 14.0;

/// A line of a chart.
pub(super) struct Series<'a> {
    /// The name in the caption.
    pub(super) name: &'a str,
    /// The CSS class, which determines the colour.
    pub(super) class: &'a str,
    /// The values at equal intervals, the newest last. `None` makes a gap.
    pub(super) values: Vec<Option<f64>>,
}

/// Returns a chart as HTML with inline SVG. The vertical axis begins at zero and ends at a round number; the horizontal
/// one ends now and is `span` long. `show` formats a value with its unit. `title` and names are not escaped.
pub(super) fn svg(
    title: &str,
    series: &[Series<'_>],
    span: Duration,
    show: impl Fn(f64) -> String,
) -> String {
    let all = || series.iter().flat_map(|series| &series.values).flatten();
    let most = all().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let top = round_up(most);
    let steps = series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = write!(
        text,
        "<figure><figcaption>{title}<span>{}</span></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">",
        series
            .iter()
            .map(|series| format!("<i class=\"{}\"></i>{}", series.class, series.name))
            .collect::<Vec<_>>()
            .join(" "),
        HEIGHT + 4.0 + AXIS
    );
    for share in [0.0, 0.5, 1.0] {
        let y = 2.0 + HEIGHT * (1.0 - share);
        let _ = write!(text, "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        if share > 0.0 {
            let _ = write!(text, "<text x=\"4\" y=\"{:.1}\">{}</text>", y + 11.0, show(top * share));
        }
    }
    for series in series {
        let _ = write!(text, "<path class=\"{}\" d=\"{}\"/>", series.class, path(&series.values, steps, top));
    }
    for (x, anchor, label) in ticks(span) {
        let y = HEIGHT + AXIS;
        let _ = write!(text, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>");
    }
    text.push_str("</svg></figure>");
    text
}

/// Returns the three labels of the time axis, for its beginning, middle and end: the horizontal position in units of
/// the SVG, the text anchor, and the text.
fn ticks(span: Duration) -> [(f64, &'static str, String); 3] {
    let ago = |span: Duration| format!("{} ago", format_span(span));
    [(0.0, "start", ago(span)), (WIDTH / 2.0, "middle", ago(span / 2)), (WIDTH, "end", "now".to_owned())]
}

/// Formats a duration in seconds below two minutes, otherwise in minutes, such as `90 s` or `45 min`.
pub(super) fn format_span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

/// Returns the SVG path data of a line, which is interrupted at values of `None`. `steps` is the number of positions
/// over the width, and `top` the value at the upper edge, at which larger values are cut off.
fn path(values: &[Option<f64>], steps: usize, top: f64) -> String {
    let (mut text, mut down) = (String::new(), false);
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else {
            down = false;
            continue;
        };
        let x = if steps > 1 { WIDTH * at as f64 / (steps - 1) as f64 } else { WIDTH };
        let y = 2.0 + HEIGHT * (1.0 - (value / top).min(1.0));
        let _ = write!(text, "{}{x:.1} {y:.1}", if down { 'L' } else { 'M' });
        down = true;
    }
    text
}

/// Returns the smallest number not below `value` that is 1, 2 or 5 times a power of ten; 1 if `value` is 0 or negative.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_fits_the_data() {
        let labels = |seconds| ticks(Duration::from_secs(seconds)).map(|(.., label)| label);
        assert_eq!(labels(136), ["2 min ago", "68 s ago", "now"]);
        assert_eq!(labels(3600), ["60 min ago", "30 min ago", "now"]);
    }

    #[test]
    fn tops_are_round_and_gaps_are_gaps() {
        assert_eq!([0.0, 0.3, 1.0, 7.0, 42.0, 1001.0].map(round_up), [1.0, 0.5, 1.0, 10.0, 50.0, 2000.0]);
        assert_eq!(path(&[Some(1.0), None, Some(0.0), Some(0.5)], 4, 1.0), "M0.0 2.0M480.0 122.0L720.0 62.0");
    }
}
