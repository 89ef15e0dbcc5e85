//! The PVH loader's structures (Xen's public `arch-x86/hvm/start_info.h`): their layouts, and the
//! checks before they are used.

use crate::range::PhysRange;
use core::fmt;
use core::mem::{offset_of, size_of};
use zerocopy::FromBytes;

/// "xEn3" with the top bit of the first byte set.
pub const MAGIC: u32 = 0x336e_c578;
/// The physical memory that the shim can read: its page tables map the first 4 GiB.
pub const READABLE: PhysRange = PhysRange { start: 0, end: 1 << 32 };

/// `struct hvm_start_info`, version 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
pub struct RawStartInfo {
    /// [`MAGIC`].
    pub magic: u32,
    /// 1 or later: with the memory map fields.
    pub version: u32,
    /// `SIF_xxx`, not used.
    pub flags: u32,
    /// Number of modules.
    pub nr_modules: u32,
    /// Physical address of the list of [`RawModule`].
    pub modlist_paddr: u64,
    /// Physical address of the command line, not used.
    pub cmdline_paddr: u64,
    /// Physical address of ACPI's RSDP, or 0.
    pub rsdp_paddr: u64,
    /// Physical address of the list of [`RawMapEntry`].
    pub memmap_paddr: u64,
    /// Number of entries of the memory map.
    pub memmap_entries: u32,
    /// Zero.
    pub reserved: u32,
}

impl RawMapEntry {
    /// An entry for ACPI tables that are not the firmware's.
    pub const fn tables(range: PhysRange) -> Self {
        RawMapEntry { addr: range.start, size: range.size(), kind: 3, reserved: 0 }
    }

    /// An entry for memory that is not to be used.
    pub const fn reserved(range: PhysRange) -> Self {
        RawMapEntry { addr: range.start, size: range.size(), kind: 2, reserved: 0 }
    }
}

/// `struct hvm_modlist_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
pub struct RawModule {
    /// Physical address of the module.
    pub paddr: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Physical address of its command line, not used.
    pub cmdline_paddr: u64,
    /// Zero.
    pub reserved: u64,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
pub struct RawMapEntry {
    /// First physical address.
    pub addr: u64,
    /// Size in bytes.
    pub size: u64,
    /// The e820 kind: 1 RAM, 2 reserved, 3 ACPI tables, 4 ACPI NVS, ...
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<RawStartInfo>() == 56 && offset_of!(RawStartInfo, memmap_paddr) == 40);
    assert!(size_of::<RawModule>() == 32);
    assert!(size_of::<RawMapEntry>() == 24 && offset_of!(RawMapEntry, kind) == 16);
};

/// Why the start info is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartInfoError {
    /// Wrong magic number.
    Magic(u32),
    /// Version 0 has no memory map.
    Version(u32),
    /// The shim cannot read all of a list or module.
    OutOfReach {
        /// Its name.
        what: &'static str,
        /// Its first physical address.
        at: u64,
    },
    /// The kernel module is not in RAM.
    ModuleNotInRam(PhysRange),
}

impl fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartInfoError::Magic(magic) => write!(f, "magic number {magic:#x} instead of {MAGIC:#x}"),
            StartInfoError::Version(version) => write!(f, "version {version} has no memory map"),
            StartInfoError::OutOfReach { what, at } => write!(f, "{what} at {at:#x} is not below 4 GiB"),
            // QEMU puts the module 160 KiB below the end of RAM before it knows how much of that the firmware takes for
            // ACPI tables, and copies it there afterwards. So the two overwrite each other, and no part of either can
            // be trusted.
            StartInfoError::ModuleNotInRam(range) => write!(
                f,
                "the module at {range} is not in free RAM. With QEMU's -kernel this comes of ACPI tables above 160 KiB \
                 (-acpitable): give it smaller ones, or boot the disk image"
            ),
        }
    }
}

/// The checked start info.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartInfo {
    /// The list of modules, inside [`READABLE`].
    pub modules: List,
    /// The memory map, inside [`READABLE`].
    pub memory_map: List,
    /// The RSDP's physical address, if given.
    pub rsdp: Option<u64>,
    /// The command line's physical address, if there is one.
    pub command_line: Option<u64>,
}

/// A list in physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    /// Its physical address.
    pub at: u64,
    /// The number of entries.
    pub entries: u32,
}

impl List {
    fn checked(what: &'static str, at: u64, entries: u32, size: usize) -> Result<List, StartInfoError> {
        let empty = List { at: 0, entries: 0 };
        if entries == 0 {
            return Ok(empty);
        }
        let bytes = u64::from(entries) * size as u64;
        match PhysRange::sized(at, bytes) {
            Some(range) if at != 0 && READABLE.contains(range) => Ok(List { at, entries }),
            _ => Err(StartInfoError::OutOfReach { what, at }),
        }
    }
}

impl RawStartInfo {
    /// Checks magic and version, and that both lists are readable.
    pub fn check(&self) -> Result<StartInfo, StartInfoError> {
        if self.magic != MAGIC {
            return Err(StartInfoError::Magic(self.magic));
        }
        if self.version == 0 {
            return Err(StartInfoError::Version(self.version));
        }
        let modules =
            List::checked("the module list", self.modlist_paddr, self.nr_modules, size_of::<RawModule>())?;
        let memory_map = List::checked(
            "the memory map",
            self.memmap_paddr,
            self.memmap_entries,
            size_of::<RawMapEntry>(),
        )?;
        let given = |at: u64| (at != 0).then_some(at);
        let (rsdp, command_line) = (given(self.rsdp_paddr), given(self.cmdline_paddr));
        Ok(StartInfo { modules, memory_map, rsdp, command_line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> RawStartInfo {
        RawStartInfo {
            magic: MAGIC,
            version: 1,
            flags: 0,
            nr_modules: 1,
            modlist_paddr: 0xc_1000,
            cmdline_paddr: 0,
            rsdp_paddr: 0xf_5a00,
            memmap_paddr: 0xc_2000,
            memmap_entries: 8,
            reserved: 0,
        }
    }

    /// Proves that a valid start info is accepted unchanged, and that an absent RSDP and an empty
    /// module list are valid. Fails when a field is read from the wrong offset.
    #[test]
    fn good_one_is_taken() {
        let info = good().check().unwrap();
        assert_eq!(info.memory_map, List { at: 0xc_2000, entries: 8 });
        assert_eq!(info.rsdp, Some(0xf_5a00));
        let none = RawStartInfo { nr_modules: 0, modlist_paddr: u64::MAX, rsdp_paddr: 0, ..good() };
        assert_eq!(none.check().unwrap().modules.entries, 0);
        assert_eq!(none.check().unwrap().rsdp, None);
    }

    /// Proves that a wrong magic number, a version without memory map, and a list that starts at 0,
    /// overflows, or leaves the first 4 GiB are refused. Fails when a check is missing.
    #[test]
    fn lies_are_refused() {
        let magic = RawStartInfo { magic: 0, ..good() };
        assert_eq!(magic.check(), Err(StartInfoError::Magic(0)));
        let version = RawStartInfo { version: 0, ..good() };
        assert_eq!(version.check(), Err(StartInfoError::Version(0)));
        for at in [0, 1 << 32, (1 << 32) - 1, u64::MAX] {
            let map = RawStartInfo { memmap_paddr: at, ..good() };
            assert_eq!(map.check(), Err(StartInfoError::OutOfReach { what: "the memory map", at }));
        }
        let long = RawStartInfo { nr_modules: u32::MAX, ..good() };
        assert!(long.check().is_err());
    }
}
