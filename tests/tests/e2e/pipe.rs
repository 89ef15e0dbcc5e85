//! `cargo xtask run` with commands from a pipe.

use std::io::Write;
use std::process::Stdio;
use tests::xtask;

/// Runs `cargo xtask run` with this standard input; its exit status and standard output.
#[track_caller]
fn run(input: &str) -> (Option<i32>, String) {
    let arguments = ["run", "--accel", "tcg"].map(str::to_owned);
    let mut command = xtask::command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin.write_all(input.as_bytes()).expect("xtask reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("xtask can be waited for");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Proves that commands are read from the pipe, answered, and that their end powers off: status 0.
#[test]
fn commands_from_a_pipe() {
    let (status, out) = run("meminfo -J\nalloc 1M\nverify -J\n");
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("{\"ok\":true,\"pages\":256}"), "{out}");
    assert!(out.contains("\"free_pages\""), "{out}");
}

/// Proves that `cargo xtask run` ends with the guest's status when it panics.
#[test]
fn status_of_a_panic() {
    let (status, out) = run("panic\nmeminfo\n");
    assert_eq!(status, Some(33), "{out}");
}
