//! General-purpose events (ACPI 6.5, section 4.8.4.1): the register and bit of each event.
//!
//! ```text
//!  block of 2n bytes:   status 0 .. status n-1 | enable 0 .. enable n-1      8 events a byte
//! ```

/// The number of possible events, in all blocks together.
pub const EVENTS: usize = 256;

/// The number of a general-purpose event: the two hex digits of its `_Exx` or `_Lxx` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gpe(pub u8);

/// A block of events. Register offsets are in bytes from its first status register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpeBlock {
    /// The first event's number.
    pub base: u8,
    /// The number of status registers, which is also that of enable registers: 1 to 32.
    pub registers: u8,
}

impl GpeBlock {
    /// The block whose first event is `base`, with `bytes` bytes of registers (half of them status registers); `None` if
    /// it has no register. Registers of events above 255 are dropped: no method can have their number.
    pub fn new(base: u16, bytes: u8) -> Option<GpeBlock> {
        let base = u8::try_from(base).ok()?;
        let further = u8::MAX.saturating_sub(base) / 8;
        let registers = (bytes / 2).min(further.saturating_add(1));
        (registers > 0).then_some(GpeBlock { base, registers })
    }

    /// The register of event `gpe` (counted from the block's first) and the bit in it; `None` outside the block.
    pub fn locate(&self, gpe: Gpe) -> Option<(u8, u8)> {
        let index = gpe.0.checked_sub(self.base)?;
        let register = index / 8;
        (register < self.registers).then_some((register, 1 << (index % 8)))
    }

    /// The events whose bits are set in register `register`, lowest first.
    pub fn events(&self, register: u8, bits: u8) -> impl Iterator<Item = Gpe> + use<> {
        let base = u16::from(self.base).saturating_add(u16::from(register).saturating_mul(8));
        (0..8u16)
            .filter(move |bit| bits >> bit & 1 == 1)
            .filter_map(move |bit| u8::try_from(base.saturating_add(bit)).ok())
            .map(Gpe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    // Proves the location of q35's memory event (16 bytes, event 3) and of pc's last one (4 bytes, 15), and that an event
    // outside the block has none. Fails when the wrong bit would be enabled.
    #[test]
    fn events_are_located() {
        let q35 = GpeBlock::new(0, 16).unwrap();
        assert_eq!(q35.locate(Gpe(3)), Some((0, 0b1000)));
        assert_eq!(q35.locate(Gpe(63)), Some((7, 0x80)));
        assert_eq!(q35.locate(Gpe(64)), None);
        let pc = GpeBlock::new(0, 4).unwrap();
        assert_eq!(pc.locate(Gpe(15)), Some((1, 0x80)));
        assert_eq!(pc.locate(Gpe(16)), None);
        let second = GpeBlock::new(0x20, 4).unwrap();
        assert_eq!(second.locate(Gpe(0x1f)), None);
        assert_eq!(second.locate(Gpe(0x29)), Some((1, 0b10)));
    }

    // Proves that `events` is the inverse of `locate` for every event of every possible block, that no block extends
    // beyond event 255, and that lengths 0 and 1 (no enable register) make no block.
    #[test]
    fn events_is_the_inverse_of_locate() {
        for base in 0..=255u16 {
            assert_eq!(GpeBlock::new(base, 0), None);
            assert_eq!(GpeBlock::new(base, 1), None);
            for bytes in 2..=255 {
                let block = GpeBlock::new(base, bytes).unwrap();
                for event in 0..=255 {
                    let Some((register, bit)) = block.locate(Gpe(event)) else { continue };
                    assert_eq!(block.events(register, bit).collect::<Vec<_>>(), [Gpe(event)]);
                }
                let all: usize = (0..block.registers).map(|r| block.events(r, 0xff).count()).sum();
                assert_eq!(all, (usize::from(bytes / 2) * 8).min(256 - usize::from(base)));
            }
        }
        assert_eq!(GpeBlock::new(256, 16), None);
        // The kernel does not write the registers beyond event 255.
        assert_eq!(GpeBlock::new(0xf0, 255).unwrap().registers, 2);
    }
}
