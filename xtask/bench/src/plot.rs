//! Plots: a row of charts in one SVG file, sizes along a logarithmic axis.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use guest::size::ByteSize;

/// A chart.
#[derive(Debug)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The vertical axis.
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

/// Bars in groups, lying, along a logarithmic axis.
#[derive(Debug)]
pub struct Bars {
    /// The title.
    pub title: String,
    /// The unit.
    pub unit: &'static str,
    /// The groups' names, from the top down.
    pub groups: Vec<String>,
    /// For each colour its name and its value in each group.
    pub series: Vec<(String, Vec<Option<f64>>)>,
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

/// Writes bars to `file`.
pub fn write_bars(file: &Path, bars: &Bars) -> Result<()> {
    let rows = bars.groups.len() * (bars.series.len() + 2);
    let root = SVGBackend::new(file, (WIDTH * 3 / 2, 90 + 9 * rows as u32)).into_drawing_area();
    draw_bars(&root, bars).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))?;
    eprintln!("plot:     {}", file.display());
    Ok(())
}

/// Each group takes the room of its bars, one above them for its name, and one below.
fn draw_bars(root: &DrawingArea<SVGBackend<'_>, Shift>, bars: &Bars) -> Result<(), Failure> {
    root.fill(&WHITE)?;
    let values = || bars.series.iter().flat_map(|(_, values)| values).flatten().copied();
    let (Some(least), Some(most)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
        return Ok(());
    };
    let low = 10f64.powf(least.max(1e-3).log10().floor());
    let high = 10f64.powf(most.max(1e-3).log10().floor() + 1.0);
    let room = bars.series.len() + 2;
    let rows = (bars.groups.len() * room) as f64;
    let mut context = ChartBuilder::on(root)
        .caption(&bars.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .build_cartesian_2d((low..high).log_scale(), rows..0.0)?;
    context.configure_mesh().disable_y_mesh().x_desc(bars.unit).draw()?;
    for (number, ((name, values), colour)) in bars.series.iter().zip(COLOURS.into_iter().cycle()).enumerate()
    {
        let at = |group: usize| (group * room + number + 1) as f64;
        let present = values.iter().enumerate().filter_map(|(group, value)| Some((at(group), (*value)?)));
        let bar = |(top, value)| Rectangle::new([(low, top + 0.1), (value, top + 0.9)], colour.filled());
        context
            .draw_series(present.map(bar))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 18, y + 4)], colour.filled()));
    }
    let name = |(group, name): (usize, &String)| {
        Text::new(name.clone(), (low * 1.03, (group * room) as f64), ("sans-serif", 13))
    };
    context.draw_series(bars.groups.iter().enumerate().map(name))?;
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    root.present()?;
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
    ByteSize::new(2f64.powf(bytes.log2().round()) as u64).to_string()
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

    /// Bars become an SVG file with every group's and every colour's name in it; a missing value is no bar.
    #[test]
    fn bars_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bars.svg");
        let groups = ["alloc", "free"].map(str::to_owned).to_vec();
        let series =
            vec![("ours".to_owned(), vec![Some(3.0), None]), ("list".to_owned(), vec![Some(1.0), Some(2.0)])];
        write_bars(&file, &Bars { title: "rows".into(), unit: "ns", groups, series }).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        for word in ["rows", "alloc", "free", "ours", "list", "ns"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
