//! `cargo xtask run` with commands from a pipe.

use std::io::Write;
use std::process::Stdio;
use tests::schema::{Meminfo, Verify};
use tests::task;

/// What `cargo xtask` did.
#[derive(Debug)]
struct Run {
    status: Option<i32>,
    out: String,
    /// Everything it printed, to be shown by a test that fails.
    all: String,
}

/// Runs `cargo xtask run` with this standard input.
#[track_caller]
fn run(input: &str) -> Run {
    let arguments = ["run", "--accel", "tcg"].map(str::to_owned);
    let mut command = task::command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin.write_all(input.as_bytes()).expect("xtask reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("xtask can be waited for");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Run { status: output.status.code(), all: format!("{out}--- standard error:\n{err}"), out }
}

/// Proves that commands are read from the pipe, answered, and that their end powers off: status 0.
#[test]
fn commands_from_a_pipe() {
    let run = run("meminfo -J\nalloc 1M\nverify -J\n");
    assert_eq!(run.status, Some(0), "{}", run.all);
    let answers: Vec<_> = run.out.lines().filter(|line| line.starts_with('{')).collect();
    let [meminfo, verify] = answers[..] else { panic!("two answers in JSON, not\n{}", run.all) };
    let meminfo: Meminfo = serde_json::from_str(meminfo).expect("the first answer is that of meminfo");
    assert!(meminfo.free_pages > 0);
    let verify: Verify = serde_json::from_str(verify).expect("the second answer is that of verify");
    assert_eq!(verify, Verify { ok: true, pages: 256, bad_pages: 0 });
}

/// Proves that `cargo xtask run` ends with the guest's status when it panics.
#[test]
fn status_of_a_panic() {
    let run = run("panic\nmeminfo\n");
    assert_eq!(run.status, Some(33), "{}", run.all);
}
