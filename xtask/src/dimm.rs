//! `cargo xtask dimm`: plugs, lists and unplugs the DIMMs of a running guest, and prints the kernel's answers.

use std::time::Duration;

use anyhow::Result;
use guest::dimm::{Dimms, Outcome};
use guest::discovery;

use crate::cli::{DimmArgs, DimmTask};

/// Runs the task; the result is the exit status: 1 if the kernel refused.
pub fn dimm(args: &DimmArgs) -> Result<u8> {
    let mut guest =
        Dimms::connect(&discovery::find(args.qmp.as_deref())?, Duration::from_secs(args.timeout))?;
    match &args.task {
        DimmTask::Add { size, node, id } => {
            let id = match id {
                Some(id) => id.clone(),
                None => guest.free_id()?,
            };
            Ok(match guest.add(&id, *size, *node)? {
                Outcome::Done(state) => told(0, &format!("{id}: {size} {state} on node {node}")),
                Outcome::Refused(why) => told(1, &format!("{id}: the kernel refuses it: {why}")),
            })
        }
        DimmTask::Remove { id } => Ok(match guest.remove(id)? {
            Outcome::Done(state) => told(0, &format!("{id}: {state}")),
            Outcome::Refused(why) => told(1, &format!("{id}: the kernel keeps it: {why}")),
        }),
        DimmTask::List => {
            println!("{:<12} {:>4} {:>4} {:>8} {:>16}  STATE", "ID", "SLOT", "NODE", "SIZE", "ADDRESS");
            for dimm in guest.list()? {
                let (slot, node, address) = (dimm.slot, dimm.node, dimm.address);
                println!(
                    "{:<12} {slot:>4} {node:>4} {:>8} {address:>#16x}  {}",
                    dimm.id, dimm.size, dimm.said
                );
            }
            Ok(0)
        }
    }
}

fn told(status: u8, text: &str) -> u8 {
    println!("{text}");
    status
}
