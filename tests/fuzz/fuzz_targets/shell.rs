//! Bytes typed at the shell, and lines as commands: each line is taken or refused, and nothing panics.
#![no_main]

use carapace_cli::command::sample::COMMANDS;
use carapace_cli::complete::Candidates;
use carapace_cli::editor::{Editor, Event};
use carapace_cli::{args, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut editor = Editor::new();
    let mut out = String::new();
    editor.begin(&mut out);
    for &byte in input {
        let event = editor.feed(byte, &mut out);
        if event == Some(Event::Complete) {
            let text = editor.before_cursor().to_string();
            editor.complete(&Candidates::of(COMMANDS, &text), &mut out);
        } else if event.is_some() {
            let _refused = COMMANDS.parse(editor.line()).err().map(|error| error.to_string());
            editor.begin(&mut out);
        }
        out.clear();
    }
    let text = String::from_utf8_lossy(input);
    let _format = args::format_of(&text);
    if let Err(error) = COMMANDS.parse(&text) {
        let _text = error.to_string();
    }
    let candidates = Candidates::of(COMMANDS, &text);
    assert!(candidates.iter().all(|name| !name.is_empty()));
    let _size = parse::size(&text);
    let _range = parse::id_or_range(&text);
});
