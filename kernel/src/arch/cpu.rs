//! The CPU's features, and the protection features that the kernel enables.

use carapace_mm::addr::{MAX_PHYS_BITS, Pfn, PhysAddr, VirtAddr};
use carapace_mm::machine::{CpuFeatures, Support};
use core::fmt;
use raw_cpuid::CpuId;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr2, Cr3, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};

/// Physical address bits of a CPU that does not report them (Intel SDM vol. 3, section 4.1.4).
const LEAST_PHYS_BITS: u8 = 36;

/// The frame of the level-4 page table in use (CR3).
pub fn root() -> Pfn {
    PhysAddr(Cr3::read().0.start_address().as_u64()).pfn()
}

/// The features that matter to the memory core.
pub fn features() -> CpuFeatures {
    let cpuid = CpuId::new();
    let gib_leaves = cpuid
        .get_extended_processor_and_feature_identifiers()
        .is_some_and(|features| features.has_1gib_pages());
    let phys_bits = cpuid
        .get_processor_capacity_feature_info()
        .map_or(LEAST_PHYS_BITS, |info| info.physical_address_bits());
    CpuFeatures {
        gib_leaves: if gib_leaves { Support::Yes } else { Support::No },
        phys_bits: phys_bits.min(MAX_PHYS_BITS as u8),
    }
}

/// Protections by name, whether they are on, as [`protect`] left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protections {
    efer: EferFlags,
    cr4: Cr4Flags,
}

/// The protections that [`switched_off`] looks at.
const PROTECTIONS: [&str; 7] = ["PGE", "SMEP", "SMAP", "UMIP", "MCE", "NX", "WP"];
/// Bits of [`SwitchedOff`] that are not in CR4.
const NX: u32 = 1 << 5;
const WP: u32 = 1 << 6;

