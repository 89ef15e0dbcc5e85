//! `cargo xtask watch`: a running guest on the whole screen.
//!
//! ```text
//!  second serial port (connection, model) --.                .--> draw (map, theme) --> terminal
//!  keys ------------------------------------+--> app (state) +
//!  QMP: DIMMs ------------------------------'                '--> commands, DIMMs
//! ```
//!
//! A program of its own, so that `cargo xtask run` is compiled without what a screen needs. Invariant: the terminal is
//! as it was before when the program ends, also by a panic or a signal.

mod app;
mod connection;
mod draw;
mod event_log;
mod map;
mod model;
#[cfg(test)]
mod tests;
mod theme;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use carapace_cli::memory_map::palette::Depth;
use clap::Parser;
use guest::dimm::{Dimm, Dimms, Outcome};
use guest::discovery;
use guest::rpc::Requests;
use options::WatchArgs;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEvent};
use ratatui::crossterm::style::force_color_output;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::app::{Action, App};
use crate::connection::Heard;
use crate::theme::Theme;

/// How long the kernel may take to answer to a DIMM.
const KERNEL_TIMEOUT: Duration = Duration::from_secs(120);
/// How often signals and the clock are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often a guest is looked for while there is none.
const LOOK: Duration = Duration::from_millis(300);

/// A message to the main loop.
#[derive(Debug)]
enum Message {
    Heard(Heard),
    Key(KeyEvent),
    /// The terminal has another size, or is shown again.
    Redraw,
    DimmDone(Result<String, String>),
    Dimms(Result<Vec<Dimm>, String>),
}

fn main() -> ExitCode {
    match watch(&WatchArgs::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn watch(cli: &WatchArgs) -> Result<()> {
    // Everything that can be said on a line is said before the screen is taken.
    ensure!(
        io::stdout().is_terminal() && io::stdin().is_terminal(),
        "the view needs a terminal; programs talk on the guest's second serial port themselves (docs/architecture.md)"
    );
    if discovery::running() == 0 && cli.qmp.is_none() {
        eprintln!("no guest runs yet; waiting for `cargo xtask run` on another terminal (Ctrl-C ends this)");
        while discovery::running() == 0 {
            thread::sleep(LOOK);
        }
    }
    let (sender, messages) = mpsc::channel();
    let guest = Found::connect(cli.qmp.as_deref(), &sender)?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told_to_end)).context("signals cannot be caught")?;
    }
    let theme = Theme::of_environment();
    force_color_output(theme.colours() != Depth::None);
    let mut app = App::new(theme, guest.nodes);
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    thread::spawn({
        let sender = sender.clone();
        move || read_keys(&sender)
    });
    let wanted = cli.qmp.clone();
    let mut view = View { guest, wanted, looked: Instant::now(), sender, told_to_end };
    let result = view.run(&mut terminal, &mut app, &messages);
    ratatui::restore();
    result
}

