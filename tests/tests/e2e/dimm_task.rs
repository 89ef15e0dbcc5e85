//! `cargo xtask dimm`, as a user types it beside a guest that `cargo xtask run` has started.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use tests::xtask;

/// A guest with commands from a pipe, and a runtime directory of its own, so that it is the only one there.
struct Session {
    runtime: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    fn start() -> Session {
        let runtime = tempfile::tempdir().expect("a directory for sockets");
        let mut command = task(&["run", "--accel", "tcg"], &runtime);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cargo can be started");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let mut session = Session { runtime, child, stdin, stdout };
        // The first prompt has come: the guest listens to events.
        session.ask("meminfo -J");
        session
    }

    #[track_caller]
    fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open until the end");
        writeln!(stdin, "{line}").expect("xtask reads its input");
    }

    /// The answer to a `-J` command.
    #[track_caller]
    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        let answer = std::io::Read::by_ref(&mut self.stdout).lines().map_while(Result::ok);
        answer
            .into_iter()
            .find(|line| line.starts_with('{') || line.starts_with("[{"))
            .expect("an answer in JSON")
    }

    /// `cargo xtask dimm` with these words: its exit status and what it prints.
    #[track_caller]
    fn dimm(&self, words: &[&str]) -> (Option<i32>, String) {
        let all = ["dimm"].iter().chain(words).copied().collect::<Vec<_>>();
        let output = task(&all, &self.runtime).stdin(Stdio::null()).output().expect("cargo can be started");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), text.concat())
    }
}

fn task(words: &[&str], runtime: &TempDir) -> Command {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let mut command = xtask::command(&words);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    command
}

/// Proves that a DIMM that `dimm add` plugs is online in the guest when the task says so, that `dimm list` shows
/// it with the kernel's answer, that a refusal is an exit status of 1 with its words, that what QEMU refuses
/// leaves nothing behind, and that without a guest the task says how to start one.
#[test]
fn dimms_from_another_terminal() {
    let mut session = Session::start();
    let (status, text) = session.dimm(&["add", "256M", "--node", "1"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("dimm0: 256M online on node 1"), "{text}");
    let resources = session.ask("resources -J");
    assert!(resources.contains("\"base\":4294967296,\"size\":268435456,\"node\":1"), "{resources}");

    session.tell("fail check 1");
    session.ask("meminfo -J");
    let (status, text) = session.dimm(&["add", "128M", "--id", "mine"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("mine: the kernel refuses it: failed"), "{text}");

    let (status, text) = session.dimm(&["add", "128M", "--node", "7"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("error: QEMU refuses dimm1: "), "{text}");
    let (status, text) = session.dimm(&["add", "128M"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("dimm1: 128M online on node 0"), "{text}");

    let (status, text) = session.dimm(&["list"]);
    assert_eq!(status, Some(0), "{text}");
    let row = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned();
    assert!(row("dimm0").ends_with("256M      0x100000000  online"), "{text}");
    assert!(row("mine").contains("failed"), "{text}");

    let (status, text) = session.dimm(&["remove", "nothing"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("there is no DIMM nothing"), "{text}");

    drop(session.stdin.take());
    assert_eq!(session.child.wait().expect("it can be waited for").code(), Some(0));
    let (status, text) = session.dimm(&["list"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("no guest runs; start one by `cargo xtask run`"), "{text}");
}
