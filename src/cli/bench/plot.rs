//! Plots as SVG, without a script and without anything from elsewhere.

use std::fmt::Write as _;

/// Width and height of a plot, and the room around what is drawn, in pixels.
const SIZE: (f64, f64) = (860.0, 280.0);
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 16.0;

/// Colours that people with any colour sight tell apart (Okabe and Ito 2008), one a series.
pub(super) const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666"];

/// A plot of lines or dots over two axes.
pub(super) struct Plot {
    /// Greatest values of the axes; both begin at 0.
    pub(super) extent: (f64, f64),
    /// What the axes show, with their units.
    pub(super) axes: (&'static str, &'static str),
}

impl Plot {
    /// The plot with one line a series.
    pub(super) fn lines(&self, series: &[Vec<(f64, f64)>]) -> String {
        let draw = |points: &Vec<(f64, f64)>, colour: &str| {
            let path: Vec<String> =
                points.iter().map(|point| self.place(*point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            format!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>", path.join(" "))
        };
        self.framed(&drawn(series, draw))
    }

    /// The plot with a dot for every point.
    pub(super) fn dots(&self, series: &[Vec<(f64, f64)>]) -> String {
        let draw = |points: &Vec<(f64, f64)>, colour: &str| {
            points.iter().fold(format!("<g fill=\"{colour}\" fill-opacity=\"0.55\">"), |mut text, point| {
                let (x, y) = self.place(*point);
                let _ = write!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\"/>");
                text
            }) + "</g>"
        };
        self.framed(&drawn(series, draw))
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part = |value: f64, extent: f64| if extent > 0.0 { (value / extent).clamp(0.0, 1.0) } else { 0.0 };
        let (width, height) = (SIZE.0 - LEFT - RIGHT, SIZE.1 - TOP - BOTTOM);
        (LEFT + width * part(x, self.extent.0), TOP + height * (1.0 - part(y, self.extent.1)))
    }

    /// Axes and grid around what was drawn.
    fn framed(&self, content: &str) -> String {
        let mut text = format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} by {}\">",
            SIZE.0, SIZE.1, self.axes.1, self.axes.0
        );
        for tick in ticks(self.extent.0) {
            let (x, bottom) = self.place((tick, 0.0));
            let _ = write!(text, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>");
            let _ = write!(
                text,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                number(tick)
            );
        }
        for tick in ticks(self.extent.1) {
            let (left, y) = self.place((0.0, tick));
            let _ = write!(
                text,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                SIZE.0 - RIGHT
            );
            let _ = write!(
                text,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                number(tick)
            );
        }
        let middle = (SIZE.0 + LEFT) / 2.0;
        let _ =
            write!(text, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", SIZE.1 - 6.0, self.axes.0);
        let height = SIZE.1 / 2.0 - BOTTOM / 2.0;
        let _ = write!(
            text,
            "<text transform=\"translate(14 {height}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            self.axes.1
        );
        text + content + "</svg>"
    }
}

fn drawn(series: &[Vec<(f64, f64)>], draw: impl Fn(&Vec<(f64, f64)>, &str) -> String) -> String {
    series.iter().zip(COLOURS.iter().cycle()).map(|(points, colour)| draw(points, colour)).collect()
}

/// Bars of parts that stand one after the other, a row a label: `rows` has the label and the length of each part.
pub(super) fn bars(rows: &[(String, Vec<f64>)], unit: &str) -> String {
    const ROW: f64 = 30.0;
    let label_width = 210.0;
    let greatest = rows.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
    let height = ROW * rows.len() as f64;
    let mut text = format!("<svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"time by stage\">", SIZE.0);
    for (at, (label, parts)) in rows.iter().enumerate() {
        let y = ROW * at as f64;
        let _ = write!(text, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>", label_width - 8.0, y + 19.0);
        let mut x = label_width;
        for (part, colour) in parts.iter().zip(COLOURS.iter().cycle()) {
            let width = (SIZE.0 - label_width - 90.0) * part / greatest;
            let _ = write!(
                text,
                "<rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>",
                y + 5.0
            );
            x += width;
        }
        let sum: f64 = parts.iter().sum();
        let _ = write!(text, "<text x=\"{:.1}\" y=\"{}\">{sum:.3} {unit}</text>", x + 6.0, y + 19.0);
    }
    text + "</svg>"
}

/// About five round numbers from 0 to `extent`.
fn ticks(extent: f64) -> Vec<f64> {
    if !extent.is_finite() || extent <= 0.0 {
        return vec![0.0];
    }
    let rough = extent / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(extent);
    (0..=(extent / step).floor() as usize).map(|at| at as f64 * step).collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(0.0), [0.0]);
        for extent in [0.0013, 0.9, 7.0, 12_345.0] {
            let found = ticks(extent);
            assert!((3..=7).contains(&found.len()) && found.iter().all(|tick| *tick <= extent), "{extent}: {found:?}");
        }
        assert_eq!((number(0.5), number(20.0)), ("0.5".to_owned(), "20".to_owned()));
    }

    #[test]
    fn no_point_lies_outside_its_plot() {
        let plot = Plot { extent: (10.0, 1.0), axes: ("ms", "frames") };
        for point in [(0.0, 0.0), (10.0, 1.0), (1e9, -5.0), (f64::NAN, 0.5)] {
            let (x, y) = plot.place(point);
            assert!(
                x.is_nan() || ((LEFT..=SIZE.0 - RIGHT).contains(&x) && (TOP..=SIZE.1 - BOTTOM).contains(&y)),
                "{point:?}"
            );
        }
    }
}
