//! Notes that point out the main result of a step.

use crate::data::{Data, Event, Run, Step};
use crate::format::{count, frames, number, size};

/// A few sentences, each with its figures.
pub fn lines(step: &Step, data: &Data) -> Vec<String> {
    match &step.event {
        Event::Plugged(resource) => {
            let mut lines = vec![
                format!(
                    "The first {} ({}) of the DIMM are its memmap; behind them {} ({}) are free, in one run.",
                    count(resource.memmap_pages, "frame", "frames"),
                    frames(resource.memmap_pages),
                    count(resource.usable_pages, "frame", "frames"),
                    frames(resource.usable_pages)
                ),
                format!(
                    "Free memory grew by exactly the DIMM's usable frames: from {} to {}. Nothing that was there was needed.",
                    number(step.before.meminfo.free_pages),
                    number(step.after.meminfo.free_pages)
                ),
                format!(
                    "Of the descriptors in that memmap {} been written: a block has one, not each of its frames.",
                    match resource.add.descriptors_written {
                        1 => "1 has".to_owned(),
                        more => format!("{} have", number(more)),
                    }
                ),
            ];
            let first = data.steps.iter().find_map(|other| match &other.event {
                Event::Plugged(first) if first.size < resource.size => Some(first),
                _ => None,
            });
            if let Some(first) = first {
                lines.push(format!(
                    "The DIMM is {} times as large as the one of {}, and took {} instructions instead of {}: what grew is \
                     the number of page-table entries.",
                    number(resource.size / first.size),
                    size(first.size),
                    number(resource.add.answer_ns),
                    number(first.add.answer_ns)
                ));
            }
            lines
        }
        Event::Allocated { pages, verified, contiguous, resource } => {
            let mut lines = vec![format!(
                "{} of resource {resource} are in use now; its memmap, in front of them, is where it was.",
                frames(*pages)
            )];
            if *verified > 0 {
                lines.push(format!(
                    "Each of the {} was filled with a pattern and compared with it.",
                    count(*verified, "frame", "frames")
                ));
            }
            if *contiguous == Run::One {
                lines.push(
                    "It is one run of physical memory. With a memmap at the start of every block of 128 MiB no run of a DIMM \
                     would be longer than 126 MiB."
                        .to_owned(),
                );
            }
            lines.push(format!(
                "The frames for page tables outside of the resources are as many as before: {}.",
                number(step.after.meminfo.page_table_pages)
            ));
            lines
        }
        Event::Ejected { migrated, verified, .. } => vec![
            format!(
                "{} were in use. They moved to boot memory, each behind the same virtual address, and {} were found as they \
                 had been filled.",
                count(*migrated, "frame", "frames"),
                number(*verified)
            ),
            "The DIMM's memmap went with it: there is nothing left to be freed elsewhere.".to_owned(),
            format!(
                "Frames that exist: {} before, {} after, which is what there was before the DIMM came.",
                number(step.before.meminfo.total_pages),
                number(step.after.meminfo.total_pages)
            ),
        ],
    }
}
