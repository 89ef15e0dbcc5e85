//! The shell's manners on a serial line that programs read.

use tempfile::TempDir;
use tests::schema::{Meminfo, Refusal, Uptime};
use tests::{Machine, Plan, asl};

/// Proves that an empty line, an unknown command, a wrong argument and a flag given twice are
/// answered with one error line each, with `-J` in one object, and that the shell goes on.
#[test]
fn errors_are_one_line() {
    let mut guest = Plan::new(Machine::Q35).boot();
    for line in [
        "nonsense",
        "alloc",
        "alloc 1M 2M",
        "alloc 99999999999T",
        "free",
        "alloc 1M --pinned --pinned",
        "page zzz",
    ] {
        let answer = guest.sh(line);
        assert!(answer.len() == 1 && answer[0].starts_with("error: "), "`{line}` answered {answer:?}");
    }
    // Enter alone is no error.
    assert_eq!(guest.sh(""), Vec::<String>::new());
    for line in ["meminfo -J -J", "alloc -J", "page zzz -J"] {
        let refused: Refusal = guest.json(line);
        assert!(!refused.error.is_empty(), "{line}");
    }
    guest.assert_sound();
}

/// Proves that `help` names the commands, and that commands for people answer something.
#[test]
fn commands_for_people() {
    let mut guest = Plan::new(Machine::Pc).boot();
    let help = guest.sh("help").join("\n");
    for command in
        ["resources", "sections", "meminfo", "buddyinfo", "page", "alloc", "free", "verify", "check"]
    {
        assert!(help.contains(command), "help does not name {command}:\n{help}");
        let usage = guest.sh(&format!("help {command}")).join("\n");
        assert!(usage.contains(command), "help {command}: {usage}");
    }
    for command in ["resources", "sections", "meminfo", "buddyinfo", "page 0x100", "map", "dmesg", "check"] {
        let answer = guest.sh(command);
        assert!(!answer.is_empty() && !answer[0].starts_with("error"), "`{command}` answered {answer:?}");
    }
}

/// Proves that no byte is lost when far more than any buffer holds is sent at once, while a command runs that takes
/// longer than sending it: 300 commands, 300 answers. Fails when the port is read on though there is no room.
#[test]
fn nothing_sent_is_lost() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let padding = "x".repeat(40);
    let flood: String = (0..300).map(|index| format!("nonsense{index:03}{padding}\n")).collect();
    guest.send(format!("alloc 400M\n{flood}").as_bytes());
    guest.wait_text(&format!("carapace> nonsense299{padding}\r\n"));
    guest.skip_to_now();
    guest.send(b"\n");
    guest.wait_prompt();
    let log = guest.log();
    for index in 0..300 {
        let line = format!("carapace> nonsense{index:03}{padding}\r\n");
        assert!(log.contains(&line), "line {index} is lost or torn");
    }
}

/// Proves that a line of 64 KiB and one full of control bytes are answered with one error each, after
/// their end, and that the next command is run as it was sent.
#[test]
fn lines_that_cannot_be_run() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let long = vec![b'x'; 64 << 10];
    let control: Vec<u8> =
        (0x00..0x20).filter(|byte| !b"\x03\n\r".contains(byte)).chain([0x7f, 0xff]).collect();
    for line in [&long, &control] {
        guest.skip_to_now();
        let before = guest.log().matches("error: ").count();
        guest.send(line);
        guest.send(b"\nuptime -J\n");
        let uptime: Uptime = guest.finish("uptime -J");
        assert!(uptime.uptime_us > 0);
        assert_eq!(guest.log().matches("error: ").count(), before + 1, "not one error");
        guest.assert_sound();
    }
}

/// Proves that input typed before the kernel is up is not lost: it waits in the serial port.
#[test]
fn typed_before_the_prompt() {
    let mut guest = Plan::new(Machine::Q35).start();
    guest.send(b"uptime -J\n");
    let uptime: Uptime = guest.finish("uptime -J");
    assert!(uptime.uptime_us > 0);
    guest.assert_sound();
}

/// Proves that the first command, sent while the kernel starts, finds the heap as it stays, on either serial line: the part
/// of bring-up behind the prompt is done by then, here the rehearsal with a device whose methods keep an object. Fails
/// when a command runs earlier: then the heap of an idle machine grows between two commands.
#[test]
fn the_first_command_finds_the_heap_as_it_stays() {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("keeps", directory.path());
    // The device is the only one: the rehearsal takes the first that is absent.
    let plan = Plan::new(Machine::Q35).option("--slots", "0");
    let plan = plan.qemu(&["-acpitable", &format!("file={}", table.display())]).second_port();
    let heap = |meminfo: Meminfo| (meminfo.heap_bytes, meminfo.heap_used);
    let mut guest = plan.start();
    guest.wait_text("INFO  clock");
    guest.send(b"meminfo -J\n");
    let first = heap(guest.finish("meminfo -J"));
    assert_eq!(first, heap(guest.meminfo()));
    guest.assert_sound();

    let mut guest = plan.start();
    // The second line refuses what came before this.
    guest.wait_text("a second serial line, for programs");
    let first: Meminfo = serde_json::from_value(guest.second_line().ask("meminfo")).expect("its schema");
    guest.wait_prompt();
    assert_eq!(heap(first), heap(guest.meminfo()));
    guest.assert_sound();
}
