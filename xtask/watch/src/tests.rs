//! The view on a screen that is only remembered: what stands where at 80 by 24 and above, with colours and without,
//! and what keys lead to.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use crate::app::{Action, App, Dialog, What};
use crate::draw::draw;
use crate::model::tests::{BUDDY, MAP, RESOURCES, read};
use crate::model::{Event, Line};
use crate::theme::{Letters, Theme};
use carapace_cli::memory_map::palette::Depth;

const PLAIN: Theme = Theme::new(Depth::None, Letters::Ascii);
const BRIGHT: Theme = Theme::new(Depth::Indexed, Letters::Unicode);
const DEVICE: &str = "\\_SB.MHPC.MP00";

/// A view that knows the guest of the model's tests.
fn app(theme: Theme) -> App {
    let mut app = App::new(theme, 2);
    let now = Instant::now();
    for (id, action) in (1..).zip(app.poll(now)) {
        let Action::Ask(what, _) = action else { panic!("{action:?}") };
        app.sent(id, what);
    }
    for (id, answer) in [(1, "{}"), (2, RESOURCES), (3, MAP), (4, BUDDY)] {
        let line = format!("{{\"id\":{id},\"answer\":{}}}", answer.replace('\n', " "));
        app.heard(read(&line).expect("an answer"));
    }
    app
}

fn screen(app: &App, width: u16, height: u16) -> (Vec<String>, Terminal<TestBackend>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal.draw(|frame| draw(frame, app)).expect("it draws");
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..height).map(row).collect(), terminal)
}

