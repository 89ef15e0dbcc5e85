//! The Multiple APIC Description Table (ACPI 6.5, section 5.2.12): interrupt controllers and processors.
//!
//! ```text
//!  header (36) | local APIC (4) | flags (4) | entry: type, length, ... | entry | ...
//! ```
//!
//! [`check`] validates the whole list first: a table with one malformed entry is rejected. [`Madt`] is the decoded table,
//! for the drivers of the interrupt controllers and the start of the processors.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use arrayvec::ArrayVec;
use carapace_mm::addr::PhysAddr;
use carapace_mm::machine::MAX_CPUS;
use core::fmt;

/// The most IO APICs.
pub const MAX_IO_APICS: usize = 16;
/// The most source overrides: one for each ISA interrupt.
pub const MAX_OVERRIDES: usize = 16;
/// The most processors.
pub const MAX_PROCESSORS: usize = MAX_CPUS;

/// The machine's interrupt controllers and processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Madt {
    /// The registers of the local APIC, the same for every processor.
    pub local_apic: PhysAddr,
    /// Whether there are two 8259 controllers that must be masked.
    pub legacy_pics: LegacyPics,
    /// The IO APICs.
    pub io_apics: ArrayVec<IoApic, MAX_IO_APICS>,
    /// The ISA interrupts that are not wired to the pin of their own number.
    pub overrides: ArrayVec<SourceOverride, MAX_OVERRIDES>,
    /// The enabled processors, including the boot processor, in the table's order, without duplicates.
    pub processors: ArrayVec<ApicId, MAX_PROCESSORS>,
    /// The number of enabled processors beyond [`MAX_PROCESSORS`].
    pub processors_left_out: u32,
    /// The number of absent processors that can be plugged ("online capable").
    pub pluggable_processors: u32,
    /// The number of IO APICs and source overrides beyond the limits.
    pub left_out: u32,
}

/// The id of a processor's local APIC, the destination of its interrupts. Ids above 254 need x2APIC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApicId(pub u32);

impl ApicId {
    /// All processors, in an entry or a register of 8 bits.
    const BROADCAST_8: u8 = 0xff;
    /// All processors, in 32 bits.
    const BROADCAST: ApicId = ApicId(u32::MAX);

    /// Whether it receives interrupts only in x2APIC mode.
    pub const fn needs_x2apic(self) -> bool {
        self.0 >= ApicId::BROADCAST_8 as u32
    }
}

impl fmt::Display for ApicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether the machine has the two 8259 interrupt controllers of a PC (flag PCAT_COMPAT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyPics {
    /// Present.
    Present,
    /// Absent.
    #[default]
    Absent,
}

/// An IO APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// The address of its registers.
    pub registers: PhysAddr,
    /// The global system interrupt of its pin 0.
    pub gsi_base: u32,
}

/// An ISA interrupt that is not wired to the global system interrupt of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceOverride {
    /// The ISA interrupt, 0 to 15.
    pub irq: u8,
    /// The global system interrupt that it is wired to.
    pub gsi: u32,
    /// Its polarity. `None`: that of its bus.
    pub polarity: Option<Polarity>,
    /// Its trigger mode. `None`: that of its bus.
    pub trigger: Option<Trigger>,
}

/// The polarity of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// Active high.
    High,
    /// Active low.
    Low,
}

/// The trigger mode of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Edge-triggered.
    Edge,
    /// Level-triggered.
    Level,
}

/// How an interrupt line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The polarity.
    pub polarity: Polarity,
    /// The trigger mode.
    pub trigger: Trigger,
}

impl Signal {
    /// An ISA interrupt.
    pub const ISA: Signal = Signal { polarity: Polarity::High, trigger: Trigger::Edge };
    /// ACPI's system control interrupt: level, active low and shareable (ACPI 6.5, sections 4.8.3.1 and 5.2.9).
    pub const SCI: Signal = Signal { polarity: Polarity::Low, trigger: Trigger::Level };
}

