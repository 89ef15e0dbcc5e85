//! QEMU's firmware configuration device: files that whoever started QEMU gives the guest (`-fw_cfg`).
//!
//! ```text
//!  selector port (16 bits): an item    data port (8 bits): its bytes, one a read
//!  item 0: "QEMU"   item 0x19: directory = count, then (size, item, reserved, name), big-endian
//! ```
//!
//! QEMU's docs/specs/fw_cfg. Where there is no such device the ports read as ones, and there are no files.

use super::port::{PortNumber, read8, write16};
use core::array;

const SELECTOR: PortNumber = PortNumber(0x510);
const DATA: PortNumber = PortNumber(0x511);
const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// Files that are looked at: QEMU has a few dozen.
const FILES_MAX: u32 = 1024;
/// Bytes of a name in the directory, its zero included.
const NAME: usize = 56;

fn select(item: u16) {
    write16(SELECTOR, item);
}

fn bytes<const N: usize>() -> [u8; N] {
    array::from_fn(|_| read8(DATA))
}

/// The content of the file of that name, at most `N` bytes of it, zeros behind its end; `None` where there is none.
pub fn read<const N: usize>(name: &str) -> Option<[u8; N]> {
    select(SIGNATURE);
    if bytes() != *b"QEMU" {
        return None;
    }
    select(DIRECTORY);
    let count = u32::from_be_bytes(bytes());
    let (size, item) = (0..count.min(FILES_MAX)).find_map(|_| {
        let (size, item) = (u32::from_be_bytes(bytes()), u16::from_be_bytes(bytes()));
        let _reserved: [u8; 2] = bytes();
        let found: [u8; NAME] = bytes();
        let end = found.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        (found.get(..end) == Some(name.as_bytes())).then_some((size, item))
    })?;
    select(item);
    Some(array::from_fn(|at| if at < size as usize { read8(DATA) } else { 0 }))
}
