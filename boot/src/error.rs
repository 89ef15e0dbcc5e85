//! The shim's errors: their messages and QEMU's exit status.

use crate::command_line::CommandLineError;
use crate::kernel_file::KernelError;
use crate::memory_map::MapError;
use crate::placement::PlacementError;
use crate::start_info::StartInfoError;
use core::fmt;

/// Why the kernel could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootError {
    /// The loader passed no module.
    NoKernel,
    /// The module is not a loadable kernel.
    Kernel(KernelError),
    /// Not enough contiguous memory for `what`.
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// The requested bytes.
        bytes: u64,
    },
    /// The PVH loader's structure is invalid.
    StartInfo(StartInfoError),
    /// The command line is invalid.
    CommandLine(CommandLineError),
    /// The memory map is invalid.
    Map(MapError),
    /// The kernel requests impossible virtual addresses.
    Placement(PlacementError),
    /// Two mappings overlap at a virtual address.
    MappedTwice {
        /// The mapping.
        what: &'static str,
        /// The virtual address.
        at: u64,
    },
}

impl BootError {
    /// QEMU's exit status by isa-debug-exit: always odd, never 33 (the kernel's own).
    pub const fn status(&self) -> u8 {
        match self {
            BootError::NoKernel => 35,
            BootError::Kernel(_) => 37,
            // The 32-bit entry code uses 39 (missing CPU feature) and 45 (too many restarts).
            BootError::OutOfMemory { .. } => 41,
            BootError::StartInfo(_)
            | BootError::CommandLine(_)
            | BootError::Map(_)
            | BootError::Placement(_)
            | BootError::MappedTwice { .. } => 43,
        }
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::NoKernel => write!(f, "no kernel: give its ELF file to QEMU with -initrd"),
            BootError::Kernel(error) => write!(f, "the file given with -initrd is no usable kernel: {error}"),
            BootError::OutOfMemory { what, bytes } => {
                write!(
                    f,
                    "not enough memory: no {bytes} bytes in a row below 4 GiB for {what}; give QEMU a larger -m"
                )
            }
            BootError::StartInfo(error) => write!(f, "bad PVH start info: {error}"),
            BootError::CommandLine(error) => write!(f, "the command line (-append): {error}"),
            BootError::Map(error) => write!(f, "bad memory map: {error}"),
            BootError::Placement(error) => write!(f, "the kernel's bootloader configuration: {error}"),
            BootError::MappedTwice { what, at } => {
                write!(f, "the kernel's bootloader configuration: {what} meets another mapping at {at:#x}")
            }
        }
    }
}

impl From<KernelError> for BootError {
    fn from(error: KernelError) -> Self {
        BootError::Kernel(error)
    }
}

impl From<StartInfoError> for BootError {
    fn from(error: StartInfoError) -> Self {
        BootError::StartInfo(error)
    }
}

impl From<CommandLineError> for BootError {
    fn from(error: CommandLineError) -> Self {
        BootError::CommandLine(error)
    }
}

impl From<MapError> for BootError {
    fn from(error: MapError) -> Self {
        BootError::Map(error)
    }
}

impl From<PlacementError> for BootError {
    fn from(error: PlacementError) -> Self {
        BootError::Placement(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::PhysRange;

    /// Proves that each error has its documented exit status and a message. Fails when a status changes.
    #[test]
    fn statuses() {
        let range = PhysRange::new(0x1000, 0x2000);
        let errors = [
            (BootError::NoKernel, 35),
            (KernelError::NotElf.into(), 37),
            (BootError::OutOfMemory { what: "it", bytes: 4096 }, 41),
            (StartInfoError::ModuleNotInRam(range).into(), 43),
            (MapError::Empty.into(), 43),
            (PlacementError::Full { what: "it" }.into(), 43),
            (BootError::MappedTwice { what: "it", at: 0x1000 }, 43),
        ];
        for (error, status) in errors {
            assert_eq!(error.status(), status, "{error}");
            assert!(error.to_string().len() > 20, "{error}");
        }
    }
}
