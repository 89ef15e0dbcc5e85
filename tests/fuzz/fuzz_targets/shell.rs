//! Bytes typed at the shell, and lines as commands: each line is taken or refused, and nothing panics.
#![no_main]

use carapace_cli::editor::Editor;
use carapace_cli::{args, complete, number};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut editor = Editor::new();
    let mut out = String::new();
    editor.begin(&mut out);
    for &byte in input {
        if editor.feed(byte, complete::complete, &mut out).is_some() {
            let _taken = args::parse(editor.line()).map_err(|error| error.to_string());
            editor.begin(&mut out);
        }
        out.clear();
    }
    let text = String::from_utf8_lossy(input);
    let _format = args::format_of(&text);
    if let Err(error) = args::parse(&text) {
        let _text = error.to_string();
    }
    complete::complete(&text, &mut |name| assert!(!name.is_empty()));
    let _size = number::size(&text);
    let _range = number::id_or_range(&text);
});