/// The wiring and the signal of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// The global system interrupt.
    pub gsi: u32,
    /// How the line signals.
    pub signal: Signal,
}

impl Wiring {
    /// The wiring of interrupt `irq` on a bus with signal `bus`: that of its override, if there is one. A polarity or
    /// trigger mode that the override leaves open is the bus's. For the SCI that is [`Signal::SCI`], although its number
    /// is an ISA interrupt (Linux: `acpi_sci_ioapic_setup`).
    pub fn of(irq: u16, overrides: &[SourceOverride], bus: Signal) -> Wiring {
        match overrides.iter().find(|source| u16::from(source.irq) == irq) {
            Some(source) => {
                let polarity = source.polarity.unwrap_or(bus.polarity);
                let trigger = source.trigger.unwrap_or(bus.trigger);
                Wiring { gsi: source.gsi, signal: Signal { polarity, trigger } }
            }
            None => Wiring { gsi: irq.into(), signal: bus },
        }
    }
}

/// The polarity and the trigger mode in the flags of an entry (MPS INTI flags, ACPI 6.5 table 5.26). `None`: as the bus,
/// which is also the result for reserved values.
pub const fn inti(flags: u16) -> (Option<Polarity>, Option<Trigger>) {
    let polarity = match flags & 0b11 {
        0b01 => Some(Polarity::High),
        0b11 => Some(Polarity::Low),
        _ => None,
    };
    let trigger = match flags >> 2 & 0b11 {
        0b01 => Some(Trigger::Edge),
        0b11 => Some(Trigger::Level),
        _ => None,
    };
    (polarity, trigger)
}

/// The offset of the first entry.
const ENTRIES: usize = 44;
/// Flag of the table: the machine has the two 8259 controllers of a PC.
const PCAT_COMPAT: u32 = 1;
/// Flags of a processor: enabled; absent but pluggable (valid only if not enabled).
const ENABLED: u32 = 1 << 0;
const ONLINE_CAPABLE: u32 = 1 << 1;
/// The bus of valid source overrides.
const ISA: u8 = 0;

/// A malformed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMadtEntry {
    /// The entry's offset in the table.
    pub offset: usize,
    /// The entry's length byte.
    pub length: u8,
}

impl fmt::Display for BadMadtEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MADT: the entry at offset {} has the impossible length {}", self.offset, self.length)
    }
}

/// The minimum length of an entry of `kind` (ACPI 6.5, tables 5.21 to 5.45). 2 for an unknown kind.
const fn least_length(kind: u8) -> usize {
    match kind {
        0 | 3 => 8,        // local APIC, NMI source
        1 | 5 | 0xa => 12, // IO APIC, local APIC address, local x2APIC NMI
        2 => 10,           // interrupt source override
        4 => 6,            // local APIC NMI
        6 | 8 | 9 => 16,   // IO SAPIC, platform interrupt, local x2APIC
        7 => 17,           // local SAPIC
        0xb => 82,         // GICC
        0xc | 0xd => 24,   // GICD, GIC MSI frame
        0xe | 0x10 => 16,  // GICR, multiprocessor wakeup
        0xf => 20,         // GIC ITS
        _ => 2,
    }
}

/// Checks that every entry of `table` (header included) is inside the table and long enough for its kind.
pub fn check(table: &[u8]) -> Result<(), BadMadtEntry> {
    let mut at = ENTRIES;
    if table.len() < ENTRIES {
        return Err(BadMadtEntry { offset: table.len(), length: 0 });
    }
    while let Some(kind) = u8_at(table, at) {
        let length = u8_at(table, at.saturating_add(1)).unwrap_or(0);
        let end = at.saturating_add(usize::from(length));
        if usize::from(length) < least_length(kind) || end > table.len() {
            return Err(BadMadtEntry { offset: at, length });
        }
        at = end;
    }
    Ok(())
}

