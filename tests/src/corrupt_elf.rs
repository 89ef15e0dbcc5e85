//! Corrupt kernels, made from the real one, that the boot shim must refuse.

use elf::endian::LittleEndian;
use elf::{ElfBytes, abi};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a program header.
const HEADER: usize = 56;

/// The fault of a corrupt kernel.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Its code may be written.
    WritableCode,
    /// Its last segment takes this many bytes more of memory.
    Larger(u64),
    /// Its first instruction is an invalid one.
    FaultsAtOnce,
}

/// Writes a copy of the kernel at `file` with `fault` to `directory`.
#[track_caller]
pub fn kernel(file: &str, fault: Fault, directory: &Path) -> PathBuf {
    let mut bytes = fs::read(file).expect("the kernel was built");
    let (at, change) = {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&bytes).expect("the kernel is an ELF file");
        let headers = elf.segments().expect("the kernel has segments");
        let first = elf.ehdr.e_phoff as usize;
        let loads = headers.iter().enumerate().filter(|(_, header)| header.p_type == abi::PT_LOAD);
        let loads: Vec<_> = loads.collect();
        let code = loads.iter().find(|(_, header)| header.p_flags & abi::PF_X != 0).expect("there is code");
        match fault {
            Fault::WritableCode => {
                let all = abi::PF_R | abi::PF_W | abi::PF_X;
                (first + code.0 * HEADER + 4, all.to_le_bytes().to_vec())
            }
            Fault::Larger(more) => {
                let (index, header) = loads.last().expect("there are segments");
                (first + index * HEADER + 40, (header.p_memsz + more).to_le_bytes().to_vec())
            }
            Fault::FaultsAtOnce => {
                let offset = elf.ehdr.e_entry - code.1.p_vaddr + code.1.p_offset;
                (offset as usize, vec![0x0f, 0x0b]) // ud2
            }
        }
    };
    bytes[at..at + change.len()].copy_from_slice(&change);
    let spoilt = directory.join("kernel");
    fs::write(&spoilt, bytes).expect("the directory is writable");
    spoilt
}
