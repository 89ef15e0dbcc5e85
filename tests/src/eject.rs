//! Removing DIMMs: `device_del`, the answers of guest and QEMU, `object_del`.
//!
//! ```text
//!  device_del dimmN --> _OST (3, 0x84) --> DEVICE_DELETED, _OST (3, 0) without a device --> object_del ramN
//!                                     `--> _OST (3, code), the DIMM stays
//! ```

use crate::guest::{Guest, LIMIT};
pub use guest::boot::Ended;
pub use guest::dimm::{BUSY, EJECTING as IN_PROGRESS};
use guest::qmp::{Eject, Ost};

impl Guest {
    /// Asks for a DIMM back and waits for the end. Proves on the way that the guest says once that it is under way,
    /// then once how it ended, and that it says success exactly when QEMU has taken the device away.
    #[track_caller]
    pub fn unplug(&mut self, number: u32) -> Ended {
        self.monitor_line(&format!("device_del dimm{number}"));
        self.unplugged(number)
    }

    /// Waits for the end of a request that was made.
    #[track_caller]
    pub fn unplugged(&mut self, number: u32) -> Ended {
        let device = format!("dimm{number}");
        let told = |status| Eject::Told(Ost { device: device.clone(), source: 3, status });
        assert_eq!(self.next_of_eject(&device), told(IN_PROGRESS));
        match self.next_of_eject(&device) {
            Eject::Deleted(gone) => {
                assert_eq!(gone, device);
                let end = Eject::Told(Ost { device: String::new(), source: 3, status: 0 });
                assert_eq!(self.next_of_eject(&device), end);
                Ended::Deleted
            }
            Eject::Told(ost) => {
                assert_eq!((&ost.device, ost.source), (&device, 3));
                assert!(ost.status != 0 && ost.status != IN_PROGRESS, "{ost:?}");
                Ended::Refused(ost.status)
            }
        }
    }

    /// Waits for the next event of an eject request; `device` is for the message where none comes.
    #[track_caller]
    pub fn next_of_eject(&mut self, device: &str) -> Eject {
        Guest::expect(self.inner().next_of_eject(device))
    }

    /// Waits for the guest's next `_OST`.
    #[track_caller]
    pub fn wait_ost(&mut self) -> Ost {
        self.monitor().wait_ost(LIMIT).expect("an _OST")
    }

    /// Takes a DIMM away that can be taken, and its memory with it.
    #[track_caller]
    pub fn take_away(&mut self, number: u32) {
        assert_eq!(self.unplug(number), Ended::Deleted, "dimm{number}");
        self.monitor_line(&format!("object_del ram{number}"));
    }
}
