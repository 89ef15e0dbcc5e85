//! Turning the machine off and starting it again, as the firmware says it is done.

use super::register::{Access, RegisterError, Width};
use crate::arch::interrupts;
use crate::arch::port::{PortNumber, Ports};
use crate::arch::time;
use carapace_acpi::fadt::Command;
use carapace_aml::Value;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;
use log::warn;

/// PM1 control: the sleep type's bits, and the bit that makes it happen (ACPI 6.5, table 4.13).
const SLP_TYP_SHIFT: u32 = 10;
const SLP_TYP: u64 = 0b111 << SLP_TYP_SHIFT;
const SLP_EN: u64 = 1 << 13;
/// The sleep state that is off, as `_PTS` is told.
const S5: u64 = 5;
/// How long the machine may take to go.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(1);

// SAFETY: the command port of a PC's keyboard controller, which writes to no memory; the one command that is written
// resets the machine.
const KEYBOARD_CONTROLLER: Ports = unsafe { Ports::new(PortNumber(0x64), 1) };
/// Its command that pulses the reset line.
const PULSE_RESET: u8 = 0xfe;

/// Why the machine is still on.
#[derive(Clone, Debug)]
pub enum SleepError {
    /// ACPI was not brought up.
    NoAcpi,
    /// `\_S5` cannot be evaluated.
    Aml(carapace_aml::Error),
    /// `\_S5` is no package of two small numbers.
    BadPackage,
    /// The register cannot be reached.
    Register(RegisterError),
    /// All was done as the firmware says, and nothing happened.
    StillHere,
}

impl fmt::Display for SleepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SleepError::NoAcpi => f.write_str("ACPI is not there"),
            SleepError::Aml(error) => error.fmt(f),
            SleepError::BadPackage => f.write_str("\\_S5 does not tell the sleep type"),
            SleepError::Register(error) => error.fmt(f),
            SleepError::StillHere => f.write_str("the machine did not go"),
        }
    }
}

/// Turns the machine off (soft-off, S5). Returns only if that fails.
///
/// # Errors
///
/// Why it is still on; interrupts are as they were.
pub fn power_off() -> Result<Infallible, SleepError> {
    super::with(|acpi| {
        let package = acpi.namespace.evaluate("\\_S5", &[]).map_err(SleepError::Aml)?;
        let package = package.as_package().ok_or(SleepError::BadPackage)?;
        let kind = |at: usize| package.get(at).and_then(Value::as_integer).filter(|&kind| kind < 8);
        let kinds = [kind(0).ok_or(SleepError::BadPackage)?, kind(1).unwrap_or(0)];
        // Firmware that wants to prepare says how; if it fails, off is still better than on.
        if acpi.namespace.exists("\\_PTS")
            && let Err(error) = acpi.namespace.evaluate("\\_PTS", &[Value::Integer(S5)])
        {
            warn!("{error}");
        }
        crate::log::drain();
        interrupts::without(|| {
            for (control, kind) in acpi.fadt.pm1_control.iter().zip(kinds) {
                let Some(control) = control else { continue };
                let rest = control.read(Width::Bits16).map_err(SleepError::Register)? & !(SLP_TYP | SLP_EN);
                let value = rest | kind << SLP_TYP_SHIFT | SLP_EN;
                control.write(Width::Bits16, value).map_err(SleepError::Register)?;
            }
            time::stall(POWER_OFF_TIMEOUT);
            Err(SleepError::StillHere)
        })
    })
    .unwrap_or(Err(SleepError::NoAcpi))
}

/// Starts the machine again: by the FADT's reset register, else by the keyboard controller. Returns only
/// if both fail.
///
/// # Errors
///
/// [`SleepError::StillHere`].
pub fn restart() -> Result<Infallible, SleepError> {
    crate::log::drain();
    interrupts::without(|| {
        if let Some(Command { register, value }) = super::with(|acpi| acpi.fadt.reset).flatten() {
            if let Err(error) = register.write(Width::Bits8, value.into()) {
                warn!("{error}");
            }
            time::stall(POWER_OFF_TIMEOUT);
        }
        KEYBOARD_CONTROLLER.write8(0, PULSE_RESET);
        time::stall(POWER_OFF_TIMEOUT);
        Err(SleepError::StillHere)
    })
}