fn press(app: &mut App, code: KeyCode) -> Vec<Action> {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn event(app: &mut App, line: &str) {
    let Some(Line::Event(event)) = read(line) else { panic!("{line}") };
    app.heard(Line::Event(event));
}

/// The whole view at 80 by 24 without colour: the sums, the DIMM's memmap in front of the free and used frames in its
/// rows, the table's row, the bars, an event with its time.
#[test]
fn eighty_by_twenty_four() {
    let mut app = app(PLAIN);
    let added = format!(
        r#"{{"event":"added","uptime_us":149440,"device":"{}","resource":1,"base":4294967296,"size":268435456,"node":1}}"#,
        DEVICE.replace('\\', "\\\\")
    );
    event(&mut app, &added);
    let (lines, _) = screen(&app, 80, 24);
    assert_eq!(lines[0], " Carapace: 766.9M in 2 resources, 26M of it memmap, 540.9M free");
    assert_eq!(lines[1], "memory map   . free  u used  B boot  m memmap  o offline  _ unplugged  - absent");
    let at = lines.iter().position(|line| line.starts_with("node 1:")).expect("node 1's title");
    assert_eq!(lines[at], "node 1: 256 MiB present, 52 MiB free; a cell is 1 MiB");
    assert_eq!(lines[at + 1], ["0x000100000000 mmmm....", &"u".repeat(56)].concat());
    assert_eq!(lines[at + 4], ["0x00010c000000 ", &"u".repeat(16), &".".repeat(48)].concat());
    let row =
        lines.iter().find(|line| line.contains("MP00") && line.contains("0x100000000")).expect("its row");
    assert!(row.contains("256M    1 any     online       4M   252M    52M #.."), "{row}");
    let bars = lines.iter().find(|line| line.starts_with("n1 MP00")).expect("its bars");
    assert!(bars.starts_with("n1 MP00    ..........1.11.. 32M"), "{bars}");
    assert!(lines.iter().any(|line| line.ends_with("   0.149 MP00: +256M node 1 at 0x100000000")));
    assert!(lines[23].starts_with(" a add DIMM  d remove"));
    assert!(lines.iter().all(|line| line.is_ascii()));
}

/// Without colours no cell has one; with them a cell has the colour of what most of it is, and the same letter.
#[test]
fn colours_and_letters() {
    let (plain, terminal) = screen(&app(PLAIN), 80, 24);
    let buffer = terminal.backend().buffer();
    assert!(buffer.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    let (bright, terminal) = screen(&app(BRIGHT), 80, 24);
    let at = plain.iter().position(|line| line.starts_with("node 1:")).expect("node 1") + 1;
    assert_eq!(plain[at], bright[at]);
    let buffer = terminal.backend().buffer();
    let colour = |x| buffer[(x, u16::try_from(at).expect("a row"))].bg;
    assert_eq!([colour(15), colour(19), colour(23)], [75, 22, 172].map(Color::Indexed));
}

/// Larger screens have more cells in a row and smaller ones, small screens say so; none of them makes it panic.
#[test]
fn every_size() {
    let (lines, _) = screen(&app(PLAIN), 200, 60);
    let row = lines.iter().find(|line| line.starts_with("0x000100000000 m")).expect("the DIMM's first row");
    assert_eq!(row.len(), 15 + 128);
    let (lines, _) = screen(&app(PLAIN), 40, 10);
    assert!(lines[0].starts_with("This terminal is too small"), "{}", lines[0]);
    let mut app = app(BRIGHT);
    for dialog in ['?', 'a', 'm', 'f', 'd'] {
        press(&mut app, KeyCode::Char(dialog));
        for width in [1, 20, 59, 60, 79, 132, 255] {
            for height in [1, 5, 15, 16, 24, 25, 50, 100] {
                screen(&app, width, height);
            }
        }
        press(&mut app, KeyCode::Esc);
    }
}

/// Proves that a DIMM's base is the address of a row at every width, and its first frames are that row's first cells.
/// Fails when a row's length is not a power of two.
#[test]
fn dimm_begins_a_row() {
    let app = app(PLAIN);
    for width in 60..=255 {
        let (lines, _) = screen(&app, width, 40);
        let title = lines.iter().position(|line| line.starts_with("node 1:")).expect("node 1's title");
        assert!(lines[title + 1].starts_with("0x000100000000 m"), "{width} columns: {}", lines[title + 1]);
    }
}

/// More nodes, resources and orders than there is room for: the map and the table can be scrolled to their ends, and
/// the bars are summed up by zone.
#[test]
fn more_than_fits() {
    let mut app = app(PLAIN);
    let (resource, buddy) = (app.resources[1].clone(), app.buddy[1].clone());
    let extents: Vec<_> = app.map.iter().filter(|extent| extent.node == 1).cloned().collect();
    for number in 2..40_u32 {
        let base = resource.base + (u64::from(number) << 28);
        app.resources.push(guest::schema::Resource {
            id: number,
            base,
            node: number % 12,
            ..resource.clone()
        });
        app.buddy.push(guest::schema::Buddyinfo { resource: number, node: number % 12, ..buddy.clone() });
        for extent in &extents {
            let start_pfn = extent.start_pfn + (u64::from(number) << 16);
            app.map.push(guest::schema::Extent { start_pfn, node: number % 12, ..*extent });
        }
    }
    app.map.sort_by_key(|extent| extent.start_pfn);
    let (first, _) = screen(&app, 80, 24);
    assert!(first[1].ends_with("up/down"), "{}", first[1]);
    for _ in 0..20 {
        press(&mut app, KeyCode::PageDown);
    }
    (0..60).for_each(|_| drop(press(&mut app, KeyCode::Char(']'))));
    let (last, _) = screen(&app, 80, 24);
    assert!(last.iter().any(|line| line.starts_with("node 11:")), "{last:#?}");
    assert!(last.iter().any(|line| line.starts_with(" 39 MP00")), "{last:#?}");
    assert!(last.iter().any(|line| line.starts_with("n1 any")), "{last:#?}");
}

/// Keys open their dialogs, the selection decides the action, and Esc cancels.
#[test]
fn keys() {
    let mut app = app(PLAIN);
    press(&mut app, KeyCode::Char('a'));
    let (lines, _) = screen(&app, 80, 24);
    assert!(lines.iter().any(|line| line.contains("node  < 1 >")));
    assert!(lines.iter().any(|line| line.contains(">   256M")), "{lines:#?}");
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Right);
    let size = "512M".parse().expect("a size");
    assert_eq!(press(&mut app, KeyCode::Enter), [Action::Plug { size, node: 0 }]);
    assert_eq!(app.dialog, Dialog::None);

    press(&mut app, KeyCode::Char('m'));
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Tab);
    let line = "alloc 100M --node 1".to_owned();
    assert_eq!(press(&mut app, KeyCode::Enter), [Action::Ask(What::Command(line.clone()), line)]);
    press(&mut app, KeyCode::Char('f'));
    assert_eq!(press(&mut app, KeyCode::Esc), []);
    assert_eq!(press(&mut app, KeyCode::Char('q')), [Action::Quit]);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut app, KeyCode::Char('a'));
    assert_eq!(app.key(control_c), [Action::Quit]);
}

