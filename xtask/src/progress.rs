//! Something to look at while a command takes its time.
//!
//! On a terminal a spinner with the elapsed time and the command's last line; elsewhere plain lines, and only
//! for what takes longer than a moment. All of it on standard error: standard output belongs to results.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// What takes less is not worth a plain line.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How often a plain line says that the command is still at work.
const STILL_ALIVE: Duration = Duration::from_secs(30);

/// A command's exit status and output.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its lines, standard output and standard error in the order they came.
    pub lines: Vec<String>,
}

/// Runs `command` without standard input, shows `title` while it runs, and keeps its output.
///
/// # Errors
/// It cannot be started, or takes longer than `limit` (it is killed then).
pub fn watch(command: &mut Command, title: &str, limit: Option<Duration>) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let (sender, incoming) = mpsc::channel();
    forward_lines(child.stdout.take(), sender.clone());
    forward_lines(child.stderr.take(), sender);

    let mut display = Display::new(title);
    let mut lines = Vec::new();
    loop {
        match incoming.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                display.line(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Timeout) => display.tick(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if limit.is_some_and(|limit| display.started.elapsed() > limit) {
            stop(&mut child);
            bail!("{name} took longer than {} s and was stopped", display.started.elapsed().as_secs());
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    display.finish(status);
    Ok(Finished { status, lines })
}

/// Ends a child; that it may have ended already is no error.
pub fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn forward_lines(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
}

struct Display {
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
    announced: Option<Instant>,
    last: String,
}

impl Display {
    fn new(title: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {prefix} [{elapsed}] {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { title: title.to_owned(), started: Instant::now(), bar, announced: None, last: String::new() }
    }

    fn line(&mut self, line: &str) {
        line.trim().clone_into(&mut self.last);
        match &self.bar {
            Some(bar) => bar.set_message(self.last.clone()),
            None => self.tick(),
        }
    }

    fn tick(&mut self) {
        if self.bar.is_some() || self.started.elapsed() < A_MOMENT {
            return;
        }
        match self.announced {
            None => eprintln!("{} ...", self.title),
            Some(when) if when.elapsed() < STILL_ALIVE => return,
            Some(_) => {
                eprintln!("{} ... {} s so far: {}", self.title, self.started.elapsed().as_secs(), self.last);
            }
        }
        self.announced = Some(Instant::now());
    }

    fn finish(&mut self, status: ExitStatus) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let took = self.started.elapsed();
        if (self.bar.is_some() || self.announced.is_some()) && took >= A_MOMENT {
            let word = if status.success() { "done" } else { "failed" };
            eprintln!("{}: {word} in {:.0} s", self.title, took.as_secs_f64());
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
