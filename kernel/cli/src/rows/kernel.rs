//! What is not memory itself: firmware (`acpi`), page tables (`ptwalk`, `ptdump`), counters.

use super::{Device, Hex, PAGE, Word};
use crate::format_size::Size;
use crate::output::{Column, Row, Text, left, right};
use arrayvec::ArrayVec;
use core::fmt::{self, Display};
use serde::Serialize;

/// A table of the firmware, for `acpi`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TableRow {
    /// Its four letters.
    pub signature: Text<16>,
    /// Where it lies.
    pub address: u64,
    /// Its bytes, header included.
    pub length: u32,
    /// Its revision.
    pub revision: u8,
    /// Its maker's name for it.
    pub oem_table_id: Text<32>,
}

impl Row for TableRow {
    const COLUMNS: &'static [Column] =
        &[left("TABLE"), right("ADDRESS"), right("LENGTH"), right("REVISION"), left("NAME")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.signature);
        cell(&Hex(self.address));
        cell(&self.length);
        cell(&self.revision);
        cell(&self.oem_table_id);
    }
}

/// A memory device of `acpi`.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceRow {
    /// Its path.
    pub device: Device,
    /// Its `_UID`, empty where it has none.
    pub uid: Word,
    /// What it is at present.
    pub state: Text<160>,
    /// Why it was not given back when it was last asked for.
    pub eject_refused: Option<Text<200>>,
    /// The numbers of its resources.
    pub resources: ArrayVec<u32, 16>,
}

impl Row for DeviceRow {
    const COLUMNS: &'static [Column] = &[left("DEVICE"), left("UID"), left("RESOURCES"), left("STATE")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        struct Numbers<'a>(&'a [u32]);
        impl Display for Numbers<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut numbers = self.0.iter();
                match numbers.next() {
                    None => f.write_str("-"),
                    Some(first) => {
                        write!(f, "{first}")?;
                        numbers.try_for_each(|number| write!(f, ",{number}"))
                    }
                }
            }
        }
        cell(&self.device);
        cell(&self.uid);
        struct State<'a>(&'a DeviceRow);
        impl Display for State<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.state)?;
                self.0.eject_refused.iter().try_for_each(|why| write!(f, "; not ejected: {why}"))
            }
        }
        cell(&Numbers(&self.resources));
        cell(&State(self));
    }
}

/// A general-purpose event of `acpi`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EventRow {
    /// Its number.
    pub event: u32,
    /// The method that serves it.
    pub method: Text<32>,
    /// Whether it can reach a memory device, and is on.
    pub enabled: bool,
    /// How often the method ran.
    pub runs: u64,
}

impl Row for EventRow {
    const COLUMNS: &'static [Column] = &[right("EVENT"), left("METHOD"), left("STATE"), right("RUNS")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&Hex(self.event.into()));
        cell(&self.method);
        cell(&if self.enabled { "on" } else { "off" });
        cell(&self.runs);
    }
}

/// The answer of `ptwalk`; where nothing is mapped, `null` from `phys` on.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the words are the interface")]
pub struct WalkRow {
    pub virt: u64,
    pub window: Option<&'static str>,
    pub phys: Option<u64>,
    pub leaf_bytes: Option<u64>,
    pub rights: Option<&'static str>,
    pub caching: Option<&'static str>,
}

impl WalkRow {
    /// Writes the answer for people.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "address   {:#x}, in {}", self.virt, self.window.unwrap_or("no window"))?;
        let leaf = self.leaf_bytes.zip(self.rights).zip(self.caching);
        match self.phys.zip(leaf) {
            Some((phys, ((bytes, rights), caching))) => {
                writeln!(out, "mapped to {phys:#x}, frame {:#x}", phys / PAGE)?;
                writeln!(out, "leaf      {}, {rights}, {caching}", Size(bytes))
            }
            None => writeln!(out, "mapped to nothing"),
        }
    }
}

/// A step of `ptwalk`: the entry that the address chooses in a table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LevelRow {
    /// The table's name.
    pub level: &'static str,
    /// Which entry.
    pub index: u64,
    /// Where the table lies.
    pub table: u64,
    /// What stands there.
    pub entry: u64,
    /// "table", "leaf" or "absent".
    pub kind: &'static str,
    /// Where the next table lies, or the leaf's memory begins.
    pub leads_to: Option<u64>,
    /// What the entry's bits say, in words.
    pub flags: Text<96>,
}

impl Row for LevelRow {
    const COLUMNS: &'static [Column] =
        &[left("LEVEL"), right("INDEX"), right("TABLE"), right("ENTRY"), left("LEADS TO")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.level);
        cell(&self.index);
        cell(&Hex(self.table));
        cell(&Hex(self.entry));
        match self.leads_to {
            Some(at) => cell(&Text::<32>::of(&format_args!("{} at {at:#x}", self.kind))),
            None => cell(&self.kind),
        }
    }
}

/// Leaves by their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leaves {
    /// Of 4 KiB.
    #[serde(rename = "4k")]
    pub small: u64,
    /// Of 2 MiB.
    #[serde(rename = "2m")]
    pub large: u64,
    /// Of 1 GiB.
    #[serde(rename = "1g")]
    pub huge: u64,
}

