//! The banks in which the CPU says what a machine check was (Intel SDM vol. 3, chapter 16).

use core::fmt::{self, Write};
use mm::addr::PhysAddr;
use raw_cpuid::CpuId;
use x86_64::registers::model_specific::Msr;

/// Capabilities: bits 7:0 count the banks.
const CAPABILITIES: u32 = 0x179;
const STATUS: u32 = 0x17a;
/// The first bank's status; its address follows, and each further bank is 4 registers on.
const BANK_STATUS: u32 = 0x401;
const VALID: u64 = 1 << 63;
const ADDRESS_VALID: u64 = 1 << 58;
/// What else the upper bits say, in words.
const MEANINGS: [(u64, &str); 3] =
    [(1 << 62, "others are lost"), (1 << 61, "uncorrected"), (1 << 57, "what ran cannot go on")];

fn read(register: u32) -> u64 {
    // SAFETY: called by `write_banks` only, which asks CPUID for the architecture (MCA) and the count
    // of banks first; reading these has no effect.
    unsafe { Msr::new(register).read() }
}

/// Writes the overall status and every bank that holds an error.
pub(super) fn write_banks(out: &mut impl Write) -> fmt::Result {
    if !CpuId::new().get_feature_info().is_some_and(|features| features.has_mca()) {
        return Ok(());
    }
    writeln!(out, "  machine check status {:#x}", read(STATUS))?;
    for bank in 0..(read(CAPABILITIES) & 0xff) as u32 {
        let status = read(BANK_STATUS + 4 * bank);
        if status & VALID == 0 {
            continue;
        }
        write!(out, "  bank {bank}: status {status:#018x}")?;
        if status & ADDRESS_VALID != 0 {
            let at = PhysAddr(read(BANK_STATUS + 1 + 4 * bank));
            write!(out, ", address {at}, section {}", at.pfn().section())?;
        }
        for (_, meaning) in MEANINGS.iter().filter(|(bit, _)| status & bit != 0) {
            write!(out, ", {meaning}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
