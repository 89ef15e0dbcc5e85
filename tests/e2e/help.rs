//! `help COMMAND` and docs/shell.md hold: every example runs, every flag, column and field is explained.

use serde_json::Value;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// Commands whose examples end the guest, or wait for it: each has one of its own.
const ENDINGS: [&str; 3] = ["panic", "reboot", "poweroff"];

/// Commands that the host carries out: this guest has none (plugging.rs runs them).
const HOSTS: [&str; 2] = ["plug", "unplug"];

/// The names that `help` lists.
fn commands(guest: &mut Guest) -> Vec<String> {
    let help = guest.sh("help");
    let rows = help.iter().filter(|line| line.starts_with("  "));
    rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What docs/shell.md says of a command.
fn documented(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shell.md");
    let text = std::fs::read_to_string(path).expect("docs/shell.md can be read");
    let title = format!("\n### `{name}`\n");
    let (_, behind) = text.split_once(&title).unwrap_or_else(|| panic!("docs/shell.md has no {name}"));
    behind.split("\n##").next().unwrap_or(behind).to_owned()
}

/// The line that `help COMMAND` has as its example.
fn example(page: &[String]) -> String {
    let example = page.iter().find_map(|line| line.strip_prefix("example: "));
    example.unwrap_or_else(|| panic!("no example in {page:#?}")).to_owned()
}

/// The flags that `help COMMAND` has lines for, in all their spellings.
fn flags(page: &[String]) -> Vec<String> {
    let lines = page.iter().filter_map(|line| line.strip_prefix("  -")).map(|line| format!("-{line}"));
    let words =
        lines.flat_map(|line| line.split(&[' ', ',', '['][..]).map(str::to_owned).collect::<Vec<_>>());
    words.filter(|word| word.starts_with('-') && word != "-J" && word != "--json").collect()
}

/// The names of all fields of a value, however deep.
fn fields(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            names.push(name.clone());
            fields(value, names);
        }),
        Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

/// The guest that the examples are written for.
fn guest() -> Guest {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    guest
}

/// Proves that `help COMMAND` has usage, a line a flag and an example, that the example runs as it is and answers no
/// error, and that flags, titles of the table and fields of the JSON that it shows stand in docs/shell.md. Fails when a
/// command changes and the document does not.
#[test]
fn every_command_is_documented() {
    let mut guest = guest();
    let names = commands(&mut guest);
    assert!(names.len() >= 30, "{names:?}");
    for name in &names {
        let page = guest.sh(&format!("help {name}"));
        assert!(page.iter().any(|line| line.starts_with(&format!("usage: {name}"))), "{page:#?}");
        assert_eq!(guest.sh(&format!("{name} --help")), page);
        let document = documented(name);
        for flag in flags(&page) {
            assert!(document.contains(&flag), "docs/shell.md: {name} has no {flag}");
        }
        let example = example(&page);
        if ENDINGS.contains(&name.as_str()) || HOSTS.contains(&name.as_str()) {
            continue;
        }
        if name == "misuse" {
            guest.sh("poison on");
        }
        let words = document.replace(['.', ',', ';', ':', '(', ')', '`', '|'], " ");
        let has = |word: &str| words.split_whitespace().any(|known| known == word);
        let answer = guest.sh(&example);
        let refused = |line: &String| line.starts_with("error: ") || line.starts_with("{\"error\"");
        assert!(!answer.iter().any(refused), "`{example}` answered {answer:?}");
        // Of a table, its titles: the line whose words are all in capitals.
        let title = |line: &&String| {
            line.len() > 8 && line.contains(char::is_alphabetic) && !line.contains(char::is_lowercase)
        };
        // Rows of the map and lines of the log are none.
        let row = |line: &String| line.starts_with("0x") || line.starts_with('[');
        for line in answer.iter().filter(title).filter(|line| !row(line)) {
            for word in line.split_whitespace() {
                assert!(has(word), "docs/shell.md: {name}: no column {word} of `{example}`");
            }
        }
        if page.iter().any(|line| line.contains("-J, --json")) {
            let line = example.replace(" -J", "").replace(" -v", "");
            // Room for an `alloc` a second time.
            guest.sh("free all");
            let value: Value = guest.json(&format!("{line} -J"));
            let mut names = Vec::new();
            fields(&value, &mut names);
            assert_eq!(value.get("error"), None, "{line}");
            for field in names {
                assert!(has(&field), "docs/shell.md: {name}: no field {field} of `{line} -J`");
            }
        }
        if name == "misuse" {
            // The damage has been seen; what follows is to find everything as it should be.
            guest.sh("poison off");
        }
    }
    for line in ["free all", "stress off", "fail vmemmap 0", "policy online", "online 1"] {
        guest.sh(line);
    }
    guest.assert_sound();
}

/// Proves that the examples that end a guest do what their help says.
#[test]
fn examples_that_end_the_guest() {
    for (name, status) in [("panic", 33), ("poweroff", 0)] {
        let mut guest = guest();
        let example = example(&guest.sh(&format!("help {name}")));
        guest.send(format!("{example}\n").as_bytes());
        assert_eq!(guest.wait_exit(), status, "{example}");
        if name == "panic" {
            assert!(guest.log().contains("section"), "the report names the section");
        }
    }
    let mut guest = guest();
    let example = example(&guest.sh("help reboot"));
    guest.skip_to_now();
    guest.send(format!("{example}\n").as_bytes());
    guest.wait_prompt();
    assert_eq!(guest.resources().len(), 2, "a failed plug removed a DIMM");
}
