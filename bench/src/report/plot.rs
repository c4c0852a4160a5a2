//! Plots as SVG text: lines over logarithmic or linear axes, and bars. No script, no font, nothing fetched.
//!
//! Input: series of points. Output: an `<svg>` element. Owns nothing.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;

/// Told apart by people who see red and green alike (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

pub fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// An axis: its words, its ends, and where it has a mark with which words.
pub struct Axis {
    pub label: String,
    pub from: f64,
    pub to: f64,
    pub is_logarithmic: bool,
    pub marks: Vec<(f64, String)>,
}

impl Axis {
    /// From the decade below the smallest value to the one above the largest.
    pub fn logarithmic(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = bounds(values.filter(|value| *value > 0.0));
        let (from, to) = (low.log10().floor() as i32, (high.log10().ceil() as i32).max(low.log10().floor() as i32 + 1));
        let marks = (from..=to).map(|power| (10_f64.powi(power), short(10_f64.powi(power)))).collect();
        Axis { label: label.into(), from: 10_f64.powi(from), to: 10_f64.powi(to), is_logarithmic: true, marks }
    }

    /// From zero to a round number above the largest.
    pub fn linear(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        let (_, high) = bounds(values);
        let step = 10_f64.powf(high.max(1.0).log10().floor());
        let step = if high / step < 2.0 {
            step / 5.0
        } else if high / step < 5.0 {
            step / 2.0
        } else {
            step
        };
        let to = (high / step).ceil().max(1.0) * step;
        let marks = (0..=(to / step).round() as usize).map(|n| (n as f64 * step, short(n as f64 * step))).collect();
        Axis { label: label.into(), from: 0.0, to, is_logarithmic: false, marks }
    }

    /// 0 at its beginning, 1 at its end.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_logarithmic { value.max(self.from).log10() } else { value };
        ((scaled(value) - scaled(self.from)) / (scaled(self.to) - scaled(self.from))).clamp(0.0, 1.0)
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low.is_finite() && high.is_finite() { (low, high) } else { (1.0, 10.0) }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value if value >= 1.0 || value == 0.0 => format!("{value}"),
        value => format!("{value:.3}").trim_end_matches('0').into(),
    }
}

pub fn lines(x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut svg = frame(x, y);
    for (number, one) in series.iter().enumerate() {
        let points: Vec<String> =
            one.points.iter().map(|(px, py)| format!("{:.1},{:.1}", across(x, *px), down(y, *py))).collect();
        let colour = colour(number);
        let _ = write!(svg, "<polyline fill='none' stroke='{colour}' stroke-width='2' points='{}'/>", points.join(" "));
        if one.points.len() < 20 {
            for (px, py) in &one.points {
                let _ =
                    write!(svg, "<circle cx='{:.1}' cy='{:.1}' r='3' fill='{colour}'/>", across(x, *px), down(y, *py));
            }
        }
        let at = TOP + 14.0 + 18.0 * number as f64;
        let _ = write!(
            svg,
            "<rect x='{:.0}' y='{:.0}' width='10' height='10' fill='{colour}'/><text x='{:.0}' y='{:.0}'>{}</text>",
            WIDTH - RIGHT + 12.0,
            at - 9.0,
            WIDTH - RIGHT + 27.0,
            at,
            escaped(&one.name)
        );
    }
    svg + "</svg>"
}

/// Horizontal bars, one a name, from zero.
pub fn bars(label: &str, values: &[(String, f64)]) -> String {
    let height = 34.0 * values.len() as f64 + 24.0;
    let longest = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!("<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{}'>", escaped(label));
    for (number, (name, value)) in values.iter().enumerate() {
        let at = 8.0 + 34.0 * number as f64;
        let length = (WIDTH - 260.0) * value / longest;
        let _ = write!(
            svg,
            "<text x='130' y='{:.0}' text-anchor='end'>{}</text><rect x='140' y='{at:.0}' width='{length:.1}' height='24' \
             fill='{}'/><text x='{:.0}' y='{:.0}'>{}</text>",
            at + 16.0,
            escaped(name),
            colour(number),
            146.0 + length,
            at + 16.0,
            precise(*value)
        );
    }
    svg + "</svg>"
}

fn precise(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * x.place(value)
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y.place(value)
}

fn frame(x: &Axis, y: &Axis) -> String {
    let label = escaped(&format!("{} over {}", y.label, x.label));
    let mut svg = format!("<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}'>");
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, words) in &x.marks {
        let at = across(x, *value);
        let _ = write!(
            svg,
            "<line x1='{at:.1}' y1='{TOP}' x2='{at:.1}' y2='{bottom}' class='grid'/>\
             <text x='{at:.1}' y='{:.0}' text-anchor='middle'>{words}</text>",
            bottom + 16.0
        );
    }
    for (value, words) in &y.marks {
        let at = down(y, *value);
        let _ = write!(
            svg,
            "<line x1='{LEFT}' y1='{at:.1}' x2='{right}' y2='{at:.1}' class='grid'/>\
             <text x='{:.0}' y='{:.1}' text-anchor='end'>{words}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let middle = (LEFT + right) / 2.0;
    let _ = write!(
        svg,
        "<text x='{middle:.0}' y='{:.0}' text-anchor='middle'>{}</text>\
         <text x='14' y='{:.0}' text-anchor='middle' transform='rotate(-90 14 {:.0})'>{}</text>",
        HEIGHT - 8.0,
        escaped(&x.label),
        HEIGHT / 2.0,
        HEIGHT / 2.0,
        escaped(&y.label)
    );
    svg
}

/// Text for an element or a quoted attribute.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_reaches_from_below_the_smallest_to_above_the_largest() {
        let axis = Axis::logarithmic("µs", [30.0, 4200.0].into_iter());
        assert_eq!((axis.from, axis.to, axis.marks.len()), (10.0, 10_000.0, 4));
        assert_eq!((axis.place(10.0), axis.place(10_000.0)), (0.0, 1.0));
        let axis = Axis::linear("ns", [0.0, 4700.0].into_iter());
        assert!(axis.to >= 4700.0 && axis.marks.len() <= 12);
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let svg = bars("ns", &[("<script>".into(), 1.0)]);
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;"));
    }
}
