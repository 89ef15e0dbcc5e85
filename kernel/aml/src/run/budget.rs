//! The budget of an evaluation: steps, milliseconds of sleep, native depth.
//!
//! ```text
//!  Limits --BudgetShare--> steps -> a term takes 1, an operation on bytes 1 for each 16
//!                          sleep -> Sleep, Stall, Acquire and Wait
//!                          depth -> each level of native recursion, given back
//! ```
//!
//! Invariants: a term that needs more than is left takes nothing and ends with an error. After an exhausted budget the
//! next evaluation gets half of it, so that a broken method cannot take all of the time. Neighbours: every file that
//! executes terms.

use super::Run;
use crate::error::{Error, ErrorKind};

/// The smallest budget to continue with.
const MIN_STEPS: u32 = 256;

/// The part of steps and sleep that an evaluation gets, in 256ths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetShare(u16);

impl BudgetShare {
    const WHOLE: u16 = 256;
    const LEAST: u16 = 16;

    pub(crate) const fn new() -> Self {
        Self(Self::WHOLE)
    }

    /// This part of `whole`.
    pub(super) fn of(self, whole: u32) -> u32 {
        let part = u64::from(whole).saturating_mul(self.0.into()).checked_div(Self::WHOLE.into());
        part.and_then(|part| u32::try_from(part).ok()).unwrap_or(whole)
    }

    /// Adjusts the part after an evaluation: halves it if the budget was exhausted, else restores a little.
    pub(crate) fn update(&mut self, result: Result<(), &ErrorKind>) {
        self.0 = match result {
            Err(ErrorKind::TooManySteps | ErrorKind::TooMuchSleep) => (self.0 / 2).max(Self::LEAST),
            _ => self.0.saturating_add(1).min(Self::WHOLE),
        };
    }
}

impl Run<'_> {
    /// Takes `count` steps from the budget.
    pub(crate) fn step(&mut self, count: usize) -> Result<(), Error> {
        let left = u32::try_from(count).ok().and_then(|count| self.steps.checked_sub(count));
        self.steps = left.ok_or_else(Error::too_many_steps)?;
        Ok(())
    }

    /// Takes the step of a term that contains no other; false if the budget or the depth does not allow one.
    #[inline]
    pub(crate) fn leaf(&mut self) -> bool {
        match self.steps.checked_sub(1) {
            Some(left) if self.depth > 0 => {
                self.steps = left;
                true
            }
            _ => false,
        }
    }

    /// Adds steps to the budget.
    pub(crate) fn add_steps(&mut self, count: usize) {
        self.steps = self.steps.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Reserves half of the budget.
    pub(crate) fn reserve_steps(&mut self) {
        self.reserve = self.steps / 2;
        self.steps = self.steps.saturating_sub(self.reserve);
    }

    /// Makes half of the reserve the budget.
    ///
    /// # Errors
    /// That is too little to continue with.
    pub(crate) fn release_reserve(&mut self) -> Result<(), Error> {
        self.steps = self.reserve / 2;
        self.reserve = self.reserve.saturating_sub(self.steps);
        if self.steps < MIN_STEPS { Err(ErrorKind::TooManySteps.into()) } else { Ok(()) }
    }

    /// Takes the steps for an operation on `bytes` bytes.
    pub(crate) fn step_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.step((bytes / 16).saturating_add(1))
    }

    pub(crate) fn spend_sleep(&mut self, milliseconds: u32) -> Result<(), Error> {
        self.sleep_ms = self.sleep_ms.checked_sub(milliseconds).ok_or(ErrorKind::TooMuchSleep)?;
        Ok(())
    }

    /// Runs `inner` one level deeper.
    pub(crate) fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| Error::from(ErrorKind::TooDeep))?;
        let result = inner(self);
        // It was just taken, and each level gives back its own.
        self.depth = self.depth.wrapping_add(1);
        result
    }
}
