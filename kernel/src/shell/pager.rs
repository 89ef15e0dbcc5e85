//! Output that stops at each screen, and what is redrawn in place.
//!
//! The kernel cannot know whether a person or a program reads the serial line, and a program must never meet a
//! pager. So there is none until somebody says that a terminal is there: `pager on`, `pager LINES`, `COMMAND | more`,
//! or whoever started QEMU (`-fw_cfg name=opt/carapace/pager,string=LINES`, which `cargo xtask run` adds where it has
//! a terminal itself). Never with `-J`.
//!
//! What does not fit the screen is held by the console and let out here, between two steps of a command and at its
//! end, so that a DIMM is answered while somebody reads. Text that is no pager's key lets all of it out and is the
//! beginning of the next line: whoever types on without looking loses nothing.

use super::{Failure, console, input};
use crate::arch::fw_cfg;
use carapace_cli::keys::Keys;
use carapace_cli::pages::{ROWS, ROWS_DEFAULT, Wish, wish};
use core::future::poll_fn;
use core::sync::atomic::{AtomicU16, Ordering};
use core::task::Poll;
use log::warn;
use spin::Mutex;

/// QEMU's name for the file that says how many rows the terminal has.
const OPTION: &str = "opt/carapace/pager";

/// Rows of the terminal; 0 where nobody said that there is one.
static TERMINAL: AtomicU16 = AtomicU16::new(0);

/// Rows of the terminal, if there is one.
pub fn rows() -> Option<u16> {
    Some(TERMINAL.load(Ordering::Relaxed)).filter(|&rows| rows > 0)
}

/// Says how many rows the terminal has; `None`: there is none.
pub fn set_rows(rows: Option<u16>) {
    TERMINAL.store(rows.unwrap_or(0), Ordering::Relaxed);
}

/// Looks whether whoever started the machine has a terminal.
pub fn start() {
    let Some(text) = fw_cfg::read::<8>(OPTION) else { return };
    let rows = core::str::from_utf8(&text).ok().and_then(|text| text.trim_end_matches('\0').parse().ok());
    match rows {
        Some(rows) if ROWS.contains(&rows) => set_rows(Some(rows)),
        _ => warn!("{OPTION} is no number of rows from {} to {}", ROWS.start(), ROWS.end()),
    }
}

/// Rows of a page: one is for the words that say that more is there.
pub fn page_rows() -> u16 {
    rows().unwrap_or(ROWS_DEFAULT) - 1
}

/// The keys pressed at a full page; `None`: nobody is waited for.
static AT_THE_PAGE: Mutex<Option<Keys>> = Mutex::new(None);

/// Whether all that is held has been seen, or given up. To be asked again whenever something has happened.
///
/// # Errors
///
/// When Ctrl-C has come.
pub fn settled() -> Poll<Result<(), Failure>> {
    let mut reading = AT_THE_PAGE.lock();
    while console::is_held() {
        let keys = reading.get_or_insert_with(|| {
            console::show_waiting();
            Keys::new()
        });
        let wish = match input::take_key() {
            None => return Poll::Pending,
            Some(byte) => byte.map(|byte| wish(keys, byte)),
        };
        if matches!(wish, Ok(None)) {
            continue;
        }
        console::hide_waiting();
        *reading = None;
        match wish {
            Ok(Some(Wish::Page)) => console::turn(page_rows()),
            Ok(Some(Wish::Line)) => console::turn(1),
            Ok(Some(Wish::Rest)) => {
                input::give_back();
                console::open_up();
            }
            Ok(_) => console::close(),
            Err(failure) => {
                console::close();
                return Poll::Ready(Err(failure));
            }
        }
    }
    Poll::Ready(Ok(()))
}

/// Waits until all that is held has been seen, or given up.
///
/// # Errors
///
/// When Ctrl-C has come.
pub async fn settle() -> Result<(), Failure> {
    poll_fn(|_| settled()).await
}
