//! What of an add grows with the DIMM and with the slots: counted, not timed.
//!
//! Under QEMU's `-icount shift=0` each instruction of the guest takes one nanosecond of the guest's clock, so the
//! nanoseconds the kernel reports are instructions (to about 1 in 10,000: its clock is calibrated), whatever
//! else the host does. Wall time is taken from a second guest without it, and so are Linux's figures: its clock
//! under `-icount` would count the time it sleeps, too.
//!
//! ```text
//!  SCI ──> AML: the firmware's scan of all slots, _STA, _CRS, _PXM ──> checks ──> mapping ──> region ──> AML: _OST
//!          rest: interrupts, the main loop, the log's lines
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::schema::{Add, Resource};
use serde::Serialize;

use crate::host;
use crate::linux::Linux;
use crate::measured::{Measured, Shape, with_huge_pages};
use crate::plot::{self, Axis, Chart, Series};
use crate::report;
use ::report::figures::{Figures, Host, OURS, What};
use guest::size::ByteSize;
use options::BenchArgs;

/// A DIMM may take this long, also where each instruction is counted.
const LIMIT: Duration = Duration::from_secs(120);
/// Linux takes 256 GiB in some minutes.
const LINUX_LIMIT: Duration = Duration::from_secs(900);
/// Its lines' name.
const LINUX: &str = "Linux";
/// The CPU models: with leaves of 1 GiB, and QEMU's default one, which has none.
const MODELS: [(&str, &str); 2] =
    [("1 GiB pages", "max,phys-bits=46"), ("2 MiB pages", "qemu64,phys-bits=46")];
/// Slots that the firmware looks at.
const SLOTS: [u64; 2] = [32, 256];

/// The raw data.
#[derive(Debug, Serialize)]
struct Data {
    host: Host,
    rows: Vec<Row>,
    /// The package that Linux is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    linux: Option<String>,
    linux_rows: Vec<LinuxRow>,
}

/// A DIMM in a fresh Linux, in the machine of our first rows.
#[derive(Debug, Serialize)]
struct LinuxRow {
    size: ByteSize,
    /// Bytes of the backing in the host's memory.
    resident: u64,
    /// `device_add` to `_OST`.
    wall_ms: f64,
}

/// A number of a row.
type Pick<'a> = &'a dyn Fn(&Row) -> f64;

/// A DIMM in a fresh guest.
#[derive(Debug, Serialize)]
struct Row {
    cpu: &'static str,
    slots: u64,
    size: ByteSize,
    /// The kernel's counters; its `_ns` are instructions.
    add: Add,
    /// Bytes of the backing in the host's memory.
    resident: u64,
    /// `device_add` to `_OST` without counting.
    wall_ms: f64,
    /// The same where the host backs the DIMM with huge pages, as it does by default.
    wall_huge_ms: f64,
    /// Bytes of the backing then.
    resident_huge: u64,
}

impl Row {
    /// Instructions that are none of the parts'.
    fn rest(&self) -> u64 {
        let Add { answer_ns, aml_ns, check_ns, map_ns, online_ns, .. } = self.add;
        answer_ns.saturating_sub(aml_ns + check_ns + map_ns + online_ns)
    }

    fn collect(&self, figures: &mut Figures) {
        let add = &self.add;
        let parts = [
            ("instructions, interrupt to `_OST`", add.answer_ns),
            ("AML", add.aml_ns),
            ("checks", add.check_ns),
            ("mapping", add.map_ns),
            ("region", add.online_ns),
            ("entries", add.entries_written),
            ("frames written", add.frames_written),
            ("of 2 MiB", add.large_frames_written),
        ];
        for (part, count) in parts {
            let detail = format!("{}, {}: {part}", self.cpu.trim_end_matches(" pages"), self.slots);
            figures.push(What::Counted, OURS, Some(self.size), Some(&detail), count as f64);
        }
    }

    fn line(&self) -> String {
        format!("{}, {} slots", self.cpu, self.slots)
    }
}

/// Measures, prints, keeps; `figures` gets what is counted.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let host = host::describe();
    host::print(&host);
    let largest = cli.scale_sizes.iter().max().context("no sizes (--scale-sizes)")?;
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, &cli.linux_append)).transpose()?;
    let package = linux.as_ref().map(|linux| linux.package.clone());
    let mut data = Data { host, rows: Vec::new(), linux: package, linux_rows: Vec::new() };
    let shape = |model: &str, slots| Shape {
        cpu: model.to_owned(),
        slots,
        ..Shape::of(cli, ByteSize::new(largest.bytes() + (1 << 30)))
    };
    for (name, model) in MODELS {
        for slots in SLOTS {
            for &size in &cli.scale_sizes {
                let row = measure(name, &shape(model, slots), size);
                data.rows.push(row.with_context(|| format!("{size}, {name}, {slots} slots"))?);
                report::progress();
            }
        }
    }
    for &size in linux.iter().flat_map(|_| &cli.linux_sizes).filter(|size| *size <= largest) {
        let row = linux.as_ref().map(|linux| measure_linux(linux, &shape(MODELS[0].1, SLOTS[0]), size));
        data.linux_rows.extend(row.transpose().with_context(|| format!("{size}, Linux"))?);
        report::progress();
    }
    report::keep(&cli.out(guest::task::root()), "scale.json", &data)?;
    data.rows.iter().for_each(|row| row.collect(figures));
    print(&data);
    draw(&data, &cli.out(guest::task::root()))
}