impl Madt {
    /// Reads the table (header included).
    ///
    /// # Errors
    /// An entry is malformed.
    pub fn read(table: &[u8]) -> Result<Madt, BadMadtEntry> {
        check(table)?;
        let flags = u32_at(table, 40).unwrap_or(0);
        let mut madt = Madt {
            local_apic: PhysAddr(u32_at(table, 36).unwrap_or(0).into()),
            legacy_pics: if flags & PCAT_COMPAT == 0 { LegacyPics::Absent } else { LegacyPics::Present },
            ..Madt::default()
        };
        let mut rest = table.get(ENTRIES..).unwrap_or_default();
        while let Some(length) = u8_at(rest, 1)
            && let Some((entry, behind)) = rest.split_at_checked(length.into())
        {
            // `check` has verified the entry's length.
            if madt.take(entry).is_none() {
                madt.left_out = madt.left_out.saturating_add(1);
            }
            rest = behind;
        }
        Ok(madt)
    }

    /// Adds one entry. `None` when its list is full.
    fn take(&mut self, entry: &[u8]) -> Option<()> {
        match u8_at(entry, 0)? {
            0 => match u8_at(entry, 3)? {
                ApicId::BROADCAST_8 => {} // an unused entry
                id => self.take_processor(ApicId(id.into()), u32_at(entry, 4)?),
            },
            9 => self.take_processor(ApicId(u32_at(entry, 4)?), u32_at(entry, 8)?),
            5 => self.local_apic = PhysAddr(u64_at(entry, 4)?),
            1 => {
                let registers = PhysAddr(u32_at(entry, 4)?.into());
                let io = IoApic { id: u8_at(entry, 2)?, registers, gsi_base: u32_at(entry, 8)? };
                self.io_apics.try_push(io).ok()?;
            }
            2 if u8_at(entry, 2)? == ISA => {
                let (polarity, trigger) = inti(u16_at(entry, 8)?);
                let (irq, gsi) = (u8_at(entry, 3)?, u32_at(entry, 4)?);
                self.overrides.try_push(SourceOverride { irq, gsi, polarity, trigger }).ok()?;
            }
            _ => {}
        }
        Some(())
    }

