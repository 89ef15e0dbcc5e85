//! How to wait for another CPU.

/// Waits a moment for another CPU, which is at work and waits for nothing that this CPU has.
#[inline]
pub(crate) fn spin() {
    core::hint::spin_loop();
}
