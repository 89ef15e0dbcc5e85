//! A guest that `cargo xtask run` has started, and other tasks beside it.

use crate::screen::Terminal;
use guest::task;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A guest with commands from a pipe, and a runtime directory of its own, so that it is the only one there.
#[derive(Debug)]
pub struct Session {
    runtime: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    /// Starts it, and waits for its first prompt.
    #[track_caller]
    pub fn start() -> Session {
        Session::start_in(tempfile::tempdir().expect("a directory for sockets"))
    }

    /// Starts the next guest in the place of one that has ended.
    #[track_caller]
    pub fn start_again(self) -> Session {
        Session::start_in(self.runtime)
    }

    #[track_caller]
    fn start_in(runtime: TempDir) -> Session {
        let mut command = xtask(&["run", "--accel", "tcg"], &runtime);
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

    /// Types a line.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open until the end");
        writeln!(stdin, "{line}").expect("xtask reads its input");
    }

    /// The answer to a `-J` command.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        let answer = std::io::Read::by_ref(&mut self.stdout).lines().map_while(Result::ok);
        answer
            .into_iter()
            .find(|line| line.starts_with('{') || line.starts_with("[{"))
            .expect("an answer in JSON")
    }

    /// A terminal with `cargo xtask` and these words on it, beside the guest.
    #[track_caller]
    pub fn terminal(&self, words: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let runtime = self.runtime.path().to_str().expect("a path in UTF-8");
        let all = [&[("XDG_RUNTIME_DIR", runtime)], environment].concat();
        Terminal::start(words, &all)
    }

    /// Ends the input, and so the guest; its exit status.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        drop(self.stdin.take());
        self.child.wait().expect("it can be waited for").code()
    }

    /// `cargo xtask` with these words, beside the guest; not started yet.
    pub fn task(&self, words: &[&str]) -> Command {
        xtask(words, &self.runtime)
    }

    /// `cargo xtask dimm` with these words: its exit status and what it prints.
    #[track_caller]
    pub fn dimm(&self, words: &[&str]) -> (Option<i32>, String) {
        let all = ["dimm"].iter().chain(words).copied().collect::<Vec<_>>();
        let output = xtask(&all, &self.runtime).stdin(Stdio::null()).output().expect("cargo can be started");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), text.concat())
    }
}

fn xtask(words: &[&str], runtime: &TempDir) -> Command {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let mut command = task::command(&words);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    command
}
