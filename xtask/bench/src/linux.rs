//! Linux, to measure beside: prepared from Debian's packages, booted in the very machine that our kernel has.
//!
//! ```text
//!  DIR/vmlinuz     the newest packaged kernel (memmap_on_memory=1 for whole DIMMs since 6.8)
//!  DIR/initramfs   busybox, the modules for virtio-mem, and an /init that gives a shell on the serial line
//!  DIR/packages    which packages they are from
//! ```
//!
//! So Linux has nothing else to do at boot, and its figures are its best ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest::qemu::utf8;

/// Its shell's prompt.
pub const PROMPT: &str = "linux# ";
/// What its command line says where memory has to go again: all that comes is movable.
pub const MOVABLE: &str = "memory_hotplug.memmap_on_memory=1 memhp_default_state=online_movable";
/// What its command line says in any case; after a panic QEMU ends.
const ALWAYS: &str = "console=ttyS0 quiet panic=-1";

const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
export PATH=/bin PS1='linux# '
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_mem; do
    if [ -e /modules/$module.ko ]; then insmod /modules/$module.ko; fi
done
exec setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'
";

/// A prepared Linux.
#[derive(Clone, Debug)]
pub struct Linux {
    kernel: PathBuf,
    initramfs: PathBuf,
    append: String,
    /// The package its kernel is from.
    pub package: String,
}

impl Linux {
    /// What [`prepare`] left in `directory`, with `append` on its command line.
    pub fn find(directory: &Path, append: &str) -> Result<Linux> {
        let directory = std::path::absolute(directory)?;
        let [kernel, initramfs] = ["vmlinuz", "initramfs"].map(|name| directory.join(name));
        let prepare = || format!("cargo xtask bench --prepare-linux {}", directory.display());
        ensure!(kernel.exists() && initramfs.exists(), "no Linux there yet: {}", prepare());
        let package = fs::read_to_string(directory.join("packages")).unwrap_or_default();
        let package = package.lines().next().unwrap_or("Linux").to_owned();
        Ok(Linux { kernel, initramfs, append: append.to_owned(), package })
    }

    /// The command of our own guest, with this kernel instead.
    pub fn boot_instead(&self, line: &mut Vec<String>) -> Result<()> {
        for (option, file) in [("-kernel", &self.kernel), ("-initrd", &self.initramfs)] {
            let at = line.iter().position(|word| word == option).context("the command names a kernel")?;
            line[at + 1] = file.to_str().context("a path in UTF-8")?.to_owned();
        }
        line.extend(["-append".to_owned(), format!("{ALWAYS} {}", self.append), "-no-reboot".to_owned()]);
        Ok(())
    }
}

/// Fetches Debian's newest kernel and busybox with `apt-get`, which installs nothing, and makes the initramfs.
pub fn prepare(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let names = output("apt-cache", &["pkgnames", "linux-image-"], directory)?;
    let kernel = newest(&names).context("apt knows no linux-image-...-amd64 (apt-get update?)")?;
    eprintln!("fetching {kernel} and busybox-static");
    output("apt-get", &["download", "-q", kernel, "busybox-static"], directory)?;
    let unpacked = directory.join("unpacked");
    let mut packages = vec![kernel.to_owned()];
    for file in fs::read_dir(directory)?.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == "deb") {
            let (file, to) = (utf8(&file)?, utf8(&unpacked)?);
            output("dpkg-deb", &["--extract", &file, &to], directory)?;
            fs::remove_file(&file)?;
            packages.push(file.rsplit('/').next().unwrap_or(&file).to_owned());
        }
    }
    let mut images = fs::read_dir(unpacked.join("boot"))?.flatten().map(|entry| entry.path());
    let image = images.find(|path| utf8(path).is_ok_and(|path| path.contains("vmlinuz")));
    fs::copy(image.context("the package has no kernel")?, directory.join("vmlinuz"))?;
    let busybox = fs::read(unpacked.join("bin/busybox"))?;
    let modules = modules(&unpacked.join("lib/modules"))?;
    fs::write(directory.join("initramfs"), initramfs(&busybox, &modules))?;
    fs::write(directory.join("packages"), packages.join("\n") + "\n")?;
    fs::remove_dir_all(unpacked)?;
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(directory.join("vmlinuz"), readable)?;
    println!("{kernel} is in {}", directory.display());
    Ok(())
}

