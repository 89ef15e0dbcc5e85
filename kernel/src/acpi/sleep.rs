//! Power-off and restart, as the firmware's tables and AML describe them. Neighbour: the shell's commands call.

use super::register::{Access, RegisterError, Width};
use crate::arch::interrupts;
use crate::arch::port::{PortNumber, Ports};
use crate::arch::time;
use carapace_acpi::fadt::{Command, Hardware};
use carapace_aml::Value;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;
use log::warn;

/// PM1 control: the sleep type's bits, and the bit that makes it happen (ACPI 6.5, table 4.13).
const SLP_TYP_SHIFT: u32 = 10;
const SLP_TYP: u64 = 0b111 << SLP_TYP_SHIFT;
const SLP_EN: u64 = 1 << 13;
/// The sleep control register, 8 bits wide: the same (table 4.19). Sleep status: the bit that says awake, cleared by writing 1.
const CONTROL_SLP_TYP_SHIFT: u32 = 2;
const CONTROL_SLP_EN: u64 = 1 << 5;
const WAK_STS: u64 = 1 << 7;
/// Soft-off, the argument of `_PTS`.
const S5: u64 = 5;
/// How long the machine may take to power off or reset.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(1);

// SAFETY: the command port of a PC's keyboard controller, which writes to no memory; the one command that is written
// resets the machine.
const KEYBOARD_CONTROLLER: Ports = unsafe { Ports::new(PortNumber(0x64), 1) };
/// Its command that pulses the reset line.
const PULSE_RESET: u8 = 0xfe;

/// Why the machine is still on.
#[derive(Clone, Debug)]
pub enum SleepError {
    /// ACPI is not up.
    NoAcpi,
    /// `\_S5` does not exist.
    NoS5,
    /// `\_S5` cannot be evaluated.
    Aml(carapace_aml::Error),
    /// `\_S5` is not a package of two sleep types.
    BadPackage,
    /// The machine has neither PM1 nor a sleep control register.
    NoSleepControl,
    /// The register cannot be accessed.
    Register(RegisterError),
    /// All registers were written, without effect.
    NoEffect,
}

impl fmt::Display for SleepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SleepError::NoAcpi => f.write_str("ACPI is not up"),
            SleepError::NoS5 => f.write_str("the firmware has no \\_S5"),
            SleepError::Aml(error) => error.fmt(f),
            SleepError::BadPackage => f.write_str("\\_S5 does not contain the sleep type"),
            SleepError::NoSleepControl => f.write_str("the machine has no sleep control register"),
            SleepError::Register(error) => error.fmt(f),
            SleepError::NoEffect => f.write_str("power-off or reset had no effect"),
        }
    }
}

/// Powers the machine off (soft-off, S5). Returns only if that fails.
///
/// # Errors
///
/// Why it is still on; interrupts are as they were.
pub fn power_off() -> Result<Infallible, SleepError> {
    super::with(|acpi| {
        let s5 = acpi.namespace.find("\\_S5").ok_or(SleepError::NoS5)?;
        let package = acpi.namespace.evaluate(s5, &[]).map_err(SleepError::Aml)?;
        let package = package.as_package().ok_or(SleepError::BadPackage)?;
        let kind = |at: usize| package.get(at).and_then(Value::as_integer).filter(|&kind| kind < 8);
        let kinds = [kind(0).ok_or(SleepError::BadPackage)?, kind(1).unwrap_or(0)];
        // "Prepare to sleep"; if it fails, power off nevertheless.
        if let Some(pts) = acpi.namespace.find("\\_PTS")
            && let Err(error) = acpi.namespace.evaluate(pts, &[Value::Integer(S5)])
        {
            warn!("{error}");
        }
        crate::log::drain();
        interrupts::without(|| {
            if acpi.fadt.hardware == Hardware::Reduced {
                let control = acpi.fadt.sleep_control.ok_or(SleepError::NoSleepControl)?;
                if let Some(status) = acpi.fadt.sleep_status {
                    status.write(Width::Bits8, WAK_STS).map_err(SleepError::Register)?;
                }
                let value = kinds[0] << CONTROL_SLP_TYP_SHIFT | CONTROL_SLP_EN;
                control.write(Width::Bits8, value).map_err(SleepError::Register)?;
            }
            for (control, kind) in acpi.fadt.pm1_control.iter().zip(kinds) {
                let Some(control) = control else { continue };
                let rest = control.read(Width::Bits16).map_err(SleepError::Register)? & !(SLP_TYP | SLP_EN);
                let value = rest | kind << SLP_TYP_SHIFT | SLP_EN;
                control.write(Width::Bits16, value).map_err(SleepError::Register)?;
            }
            time::stall(POWER_OFF_TIMEOUT);
            Err(SleepError::NoEffect)
        })
    })
    .unwrap_or(Err(SleepError::NoAcpi))
}

/// Resets the machine: by the FADT's reset register, else by the keyboard controller. Returns only if both fail.
///
/// # Errors
///
/// [`SleepError::NoEffect`].
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
        Err(SleepError::NoEffect)
    })
}
