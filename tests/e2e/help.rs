//! What `help COMMAND` says is so: every example runs, every column and field is explained, in 80 columns.

use serde_json::Value;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// Commands whose examples end the guest, or wait for it: each has one of its own.
const ENDINGS: [&str; 3] = ["panic", "reboot", "poweroff"];

/// The names that `help` lists.
fn commands(guest: &mut Guest) -> Vec<String> {
    let help = guest.sh("help");
    let rows = help.iter().filter(|line| line.starts_with("  "));
    rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The lines of one part of a page.
fn part<'a>(page: &'a [String], title: &str) -> Vec<&'a str> {
    let lines = page.iter().map(String::as_str).skip_while(|line| *line != title).skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// What can be typed as it is: what stands in a page's examples without being explanation.
fn examples(page: &[String]) -> Vec<String> {
    let lines = part(page, "EXAMPLES").into_iter().filter_map(|line| line.strip_prefix("       "));
    lines.filter(|line| !line.starts_with(' ')).map(str::to_owned).collect()
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

/// Proves that every command has a page, whose examples run as they are in a guest with the DIMM of docs/session.md and answer no error,
/// that the pages have 80 columns, and that titles of tables and fields of JSON that the examples show stand in the
/// page. Fails when a command changes and its page does not.
#[test]
fn examples_of_every_command() {
    let mut guest = guest();
    let names = commands(&mut guest);
    assert!(names.len() >= 30, "{names:?}");
    let mut run = 0;
    for name in &names {
        let page = guest.sh(&format!("help {name}"));
        assert!(page.iter().all(|line| line.len() <= 80), "{page:#?}");
        for title in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO"] {
            assert!(!part(&page, title).is_empty(), "{name} has no {title}");
        }
        let examples = examples(&page);
        assert!(!examples.is_empty(), "{name} has no example");
        if ENDINGS.contains(&name.as_str()) {
            continue;
        }
        let words = page.join(" ").replace(['.', ',', ';', ':', '(', ')'], " ");
        let has = |word: &str| words.split_whitespace().any(|known| known == word);
        for example in &examples {
            let answer = guest.sh(example);
            let refused = |line: &String| line.starts_with("error: ") || line.starts_with("{\"error\"");
            assert!(!answer.iter().any(refused), "`{example}` answered {answer:?}");
            run += 1;
            // Of a table, its titles: the line whose words are all in capitals.
            if !example.contains("help") {
                let title = |line: &&String| {
                    line.len() > 8 && line.contains(char::is_alphabetic) && !line.contains(char::is_lowercase)
                };
                let titles: Vec<_> =
                    answer.iter().filter(title).filter(|line| !line.starts_with("0x")).collect();
                for word in titles.iter().flat_map(|line| line.split_whitespace()) {
                    assert!(has(word), "{name}: column {word} of `{example}` is not explained");
                }
            }
        }
        if page.iter().any(|line| line.contains("-J, --json")) {
            let example = examples.iter().find(|line| line.starts_with(name.as_str()));
            let line = example.map(|line| line.replace(" -J", "").replace(" -v", "").replace(" -r", ""));
            let Some(line) = line.filter(|line| !line.contains("--summary")) else { continue };
            // Room for an `alloc` a second time.
            guest.sh("free all");
            let value: Value = guest.json(&format!("{line} -J"));
            let mut names = Vec::new();
            fields(&value, &mut names);
            assert_eq!(value.get("error"), None, "{line}");
            for field in names {
                assert!(has(&field), "{name}: field {field} of `{line} -J` is not explained");
            }
        }
        if name == "misuse" {
            // The damage has been seen; what follows is to find everything as it should be.
            guest.sh("poison off");
        }
    }
    assert!(run > 45, "{run} examples");
    for line in ["free all", "stress off", "fail vmemmap 0", "policy online"] {
        guest.sh(line);
    }
    guest.assert_sound();
}

/// Proves that the examples that end a guest do what their pages say.
#[test]
fn examples_that_end_the_guest() {
    for (name, status) in [("panic", 33), ("poweroff", 0)] {
        let mut guest = guest();
        let page = guest.sh(&format!("help {name}"));
        let [example] = &examples(&page)[..] else { panic!("{page:?}") };
        guest.send(format!("{example}\n").as_bytes());
        assert_eq!(guest.wait_exit(), status, "{example}");
        if name == "panic" {
            assert!(guest.log().contains("section"), "the report names the section");
        }
    }
    let mut guest = guest();
    let page = guest.sh("help reboot");
    let [example] = &examples(&page)[..] else { panic!("{page:?}") };
    guest.skip_to_now();
    guest.send(format!("{example}\n").as_bytes());
    guest.wait_prompt();
    assert_eq!(guest.resources().len(), 2, "what is plugged stays plugged");
}
