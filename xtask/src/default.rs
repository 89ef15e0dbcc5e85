//! `cargo xtask` without a task: introduces the project, the next commands, and the state of the machine.

use guest::discovery;

use crate::setup::{self, Need};
use crate::workspace::Workspace;

/// Greets; installs and builds nothing.
pub fn greet(workspace: &Workspace) {
    println!("{}", text(&missing(workspace), discovery::running()));
}

/// What `run` needs and this machine lacks, in words.
fn missing(workspace: &Workspace) -> Vec<String> {
    let needs = [Need::Qemu, Need::BareMetal].into_iter();
    needs.filter_map(|need| setup::lacks(workspace, need)).collect()
}

fn text(missing: &[String], running: usize) -> String {
    let machine = match missing {
        [] => "QEMU and a toolchain for bare metal are here.".to_owned(),
        lacks => format!("Missing: {}. `run` offers to install that.", lacks.join("; ")),
    };
    let guests = match running {
        0 => "No guest runs.".to_owned(),
        1 => "A guest runs: `cargo xtask dimm add 256M` plugs a DIMM into it.".to_owned(),
        more => format!("{more} guests run: `cargo xtask dimm --qmp PATH` says which one is meant."),
    };
    format!(
        "Carapace: a kernel for bare x86-64 whose one subject is memory hotplug, and which runs in QEMU.\n\n  \
         cargo xtask demo     plays its example: a DIMM of 256 MiB is plugged and used\n  \
         cargo xtask run      boots it, with its shell on this terminal; says how to plug a DIMM\n  \
         cargo xtask report   draws what happens to memory, as a page for a browser\n\n\
         {machine} {guests}\n\
         `cargo xtask --help` lists all tasks; README.md says more."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greeting names missing programs and running guests; each line fits a terminal.
    #[test]
    fn states_of_the_machine() {
        let ready = text(&[], 0);
        assert!(ready.contains("are here") && ready.contains("No guest runs"), "{ready}");
        let bare = text(&["QEMU (no qemu-system-x86_64 on PATH)".into()], 1);
        assert!(bare.contains("Missing: QEMU") && bare.contains("dimm add"), "{bare}");
        assert!(text(&[], 2).contains("2 guests run"));
        assert!(ready.lines().all(|line| line.len() <= 110), "{ready}");
    }
}
