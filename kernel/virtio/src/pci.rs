//! The capabilities of a modern virtio device on PCI (virtio 1.3, section 4.1.4): where in its BARs the registers lie.

/// PCI vendor of virtio devices.
pub const VENDOR: u16 = 0x1af4;
/// The PCI device id of the modern virtio device `id`.
pub const fn pci_device(id: u16) -> u16 {
    0x1040u16.wrapping_add(id)
}

/// A place in a BAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The BAR, below 6.
    pub bar: u8,
    /// The offset in it.
    pub offset: u32,
    /// The bytes there.
    pub length: u32,
}

/// What a driver needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Common configuration.
    pub common: Place,
    /// Notifications.
    pub notify: Place,
    /// Bytes from one queue's notification to the next one's.
    pub notify_step: u32,
    /// The configuration of the kind of device.
    pub device: Place,
    /// The register that says why an interrupt came; reading it ends the interrupt.
    pub isr: Place,
    /// Interrupts by messages; QEMU's virtio-mem-pci has none before version 8.
    pub msix: Option<Msix>,
}

/// The MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Its register in the configuration space.
    pub register: u8,
    /// The table of vectors.
    pub table: Place,
}

/// Why a device cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A capability that every modern device has.
    Capability(&'static str),
    /// The list of capabilities does not end.
    Endless,
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Missing::Capability(name) => write!(f, "it has no capability for {name}"),
            Missing::Endless => f.write_str("its list of capabilities does not end"),
        }
    }
}

/// Walks the list of capabilities; `read` reads an aligned 32-bit register of the configuration space.
///
/// # Errors
/// See [`Missing`].
pub fn find(read: &mut dyn FnMut(u8) -> u32) -> Result<Places, Missing> {
    let (mut places, mut found) = (Places::default(), [false; 4]);
    let mut at = (read(0x34) & 0xfc) as u8;
    let mut steps = 0u32;
    while at >= 0x40 {
        steps = steps.saturating_add(1);
        if steps > 48 {
            return Err(Missing::Endless);
        }
        let head = read(at);
        let mut word = |offset: u8| at.checked_add(offset).map_or(0, &mut *read);
        match head as u8 {
            0x09 => {
                let kind = (head >> 24) as u8;
                let place = Place { bar: word(4) as u8, offset: word(8), length: word(12) };
                // The first one of a kind counts; a reserved BAR is to be ignored.
                let (slot, index) = match kind {
                    1 => (&mut places.common, 0),
                    2 => (&mut places.notify, 1),
                    3 => (&mut places.isr, 3),
                    4 => (&mut places.device, 2),
                    _ => {
                        at = (head >> 8) as u8 & 0xfc;
                        continue;
                    }
                };
                if let Some(known) = found.get_mut(index).filter(|known| !**known && place.bar < 6) {
                    *known = true;
                    *slot = place;
                    if index == 1 {
                        places.notify_step = word(16);
                    }
                }
            }
            0x11 => {
                let table = word(4);
                let vectors = (head >> 16 & 0x7ff).saturating_add(1);
                let length = vectors.saturating_mul(16);
                let table = Place { bar: table as u8 & 7, offset: table & !7, length };
                places.msix = (table.bar < 6).then_some(Msix { register: at, table });
            }
            _ => {}
        }
        at = (head >> 8) as u8 & 0xfc;
    }
    let names = ["its common registers", "notifications", "its configuration", "interrupts"];
    match found.iter().zip(names).find(|(found, _)| !**found) {
        Some((_, name)) => Err(Missing::Capability(name)),
        None => Ok(places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Proves that QEMU's list of capabilities is understood. Fails when an offset is wrong.
    #[test]
    fn qemus_capabilities() {
        let mut space = [0u32; 64];
        let mut put = |at: usize, words: &[u32]| space[at / 4..][..words.len()].copy_from_slice(words);
        put(0x34, &[0xdc]);
        put(0xdc, &[0x0001_c811, 0x1, 0x801]);
        put(0xc8, &[0x0514_b409, 0, 0, 0, 0]);
        put(0xb4, &[0x0214_a409, 4, 0x3000, 0x1000, 4]);
        put(0xa4, &[0x0410_9409, 4, 0x2000, 0x1000]);
        put(0x94, &[0x0310_8409, 4, 0x1000, 0x1000]);
        put(0x84, &[0x0110_0009, 4, 0, 0x1000]);
        let places = find(&mut |at| space[at as usize / 4]).unwrap();
        let place = |offset| Place { bar: 4, offset, length: 0x1000 };
        assert_eq!((places.common, places.device, places.notify), (place(0), place(0x2000), place(0x3000)));
        assert_eq!((places.isr, places.notify_step), (place(0x1000), 4));
        let table = Place { bar: 1, offset: 0, length: 32 };
        assert_eq!(places.msix, Some(Msix { register: 0xdc, table }));
    }

    proptest! {
        /// Proves that any configuration space is walked to an end. Fails when a list that points into itself loops.
        #[test]
        fn any_configuration_space_ends(space in proptest::collection::vec(any::<u32>(), 64)) {
            if let Ok(places) = find(&mut |at| space[at as usize / 4]) {
                prop_assert!([places.common, places.notify, places.device].iter().all(|place| place.bar < 6));
            }
        }
    }
}
