//! What keys do: open a dialog, change its selection, take or cancel it, scroll.
//!
//! Invariant: a key never waits; what takes time is an [`Action`] for the main program. Neighbour: `draw` shows the
//! dialogs.

use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{ALLOCATION_SIZES, Action, App, Choice, DIMM_SIZES, Dialog, What};

impl App {
    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Vec<Action> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return vec![Action::Quit];
        }
        match self.dialog.clone() {
            Dialog::None => self.plain_key(key.code),
            _ if matches!(key.code, KeyCode::Esc | KeyCode::Char('q')) => {
                self.dialog = Dialog::None;
                Vec::new()
            }
            Dialog::Help => {
                self.dialog = Dialog::None;
                Vec::new()
            }
            Dialog::Add(choice) => match self.choose(key.code, choice, DIMM_SIZES.len(), Some(0)) {
                Chosen::Not(choice) => self.open(Dialog::Add(choice)),
                Chosen::Taken => match DIMM_SIZES[choice.size].parse() {
                    Ok(size) => vec![Action::Plug { size, node: choice.node.unwrap_or(0) }],
                    Err(_) => Vec::new(),
                },
            },
            Dialog::Allocate(choice) => match self.choose(key.code, choice, ALLOCATION_SIZES.len(), None) {
                Chosen::Not(choice) => self.open(Dialog::Allocate(choice)),
                Chosen::Taken => {
                    let size = ALLOCATION_SIZES[choice.size];
                    let node = choice.node.map(|node| format!(" --node {node}")).unwrap_or_default();
                    command(format!("alloc {size}{node}"))
                }
            },
            Dialog::Free(at) => match key.code {
                KeyCode::Enter => {
                    self.dialog = Dialog::None;
                    match at.checked_sub(1).and_then(|at| self.allocations.get(at)) {
                        Some((id, _)) => command(format!("free {id}")),
                        None => command("free all".to_owned()),
                    }
                }
                code => self.open(Dialog::Free(moved(code, at, self.allocations.len() + 1))),
            },
            Dialog::Remove(None) => Vec::new(),
            Dialog::Remove(Some((rows, at))) => match key.code {
                KeyCode::Enter => {
                    self.dialog = Dialog::None;
                    let id = rows.get(at).and_then(|row| row.split_whitespace().next());
                    id.map(|id| Action::Unplug(id.to_owned())).into_iter().collect()
                }
                code => {
                    let at = moved(code, at, rows.len());
                    self.open(Dialog::Remove(Some((rows, at))))
                }
            },
        }
    }

    fn open(&mut self, dialog: Dialog) -> Vec<Action> {
        self.dialog = dialog;
        Vec::new()
    }

    fn plain_key(&mut self, code: KeyCode) -> Vec<Action> {
        let last = self.nodes.saturating_sub(1);
        match code {
            KeyCode::Char('q') => return vec![Action::Quit],
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.dialog = Dialog::Help,
            KeyCode::Char('l') => self.whole_log = !self.whole_log,
            KeyCode::Up => self.scroll.0 = self.scroll.0.saturating_sub(1),
            KeyCode::Down => self.scroll.0 += 1,
            KeyCode::PageUp => self.scroll.0 = self.scroll.0.saturating_sub(10),
            KeyCode::PageDown => self.scroll.0 += 10,
            KeyCode::Char('[') => self.scroll.1 = self.scroll.1.saturating_sub(1),
            KeyCode::Char(']') => self.scroll.1 += 1,
            _ if self.ended => {}
            KeyCode::Char('a') => self.dialog = Dialog::Add(Choice { size: 1, node: Some(last) }),
            KeyCode::Char('d') => {
                self.dialog = Dialog::Remove(None);
                return vec![Action::ListDimms];
            }
            KeyCode::Char('m') => self.dialog = Dialog::Allocate(Choice { size: 4, node: None }),
            KeyCode::Char('f') => self.dialog = Dialog::Free(0),
            KeyCode::Char('v') => return command("verify".to_owned()),
            KeyCode::Char('s') | KeyCode::Esc if self.running().is_some() => {
                self.asked = Some(Instant::now());
                self.stopping = true;
                return vec![Action::Stop];
            }
            _ => {}
        }
        Vec::new()
    }

    /// What a key makes of a choice; the lowest node is `least` (`None`: any node).
    fn choose(&mut self, code: KeyCode, choice: Choice, sizes: usize, least: Option<u64>) -> Chosen {
        let mut next = choice;
        match code {
            KeyCode::Enter => {
                self.dialog = Dialog::None;
                return Chosen::Taken;
            }
            KeyCode::Right | KeyCode::Tab => {
                next.node = match choice.node {
                    None => Some(0),
                    Some(node) if node + 1 < self.nodes => Some(node + 1),
                    Some(_) => least,
                };
            }
            KeyCode::Left | KeyCode::BackTab => {
                next.node = match choice.node {
                    node if node == least => Some(self.nodes.saturating_sub(1)),
                    None => Some(0),
                    Some(0) => None,
                    Some(node) => Some(node - 1),
                };
            }
            code => next.size = moved(code, choice.size, sizes),
        }
        Chosen::Not(next)
    }
}

/// Whether a choice is made.
enum Chosen {
    /// Not yet.
    Not(Choice),
    /// It is.
    Taken,
}

fn command(line: String) -> Vec<Action> {
    vec![Action::Ask(What::Command(line.clone()), line)]
}

/// The place in a list of `count` to which a key leads.
fn moved(code: KeyCode, at: usize, count: usize) -> usize {
    match code {
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (at + 1).min(count.saturating_sub(1)),
        KeyCode::Home => 0,
        KeyCode::End => count.saturating_sub(1),
        _ => at,
    }
}
