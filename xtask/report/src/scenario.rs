//! The scenario: plug the proposal's DIMM of 256 MiB, fill it, and remove it while it is full; then plug one of 1 TiB.
//!
//! The scenario checks all results that are known beforehand, so that the text of the page is always true for the kernel.
//! Neighbours: package `guest` has the guest; `page` shows the data.

use anyhow::{Context, Result, ensure};
use guest::boot::{Dimm, Ended};
use guest::schema::{Check, Kind, Resource, SECTION_PAGES};
use guest::{Guest, Machine, Plan};

use crate::data::{Data, Event, Run, Snapshot, Step};

/// A nanosecond of the guest's clock is an instruction.
const COUNTED: [&str; 2] = ["-icount", "shift=0"];
/// Sections of a larger resource are not all asked for.
const FEW_SECTIONS: u64 = 64;
/// The large DIMM's memory is not reserved on the host; next to none of it is touched.
const TERABYTE: &str = "1T,reserve=off";
/// Where a guest with room for it says so.
const ROOM: &str = "2T";

/// Boots, plays, powers off.
///
/// # Errors
/// The first thing that is not as it should be. It may be a guest that does not answer.
pub fn play() -> Result<Data> {
    let mut steps = Vec::new();
    let mut guest = Plan::new(Machine::Q35).qemu(&COUNTED).boot()?;
    let kernel = first_line(&guest.log()).context("the kernel's first line")?;
    let qemu = version(&guest.monitor().context("QEMU's monitor")?.human("info version")?);
    steps.push(plug(&mut guest, "256M")?);
    steps.push(fill(&mut guest)?);
    steps.push(eject(&mut guest)?);
    ensure!(guest.power_off()?.success(), "the guest did not power off");

    let plan = Plan::new(Machine::Q35).option("--max-memory", ROOM).qemu(&COUNTED);
    let mut guest = plan.boot()?;
    steps.push(plug(&mut guest, TERABYTE)?);
    steps.push(half(&mut guest)?);
    ensure!(guest.power_off()?.success(), "the guest did not power off");
    Ok(Data { kernel, qemu, steps })
}

/// Plugs a DIMM into node 1.
fn plug(guest: &mut Guest, size: &'static str) -> Result<Step> {
    let (before, from) = (snapshot(guest)?, guest.log().len());
    let resource = guest.plug_online(Dimm { number: 0, size, node: 1 })?;
    let after = snapshot(guest)?;
    ensure!(resource.memmap_pages * 64 == resource.size / 4096, "the memmap is a 64th of the DIMM");
    ensure!(resource.add.existing_pages_used == 0, "plugging took frames from elsewhere");
    ensure!(
        after.meminfo.free_pages == before.meminfo.free_pages + resource.usable_pages,
        "not all of the DIMM's usable frames are free, or some elsewhere are not any more"
    );
    sound(guest)?;
    let typed = vec![
        format!("(qemu) object_add memory-backend-ram,id=ram0,size={size}"),
        "(qemu) device_add pc-dimm,id=dimm0,memdev=ram0,node=1".to_owned(),
    ];
    Ok(Step { typed, said: said(guest, from), before, after, event: Event::Plugged(Box::new(resource)) })
}

/// Fills most of the DIMM, and compares its content.
fn fill(guest: &mut Guest) -> Result<Step> {
    let (before, from) = (snapshot(guest)?, guest.log().len());
    let pages = guest.alloc("200M --node 1")?.pages;
    let verified = guest.verify()?;
    let after = snapshot(guest)?;
    ensure!(verified.ok && verified.pages == pages, "not every page is as it was filled: {verified:?}");
    sound(guest)?;
    let event = Event::Allocated {
        resource: dimm(&after)?.id,
        pages,
        verified: verified.pages,
        contiguous: Run::Any,
    };
    let typed = ["carapace> alloc 200M --node 1", "carapace> verify"].map(str::to_owned).to_vec();
    Ok(Step { typed, said: said(guest, from), before, after, event })
}

/// Takes the DIMM away while it is full.
fn eject(guest: &mut Guest) -> Result<Step> {
    let (before, from) = (snapshot(guest)?, guest.log().len());
    ensure!(guest.unplug(0)? == Ended::Deleted, "the kernel keeps the DIMM");
    let verified = guest.verify()?;
    let after = snapshot(guest)?;
    ensure!(verified.ok && verified.pages > 0, "content was lost on the way: {verified:?}");
    ensure!(dimm(&after).is_err(), "the DIMM's resource is still there");
    sound(guest)?;
    let said = said(guest, from);
    let (migrated, [isolating, migrating, unmapping]) =
        departure(&said).with_context(|| format!("no line with the cost in {said:?}"))?;
    let event = Event::Ejected { migrated, isolating, migrating, unmapping, verified: verified.pages };
    let typed = ["(qemu) device_del dimm0", "carapace> verify"].map(str::to_owned).to_vec();
    Ok(Step { typed, said, before, after, event })
}

