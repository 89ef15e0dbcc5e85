//! The ports and configuration registers that AML and registers named by firmware may not access, because they could make
//! a device write to memory or raise a false exception.
//!
//! AML is trusted with the machine's own devices (ACPI 6.5, section 19.6.100: SystemIO), so this is a deny list: no table
//! says which ports the firmware's code needs. The reasons:
//!
//! * The 8237 DMA controllers and their page registers write to memory as programmed.
//! * The 8259s deliver vectors of the CPU's exceptions once they are set up anew.
//! * 0xcf8 to 0xcff reach every device's configuration. AML has PCI_Config regions for that, and those go through
//!   [`turns_on_bus_mastering`]: a PCI device that is not a bus master cannot write to memory, whatever its ports receive.
//! * The kernel's own devices (serial lines, QEMU's fw_cfg, which has DMA) are refused where they are known, in the
//!   kernel's `acpi::register`.
//!
//! Not covered: a device that the firmware left as a bus master. Its firmware, which also wrote the AML, is responsible for
//! it, as for system management mode. The list is a part of ACPICA's `acpi_protected_ports` (hwvalid.c), which follows
//! Windows.

/// Ports that are refused, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Their owner.
    pub name: &'static str,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

const fn ports(name: &'static str, first: u16, last: u16) -> Protected {
    Protected { name, first, last }
}

/// Reset control: the byte at 0xcf9 is no part of PCI's address register, which is written 32 bits wide.
const RESET_CONTROL: u16 = 0xcf9;
const DMA: &str = "a DMA controller";
const INTERRUPTS: &str = "an interrupt controller";
/// In ascending order, without overlaps.
static PORTS: [Protected; 11] = [
    ports(DMA, 0x00, 0x1f),
    ports(INTERRUPTS, 0x20, 0x21),
    ports(DMA, 0x81, 0x83),
    ports(DMA, 0x87, 0x87),
    ports(DMA, 0x89, 0x8b),
    ports(DMA, 0x8f, 0x8f),
    ports(INTERRUPTS, 0xa0, 0xa1),
    ports(DMA, 0xc0, 0xdf),
    ports(INTERRUPTS, 0x4d0, 0x4d1),
    ports("PCI's configuration mechanism", 0xcf8, 0xcff),
    // Ends the port space: an access across it would wrap.
    ports("no device", 0xffff, 0xffff),
];

/// The protected ports that an access of `bytes` (at least one) at `first` would touch. `None` if it is allowed.
pub fn port(first: u16, bytes: u16) -> Option<Protected> {
    if first == RESET_CONTROL && bytes == 1 {
        return None;
    }
    let last = first.saturating_add(bytes.saturating_sub(1));
    let at = PORTS.partition_point(|protected| protected.last < first);
    PORTS.get(at).filter(|protected| last >= protected.first).copied()
}

/// The command register of a PCI function, and its bit that lets the function write to memory.
pub const COMMAND: u8 = 0x04;
const BUS_MASTER: u64 = 1 << 2;

/// Whether `bytes` bytes of `value`, written to a function's configuration space at `offset`, turn on bus mastering
/// where the command register holds `command`.
pub fn turns_on_bus_mastering(offset: u8, bytes: u16, value: u64, command: u16) -> bool {
    let Some(shift) = COMMAND.checked_sub(offset).map(u16::from).filter(|&byte| byte < bytes) else {
        return false;
    };
    let written = value.checked_shr(u32::from(shift).saturating_mul(8)).unwrap_or(0);
    written & !u64::from(command) & BUS_MASTER != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    // Proves that every access, at each width, that touches a port by which memory could be written is refused, with
    // its name, and none beside them: every port is tried. Fails when an access that starts below is let through.
    #[test]
    fn ports_that_reach_memory_are_refused() {
        let harmful = |port: u32| {
            let dma = [0x00..=0x1f, 0x81..=0x83, 0x87..=0x87, 0x89..=0x8b, 0x8f..=0x8f, 0xc0..=0xdf];
            let interrupts = [0x20..=0x21, 0xa0..=0xa1, 0x4d0..=0x4d1];
            let pci = 0xcf8..=0xcff;
            dma.iter().chain(&interrupts).chain([&pci]).any(|range| range.contains(&port)) || port > 0xfffe
        };
        for first in 0..=u16::MAX {
            for bytes in [1, 2, 4] {
                let expected = (0..u32::from(bytes)).any(|byte| harmful(u32::from(first) + byte));
                let reset = first == 0xcf9 && bytes == 1;
                assert_eq!(port(first, bytes).is_some(), expected && !reset, "{bytes} bytes at {first:#x}");
            }
        }
        assert_eq!(port(0xcfa, 4).map(|protected| protected.name), Some("PCI's configuration mechanism"));
    }

    // Proves that the registers of QEMU's ACPI devices and of a PC's power management stay within reach: memory
    // hotplug, CPU and PCI hotplug, PM and GPE blocks, SMI command, reset. Fails when the list grows over them.
    #[test]
    fn firmware_reaches_its_own_registers() {
        let used: Vec<(u16, u16)> = [
            (0xa00, 24),
            (0xcd8, 12),
            (0xae00, 24),
            (0x600, 128),
            (0xb000, 64),
            (0xafe0, 4),
            (0xb2, 2),
            (0x62, 1),
            (0x64, 1),
            (0x70, 2),
            (0x2e, 2),
            (0x80, 1),
        ]
        .into();
        for (first, count) in used {
            assert!((first..first + count).all(|at| port(at, 1).is_none()), "{first:#x}");
        }
        assert_eq!(port(0xcf9, 1), None);
    }

    // Proves that the one bit is found in every write that covers it, that it may stay on where it is, and that
    // other writes pass. Fails when a wide write from below the register is let through.
    #[test]
    fn bus_mastering_stays_off() {
        for (offset, bytes, value) in
            [(4, 1, 4), (4, 2, 7), (4, 4, 0x10_0107), (0, 8, 4 << 32), (3, 2, 0x400)]
        {
            assert!(turns_on_bus_mastering(offset, bytes, value, 0x103), "{bytes} bytes at {offset}");
            assert!(
                !turns_on_bus_mastering(offset, bytes, value, 0x107),
                "{bytes} bytes at {offset}: it is on"
            );
        }
        for (offset, bytes, value) in
            [(4, 2, 0x103), (5, 1, 0xff), (0, 4, 0xffff_ffff), (8, 4, 4), (0x60, 4, 0xff)]
        {
            assert!(!turns_on_bus_mastering(offset, bytes, value, 0), "{bytes} bytes at {offset}");
        }
    }
}
