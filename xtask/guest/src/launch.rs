//! QEMU as a child process that ends when we end.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// The command of a QEMU that does not outlive the thread which starts it, however that ends.
///
/// Programs with one guest start it on their main thread: the kernel watches the thread that starts the child.
pub fn command(line: &[String]) -> Command {
    let (program, arguments) = line.split_first().map_or(("", line), |(first, rest)| (first.as_str(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec the closure makes one system call (prctl) and touches no memory but its
    // own stack, so it is async-signal-safe; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            Ok(())
        });
    }
    command
}

/// A child's exit status as a shell has it: 128 and the signal's number if a signal ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// A running QEMU. It is killed when this is dropped.
#[derive(Debug)]
pub struct Qemu(Child);

impl Qemu {
    /// Starts it with these for its standard input, output and error output.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(line: &[String], input: Stdio, output: Stdio, errors: Stdio) -> Result<Qemu> {
        let child = command(line).stdin(input).stdout(output).stderr(errors).spawn();
        let program = line.first().map_or("", String::as_str);
        Ok(Qemu(child.with_context(|| format!("cannot start {program}"))?))
    }

    /// Its standard input and output, if they are pipes and were not taken before.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        self.0.stdin.take().zip(self.0.stdout.take())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot wait for QEMU")
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.0.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
