//! Which accelerator `auto` means.
//!
//! That `/dev/kvm` opens says little: there are software KVMs that run a guest thousands of times slower than
//! emulation, and some abort with some CPU models. So the boot shim is booted without a kernel, which it ends
//! with a status of its own, once emulated and once under KVM. The verdict is kept, by everything it hangs on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest::Machine;
use guest::qemu::{Accelerator, Setup, Shape, Start};
use serde::{Deserialize, Serialize};

use crate::progress;
use crate::workspace::Workspace;
use guest::size::ByteSize;

/// The shim's exit status without a kernel.
const NO_KERNEL: i32 = 35;
/// A real KVM needs a fraction of this for the shim.
const KVM_LIMIT: Duration = Duration::from_millis(1500);
/// Emulation on a busy machine.
const TCG_LIMIT: Duration = Duration::from_secs(20);

/// A verdict and its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// QEMU, host kernel, machine type and CPU model.
    key: String,
    /// What to use.
    pub accelerator: Accelerator,
    /// Why.
    pub reason: String,
}

/// How a boot of the shim without a kernel went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// It ended with a status (none if by a signal).
    Ended(Option<i32>, Duration),
    /// It was stopped after its time.
    TooSlow,
}

/// The accelerator for this guest: the kept verdict, or a new one.
pub fn choose(
    workspace: &Workspace,
    qemu: &Path,
    version: &str,
    shape: &Shape,
    boot: &Path,
) -> Result<Verdict> {
    if let Err(why) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        let reason = format!("/dev/kvm cannot be used: {why}");
        return Ok(Verdict { key: String::new(), accelerator: Accelerator::Tcg, reason });
    }
    // microvm has no PCI, by which the shim finds QEMU: it could not end it. The accelerator is the same.
    let machine = if shape.machine == Machine::Microvm { Machine::Q35 } else { shape.machine };
    let shape = &Shape { machine, ..shape.clone() };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = shape.cpu_model().unwrap_or_default();
    let key = format!("{} {version}; {}; {}; {cpu}", qemu.display(), kernel.trim(), shape.machine.name());
    let file = workspace.state("accelerator.json");
    let mut kept: Vec<Verdict> =
        fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    if let Some(verdict) = kept.iter().find(|verdict| verdict.key == key) {
        return Ok(verdict.clone());
    }
    eprintln!("trying once whether KVM works well here ...");
    let boot_with = |accelerator, limit| trial(qemu, shape, accelerator, boot, limit);
    let emulated = boot_with(Accelerator::Tcg, TCG_LIMIT)?;
    let (accelerator, reason) = judge(emulated, boot_with(Accelerator::Kvm, KVM_LIMIT)?);
    let verdict = Verdict { key, accelerator, reason };
    if matches!(emulated, Trial::Ended(Some(NO_KERNEL), _)) {
        kept.push(verdict.clone());
        keep(&file, &kept).with_context(|| format!("cannot keep the verdict in {}", file.display()))?;
    }
    Ok(verdict)
}

/// Writes the verdicts in one step: others may read them, or keep one of their own, at the same time.
fn keep(file: &Path, verdicts: &[Verdict]) -> Result<()> {
    let directory = file.parent().context("the file lies in a directory")?;
    fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(&serde_json::to_vec_pretty(verdicts)?)?;
    new.persist(file)?;
    Ok(())
}

/// KVM is taken where it boots the shim properly, in good time, and not slower than emulation by more than
/// what a busy machine explains.
fn judge(emulated: Trial, kvm: Trial) -> (Accelerator, String) {
    let Trial::Ended(status, took) = kvm else {
        return (Accelerator::Tcg, format!("KVM did not finish a tiny boot in {} ms", KVM_LIMIT.as_millis()));
    };
    if status != Some(NO_KERNEL) {
        let how = status.map_or_else(|| "by a signal".to_owned(), |status| format!("with status {status}"));
        return (Accelerator::Tcg, format!("a tiny boot under KVM ended {how}"));
    }
    match emulated {
        Trial::Ended(Some(NO_KERNEL), other) if took > other * 2 => (
            Accelerator::Tcg,
            format!("a tiny boot took {} ms under KVM, {} ms emulated", took.as_millis(), other.as_millis()),
        ),
        _ => (Accelerator::Kvm, format!("a tiny boot under KVM took {} ms", took.as_millis())),
    }
}

fn trial(
    qemu: &Path,
    shape: &Shape,
    accelerator: Accelerator,
    boot: &Path,
    limit: Duration,
) -> Result<Trial> {
    let cpu = shape.cpu_model();
    let shape = Shape {
        memory: ByteSize::MIB.times(64),
        max_memory: ByteSize::MIB.times(64),
        slots: 0,
        nodes: 1,
        cpus: 1,
        cpu,
        virtio_mem: Vec::new(),
        balloon: false,
        hmat: Vec::new(),
        ..shape.clone()
    };
    let start = Start::Shim { boot: boot.to_owned(), kernel: None };
    let guest = Setup::new(qemu.to_owned(), shape, accelerator, start);
    let line = guest.command()?;
    let quiet = || Stdio::null();
    let mut child =
        Command::new(&line[0]).args(&line[1..]).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Trial::Ended(status.code(), started.elapsed()));
        }
        if started.elapsed() > limit {
            progress::stop(&mut child);
            return Ok(Trial::TooSlow);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32, milliseconds: u64) -> Trial {
        Trial::Ended(Some(status), Duration::from_millis(milliseconds))
    }

    /// KVM must end the tiny boot in the right way, in time, and not be the slower one.
    #[test]
    fn kvm_must_prove_itself() {
        let emulated = ended(NO_KERNEL, 300);
        let verdict = |emulated, kvm| judge(emulated, kvm).0;
        assert_eq!(verdict(emulated, ended(NO_KERNEL, 150)), Accelerator::Kvm);
        assert_eq!(verdict(emulated, ended(NO_KERNEL, 900)), Accelerator::Tcg);
        assert_eq!(verdict(emulated, ended(1, 10)), Accelerator::Tcg);
        assert_eq!(verdict(emulated, Trial::Ended(None, Duration::from_millis(10))), Accelerator::Tcg);
        assert_eq!(verdict(emulated, Trial::TooSlow), Accelerator::Tcg);
        assert_eq!(verdict(Trial::TooSlow, ended(NO_KERNEL, 150)), Accelerator::Kvm);
    }
}
