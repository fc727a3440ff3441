use maud::{Markup, html};

/// A value of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What it is of: the run's version.
    pub label: String,
    /// The value, in whatever the plot is of.
    pub value: u64,
}

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;
/// Room around the line, for its dots.
const EDGE: f64 = 4.0;

/// A small plot of values, the oldest first, that says in words what it shows. It begins at zero, so that noise looks like noise.
pub(super) fn plot(name: &str, points: &[Point], shown: impl Fn(u64) -> String) -> Markup {
    let Some(last) = points.last() else { return html! {} };
    let value = |of: Option<u64>| of.unwrap_or_default();
    let (low, high) =
        (value(points.iter().map(|p| p.value).min()), value(points.iter().map(|p| p.value).max()));
    let said = format!(
        "{name} of {} runs: from {} to {}, last {}",
        points.len(),
        shown(low),
        shown(high),
        shown(last.value)
    );
    let places: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .map(|(index, point)| place(index, points.len(), point.value, high))
        .collect();
    let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    html! {
        figure.trend {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(said) {
                polyline points=(line.join(" ")) {}
                @for ((x, y), point) in places.iter().zip(points) {
                    circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.5" { title { (super::safe(&point.label)) ": " (shown(point.value)) } }
                }
            }
            figcaption { (name) ": " strong { (shown(last.value)) } span.aside { " (" (shown(low)) " – " (shown(high)) ")" } }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot of 48 pixels needs no more than 52 bits")]
fn place(index: usize, count: usize, value: u64, high: u64) -> (f64, f64) {
    let along = if count > 1 { index as f64 / (count - 1) as f64 } else { 0.5 };
    let up = if high > 0 { value as f64 / high as f64 } else { 0.0 };
    (EDGE + along * (WIDTH - 2.0 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2.0 * EDGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_begins_at_zero_and_ends_at_the_last_run() {
        assert_eq!(place(0, 3, 0, 10), (EDGE, HEIGHT - EDGE));
        assert_eq!(place(2, 3, 10, 10), (WIDTH - EDGE, EDGE));
        assert_eq!(place(0, 1, 0, 0), (WIDTH / 2.0, HEIGHT - EDGE));
        let points = [5, 9].map(|value| Point { label: "<v>".into(), value });
        let plot = plot("Time", &points, |value| format!("{value}s")).into_string();
        assert!(plot.contains("aria-label=\"Time of 2 runs: from 5s to 9s, last 9s\""), "{plot}");
        assert!(plot.contains("&lt;v&gt;: 9s"), "{plot}");
    }
}
