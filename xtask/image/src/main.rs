//! Puts the kernel's ELF file on a disk image, behind a loader of crate `bootloader`.
//!
//! ```text
//!  uefi   GPT | EFI system partition (FAT): efi/boot/bootx64.efi, kernel-x86_64
//!  bios   MBR with the boot sector | second stage | FAT: third and fourth stage, kernel-x86_64
//! ```
//!
//! `cargo xtask image` builds this with the chosen loader, and calls it. The kernel is the file that the PVH shim loads
//! too: its section `.bootloader-config` has its requirements for the loader.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bootloader::DiskImageBuilder;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let (Some(firmware), Some(kernel), Some(image), None) =
        (words.next(), words.next().map(PathBuf::from), words.next().map(PathBuf::from), words.next())
    else {
        bail!("three words are wanted: uefi or bios, the kernel's file, the image's file");
    };
    let builder = DiskImageBuilder::new(kernel.clone());
    let made = match firmware.to_str() {
        #[cfg(feature = "uefi")]
        Some("uefi") => builder.create_uefi_image(&image),
        #[cfg(feature = "bios")]
        Some("bios") => builder.create_bios_image(&image),
        _ => bail!("this program was built without a loader for {}", firmware.display()),
    };
    made.with_context(|| format!("{} with {}", image.display(), kernel.display()))
}
