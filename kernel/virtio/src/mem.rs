//! The device's configuration, requests and responses as bytes (virtio 1.3, section 5.15).

use core::fmt;

/// The virtio device id of a memory device.
pub const DEVICE_ID: u16 = 24;
/// Feature: the device's node is a proximity domain of ACPI.
pub const ACPI_PXM: u64 = 1 << 0;
/// Feature: the driver never accesses unplugged memory.
pub const UNPLUGGED_INACCESSIBLE: u64 = 1 << 1;
/// Feature: the device follows version 1 of the standard.
pub const VERSION_1: u64 = 1 << 32;
/// Bytes of the configuration.
pub const CONFIG_BYTES: usize = 56;
/// Bytes of a request.
pub const REQUEST_BYTES: usize = 24;
/// Bytes of a response.
pub const RESPONSE_BYTES: usize = 10;

/// A range of bytes of guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first byte.
    pub base: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// The configuration, as the device says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a block.
    pub block: u64,
    /// The node; meaningful with [`ACPI_PXM`].
    pub node: u16,
    /// The first byte of the region.
    pub base: u64,
    /// Bytes of the region.
    pub region: u64,
    /// Bytes of the region that may be plugged now.
    pub usable: u64,
    /// Bytes that are plugged.
    pub plugged: u64,
    /// Bytes that should be plugged.
    pub requested: u64,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadConfig {
    /// The block size is no power of two of at least a page.
    Block(u64),
    /// The region is empty, wraps, or is not made of blocks.
    Region(Run),
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadConfig::Block(bytes) => {
                write!(f, "a block of {bytes:#x} bytes is no power of two of at least 4 KiB")
            }
            BadConfig::Region(run) => {
                write!(
                    f,
                    "the region at {:#x} of {:#x} bytes does not consist of blocks",
                    run.base, run.bytes
                )
            }
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u16::from_le_bytes(*word))
}

impl Config {
    /// Decodes the configuration.
    pub fn decode(bytes: &[u8; CONFIG_BYTES]) -> Config {
        Config {
            block: u64_at(bytes, 0),
            node: u16_at(bytes, 8),
            base: u64_at(bytes, 16),
            region: u64_at(bytes, 24),
            usable: u64_at(bytes, 32),
            plugged: u64_at(bytes, 40),
            requested: u64_at(bytes, 48),
        }
    }

    /// Checks what a driver relies on for good: block size and region.
    ///
    /// # Errors
    /// See [`BadConfig`].
    pub fn check(&self) -> Result<(), BadConfig> {
        if !self.block.is_power_of_two() || self.block < 4096 {
            return Err(BadConfig::Block(self.block));
        }
        let blocks = |bytes: u64| bytes.is_multiple_of(self.block);
        let ends = self.base.checked_add(self.region).is_some();
        if self.region == 0 || !ends || !blocks(self.base) || !blocks(self.region) {
            return Err(BadConfig::Region(Run { base: self.base, bytes: self.region }));
        }
        Ok(())
    }

    /// The end of the memory that may be plugged now.
    pub fn limit(&self) -> u64 {
        self.base.saturating_add(self.usable.min(self.region))
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Plug blocks.
    Plug(Run),
    /// Unplug blocks.
    Unplug(Run),
    /// Unplug all blocks.
    UnplugAll,
}

impl Request {
    /// The bytes that one request can cover: its number of blocks has 16 bits.
    pub fn most_bytes(block: u64) -> u64 {
        block.saturating_mul(u16::MAX.into())
    }

    /// Encodes the request. A run that is too long is cut at 65535 blocks: see [`Request::most_bytes`].
    pub fn encode(&self, block: u64) -> [u8; REQUEST_BYTES] {
        let (kind, run): (u16, _) = match *self {
            Request::Plug(run) => (0, run),
            Request::Unplug(run) => (1, run),
            Request::UnplugAll => (2, Run { base: 0, bytes: 0 }),
        };
        let blocks = run.bytes.checked_div(block).unwrap_or(0).min(u16::MAX.into()) as u16;
        let mut bytes = [0; REQUEST_BYTES];
        let fields = [(0, kind.to_le_bytes()), (16, blocks.to_le_bytes())];
        for (at, field) in fields {
            if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = field;
            }
        }
        if let Some(place) = bytes.get_mut(8..).and_then(|rest| rest.first_chunk_mut()) {
            *place = run.base.to_le_bytes();
        }
        bytes
    }
}

/// What the device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Done.
    Ack,
    /// Not now: the requested size forbids it.
    Nack,
    /// Try again later.
    Busy,
    /// The request was wrong.
    Error,
    /// No response of the standard: its type, or a response that is too short or too long, or a broken queue.
    Garbage,
}

impl Response {
    /// Decodes a response.
    pub fn decode(bytes: &[u8; RESPONSE_BYTES]) -> Response {
        match u16_at(bytes, 0) {
            0 => Response::Ack,
            1 => Response::Nack,
            2 => Response::Busy,
            3 => Response::Error,
            _ => Response::Garbage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the bytes of configuration, requests and responses against the standard's layout. Fails when a field is
    /// at another offset.
    #[test]
    fn bytes_as_in_the_standard() {
        let bytes: [u8; CONFIG_BYTES] = core::array::from_fn(|at| at as u8);
        let word = |at: u64| (0..8).fold(0, |word, n| word | (at + n) << (8 * n));
        let config = Config::decode(&bytes);
        assert_eq!((config.block, config.node, config.base), (word(0), 0x0908, word(16)));
        assert_eq!((config.region, config.usable), (word(24), word(32)));
        assert_eq!((config.plugged, config.requested), (word(40), word(48)));
        let run = Run { base: 0x1_4000_0000, bytes: 512 << 21 };
        let unplug = Request::Unplug(run).encode(2 << 20);
        let mut expected = [0; REQUEST_BYTES];
        (expected[0], expected[11], expected[12], expected[17]) = (1, 0x40, 1, 2);
        assert_eq!(unplug, expected);
        for (kind, response) in
            [Response::Ack, Response::Nack, Response::Busy, Response::Error, Response::Garbage]
                .iter()
                .enumerate()
        {
            assert_eq!(Response::decode(&[kind as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0]), *response);
        }
    }

    /// Proves that configurations that would make arithmetic wrong are refused. Fails when a check is missing.
    #[test]
    fn bad_configurations_are_refused() {
        let good = Config { block: 2 << 20, base: 4 << 30, region: 1 << 30, ..Config::default() };
        assert_eq!(good.check(), Ok(()));
        for block in [0, 1, 2048, 3 << 20, u64::MAX] {
            assert_eq!(Config { block, ..good }.check(), Err(BadConfig::Block(block)));
        }
        for (base, region) in [(4 << 30, 0), (1, 1 << 30), (u64::MAX - (2 << 20) + 1, 4 << 20), (0, 1)] {
            assert!(Config { base, region, ..good }.check().is_err(), "{base:#x} {region:#x}");
        }
    }
}
