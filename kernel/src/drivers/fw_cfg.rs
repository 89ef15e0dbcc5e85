//! QEMU's firmware configuration device: files from QEMU's command line (`-fw_cfg`).
//!
//! ```text
//!  selector port (16 bits): an item    data port (8 bits): its bytes, one a read
//!  item 0: "QEMU"   item 0x19: directory = count, then (size, item, reserved, name), big-endian
//! ```
//!
//! QEMU's docs/specs/fw_cfg. On other machines the ports are not accessed, and there are no files.

use super::qemu::{self, Machine};
use crate::arch::port::{PortNumber, Ports, Width};
use core::array;

// SAFETY: they are used in QEMU only, where they are fw_cfg's selector and data, from which bytes are read one by one. The
// DMA registers, with which it writes to memory, start at 0x514.
const FW_CFG: Ports = unsafe { Ports::new(PortNumber(0x510), 2) };
/// The number of its ports, DMA registers included. Only compared, never accessed.
const REGISTERS: core::ops::Range<u64> = 0x510..0x51c;
const SELECTOR: u16 = 0;
const DATA: u16 = 1;
const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// The most files searched: QEMU has a few dozen.
const FILES_MAX: u32 = 1024;
/// The size of a name in the directory, its zero included.
const NAME: usize = 56;

/// Whether an access of `bytes` at `port` touches the device. AML may not access it, because its DMA registers write to
/// memory.
pub fn owns(port: PortNumber, bytes: u64) -> bool {
    let start = u64::from(port.0);
    qemu::machine() == Machine::Qemu && start < REGISTERS.end && start + bytes > REGISTERS.start
}

fn select(item: u16) {
    FW_CFG.write(SELECTOR, Width::Word, item.into());
}

fn bytes<const N: usize>() -> [u8; N] {
    array::from_fn(|_| FW_CFG.read8(DATA))
}

/// The content of the file with this name, truncated or padded with zeros to `N` bytes. `None` if there is no such file.
pub fn read<const N: usize>(name: &str) -> Option<[u8; N]> {
    if qemu::machine() != Machine::Qemu {
        return None;
    }
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
    Some(array::from_fn(|at| if at < size as usize { FW_CFG.read8(DATA) } else { 0 }))
}
