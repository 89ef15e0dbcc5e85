//! `cargo xtask sh`: a guest's shell from another program, with its pipes and exit statuses.

use std::io::Write;
use std::process::{Output, Stdio};
use tests::session::Session;

/// `cargo xtask sh` with these words and this standard input.
#[track_caller]
fn sh(session: &Session, words: &[&str], input: &str) -> Output {
    let mut command = session.task(&[&["sh"], words].concat());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // A program that stops at an error does not read the rest.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it can be waited for")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Proves that text and JSON arrive on standard output as the shell prints them, errors on standard error, and that the
/// exit status is the command's. Fails when text is cut, or when a refusal goes unnoticed by the calling shell.
#[test]
fn output_and_status() {
    let session = Session::start();
    let help = sh(&session, &["help", "alloc"], "");
    assert_eq!(help.status.code(), Some(0), "{}", text(&help.stderr));
    assert!(text(&help.stdout).contains("--contiguous"), "{}", text(&help.stdout));
    let json = sh(&session, &["resources -J"], "");
    let resources: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON alone");
    assert_eq!(resources[0]["device"], "boot");
    // Longer than a piece, with the characters that JSON escapes, and without colours.
    let map = text(&sh(&session, &["map"], "").stdout);
    assert!(map.lines().count() > 5 && !map.contains('\u{1b}'), "{map}");
    let table = text(&sh(&session, &["acpi"], "").stdout);
    assert!(table.contains("\\_SB"), "{table}");

    let refused = sh(&session, &["free", "99"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "");
    assert!(
        text(&refused.stderr).ends_with("error: there is no allocation 99\n"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(sh(&session, &["no-such-command"], "").status.code(), Some(1));
}

/// Proves that lines of standard input run in their order, that one which is refused ends the script, is named, and gives
/// the exit status; and that `poweroff` is done when the machine is off.
#[test]
fn scripts() {
    let session = Session::start();
    let script = "# a comment\n\nuptime -J\nfree 99\nmeminfo -J\n";
    let stopped = sh(&session, &[], script);
    assert_eq!(stopped.status.code(), Some(1));
    let out = text(&stopped.stdout);
    assert!(out.starts_with("{\"uptime_us\":") && out.lines().count() == 1, "{out}");
    let errors = text(&stopped.stderr);
    assert!(errors.ends_with("error: line 4, `free 99`: there is no allocation 99\n"), "{errors}");
    assert_eq!(sh(&session, &[], "alloc 4K\nfree all\npoweroff\n").status.code(), Some(0));
    let nobody = sh(&session, &["uptime"], "");
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("no guest runs; start one by `cargo xtask run`"));
}

/// Proves that a closed output ends the command without a panic, with the status that shells use for it, and that the
/// next command is answered as usual.
#[test]
fn unread_output() {
    let session = Session::start();
    let mut child = session.task(&["sh", "help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().expect("cargo can be started");
    drop(child.stdout.take());
    let status = child.wait().expect("it can be waited for");
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut errors).expect("text");
    assert_eq!(status.code(), Some(141), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    assert_eq!(sh(&session, &["uptime"], "").status.code(), Some(0));
}