/// Takes half of the large DIMM as one run of frames.
fn half(guest: &mut Guest) -> Result<Step> {
    let (before, from) = (snapshot(guest)?, guest.log().len());
    let pages = guest.alloc("512G --node 1 --contiguous --no-fill")?.pages;
    let after = snapshot(guest)?;
    let resource = dimm(&after)?.id;
    let longest = after.extents.iter().filter(|e| e.resource == resource && e.kind == Kind::Used);
    ensure!(longest.map(|extent| extent.pages).max() == Some(pages), "the allocation is not one run");
    sound(guest)?;
    let event = Event::Allocated { resource, pages, verified: 0, contiguous: Run::One };
    let typed = vec!["carapace> alloc 512G --node 1 --contiguous --no-fill".to_owned()];
    Ok(Step { typed, said: said(guest, from), before, after, event })
}

/// The one resource that is no boot memory.
fn dimm(snapshot: &Snapshot) -> Result<&Resource> {
    snapshot.resources.iter().find(|resource| resource.device != "boot").context("no DIMM is there")
}

fn sound(guest: &mut Guest) -> Result<()> {
    let check: Check = guest.json("check -J")?;
    ensure!(check.ok, "check found {:?}", check.errors);
    Ok(())
}

fn snapshot(guest: &mut Guest) -> Result<Snapshot> {
    let resources = guest.resources()?;
    let mut sections = Vec::new();
    for resource in &resources {
        let first = resource.base / 4096 / SECTION_PAGES;
        let last = (resource.base + resource.size - 1) / 4096 / SECTION_PAGES;
        let ranges = if last - first < FEW_SECTIONS {
            vec![(first, last)]
        } else {
            // The sections that hold memmap alone, those behind them, and the end.
            vec![(first, first + resource.memmap_pages.div_ceil(SECTION_PAGES) + 1), (last, last)]
        };
        for (first, last) in ranges {
            let rows: Vec<guest::schema::Section> = guest.json(&format!("sections {first}-{last} -J"))?;
            sections.extend(rows.into_iter().filter(|row| row.resource == resource.id));
        }
    }
    Ok(Snapshot {
        resources,
        sections,
        buddies: guest.json("buddyinfo -J")?,
        extents: guest.json("map -J")?,
        meminfo: guest.meminfo()?,
    })
}

/// The kernel's log lines that came since `from`, without their times.
fn said(guest: &Guest, from: usize) -> Vec<String> {
    let log = guest.log();
    let lines = log.get(from..).unwrap_or_default().lines();
    lines.filter_map(|line| Some(line.split_once("INFO  ")?.1.trim_end().to_owned())).collect()
}

/// The number at the start of what QEMU says of its version; distributions put theirs behind it.
fn version(said: &str) -> String {
    said.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
}

fn first_line(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("INFO  carapace "))?;
    Some(line.split_once("INFO  ")?.1.trim_end().to_owned())
}

/// Frames migrated, and the microseconds of the three parts, from the two lines that say so.
fn departure(said: &[String]) -> Option<(u64, [u64; 3])> {
    let behind = |word: &str| said.iter().find_map(|line| Some(line.split_once(word)?.1));
    let migrated = behind(" removed, ")?.split(' ').next()?.parse().ok()?;
    let mut parts =
        behind(": isolating ")?.split(", ").map(|part| part.trim_start_matches(char::is_alphabetic));
    let mut next = || microseconds(parts.next()?.trim_start());
    Some((migrated, [next()?, next()?, next()?]))
}

/// The microseconds of a time as the kernel writes it: `3.31 ms`.
fn microseconds(text: &str) -> Option<u64> {
    let (number, unit) = text.trim_end().split_once(' ')?;
    let unit = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of a removal are read from its lines in the log, and from no other.
    #[test]
    fn departures() {
        let said = [
            "MP00: 256 MiB removed, 51200 frames migrated",
            "MP00: isolating 4 us, migrating 1.20 s, unmapping 6.05 ms",
            "MP00: ejected",
        ]
        .map(str::to_owned);
        assert_eq!(departure(&said), Some((51200, [4, 1_200_000, 6050])));
        assert_eq!(departure(&said[1..]), None);
        assert_eq!(version("7.2.22Debian 1:7.2+dfsg-7\r\n"), "7.2.22");
        assert_eq!(
            first_line("x\r\n[    0.01] INFO  carapace 0.1.0 on X\r\n").as_deref(),
            Some("carapace 0.1.0 on X")
        );
    }
}
