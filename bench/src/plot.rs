//! Plots: a row of charts in one SVG file, sizes along a logarithmic axis.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::size::Size;

/// A chart.
#[derive(Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What stands along the vertical axis.
    pub y: Axis,
    /// Its lines.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Debug)]
pub struct Axis {
    name: &'static str,
}

impl Axis {
    /// An axis with this unit.
    pub const fn named(name: &'static str) -> Axis {
        Axis { name }
    }
}

/// A line of a chart: values by the size of the DIMM in bytes.
#[derive(Debug)]
pub struct Series {
    /// Whose they are.
    pub name: String,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// The size of a chart.
const WIDTH: u32 = 620;
const HEIGHT: u32 = 440;
/// Colours that differ for those who do not tell red from green, too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(120, 94, 240),
    RGBColor(90, 90, 90),
];

/// Writes the charts side by side to `file`.
pub fn write(file: &Path, charts: &[Chart]) -> Result<()> {
    let charts: Vec<&Chart> = charts.iter().filter(|chart| extent(chart).is_some()).collect();
    if charts.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(file, (WIDTH * charts.len() as u32, HEIGHT)).into_drawing_area();
    let failed = |error: &dyn std::error::Error| anyhow!("cannot draw {}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (area, chart) in root.split_evenly((1, charts.len())).iter().zip(charts) {
        draw(area, chart).map_err(|error| failed(error.as_ref()))?;
    }
    root.present().map_err(|error| failed(&error))?;
    eprintln!("plot:     {}", file.display());
    Ok(())
}

/// The least and the greatest of all values along both axes.
fn extent(chart: &Chart) -> Option<((f64, f64), (f64, f64))> {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let fold = |by: fn(f64, f64) -> f64| points().map(pick).reduce(by);
        fold(f64::min).zip(fold(f64::max))
    };
    range(|point| point.0).zip(range(|point| point.1))
}

type Failure = Box<dyn std::error::Error>;

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, chart: &Chart) -> Result<(), Failure> {
    let Some(((x0, x1), (y0, y1))) = extent(chart) else { return Ok(()) };
    // The next powers of ten: a flat line looks flat.
    let low = 10f64.powf(y0.max(1e-3).log10().floor());
    let high = 10f64.powf(y1.max(1e-3).log10().floor() + 1.0);
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((x0 / 1.5..x1 * 1.5).log_scale().base(2.0), (low..high).log_scale())?;
    context
        .configure_mesh()
        .x_labels(12)
        .x_label_formatter(&|bytes| power_of_two(*bytes))
        .x_desc("DIMM")
        .y_desc(chart.y.name)
        .light_line_style(RGBColor(235, 235, 235))
        .bold_line_style(RGBColor(200, 200, 200))
        .draw()?;
    for (series, colour) in chart.series.iter().zip(COLOURS.into_iter().cycle()) {
        context
            .draw_series(
                LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}

/// A label of the axis of sizes.
fn power_of_two(bytes: f64) -> String {
    Size(2f64.powf(bytes.log2().round()) as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chart becomes an SVG file with its title, its lines' names and its sizes in it.
    #[test]
    fn charts_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("chart.svg");
        let points =
            [(28, 1.0), (30, 2.0), (40, 900.0)].map(|(power, y)| ((1u64 << power) as f64, y)).to_vec();
        let series = vec![Series { name: "ours".into(), points }];
        let chart = Chart { title: "cost".into(), y: Axis::named("ms"), series };
        write(&file, &[chart]).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        for word in ["<svg", "cost", "ours", "ms", "1T"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