/// The view shows each command's result in words, and an allocation made here can be freed here.
#[test]
fn ends_of_commands() {
    let mut app = app(PLAIN);
    let run = |app: &mut App, command: &str, answer: &str| {
        app.sent(9, What::Command(command.to_owned()));
        assert_eq!(app.running(), Some(command));
        app.heard(read(&format!("{{\"id\":9,{answer}}}")).expect("an answer"));
        assert_eq!(app.running(), None);
        app.status.1.clone()
    };
    let told = run(&mut app, "alloc 2M", r#""answer":{"id":3,"pages":512,"address":0}"#);
    assert_eq!(told, "allocation 3: 2 MiB");
    press(&mut app, KeyCode::Char('f'));
    press(&mut app, KeyCode::Down);
    let action = Action::Ask(What::Command("free 3".into()), "free 3".into());
    assert_eq!(press(&mut app, KeyCode::Enter), [action]);
    let told = run(&mut app, "free 3", r#""answer":{"allocations":1,"pages":512}"#);
    assert_eq!((told.as_str(), app.allocations.len()), ("1 allocation freed: 2 MiB", 0));
    let told = run(&mut app, "verify", r#""answer":{"ok":false,"pages":9,"bad_pages":1}"#);
    assert_eq!(told, "verify: 1 of 9 pages do NOT match their pattern");
    let told = run(&mut app, "verify", r#""answer":{"ok":true,"pages":9,"bad_pages":0}"#);
    assert_eq!(told, "verify: 9 pages match their pattern");
    let told = run(&mut app, "alloc 4G", r#""error":"12 pages wanted""#);
    assert_eq!(told, "alloc 4G: 12 pages wanted");
}

/// Events and lines of the log stand in the order of their times, chatter only where it is wanted.
#[test]
fn events_in_order() {
    let mut app = app(PLAIN);
    event(
        &mut app,
        r#"{"event":"ost","uptime_us":2000000,"device":"\\_SB.MHPC.MP00","source":3,"status":130}"#,
    );
    event(&mut app, r#"{"event":"log","line":"[    1.900000] INFO  isolated"}"#);
    event(&mut app, r#"{"event":"log","line":"[    2.100000] WARN  not ejected: busy"}"#);
    let texts: Vec<_> = app.entries.newest().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["WARN not ejected: busy", "MP00: _OST 3,0x82 busy", "isolated"]);
    let has = |app: &App, text: &str| screen(app, 80, 24).0.iter().any(|line| line.contains(text));
    assert!(!has(&app, "isolated") && has(&app, "   2.000 MP00: _OST 3,0x82 busy"));
    press(&mut app, KeyCode::Char('l'));
    assert!(has(&app, "   1.900 isolated"));
    app.heard(Line::Event(Box::new(Event::Lost { pieces: 4 })));
    assert!(has(&app, "4 or more events missing"));
}

/// The kernel is asked once a second, at once after an event, again when it is silent, and not when it is gone.
#[test]
fn polling() {
    let mut app = app(PLAIN);
    let now = Instant::now();
    assert_eq!(app.poll(now), []);
    event(&mut app, r#"{"event":"removed","uptime_us":5,"device":"MP00","size":1}"#);
    assert_eq!(app.poll(now).len(), 4);
    app.sent(20, What::Map);
    assert_eq!(app.poll(now + Duration::from_secs(3)), []);
    assert_eq!(app.poll(now + Duration::from_secs(30)).len(), 4);
    assert!(app.status.1.contains("no answer"));
    app.sent(23, What::Map);
    app.heard(read(&format!("{{\"id\":23,\"answer\":{}}}", MAP.replace('\n', ""))).expect("an answer"));
    assert_eq!(app.status.1, "", "it answers again");
    // A command may take long; one that is to stop, and does not, is of a kernel that was started anew.
    app.sent(21, What::Command("alloc 4G".into()));
    app.sent(22, What::Map);
    assert_eq!(app.poll(now + Duration::from_secs(600)), []);
    assert_eq!(press(&mut app, KeyCode::Char('s')), [Action::Stop]);
    assert_eq!(app.poll(Instant::now() + Duration::from_secs(30)).len(), 4);
    assert_eq!(app.running(), None);
    app.end();
    assert_eq!(app.poll(now + Duration::from_secs(60)), []);
    let (lines, _) = screen(&app, 80, 24);
    assert!(lines[0].contains("the guest has ended") && lines[22].contains("cargo xtask run"));
    assert_eq!(press(&mut app, KeyCode::Char('a')), []);
    assert_eq!(app.dialog, Dialog::None);
}
