//! `_OSC` of `\_SB` (ACPI 6.5, section 6.2.11): what the kernel tells the firmware about itself, and the answer.
//!
//! ```text
//!  argument 3 and result, a buffer of two words:  status: bits of errors (0 in the call) | capabilities
//! ```
//!
//! Some firmware sends no hotplug event before the kernel has said that it answers by `_OST`. Neighbours: the kernel's
//! `acpi` evaluates the method before it listens to events.

use crate::bytes::u32_at;
use core::fmt;

/// The UUID of platform-wide capabilities, 0811B06E-4A27-44F9-8D60-3CBBC22E7B48, in the byte order of a buffer.
pub const UUID: [u8; 16] =
    [0x6e, 0xb0, 0x11, 0x08, 0x27, 0x4a, 0xf9, 0x44, 0x8d, 0x60, 0x3c, 0xbb, 0xc2, 0x2e, 0x7b, 0x48];
/// The revision of the interface.
pub const REVISION: u64 = 1;
/// The words of the buffer.
pub const WORDS: u64 = 2;

/// "Insertion / Ejection `_OST` Processing Support" (ACPI 6.5, table 6.13; Linux: `OSC_SB_HOTPLUG_OST_SUPPORT`). The kernel
/// says nothing else: it has none of the other capabilities.
const HOTPLUG_OST: u32 = 1 << 3;

/// Bits of the status. Bit 4, some capabilities are masked, is seen in the capabilities themselves.
const FAILED: u32 = 1 << 1;
const UNKNOWN_UUID: u32 = 1 << 2;
const UNKNOWN_REVISION: u32 = 1 << 3;

/// The buffer of the call.
pub fn request() -> [u8; 8] {
    let mut buffer = [0; 8];
    let capabilities = HOTPLUG_OST.to_le_bytes();
    buffer.iter_mut().skip(4).zip(capabilities).for_each(|(to, from)| *to = from);
    buffer
}

/// The firmware's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It expects `_OST` after hotplug events.
    Accepted,
    /// It has no use for `_OST`; events may come all the same.
    Masked,
    /// It knows no platform-wide capabilities: another UUID or revision.
    Unknown,
    /// It failed.
    Failed,
    /// The buffer is too short.
    Malformed,
}

impl Answer {
    /// Reads the buffer that the method returned.
    pub fn read(buffer: &[u8]) -> Answer {
        match (u32_at(buffer, 0), u32_at(buffer, 4)) {
            (Some(status), _) if status & (UNKNOWN_UUID | UNKNOWN_REVISION) != 0 => Answer::Unknown,
            (Some(status), _) if status & FAILED != 0 => Answer::Failed,
            (Some(_), Some(capabilities)) if capabilities & HOTPLUG_OST != 0 => Answer::Accepted,
            (Some(_), Some(_)) => Answer::Masked,
            _ => Answer::Malformed,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Accepted => "the firmware expects _OST after hotplug events",
            Answer::Masked => "the firmware does not expect _OST after hotplug events",
            Answer::Unknown => "the firmware knows no platform-wide capabilities",
            Answer::Failed => "the firmware's method failed",
            Answer::Malformed => "the firmware's answer is too short",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    // Proves that the UUID has the byte order of ASL's ToUUID (ACPI 6.5, section 19.6.142): three fields little-endian, two
    // as written.
    #[test]
    fn the_uuid_is_that_of_the_specification() {
        let text = "0811B06E-4A27-44F9-8D60-3CBBC22E7B48".replace('-', "");
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let bytes: String = (0..16)
            .map(|at| std::format!("{:02X}", UUID[order.iter().position(|&from| from == at).unwrap()]))
            .collect();
        assert_eq!(bytes, text);
    }

    // Proves that each bit of the answer is read for what it says, and an error before the capabilities. Fails when a
    // masked or an unknown capability is taken for an accepted one.
    #[test]
    fn answers() {
        assert_eq!(request(), [0, 0, 0, 0, 8, 0, 0, 0]);
        for (status, capabilities, answer) in [
            (0, 8, Answer::Accepted),
            (0x10, 0xff, Answer::Accepted),
            (0x10, 0xf7, Answer::Masked),
            (2, 8, Answer::Failed),
            (4, 8, Answer::Unknown),
            (8, 8, Answer::Unknown),
            (6, 8, Answer::Unknown),
        ] {
            assert_eq!(Answer::read(&[status, 0, 0, 0, capabilities, 0, 0, 0]), answer);
        }
        for length in 0..8 {
            assert_eq!(Answer::read(&request()[..length]), Answer::Malformed);
        }
        assert!(Answer::Malformed.to_string().contains("short"));
    }
}
