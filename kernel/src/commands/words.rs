//! Words that Tab completes: numbers of nodes, resources, sections and allocations, and names of DIMMs.
//!
//! Invariant: called without any lock held. Neighbour: `carapace_cli::complete` asks a command for its words.

use crate::hotplug;
use crate::memory::{arena, core};
use crate::terminal::host;
use ::core::fmt::Display;
use arrayvec::ArrayString;
use carapace_cli::command::{Flag, Place, Words};
use carapace_mm::section::touched;
use core::fmt::Write;

/// `words`, wherever a word of the command is missing.
pub fn fixed(words: &[&str], word: Words<'_>) {
    words.iter().copied().for_each(word);
}

/// Numbers of nodes, for the flag `node`.
pub fn nodes(place: Place, node: &Flag, word: Words<'_>) {
    if place == Place::Value(*node) {
        core().nodes(&mut |totals| say(word, &totals.node.0));
    }
}

/// Numbers of resources.
pub fn resources(_: Place, word: Words<'_>) {
    core().resources(&mut |info| say(word, &info.id.0));
}

/// Numbers of resources, and the ranges of sections that they have.
pub fn resources_and_sections(place: Place, word: Words<'_>) {
    resources(place, word);
    let mut before = None;
    core().resources(&mut |info| {
        let mut sections = touched(info.range);
        let Some(first) = sections.next() else { return };
        let last = sections.last().unwrap_or(first);
        // Small DIMMs share a section.
        if before.replace((first, last)) != Some((first, last)) {
            say(word, &format_args!("{}-{}", first.0, last.0));
        }
    });
}

/// Numbers of allocations, and `all`.
pub fn allocations(_: Place, word: Words<'_>) {
    word("all");
    let mut last = None;
    while let Some(allocation) = arena().next_after(last) {
        last = Some(allocation.id);
        say(word, &allocation.id.0);
    }
}

/// QEMU's names of the DIMMs that the host has sent.
pub fn dimms(_: Place, word: Words<'_>) {
    for slot in 0..hotplug::count() {
        if let Some(name) = host::name(slot) {
            word(&name);
        }
    }
}

fn say(word: Words<'_>, number: &dyn Display) {
    let mut text = ArrayString::<48>::new();
    // Two numbers of 64 bits fit.
    if write!(text, "{number}").is_ok() {
        word(&text);
    }
}