/// Passes keys on, until the terminal is gone.
fn read_keys(sender: &Sender<Message>) {
    while let Ok(event) = event::read() {
        let message = match event {
            event::Event::Key(key) => Message::Key(key),
            _ => Message::Redraw,
        };
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// The guest that is shown. Found once: other guests may start beside it.
struct Found {
    link: Requests,
    qmp: PathBuf,
    nodes: u64,
}

impl Found {
    /// The guest with the QMP socket at `wanted`, or the only one that runs.
    fn connect(wanted: Option<&Path>, sender: &Sender<Message>) -> Result<Found> {
        let qmp = discovery::find(wanted)?;
        // QEMU's monitor speaks with one at a time, and is left at once: `cargo xtask dimm` shall work beside this.
        let nodes = connect(&qmp)?.nodes()?;
        let Some(socket) = discovery::second_port(&qmp)? else {
            bail!(
                "this guest has no second serial port; `cargo xtask run` gives one to those that it starts"
            );
        };
        let link = connection::connect(&socket, sender.clone(), Message::Heard)?;
        Ok(Found { link, qmp, nodes })
    }
}

struct View {
    guest: Found,
    /// The user's choice of a guest.
    wanted: Option<PathBuf>,
    /// When another guest was looked for last.
    looked: Instant,
    sender: Sender<Message>,
    told_to_end: Arc<AtomicBool>,
}

impl View {
    /// Shows the next guest, once the one shown has ended and another one runs.
    fn follow(&mut self, app: &mut App) -> bool {
        if !app.ended || self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        // Until it can be connected to, it is not ready.
        let Ok(guest) = Found::connect(self.wanted.as_deref(), &self.sender) else { return false };
        *app = App::new(app.theme, guest.nodes);
        self.guest = guest;
        true
    }

    fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        app: &mut App,
        messages: &Receiver<Message>,
    ) -> Result<()> {
        let mut changed = true;
        loop {
            changed |= self.follow(app);
            for action in app.poll(Instant::now()) {
                // `poll` may also have changed the view: the guest does not answer.
                changed = true;
                self.act(app, action);
            }
            if changed {
                terminal.draw(|frame| draw::draw(frame, app)).context("the terminal takes nothing")?;
            }
            if self.told_to_end.load(Ordering::Relaxed) {
                return Ok(());
            }
            changed = match messages.recv_timeout(TICK) {
                Ok(message) => {
                    // All that has come meanwhile is one picture.
                    for message in std::iter::once(message).chain(messages.try_iter()) {
                        for action in take(app, message) {
                            if action == Action::Quit {
                                return Ok(());
                            }
                            self.act(app, action);
                        }
                    }
                    true
                }
                Err(RecvTimeoutError::Timeout) => false,
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
        }
    }

    fn act(&mut self, app: &mut App, action: Action) {
        let written = match action {
            Action::Ask(what, command) => self.guest.link.ask(&command).map(|id| app.sent(id, what)),
            Action::Stop => self.guest.link.stop(),
            Action::Plug { size, node } => {
                app.tell(event_log::Tone::Plain, format!("plugging {size} into node {node} ..."));
                self.work(move |monitor| {
                    let id = monitor.free_id()?;
                    Ok(match monitor.add(&id, size, node)? {
                        Outcome::Done(state) => Ok(format!("{id}: {size} {state} on node {node}")),
                        Outcome::Refused(why) => Err(format!("{id}: the kernel refuses it: {why}")),
                    })
                });
                Ok(())
            }
            Action::Unplug(id) => {
                app.tell(event_log::Tone::Plain, format!("asking the kernel for {id} ..."));
                self.work(move |monitor| {
                    Ok(match monitor.remove(&id)? {
                        Outcome::Done(state) => Ok(format!("{id}: {state}")),
                        Outcome::Refused(why) => Err(format!("{id}: the kernel keeps it: {why}")),
                    })
                });
                Ok(())
            }
            Action::ListDimms => {
                let (sender, qmp) = (self.sender.clone(), self.guest.qmp.clone());
                thread::spawn(move || {
                    let dimms = connect(&qmp).and_then(|mut monitor| monitor.list());
                    let _ = sender.send(Message::Dimms(dimms.map_err(|error| format!("{error:#}"))));
                });
                Ok(())
            }
            Action::Quit => Ok(()),
        };
        if let Err(error) = written
            && !app.ended
        {
            app.tell(event_log::Tone::Bad, format!("the second serial port takes nothing: {error}"));
        }
    }

    /// Works with QEMU's monitor on a thread of its own: an answer may take long.
    fn work(&self, job: impl FnOnce(&mut Dimms) -> Result<Result<String, String>> + Send + 'static) {
        let (sender, qmp) = (self.sender.clone(), self.guest.qmp.clone());
        thread::spawn(move || {
            let done = connect(&qmp).and_then(|mut monitor| job(&mut monitor));
            let done = done.unwrap_or_else(|error| Err(format!("{error:#}")));
            // A failure has no receiver: the main loop is gone.
            let _ = sender.send(Message::DimmDone(done));
        });
    }
}

fn connect(qmp: &Path) -> Result<Dimms> {
    Ok(Dimms::connect(qmp, KERNEL_TIMEOUT)?.without_second_line())
}

fn take(app: &mut App, message: Message) -> Vec<Action> {
    match message {
        Message::Heard(Heard::Line(line)) => app.heard(line),
        Message::Heard(Heard::Ended) => app.end(),
        Message::Key(key) => return app.key(key),
        Message::Redraw => {}
        Message::DimmDone(result) => app.dimm_done(result),
        Message::Dimms(result) => app.dimms(result),
    }
    Vec::new()
}