/// A window of `ptdump`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WindowRow {
    /// Its name.
    pub window: &'static str,
    /// Its first address.
    pub start: u64,
    /// What is mapped there.
    pub leaves: Leaves,
    /// Leaves that are writable and executable.
    pub writable_executable: u64,
    /// Leaves that are executable.
    pub executable: u64,
}

impl Row for WindowRow {
    const COLUMNS: &'static [Column] =
        &[left("WINDOW"), right("START"), right("4K"), right("2M"), right("1G"), right("X"), right("W+X")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.window);
        cell(&Hex(self.start));
        cell(&self.leaves.small);
        cell(&self.leaves.large);
        cell(&self.leaves.huge);
        cell(&self.executable);
        cell(&self.writable_executable);
    }
}

/// The sums of `ptdump`, beside its windows.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct DumpHead {
    pub writable_executable: u64,
    pub leaves: Leaves,
}

/// The answer of `stat`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stat {
    /// Microseconds since boot.
    pub uptime_us: u64,
    /// ACPI's interrupts.
    pub acpi_interrupts: u64,
    /// Notifications that were handled.
    pub notifications: u64,
    /// Lines that the log has no room for any more.
    pub log_lines_dropped: u64,
}

impl Stat {
    /// Writes the answer for people.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "uptime              {} us", self.uptime_us)?;
        writeln!(out, "ACPI interrupts     {}", self.acpi_interrupts)?;
        writeln!(out, "notifications       {}", self.notifications)?;
        writeln!(out, "log lines dropped   {}", self.log_lines_dropped)
    }
}

/// The answer of `uptime`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Uptime {
    /// Microseconds since boot.
    pub uptime_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, list, object, object_with};
    use serde_json::{Value, json};
    use std::string::String;

    // `ptdump -J`: the sums and each window, leaves by size under the interface's names.
    #[test]
    fn ptdump() {
        let leaves = Leaves { small: 3, large: 2, huge: 1 };
        let row =
            WindowRow { window: "vmemmap", start: 1 << 63, leaves, writable_executable: 0, executable: 4 };
        let head = DumpHead { writable_executable: 0, leaves };
        let mut out = String::new();
        object_with(&mut out, "windows", &mut |tell: &mut dyn FnMut(&WindowRow)| tell(&row), &mut || head)
            .unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&value["writable_executable"], &value["leaves"]["4k"]), (&json!(0), &json!(3)));
        assert_eq!(value["windows"][0]["leaves"], json!({"4k": 3, "2m": 2, "1g": 1}));
    }

    // `ptwalk` of an address that nothing maps says so in both forms.
    #[test]
    fn ptwalk() {
        let row =
            WalkRow { virt: 16, window: None, phys: None, leaf_bytes: None, rights: None, caching: None };
        let mut out = String::new();
        object(&mut out, &row).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["phys"], Value::Null);
        out.clear();
        row.write(&mut out).unwrap();
        assert_eq!(out, "address   0x10, in no window\nmapped to nothing\n");
    }

    // A table's row, with the longest name escapes can make of eight bytes.
    #[test]
    fn tables() {
        let row = TableRow {
            signature: Text::of(&"DSDT"),
            address: 0x1ffe_0040,
            length: 8192,
            revision: 1,
            oem_table_id: Text::of(&[0xff; 8].escape_ascii()),
        };
        let show = |format| {
            let mut out = String::new();
            list(&mut out, format, &mut |tell: &mut dyn FnMut(&TableRow)| tell(&row)).unwrap();
            out
        };
        let value: Value = serde_json::from_str(&show(Format::Json)).unwrap();
        assert_eq!((&value[0]["address"], &value[0]["length"]), (&json!(0x1ffe_0040), &json!(8192)));
        assert_eq!(value[0]["oem_table_id"], "\\xff".repeat(8));
        assert!(
            show(Format::Table).starts_with("TABLE     ADDRESS  LENGTH  REVISION  NAME\nDSDT   0x1ffe0040 ")
        );
    }

    // A refused device's row: a reason that is too long is cut, its resources are listed or a dash.
    #[test]
    fn devices() {
        let mut row = DeviceRow {
            device: Device::of(&"\\_SB.MP00"),
            uid: Word::of(&"0x00"),
            state: Text::of(&"refused: ".repeat(40)),
            eject_refused: Some(Text::of(&"pinned by ".repeat(40))),
            resources: ArrayVec::new(),
        };
        let show = |row: &DeviceRow, format| {
            let mut out = String::new();
            list(&mut out, format, &mut |tell: &mut dyn FnMut(&DeviceRow)| tell(row)).unwrap();
            out
        };
        assert!(show(&row, Format::Table).contains("\\_SB.MP00  0x00  -          refused: "));
        assert!(show(&row, Format::Table).ends_with("...\n"));
        row.resources.extend([1, 2]);
        assert!(show(&row, Format::Table).contains(" 1,2 "));
        assert!(show(&row, Format::Json).contains("\"resources\":[1,2]"));
    }
}
