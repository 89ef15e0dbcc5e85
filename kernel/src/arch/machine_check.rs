//! The CPU's banks, which describe machine checks (Intel SDM vol. 3, chapter 16).
//!
//! ```text
//!  uncorrected  --exception--> fatal report: write_banks
//!  corrected    --nothing----> bank --poll()--> a line of the log, the bank is free again
//! ```
//!
//! The CPU does not announce a corrected error, and a bank records no further error until it is cleared. So a task of
//! the main loop polls every few seconds, and the shell's `check` at once, on every CPU. Invariant: [`poll`] clears
//! banks of corrected errors only; uncorrected ones are left for the report. Both read the banks of the CPU that calls.

use carapace_mm::addr::PhysAddr;
use core::fmt::{self, Write};
use log::warn;
use raw_cpuid::CpuId;
use x86_64::registers::model_specific::Msr;

/// Capabilities: bits 7:0 count the banks.
const CAPABILITIES: u32 = 0x179;
const STATUS: u32 = 0x17a;
/// The first bank's status; its address follows, and each further bank is 4 registers on.
const BANK_STATUS: u32 = 0x401;
const VALID: u64 = 1 << 63;
const ADDRESS_VALID: u64 = 1 << 58;
const UNCORRECTED: u64 = 1 << 61;
/// What else the upper bits say, in words.
const MEANINGS: [(u64, &str); 3] =
    [(1 << 62, "others are lost"), (UNCORRECTED, "uncorrected"), (1 << 57, "what ran cannot go on")];

fn read(register: u32) -> u64 {
    // SAFETY: called where CPUID has the architecture (MCA), for banks that the CPU has counted; reading
    // these has no effect.
    unsafe { Msr::new(register).read() }
}

/// Whether the CPU has banks.
pub fn has_banks() -> bool {
    CpuId::new().get_feature_info().is_some_and(|features| features.has_mca())
}

/// A bank with an error in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bank {
    number: u32,
    status: u64,
    address: Option<PhysAddr>,
}

impl Bank {
    /// All that have an error. Only for a CPU that has banks.
    fn filled() -> impl Iterator<Item = Bank> {
        (0..(read(CAPABILITIES) & 0xff) as u32).filter_map(|number| {
            let status = read(BANK_STATUS + 4 * number);
            let has_address = status & ADDRESS_VALID != 0;
            let address = has_address.then(|| PhysAddr(read(BANK_STATUS + 1 + 4 * number)));
            (status & VALID != 0).then_some(Bank { number, status, address })
        })
    }

    /// Makes room for the next error.
    fn empty(self) {
        // SAFETY: the bank is one that the CPU has counted; writing 0 to its status is how software says that it has
        // read it (SDM vol. 3, section 16.3.2.2), and has no other effect.
        unsafe { Msr::new(BANK_STATUS + 4 * self.number).write(0) };
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bank {}: status {:#018x}", self.number, self.status)?;
        if let Some(at) = self.address {
            write!(f, ", address {at}, section {}", at.pfn().section())?;
        }
        let meant = MEANINGS.iter().filter(|(bit, _)| self.status & bit != 0);
        meant.map(|(_, meaning)| meaning).try_for_each(|meaning| write!(f, ", {meaning}"))
    }
}

/// Writes the overall status and every bank that holds an error.
pub fn write_banks(out: &mut impl Write) -> fmt::Result {
    if !has_banks() {
        return Ok(());
    }
    writeln!(out, "  machine check status {:#x}", read(STATUS))?;
    Bank::filled().try_for_each(|bank| writeln!(out, "  {bank}"))
}

/// Logs every error that the CPU has corrected since the last call.
pub fn poll() {
    if has_banks() {
        for bank in Bank::filled().filter(|bank| bank.status & UNCORRECTED == 0) {
            warn!("machine check, corrected: {bank}");
            bank.empty();
        }
    }
}