    /// Adds a processor, unless it is known: firmware may list one in both kinds of entries.
    fn take_processor(&mut self, id: ApicId, flags: u32) {
        if id == ApicId::BROADCAST || self.processors.contains(&id) {
            return;
        }
        if flags & ENABLED != 0 {
            if self.processors.try_push(id).is_err() {
                self.processors_left_out = self.processors_left_out.saturating_add(1);
            }
        } else if flags & ONLINE_CAPABLE != 0 {
            self.pluggable_processors = self.pluggable_processors.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn table(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![0; ENTRIES];
        entries.iter().for_each(|entry| bytes.extend_from_slice(entry));
        bytes
    }

    // Proves that QEMU's table and a table without entries pass. Fails when a valid length is refused.
    #[test]
    fn proper_tables_pass() {
        let local = [0, 8, 0, 0, 1, 0, 0, 0];
        let io = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let source = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
        let nmi = [4, 6, 0xff, 0, 0, 1];
        assert_eq!(check(&table(&[&local, &io, &source, &nmi])), Ok(()));
        assert_eq!(check(&table(&[])), Ok(()));
    }

    // Proves that all four values of both flag fields are decoded as specified, independently of each other. Fails when
    // "conforms to the bus" is decoded as a polarity or a trigger mode.
    #[test]
    fn flags_mean_polarity_and_trigger() {
        let polarities = [None, Some(Polarity::High), None, Some(Polarity::Low)];
        let triggers = [None, Some(Trigger::Edge), None, Some(Trigger::Level)];
        for (low, polarity) in (0..).zip(polarities) {
            for (high, trigger) in (0..).zip(triggers) {
                assert_eq!(inti(high << 2 | low), (polarity, trigger), "{high:#b} {low:#b}");
            }
        }
    }

    // Proves that an override with flags 0 leaves the SCI level-triggered and active low, and an ISA interrupt
    // edge-triggered and active high; that the flag fields are independent; and that overrides of other interrupts are
    // ignored. Fails when "conforms to the bus" means ISA for the SCI.
    #[test]
    fn conforming_overrides_keep_the_bus_signal() {
        let wiring = |flags: u8, bus| {
            let bytes = table(&[&[2, 10, 0, 4, 4, 0, 0, 0, 0xf, 0], &[2, 10, 0, 9, 20, 0, 0, 0, flags, 0]]);
            Wiring::of(9, &Madt::read(&bytes).unwrap().overrides, bus)
        };
        let sci = |polarity, trigger| Wiring { gsi: 20, signal: Signal { polarity, trigger } };
        assert_eq!(wiring(0, Signal::SCI), sci(Polarity::Low, Trigger::Level));
        assert_eq!(wiring(0, Signal::ISA), sci(Polarity::High, Trigger::Edge));
        assert_eq!(wiring(0b0001, Signal::SCI), sci(Polarity::High, Trigger::Level));
        assert_eq!(wiring(0b0100, Signal::SCI), sci(Polarity::Low, Trigger::Edge));
        assert_eq!(wiring(0b1101, Signal::SCI), sci(Polarity::High, Trigger::Level));
        assert_eq!(wiring(0b0011, Signal::ISA), sci(Polarity::Low, Trigger::Edge));
        // Numbers above the ISA interrupts are global system interrupts, which have no override.
        for (irq, gsi) in [(9, 9), (0x109, 0x109)] {
            let overrides = [SourceOverride { irq: 4, gsi: 5, polarity: None, trigger: None }];
            assert_eq!(Wiring::of(irq, &overrides, Signal::SCI), Wiring { gsi, signal: Signal::SCI });
        }
    }

    // Proves that the fields of every kind of entry are read, and that other kinds are skipped. Fails when an offset is
    // wrong.
    #[test]
    fn entries_are_read() {
        let mut bytes = table(&[
            &[0, 8, 0, 0, 1, 0, 0, 0],
            &[0, 8, 1, 1, 0, 0, 0, 0],
            &[9, 16, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0],
            &[2, 10, 0, 9, 20, 0, 0, 0, 0b1101, 0],
            &[2, 10, 1, 9, 21, 0, 0, 0, 0, 0],
            &[4, 6, 0xff, 0, 0, 1],
            &[0x80, 2],
        ]);
        bytes[36..44].copy_from_slice(&[0, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
        let mut madt = Madt::read(&bytes).unwrap();
        assert_eq!((madt.processors.as_slice(), madt.left_out), (&[ApicId(0), ApicId(2)][..], 0));
        assert_eq!((madt.local_apic, madt.legacy_pics), (PhysAddr(0xfee0_0000), LegacyPics::Present));
        let io = IoApic { id: 7, registers: PhysAddr(0xfec0_0000), gsi_base: 24 };
        assert_eq!(madt.io_apics.as_slice(), [io]);
        let source =
            SourceOverride { irq: 9, gsi: 20, polarity: Some(Polarity::High), trigger: Some(Trigger::Level) };
        assert_eq!(madt.overrides.as_slice(), [source]);
        bytes.extend([5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        (0..20).for_each(|_| bytes.extend([1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0]));
        madt = Madt::read(&bytes).unwrap();
        assert_eq!(madt.local_apic, PhysAddr(1 << 32));
        assert_eq!((madt.io_apics.len(), madt.left_out), (MAX_IO_APICS, 5));
        bytes.extend([0, 7, 0, 0, 0, 0, 0]);
        assert!(Madt::read(&bytes).is_err());
    }

    fn local(id: u8, flags: u8) -> [u8; 8] {
        [0, 8, 0, id, flags, 0, 0, 0]
    }

    fn x2(id: u32, flags: u8) -> [u8; 16] {
        let [a, b, c, d] = id.to_le_bytes();
        [9, 16, 0, 0, a, b, c, d, flags, 0, 0, 0, 0, 0, 0, 0]
    }

    // Proves that enabled processors are listed in order and without duplicates, that an absent one counts as pluggable
    // only with its flag, and that the broadcast id is ignored. Fails when a flag is ignored, or an id of 32 bits is
    // truncated.
    #[test]
    fn processors_are_kept_once() {
        let bytes = table(&[
            &local(4, 1),
            &local(0, 3),
            &local(1, 0),
            &local(2, 2),
            &local(0xff, 1),
            &x2(4, 1),
            &x2(0x1_0004, 1),
            &x2(u32::MAX, 1),
            &x2(300, 2),
            &x2(301, 0),
        ]);
        let madt = Madt::read(&bytes).unwrap();
        assert_eq!(madt.processors.as_slice(), [ApicId(4), ApicId(0), ApicId(0x1_0004)]);
        assert_eq!((madt.pluggable_processors, madt.processors_left_out), (2, 0));
        let beyond = madt.processors.iter().map(|id| id.needs_x2apic()).collect::<Vec<_>>();
        assert_eq!(beyond, [false, false, true]);
    }

    // Proves that a table with too many processors is read to its end, with the first ones listed and the rest counted.
    // Fails when reading stops at the limit, or the count is wrong.
    #[test]
    fn processors_are_bounded() {
        let many: Vec<_> = (0..1000).map(|id| x2(id, 1)).collect();
        let many: Vec<&[u8]> = many.iter().map(|entry| &entry[..]).collect();
        let madt = Madt::read(&table(&many)).unwrap();
        assert_eq!(madt.processors.len(), MAX_PROCESSORS);
        assert_eq!(madt.processors.last(), Some(&ApicId(MAX_PROCESSORS as u32 - 1)));
        assert_eq!(madt.processors_left_out, 1000 - MAX_PROCESSORS as u32);
    }

    // Proves that no prefix of a table and no changed byte makes the reader panic or exceed the limits.
    #[test]
    fn any_bytes_are_read_to_their_end() {
        let whole =
            table(&[&local(1, 1), &x2(2, 1), &[1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0], &local(3, 2)]);
        for end in 0..whole.len() {
            let _ = Madt::read(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(madt) = Madt::read(&bytes) {
                    assert!(madt.processors.len() <= 4);
                }
            }
        }
    }

    // Proves for each kind of entry that the kernel reads that an entry one byte shorter than specified rejects the table.
    // Fails when a minimum length is too small.
    #[test]
    fn each_kind_has_its_length() {
        for (kind, length) in [(0, 8), (1, 12), (2, 10), (3, 8), (4, 6), (5, 12), (9, 16)] {
            for (length, fits) in [(length, true), (length - 1, false)] {
                let mut entry = std::vec![0; length];
                (entry[0], entry[1]) = (kind, length as u8);
                assert_eq!(Madt::read(&table(&[&entry])).is_ok(), fits, "kind {kind}, {length} bytes");
            }
        }
    }

    // Proves that bad lengths are refused: 0 (an endless walk), shorter than the kind (reads the neighbour), beyond the
    // end, and a table shorter than its fixed part.
    #[test]
    fn bad_lengths_are_refused() {
        for length in [0, 1, 7, 9, 255] {
            let local = [0, length, 0, 0, 1, 0, 0, 0];
            assert_eq!(check(&table(&[&local])), Err(BadMadtEntry { offset: ENTRIES, length }), "{length}");
        }
        assert!(check(&[0; ENTRIES - 1]).is_err());
        assert_eq!(check(&table(&[&[0x80]])), Err(BadMadtEntry { offset: ENTRIES, length: 0 }));
    }
}
