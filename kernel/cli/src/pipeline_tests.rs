//! Lines as they are typed.

use super::*;
use crate::filter::{Tells, Wanted};
use proptest::prelude::*;
use std::string::ToString;

// Prefixes with their own flags and operands, a command with its own, filters with theirs.
#[test]
fn parts() {
    let line = "watch -n 0.5 --count=3 repeat 4 time alloc -J 1M|grep -iv \"a b|c\" | head -3 | more";
    let pipeline = parse(line).unwrap();
    let interval = Duration::from_millis(500);
    let prefixes = [Prefix::Watch { interval, times: Some(3) }, Prefix::Repeat { times: 4 }, Prefix::Time];
    assert_eq!(pipeline.prefixes[..], prefixes);
    assert_eq!((pipeline.command.command.id, pipeline.command.operand(0)), (Id::Alloc, Some("1M")));
    let pattern = Pattern::new("a b|c", Case::Ignored).unwrap();
    let grep = Filter::Grep { pattern, wanted: Wanted::Others, tells: Tells::Lines };
    assert_eq!(pipeline.filters[..], [grep, Filter::Head(3)]);
    assert_eq!(pipeline.paging, Paging::Asked);
    let plain = parse(" page 5 ").unwrap();
    assert!(plain.prefixes.is_empty() && plain.filters.is_empty() && plain.paging == Paging::AsSet);
    let two = Duration::from_secs(2);
    assert_eq!(parse("watch stat").unwrap().prefixes[..], [Prefix::Watch { interval: two, times: None }]);
    for (line, filter) in [
        ("stat | head", Filter::Head(10)),
        ("stat | tail --lines 4", Filter::Tail(4)),
        ("stat |wc -l", Filter::Count),
        ("stat | head -n0x10", Filter::Head(16)),
    ] {
        assert_eq!(parse(line).unwrap().filters[..], [filter], "{line}");
    }
}

// `--help` alone behind any command asks for its page, and is a flag that no command has beside other words.
#[test]
fn help_is_asked_for() {
    for (line, name) in [
        ("lsmem --help", "lsmem"),
        ("grep -h", "grep"),
        ("watch --help", "watch"),
        ("help --help | head -2", "help"),
    ] {
        let command = parse(line).unwrap().command;
        assert_eq!((command.command.id, command.operand(0)), (Id::Help, Some(name)), "{line}");
    }
    let given = parse("watch alloc --help").unwrap();
    assert_eq!((given.command.command.id, given.command.operand(0)), (Id::Help, Some("alloc")));
}

// Everything else is refused, and the message says what is wrong.
#[test]
fn refused() {
    for (line, message) in [
        ("", "the line is empty"),
        ("nonsense | head", "unknown command 'nonsense'"),
        ("time nonsense", "unknown command 'nonsense'"),
        ("meminfo --node 1 | head", "meminfo has no flag '--node'"),
        ("| head", "nothing stands in front of a '|'"),
        ("meminfo |", "nothing stands in front of a '|', or behind it"),
        ("meminfo || head", "nothing stands"),
        ("time", "time needs a command; usage: time COMMAND"),
        ("time | head", "time needs a command"),
        ("repeat 3", "repeat needs a command; usage: repeat N COMMAND"),
        ("repeat", "something is missing; usage: repeat N COMMAND"),
        ("repeat meminfo", "'meminfo' is not a number of times"),
        ("repeat 0 meminfo", "0 times is not at all"),
        ("watch -n meminfo", "'meminfo' is no number of seconds from 0.1 to 86400"),
        ("watch -n 0 meminfo", "'0' is no number of seconds"),
        ("watch -n 1.2345 meminfo", "'1.2345' is no number of seconds"),
        ("watch -n 99999999999999999999 meminfo", "'99999999999999999999' is no number of seconds"),
        ("alloc 1M --help", "alloc has no flag '--help'"),
        ("nonsense --help", "unknown command 'nonsense'"),
        ("watch -x meminfo", "watch has no flag '-x'"),
        ("watch -n", "--interval needs a value"),
        ("time time meminfo", "time stands there twice"),
        ("time repeat 2 watch time meminfo", "time stands there twice"),
        ("grep x", "grep stands behind a command: COMMAND | grep"),
        ("time head", "head stands behind a command"),
        ("meminfo | sections", "'sections' cannot stand behind a '|'"),
        ("meminfo | time", "'time' cannot stand behind a '|'"),
        ("meminfo | grep", "something is missing; usage: grep"),
        ("meminfo | grep a b", "'b' is one word too many"),
        ("meminfo | grep [", "the pattern has a '[' without its ']'"),
        ("meminfo | head x", "'x' is one word too many"),
        ("meminfo | head -n x", "'x' is not a number of lines"),
        ("meminfo | head -3 -4", "--lines is given twice"),
        ("meminfo | wc", "wc counts lines only"),
        ("meminfo | more | head", "more stands at the end"),
        ("meminfo | tail | tail", "tail stands there twice"),
        ("meminfo | head | head | head | head | head", "more than 4 filters"),
        ("meminfo | grep \"a", "a word that starts with \" must end with \""),
        ("meminfo | grep 'a'b", "a word that starts with ' must end with '"),
    ] {
        let error = parse(line).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(message), "{line}: {error}");
    }
}

proptest! {
    // Any text is a pipeline or one error of one line.
    #[test]
    fn total(parts in prop::collection::vec(
        "(alloc|time|watch|repeat|grep|head|tail|wc|more|-n|-3|3|-l|-J|--|\\||\"|'|[ -~é\t]{0,6})", 0..40)
    ) {
        let line = parts.join(" ");
        match parse(&line) {
            Ok(pipeline) => prop_assert_eq!(pipeline.command.command.role, Role::Command),
            Err(error) => {
                let text = error.to_string();
                prop_assert!(!text.is_empty() && !text.contains('\n'));
            }
        }
    }

    // Without a '|', a prefix or a quote a line means what it meant to `args`.
    #[test]
    fn as_before(words in prop::collection::vec("(alloc|help|free|page|--|-|-J|--node|--all|=|[ -!#-&(-{}~]{0,6})", 0..40)) {
        let line = words.join(" ");
        let (now, before) = (parse(&line), crate::args::parse(&line));
        let is_command = before.as_ref().is_ok_and(|given| given.command.role == Role::Command);
        match (now, before) {
            (Ok(now), Ok(before)) => prop_assert_eq!(std::format!("{:?}", now.command), std::format!("{before:?}")),
            (Err(now), Err(before)) => prop_assert_eq!(now.to_string(), before.to_string()),
            (now, _) => prop_assert!(!is_command, "{:?}", now),
        }
    }
}
