//! `cargo xtask image`: the kernel's ELF file on a disk that UEFI or a BIOS boots.
//!
//! Package `image`, outside of the workspace, does it with crate `bootloader`, whose loaders are built from source
//! along with it: that needs the source of Rust's library, the switch that lets a stable compiler build it (as for
//! `build`, for this one command), and for a BIOS LLVM's `objcopy`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest::qemu::Start;

use crate::build::{self, KERNEL, Profile};
use crate::cli::{Firmware, ImageArgs};
use crate::setup::{self, Installing, Need};
use crate::toolchain::{Origin, Toolchain, system_command};
use crate::workspace::Workspace;

/// Makes the image that was asked for, and says where it is and what to do with it.
pub fn image(workspace: &Workspace, args: &ImageArgs, installing: Installing) -> Result<()> {
    setup::ensure(workspace, &[Need::BareMetal], installing)?;
    build::bare_metal(workspace, &setup::bare_metal_toolchain(workspace)?, Profile::Release)?;
    let path = match &args.out {
        Some(path) => std::path::absolute(path)?,
        None => place(workspace, args.firmware),
    };
    make(workspace, args.firmware, &path, installing)?;
    println!("{}", path.display());
    eprintln!(
        "`cargo xtask run --image {}` boots it in QEMU; as the whole of a disk or stick it boots a machine.\n\
         The shell is on the first serial port (COM1, 115200 baud).",
        args.firmware.name()
    );
    Ok(())
}

/// A guest's disk with the kernel that was built last, made anew if need be.
pub fn disk(workspace: &Workspace, firmware: Firmware, installing: Installing) -> Result<Start> {
    let file = match firmware {
        Firmware::Uefi => {
            setup::ensure(workspace, &[Need::Ovmf], installing)?;
            Some(setup::ovmf()?)
        }
        Firmware::Bios => None,
    };
    let image = place(workspace, firmware);
    make(workspace, firmware, &image, installing)?;
    Ok(Start::Disk { image, firmware: file })
}

/// Where the image for this firmware lies by default.
fn place(workspace: &Workspace, firmware: Firmware) -> PathBuf {
    workspace.target.join("image").join(format!("carapace-{}.img", firmware.name()))
}

fn make(workspace: &Workspace, firmware: Firmware, path: &Path, installing: Installing) -> Result<()> {
    let needs: &[Need] = match firmware {
        Firmware::Uefi => &[Need::LibrarySource],
        Firmware::Bios => &[Need::LibrarySource, Need::LlvmTools],
    };
    setup::ensure(workspace, needs, installing)?;
    let toolchain = setup::source_toolchain(workspace)?;
    let title =
        format!("making the disk image for {}; its loader takes minutes the first time", firmware.name());
    let mut builder = builder(workspace, &toolchain, firmware);
    build::watched(&mut builder, &title).with_context(|| {
        format!("crate bootloader's loader for {} cannot be built, with {toolchain}", firmware.name())
    })?;
    let folder = path.parent().context("the image lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    // In one step: a guest may boot from the image that is there.
    let mode = Permissions::from_mode(0o666);
    let new = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    let program = output(workspace).join("debug/image");
    let mut command = Command::new(&program);
    command.arg(firmware.name()).arg(Profile::Release.binary(workspace, KERNEL)).arg(new.path());
    let status = command.status().with_context(|| format!("{}", program.display()))?;
    ensure!(status.success(), "the disk image could not be made");
    new.persist(path).with_context(|| format!("{}", path.display()))?;
    Ok(())
}

/// The target directory of package `image`.
fn output(workspace: &Workspace) -> PathBuf {
    workspace.target.join("image")
}

/// The build of package `image` with the loader for this firmware.
fn builder(workspace: &Workspace, toolchain: &Toolchain, firmware: Firmware) -> Command {
    let mut command = match toolchain.origin {
        Origin::Path => Command::new("cargo"),
        Origin::System => system_command("cargo"),
    };
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command.current_dir(&workspace.root).env("RUSTC_BOOTSTRAP", "1");
    command.args([
        "build",
        "--locked",
        "--manifest-path=xtask/image/Cargo.toml",
        "--features",
        firmware.name(),
    ]);
    command.arg("--target-dir").arg(output(workspace));
    command
}
