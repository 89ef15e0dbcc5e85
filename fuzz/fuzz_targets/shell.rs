//! Bytes typed at the shell, and lines as commands: each line is taken or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shell::editor::Editor;
use shell::{args, complete, number, pattern, pipeline};

fuzz_target!(|input: &[u8]| {
    let mut editor = Editor::new();
    let mut out = String::new();
    editor.begin(&mut out);
    for &byte in input {
        if editor.feed(byte, complete::complete, &mut out).is_some() {
            drop(args::parse(editor.line()));
            editor.begin(&mut out);
        }
        out.clear();
    }
    let text = String::from_utf8_lossy(input);
    let _format = args::format_of(&text);
    if let Err(error) = args::parse(&text) {
        let _text = error.to_string();
    }
    let _size = number::size(&text);
    let _range = number::id_or_range(&text);
});
