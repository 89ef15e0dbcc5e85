//! Curves over the size of a DIMM, both axes logarithmic: one line for each kernel, its name at its end.

use maud::{Markup, html};

use crate::figure_tables;
use crate::figures::{Figures, LINUX, OURS, Unit, What};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 236.0;
/// The area of the lines.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 64.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;
/// The least distance between two labels of the axis of sizes.
const LABEL: f64 = 32.0;

/// One kernel's points.
struct Curve {
    name: &'static str,
    class: &'static str,
    points: Vec<(u64, f64)>,
}

/// The axes' ends: powers of two along the sizes, of the unit's step along the values.
struct Axes {
    step: f64,
    sizes: (f64, f64),
    values: (f64, f64),
}

impl Axes {
    fn of(curves: &[Curve], unit: Unit) -> Option<Axes> {
        let step = unit.step();
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let sizes = || points().map(|point| (point.0 as f64).log2());
        let values = || points().map(|point| point.1.log(step));
        let most = |values: f64, low: f64| values.ceil().max(low + 1.0);
        let low = values().reduce(f64::min)?.floor();
        let high = most(values().reduce(f64::max)?, low);
        let (least, largest) = (sizes().reduce(f64::min)?, sizes().reduce(f64::max)?);
        Some(Axes { step, sizes: (least, largest.max(least + 1.0)), values: (low, high) })
    }

    fn x(&self, size: u64) -> f64 {
        let (low, high) = self.sizes;
        LEFT + ((size as f64).log2() - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        TOP + (high - value.log(self.step)) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The curves of what was measured at several sizes. `id` tells the picture from the page's others.
pub fn draw(figures: &Figures, what: What, id: &str, title: &str) -> Option<Markup> {
    let median = |guest: &str, size| figures.median(what, guest, Some(size));
    draw_values(&figures.sizes(what), &median, what.unit(), id, title)
}

/// The curves of the bytes that an add took in all.
pub fn draw_taken(figures: &Figures, id: &str, title: &str) -> Option<Markup> {
    draw_values(&figures.sizes(What::Add), &|guest, size| figures.taken(guest, size), Unit::Bytes, id, title)
}

fn draw_values(
    sizes: &[u64],
    value: &dyn Fn(&str, u64) -> Option<f64>,
    unit: Unit,
    id: &str,
    title: &str,
) -> Option<Markup> {
    let of = |name: &'static str, class| Curve {
        name,
        class,
        // A logarithmic axis has no zero.
        points: sizes
            .iter()
            .filter_map(|&size| Some((size, value(name, size).filter(|value| *value > 0.0)?)))
            .collect(),
    };
    let mut curves = vec![of(OURS, "ours"), of(LINUX, "linux")];
    curves.retain(|curve| !curve.points.is_empty());
    let axes = Axes::of(&curves, unit)?;
    if sizes.len() < 2 {
        return None;
    }
    let decades = axes.values.0 as i32..=axes.values.1 as i32;
    Some(html! {
        svg.curves viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) xmlns="http://www.w3.org/2000/svg" {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (described(&curves, unit)) }
            @for decade in decades {
                @let value = unit.step().powi(decade);
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(short(axes.y(value))) y2=(short(axes.y(value))) {}
                text.address x=(LEFT - 5.0) y=(short(axes.y(value) + 3.0)) { (power(unit, value)) }
            }
            @for size in labelled(&axes, sizes) {
                line.grid x1=(short(axes.x(size))) x2=(short(axes.x(size))) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text.size x=(short(axes.x(size))) y=(HEIGHT - 8.0) { (figure_tables::size(size)) }
            }
            @for curve in &curves {
                polyline class=(curve.class) points=(line(&axes, curve)) {}
                @for &(size, value) in &curve.points {
                    g {
                        title { (format!("{}, {}: {}", curve.name, figure_tables::size(size), unit.show(value))) }
                        circle class=(curve.class) cx=(short(axes.x(size))) cy=(short(axes.y(value))) r="2.6" {}
                    }
                }
                @if let Some(&(size, value)) = curve.points.last() {
                    text class=(curve.class) x=(short(axes.x(size) + 6.0)) y=(short(axes.y(value) + 3.0)) { (curve.name) }
                }
            }
        }
    })
}

fn line(axes: &Axes, curve: &Curve) -> String {
    let point = |&(size, value): &(u64, f64)| format!("{},{}", short(axes.x(size)), short(axes.y(value)));
    curve.points.iter().map(point).collect::<Vec<_>>().join(" ")
}

/// The sizes that have a label: all for which there is a place, from the smallest on.
fn labelled(axes: &Axes, sizes: &[u64]) -> Vec<u64> {
    let mut chosen: Vec<u64> = Vec::new();
    for &size in sizes {
        if chosen.last().is_none_or(|last| axes.x(size) - axes.x(*last) >= LABEL) {
            chosen.push(size);
        }
    }
    chosen
}

/// The label of a line.
fn power(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => figure_tables::size(value as u64),
        Unit::Milliseconds if value >= 1000.0 => format!("{} s", value / 1000.0),
        Unit::Milliseconds if value >= 1.0 => format!("{value} ms"),
        Unit::Milliseconds => format!("{} µs", value * 1000.0),
        Unit::Nanoseconds => format!("{value} ns"),
        Unit::Count => format!("{value}"),
    }
}

/// The picture in words.
fn described(curves: &[Curve], unit: Unit) -> String {
    let of = |curve: &Curve| {
        let point =
            |&(size, value): &(u64, f64)| format!("{} at {}", unit.show(value), figure_tables::size(size));
        format!("{}: {}.", curve.name, curve.points.iter().map(point).collect::<Vec<_>>().join(", "))
    };
    curves.iter().map(of).collect::<Vec<_>>().join(" ")
}

/// A coordinate with no more digits than can be seen.
fn short(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::size::ByteSize;

    /// Proves that equal factors are equal distances along both axes, and that a flat line is drawn flat. Fails when an axis is
    /// linear.
    #[test]
    fn both_axes_are_logarithmic() {
        let mut figures = Figures::default();
        for (power, linux) in [(28, 1.0), (30, 10.0), (32, 100.0)] {
            let size = Some(ByteSize::new(1 << power));
            figures.push(What::Add, OURS, size, None, 7.0);
            figures.push(What::Add, LINUX, size, None, linux);
        }
        let drawn = draw(&figures, What::Add, "add", "add").unwrap().into_string();
        let points = |class: &str| -> Vec<(f64, f64)> {
            let from = drawn.split(&format!("<polyline class=\"{class}\" points=\"")).nth(1).unwrap();
            let numbers = from.split('"').next().unwrap().split(' ');
            numbers
                .map(|pair| {
                    pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap()
                })
                .collect()
        };
        let (ours, linux) = (points("ours"), points("linux"));
        assert!(ours.iter().all(|point| point.1 == ours[0].1));
        let steps = |pick: fn(&(f64, f64)) -> f64| {
            (pick(&linux[1]) - pick(&linux[0]), pick(&linux[2]) - pick(&linux[1]))
        };
        for (first, second) in [steps(|point| point.0), steps(|point| point.1)] {
            assert!((first - second).abs() < 0.3 && first.abs() > 20.0, "{first} {second}");
        }
        assert!(draw(&figures, What::Grow, "grow", "grow").is_none());
    }
}