fn measure(cpu: &'static str, shape: &Shape, size: ByteSize) -> Result<Row> {
    let mut guest = Measured::carapace(&shape.counting())?;
    // A command is answered behind the first round of events, which would find the DIMM without its interrupt.
    let _: Vec<Resource> = guest.json("resources -J")?;
    let plugged = guest.plug(0, size, LIMIT)?;
    ensure!(plugged.status == 0, "refused: _OST status {}", plugged.status);
    let resources: Vec<Resource> = guest.json("resources -J")?;
    let mine = resources.into_iter().find(|resource| resource.device != "boot");
    let add = mine.context("the DIMM is no resource")?.add;
    ensure!(add.answer_ns > 0, "the time of the interrupt is unknown");
    drop(guest);
    let wall = Measured::carapace(shape)?.plug(0, size, LIMIT)?;
    let wall_ms = wall.took.as_secs_f64() * 1e3;
    let huge = with_huge_pages(|| Measured::carapace(shape)?.plug(0, size, LIMIT))?;
    let (wall_huge_ms, resident_huge) = (huge.took.as_secs_f64() * 1e3, huge.resident);
    let resident = plugged.resident;
    Ok(Row { cpu, slots: shape.slots, size, add, resident, wall_ms, wall_huge_ms, resident_huge })
}

/// Linux's `_OST` says success whatever happened, so that what counts is whether the memory is there.
fn measure_linux(linux: &Linux, shape: &Shape, size: ByteSize) -> Result<LinuxRow> {
    let mut guest = Measured::linux(shape, linux)?;
    let before = guest.memory_of_linux()?;
    let plugged = guest.plug(0, size, LINUX_LIMIT)?;
    let gained = guest.memory_of_linux()?.saturating_sub(before);
    ensure!(gained > size.bytes() / 2, "only {gained} bytes of it are usable");
    Ok(LinuxRow { size, resident: plugged.resident, wall_ms: plugged.took.as_secs_f64() * 1e3 })
}

fn print(data: &Data) {
    let rows = &data.rows;
    println!("\ninstructions from the interrupt to the end of _OST, and the bytes written");
    let heads = [
        "CPU",
        "slots",
        "DIMM",
        "instructions",
        "times 1st",
        "AML",
        "checks",
        "mapping",
        "region",
        "rest",
        "entries",
        "tables",
        "descriptors",
        "frames",
        "of 2 MiB",
        "backing, KiB",
        "wall, ms",
        "huge pages, ms",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for row in rows {
        let first = rows.iter().find(|first| first.line() == row.line()).unwrap_or(row);
        let add = &row.add;
        let mut cells = vec![row.cpu.to_owned(), row.slots.to_string(), row.size.to_string()];
        cells.push(add.answer_ns.to_string());
        cells.push(format!("{:.2}", add.answer_ns as f64 / first.add.answer_ns.max(1) as f64));
        let parts = [add.aml_ns, add.check_ns, add.map_ns, add.online_ns, row.rest()];
        let written = [add.descriptors_written, add.frames_written, add.large_frames_written];
        let counts = [&[add.entries_written, add.tables][..], &written, &[row.resident / 1024]].concat();
        cells.extend(parts.iter().chain(&counts).map(u64::to_string));
        cells.push(format!("{:.1}", row.wall_ms));
        cells.push(format!("{:.1} ({} KiB)", row.wall_huge_ms, row.resident_huge / 1024));
        table.push(cells);
    }
    for row in &data.linux_rows {
        let mut cells = vec![LINUX.to_owned(), SLOTS[0].to_string(), row.size.to_string()];
        cells.resize(heads.len() - 3, "-".to_owned());
        cells.extend([(row.resident / 1024).to_string(), format!("{:.1}", row.wall_ms), "-".to_owned()]);
        table.push(cells);
    }
    report::table(&table);
}

fn draw(data: &Data, out: &std::path::Path) -> Result<()> {
    let rows = &data.rows;
    let mut lines: Vec<String> = rows.iter().map(Row::line).collect();
    lines.dedup();
    let series = |name: &str, of: &str, pick: &dyn Fn(&Row) -> f64| Series {
        name: name.to_owned(),
        points: rows
            .iter()
            .filter(|row| row.line() == of)
            .map(|row| (row.size.bytes() as f64, pick(row)))
            .collect(),
    };
    let each = |pick: Pick| -> Vec<Series> { lines.iter().map(|line| series(line, line, pick)).collect() };
    let and_linux = |pick: Pick, of_linux: &dyn Fn(&LinuxRow) -> f64| {
        let points = data.linux_rows.iter().map(|row| (row.size.bytes() as f64, of_linux(row))).collect();
        let linux = Series { name: LINUX.to_owned(), points };
        each(pick).into_iter().chain((!linux.points.is_empty()).then_some(linux)).collect()
    };
    let parts: [(&str, Pick); 5] = [
        ("AML", &|row| row.add.aml_ns as f64),
        ("checks", &|row| row.add.check_ns as f64),
        ("mapping", &|row| row.add.map_ns as f64),
        ("region", &|row| row.add.online_ns as f64),
        ("rest", &|row| row.rest() as f64),
    ];
    let first = lines.first().context("there are rows")?;
    let charts = [
        Chart {
            title: "instructions from SCI to _OST".into(),
            y: Axis::named("instructions"),
            series: each(&|row| row.add.answer_ns as f64),
        },
        Chart {
            title: format!("their parts ({first})"),
            y: Axis::named("instructions"),
            series: parts.iter().map(|(name, pick)| series(name, first, pick)).collect(),
        },
        Chart {
            title: "device_add to _OST".into(),
            y: Axis::named("milliseconds"),
            series: and_linux(&|row| row.wall_ms, &|row| row.wall_ms),
        },
        Chart {
            title: "the DIMM's backing then".into(),
            y: Axis::named("KiB"),
            series: and_linux(&|row| row.resident as f64 / 1024.0, &|row| row.resident as f64 / 1024.0),
        },
    ];
    plot::write(&out.join("scale.svg"), &charts)
}