/// The switches of CR4 that this CPU has, with their places in [`PROTECTIONS`].
fn switches() -> impl Iterator<Item = (usize, Cr4Flags)> {
    let cpuid = CpuId::new();
    let (basic, extended) = (cpuid.get_feature_info(), cpuid.get_extended_feature_info());
    let (basic, extended) = (basic.as_ref(), extended.as_ref());
    let all = [
        (basic.is_some_and(|cpu| cpu.has_pge()), Cr4Flags::PAGE_GLOBAL),
        (extended.is_some_and(|cpu| cpu.has_smep()), Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (extended.is_some_and(|cpu| cpu.has_smap()), Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (extended.is_some_and(|cpu| cpu.has_umip()), Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        // Machine checks become exceptions instead of a shutdown.
        (basic.is_some_and(|cpu| cpu.has_mce()), Cr4Flags::MACHINE_CHECK_EXCEPTION),
    ];
    all.into_iter().enumerate().filter_map(|(place, (has, flag))| has.then_some((place, flag)))
}

fn has_no_execute() -> bool {
    let extended = CpuId::new().get_extended_processor_and_feature_identifiers();
    extended.is_some_and(|cpu| cpu.has_execute_disable())
}

/// Protection features that a CPU supports and that are disabled: a set that fits into a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchedOff(u32);

impl SwitchedOff {
    /// The set whose word this is.
    pub const fn from_bits(bits: u32) -> SwitchedOff {
        SwitchedOff(bits)
    }

    /// The set as a word.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The features' names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        PROTECTIONS
            .into_iter()
            .enumerate()
            .filter_map(move |(bit, name)| (self.0 >> bit & 1 == 1).then_some(name))
    }
}

/// The protection features that this CPU supports and that are disabled: none after [`protect`].
pub fn switched_off() -> SwitchedOff {
    let cr4 = Cr4::read();
    let off = switches().filter(|&(_, flag)| !cr4.contains(flag));
    let mut off = off.fold(0, |bits, (bit, _)| bits | 1 << bit);
    if has_no_execute() && !Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE) {
        off |= NX;
    }
    if !Cr0::read().contains(Cr0Flags::WRITE_PROTECT) {
        off |= WP;
    }
    SwitchedOff(off)
}

/// Drops the translation of the page at `at` on the CPU that runs this (INVLPG).
pub fn flush(at: VirtAddr) {
    tlb::flush(x86_64::VirtAddr::new_truncate(at.0));
}

/// Writes the cache line at `at` back to memory and drops it, on all CPUs (CLFLUSH, SDM vol. 2A). What was stored there
/// before comes first. An unmapped address faults.
pub fn write_back(at: VirtAddr) {
    // SAFETY: CLFLUSH changes no register and no memory: it moves the line's content to where it belongs. Every CPU with
    // 64-bit mode has it.
    unsafe { core::arch::asm!("clflush [{}]", in(reg) at.0, options(nostack, preserves_flags)) }
}

/// Drops all translations on the CPU that runs this, global ones and paging-structure caches included.
pub fn flush_all() {
    let flags = Cr4::read();
    if !flags.contains(Cr4Flags::PAGE_GLOBAL) {
        // No global translations: reloading CR3 drops all there are (SDM vol. 3 section 4.10.4.1).
        tlb::flush_all();
        return;
    }
    // SAFETY: PGE goes off and on again, which drops all translations, global ones and
    // paging-structure caches included (same section), and changes no mapping.
    unsafe { Cr4::write(flags - Cr4Flags::PAGE_GLOBAL) };
    // SAFETY: restores the flags that were read above, in which the CPU ran until then; no mapping changes.
    unsafe { Cr4::write(flags) };
}

/// Switches on every protection the CPU has: no execution of data (NX), no writing to read-only pages
/// (WP), no execution of or access to user pages (SMEP, SMAP), no descriptor-table instructions in
/// user mode (UMIP); and global pages (PGE), which the kernel's leaves are.
pub fn protect() -> Protections {
    let mut cr4 = Cr4::read();
    for (_, flag) in switches() {
        cr4 |= flag;
    }
    let mut efer = Efer::read();
    if has_no_execute() {
        efer |= EferFlags::NO_EXECUTE_ENABLE;
    }
    // SAFETY: CPUID says that the CPU has each bit that is added; no mapping of the kernel has the
    // user bit, so SMEP and SMAP forbid nothing that it does.
    unsafe { Cr4::write(cr4) };
    // SAFETY: only NXE is added, which the CPU has; the loader's leaves use the bit as meant.
    unsafe { Efer::write(efer) };
    // SAFETY: the loader's leaves have each segment's rights, and nothing writes to a read-only one.
    unsafe { Cr0::write(Cr0::read() | Cr0Flags::WRITE_PROTECT) };
    Protections { efer, cr4 }
}

impl fmt::Display for Protections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WP")?;
        for (on, name) in [
            (self.efer.contains(EferFlags::NO_EXECUTE_ENABLE), "NX"),
            (self.cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION), "SMEP"),
            (self.cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION), "SMAP"),
            (self.cr4.contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION), "UMIP"),
            (self.cr4.contains(Cr4Flags::PAGE_GLOBAL), "PGE"),
        ] {
            if on {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

/// The control registers as they are, and EFER, as text for a report.
#[derive(Clone, Copy, Debug)]
pub struct ControlRegisters;

impl fmt::Display for ControlRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frame, flags) = Cr3::read_raw();
        let cr3 = frame.start_address().as_u64() | u64::from(flags);
        write!(f, "cr0 {:08x}  cr2 {:016x}  cr3 {cr3:016x}", Cr0::read_raw(), Cr2::read_raw())?;
        write!(f, "  cr4 {:08x}  efer {:04x}", Cr4::read_raw(), Efer::read_raw())
    }
}

/// The CPU's brand, else its vendor, as text for the log.
#[derive(Clone, Copy, Debug)]
pub struct Name;

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpuid = CpuId::new();
        if let Some(brand) = cpuid.get_processor_brand_string() {
            f.write_str(brand.as_str().trim())
        } else if let Some(vendor) = cpuid.get_vendor_info() {
            f.write_str(vendor.as_str())
        } else {
            f.write_str("unknown CPU")
        }
    }
}