/// The newest kernel for ordinary machines among names of packages; an unsigned one is as good.
fn newest(names: &str) -> Option<&str> {
    let version = |name: &str| -> Option<Vec<u64>> {
        let name = name.strip_suffix("-unsigned").unwrap_or(name).strip_suffix("-amd64")?;
        let version = name.strip_prefix("linux-image-")?.replace("+deb", ".");
        version.replace(['-', '~'], ".").split('.').map(|part| part.parse().ok()).collect()
    };
    names.lines().filter_map(|name| Some((version(name)?, name))).max().map(|(_, name)| name)
}

/// The modules that `INIT` loads, as names in the archive and bytes. One that is compressed is unpacked; one that is part of
/// the kernel is not there.
fn modules(below: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for version in fs::read_dir(below).into_iter().flatten().flatten() {
        let folder = version.path().join("kernel/drivers/virtio");
        for file in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let mut file = file;
            if file.extension().is_some_and(|extension| extension == "xz") {
                output("xz", &["--decompress", &utf8(&file)?], &folder)?;
                file.set_extension("");
            }
            if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
                found.push((format!("modules/{name}"), fs::read(&file)?));
            }
        }
    }
    Ok(found)
}

/// An archive in the form that the kernel unpacks ("newc" cpio): folders, busybox, /init.
fn initramfs(busybox: &[u8], modules: &[(String, Vec<u8>)]) -> Vec<u8> {
    const FOLDER: u32 = 0o040_755;
    const PROGRAM: u32 = 0o100_755;
    let folders = ["bin", "proc", "sys", "dev", "modules"].map(|name| (name, FOLDER, &b""[..]));
    let files = [("bin/busybox", PROGRAM, busybox), ("init", PROGRAM, INIT.as_bytes())];
    let modules = modules.iter().map(|(name, bytes)| (name.as_str(), PROGRAM, bytes.as_slice()));
    let end = [("TRAILER!!!", 0, &b""[..])];
    let mut archive = Vec::new();
    for (inode, (name, mode, content)) in
        folders.into_iter().chain(files).chain(modules).chain(end).enumerate()
    {
        let (length, name_length) = (content.len(), name.len() + 1);
        // magic; inode, mode, user, group, links, time, size, 4 device numbers, length of the name, checksum
        let numbers = [inode, mode as usize, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        archive.extend(b"070701");
        numbers.iter().for_each(|number| archive.extend(format!("{number:08x}").bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// What a program prints.
fn output(program: &str, arguments: &[&str], directory: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions are sorted by number; kernels for other machines and other packages are skipped.
    #[test]
    fn newest_kernel() {
        let names = "linux-image-6.1.0-9-amd64\nlinux-image-6.12.107+deb12-amd64-unsigned\n\
                     linux-image-6.12.9+deb12-amd64\nlinux-image-6.12.200+deb12-rt-amd64\n\
                     linux-image-6.12.300+deb12-amd64-dbg\nlinux-image-amd64\n";
        assert_eq!(newest(names), Some("linux-image-6.12.107+deb12-amd64-unsigned"));
        assert_eq!(newest("linux-image-amd64\n"), None);
    }

    /// Each file starts at a multiple of 4 with its magic, and the archive has an end.
    #[test]
    fn archive() {
        let archive = initramfs(b"12345", &[("modules/m.ko".to_owned(), b"module".to_vec())]);
        let starts: Vec<usize> =
            (0..archive.len() - 5).filter(|&at| archive[at..].starts_with(b"070701")).collect();
        assert_eq!(starts.len(), 9);
        assert!(starts.iter().all(|start| start.is_multiple_of(4)));
        assert!(archive.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
