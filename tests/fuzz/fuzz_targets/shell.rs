//! Bytes typed at the shell, and lines as commands: each line is taken or refused, and what goes through its filters
//! comes out in whole lines.
#![no_main]

use carapace_cli::editor::Editor;
use carapace_cli::filter::Chain;
use carapace_cli::pages::Page;
use carapace_cli::pattern::{Case, Pattern};
use carapace_cli::{args, complete, number, pipeline};
use libfuzzer_sys::fuzz_target;

/// Lets `text` through the filters of `line`.
fn run(line: &str, text: &str) {
    let Ok(pipeline) = pipeline::parse(line).map_err(|error| error.to_string()) else { return };
    let (mut chain, mut out) = (Chain::new(), String::new());
    chain.start(&pipeline.filters);
    for piece in text.split_inclusive(' ') {
        chain.write(piece, &mut out).expect("a string takes everything");
    }
    let filtered = chain.finish(&mut out).is_ok() && !pipeline.filters.is_empty();
    assert!(!filtered || out.is_empty() || out.ends_with('\n'));
}

fuzz_target!(|input: &[u8]| {
    let mut editor = Editor::new();
    let mut out = String::new();
    editor.begin(&mut out);
    for &byte in input {
        if editor.feed(byte, complete::complete, &mut out).is_some() {
            run(editor.line(), "one two\nthree four\nfive");
            editor.begin(&mut out);
        }
        out.clear();
    }
    let text = String::from_utf8_lossy(input);
    let _format = args::format_of(&text);
    if let Err(error) = args::parse(&text) {
        let _text = error.to_string();
    }
    run(&text, &text);
    if let Ok(pattern) = Pattern::new(&text, Case::Ignored) {
        pattern.matches(&text);
    }
    assert!(Page::of(3).take(&text) <= text.len());
    complete::complete(&text, &mut |name| assert!(!name.is_empty()));
    let _size = number::size(&text);
    let _range = number::id_or_range(&text);
});
