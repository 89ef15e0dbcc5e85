//! The view on the screen.
//!
//! ```text
//!  Carapace: 766.9M present, 541.3M free                                    header
//!  memory map   . free  u used  ...                                         takes the remaining height
//!  ID DEVICE BASE ...                                                       as many rows as there are, within limits
//!  free blocks by order | events
//!  the last action, keys
//! ```
//!
//! Pure: the same state and size give the same cells.

use carapace_cli::format_size::{ShortSize, Size};
use guest::schema::{Extent, KINDS, PAGE, Resource, Word};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::app::{ALLOCATION_SIZES, App, Choice, DIMM_SIZES, Dialog};
use crate::event_log::{Entry, Tone};
use crate::map;
use crate::model::short;
use crate::theme::Theme;

/// The smallest screen for the whole view.
const LEAST: (u16, u16) = (60, 16);
/// Columns of the free blocks.
const BARS: u16 = 36;
/// Columns in front of a row of cells: its address.
const ADDRESS: u16 = 15;

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "This terminal is too small: {} x {}.\nThe view needs {} x {}, and 80 x 24 to be read with ease.\nq quits.",
            area.width, area.height, LEAST.0, LEAST.1
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), area);
        return;
    }
    let most = usize::from(area.height / 6);
    let rows = app.resources.len().clamp(1, most) as u16 + 1;
    let [header, map, table, bottom, status, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(6),
        Constraint::Length(rows),
        Constraint::Length(area.height * 3 / 10),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let [bars, gap, events] =
        Layout::horizontal([Constraint::Length(BARS), Constraint::Length(2), Constraint::Min(10)])
            .areas(bottom);
    let _ = gap;
    draw_header(frame, header, app);
    draw_map(frame, map, app);
    draw_table(frame, table, app);
    draw_bars(frame, bars, app);
    draw_events(frame, events, app);
    let (tone, text) = &app.status;
    frame.render_widget(Paragraph::new(Span::styled(text.as_str(), style(app.theme, *tone))), status);
    draw_keys(frame, keys, app);
    draw_dialog(frame, app);
}

fn style(theme: Theme, tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => theme.good(),
        Tone::Bad => theme.bad(),
        Tone::Quiet => theme.quiet(),
    }
}

/// A title and a rule to the right end.
fn title(theme: Theme, text: &str, width: u16) -> Line<'static> {
    let rest = usize::from(width).saturating_sub(text.chars().count() + 1);
    Line::from(vec![
        Span::styled(text.to_owned(), theme.title()),
        Span::raw(" "),
        Span::styled(theme.rule().repeat(rest), theme.quiet()),
    ])
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let sum = |pages: fn(&Resource) -> u64| app.resources.iter().map(pages).sum::<u64>();
    let (present, free) = (sum(|one| one.size), sum(|one| one.free_pages) * PAGE);
    let memmap = sum(|one| one.memmap_pages) * PAGE;
    let (present, free, memmap) = (ShortSize(present), ShortSize(free), ShortSize(memmap));
    let many = app.resources.len();
    let text = if app.ended {
        " Carapace: the guest has ended; this is its last state".to_owned()
    } else {
        let s = if many == 1 { "" } else { "s" };
        format!(" Carapace: {present} in {many} resource{s}, {memmap} of it memmap, {free} free")
    };
    let width = usize::from(area.width);
    frame.render_widget(Paragraph::new(Span::styled(format!("{text:<width$}"), app.theme.reverse())), area);
}

fn draw_map(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut legend = vec![Span::styled("memory map", app.theme.title()), Span::raw("  ")];
    for kind in KINDS {
        legend.push(Span::styled(format!(" {} ", kind.letter()), app.theme.cell(Some(kind))));
        legend.push(Span::raw(format!("{} ", kind.name())));
    }
    legend.push(Span::raw(" - absent"));
    let [top, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(Line::from(legend)), top);
    let lines = map_lines(app, area.width, usize::from(below.height));
    let away = app.scroll.0.min(lines.len().saturating_sub(usize::from(below.height)));
    let hidden = lines.len().saturating_sub(usize::from(below.height));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(away).collect();
    frame.render_widget(Paragraph::new(shown), below);
    if hidden > 0 {
        // At the legend's end: that there is more, and how to get there.
        let text = format!("{away}/{hidden} up/down");
        let width = text.len() as u16;
        let place = Rect { x: top.right().saturating_sub(width), y: top.y, width, height: 1 };
        frame.render_widget(Paragraph::new(Span::styled(text, app.theme.quiet())), place);
    }
}

/// The cells of a row: a power of two. A row's address is a multiple of its length, so that a DIMM's base, a multiple
/// of its section size, begins a row of at most that length. With 96 cells it would begin within one, and the table's
/// BASE would be none of the map's addresses.
fn columns(most: u64) -> u64 {
    1 << most.max(1).ilog2()
}

/// The lines of the map: for each node a title and rows of cells, all nodes with as many rows as there is room.
fn map_lines(app: &App, width: u16, height: usize) -> Vec<Line<'static>> {
    let mut nodes: Vec<u32> = app.resources.iter().map(|resource| resource.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let columns = columns(width.saturating_sub(ADDRESS).max(8).into());
    let mut left = height.saturating_sub(nodes.len());
    let mut lines = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let extents: Vec<&Extent> = app.map.iter().filter(|extent| extent.node == *node).collect();
        // What one node does not need the nodes behind it have.
        let (scale, rows) = map::picture(&app.theme, &extents, columns, left.div_ceil(nodes.len() - at));
        left = left.saturating_sub(rows.len());
        let resources = app.resources.iter().filter(|resource| resource.node == *node);
        let (present, free) = resources.fold((0, 0), |(present, free), resource| {
            (present + resource.size, free + resource.free_pages * PAGE)
        });
        lines.push(Line::raw(format!(
            "node {node}: {} present, {} free; a cell is {}",
            Size(present),
            Size(free),
            Size(scale.cell_bytes())
        )));
        lines.extend(rows);
    }
    lines
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let head = format!(
        "{:>3} {:<6} {:>14} {:>7} {:>4} {:<7} {:<8} {:>6} {:>6} {:>6}",
        "ID", "DEVICE", "BASE", "SIZE", "NODE", "ZONE", "STATE", "MEMMAP", "USABLE", "FREE"
    );
    let mut lines = vec![Line::styled(head, app.theme.title())];
    let room = usize::from(area.height).saturating_sub(1);
    let away = app.scroll.1.min(app.resources.len().saturating_sub(room));
    for resource in app.resources.iter().skip(away).take(room) {
        let Resource { id, base, size, node, zone, state, .. } = resource;
        let bytes = |pages: u64| ShortSize(pages.saturating_mul(PAGE));
        let text = format!(
            "{id:>3} {:<6.6} {base:>#14x} {:>7} {node:>4} {zone:<7.7} {state:<8.8} {:>6} {:>6} {:>6}",
            short(&resource.device),
            ShortSize(*size),
            bytes(resource.memmap_pages),
            bytes(resource.usable_pages),
            bytes(resource.free_pages),
        );
        let used = usize::from(area.width).saturating_sub(text.chars().count() + 1);
        let bar = app.theme.share(resource.free_pages, resource.usable_pages, used.min(20));
        lines.push(Line::from(vec![Span::raw(text), Span::raw(" "), Span::styled(bar, app.theme.bar())]));
    }
    frame.render_widget(Paragraph::new(lines), area);
    let below = app.resources.len().saturating_sub(room);
    if below > 0 {
        let text = format!(" {away}/{below} [ ]");
        let width = text.len() as u16;
        let place = Rect { x: area.right().saturating_sub(width), y: area.y, width, height: 1 };
        frame.render_widget(Paragraph::new(Span::styled(text, app.theme.quiet())), place);
    }
}

fn draw_bars(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let room = usize::from(area.height).saturating_sub(2);
    let label = |node: u32, name: &str| format!("n{node} {name:<7.7}");
    let rows: Vec<(String, Vec<u64>)> = if app.buddy.len() <= room {
        let device =
            |id: u32| app.resources.iter().find(|one| one.id == id).map_or("", |one| short(&one.device));
        app.buddy.iter().map(|one| (label(one.node, device(one.resource)), one.free.to_vec())).collect()
    } else {
        by_zone(app).into_iter().map(|(node, zone, free)| (label(node, &zone), free)).collect()
    };
    let orders = rows.iter().map(|(_, free)| free.len()).max().unwrap_or(0).max(11);
    let digits: String = (0..orders).map(|order| char::from(b'0' + (order % 10) as u8)).collect();
    let mut lines = vec![title(app.theme, "free blocks by order", area.width)];
    lines.push(Line::from(Span::styled(format!("{:<11}{digits}", ""), app.theme.quiet())));
    for (label, free) in rows.into_iter().take(room) {
        let bars: String =
            (0..orders).map(|at| free.get(at).map_or(' ', |&many| app.theme.height(many))).collect();
        let largest = free.iter().rposition(|&many| many > 0);
        let largest = largest.map(|order| ShortSize(PAGE << order.min(40)).to_string()).unwrap_or_default();
        lines.push(Line::from(vec![
            Span::raw(format!("{label:<11}")),
            Span::styled(bars, app.theme.bar()),
            Span::raw(format!(" {largest}")),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The sums of each node's zones, where there is no room for every resource.
fn by_zone(app: &App) -> Vec<(u32, Word, Vec<u64>)> {
    let mut sums: Vec<(u32, Word, Vec<u64>)> = Vec::new();
    for row in &app.buddy {
        let at = sums.iter().position(|(node, zone, _)| (*node, *zone) == (row.node, row.zone));
        let at = at.unwrap_or_else(|| {
            sums.push((row.node, row.zone, Vec::new()));
            sums.len() - 1
        });
        let sum = &mut sums[at].2;
        sum.resize(sum.len().max(row.free.len()), 0);
        sum.iter_mut().zip(&row.free).for_each(|(sum, free)| *sum += free);
    }
    sums.sort();
    sums
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let text = if app.whole_log { "events and log" } else { "events (l: log too)" };
    let room = usize::from(area.height).saturating_sub(1);
    let wanted = |entry: &&Entry| app.whole_log || !entry.chatter;
    let mut shown: Vec<&Entry> = app.entries.newest().filter(wanted).take(room).collect();
    shown.reverse();
    let mut lines = vec![title(app.theme, text, area.width)];
    if shown.is_empty() {
        lines.push(Line::styled("none since this view was opened", app.theme.quiet()));
    }
    for entry in shown {
        let time = format!("{:>4}.{:03} ", entry.at / 1_000_000, entry.at / 1000 % 1000);
        lines.push(Line::from(vec![
            Span::styled(time, app.theme.quiet()),
            Span::styled(entry.text.as_str(), style(app.theme, entry.tone)),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let text = match (&app.dialog, app.running().is_some()) {
        (Dialog::None, _) if app.ended => " l log  ? help  q quit",
        (Dialog::None, true) => " s stop  |  l log  ? help  q quit",
        (Dialog::None, false) => " a add DIMM  d remove  m alloc  f free  v verify  l log  ? help  q quit",
        (Dialog::Help, _) => " any key goes back",
        (Dialog::Add(_) | Dialog::Allocate(_), _) => {
            " up/down size  left/right node  Enter does it  Esc goes back"
        }
        (Dialog::Free(_) | Dialog::Remove(_), _) => " up/down choose  Enter does it  Esc goes back",
    };
    let width = usize::from(area.width);
    frame.render_widget(Paragraph::new(Span::styled(format!("{text:<width$}"), app.theme.reverse())), area);
}

const HELP: &[&str] = &[
    "a  add a DIMM            d  remove one",
    "m  allocate memory       f  free it",
    "v  verify the patterns",
    "s  stop a command that takes long",
    "l  the whole log among the events, or not",
    "up, down, page up, page down   the map",
    "[  ]                           the table",
    "q, Ctrl-C                      quit",
    "",
    "A cell's letter is the rarest kind of frame in",
    "it, its colour what most of it is. A bar's",
    "height: the digits of the number, in binary.",
];

fn draw_dialog(frame: &mut Frame<'_>, app: &App) {
    let theme = app.theme;
    let row = |text: String, chosen: bool| {
        let mark = if chosen { ">" } else { " " };
        Line::styled(format!("{mark} {text}"), if chosen { theme.reverse() } else { Style::new() })
    };
    let (title, lines): (&str, Vec<Line<'_>>) = match &app.dialog {
        Dialog::None => return,
        Dialog::Help => (" keys ", HELP.iter().map(|line| Line::raw(*line)).collect()),
        Dialog::Add(choice) => (" add a DIMM ", choices(&DIMM_SIZES, *choice, &row)),
        Dialog::Allocate(choice) => (" allocate ", choices(&ALLOCATION_SIZES, *choice, &row)),
        Dialog::Free(at) => {
            let mut rows = vec!["all of them".to_owned()];
            let told = |(id, bytes): &(u64, u64)| format!("allocation {id}: {}", Size(*bytes));
            rows.extend(app.allocations.iter().map(told));
            (" free ", list(rows, *at, &row))
        }
        Dialog::Remove(None) => (" remove a DIMM ", vec![Line::raw("asking QEMU ...")]),
        Dialog::Remove(Some((rows, at))) => (" remove a DIMM ", list(rows.clone(), *at, &row)),
    };
    let room = frame.area();
    let width = lines.iter().map(Line::width).max().unwrap_or(0).max(title.len()) as u16 + 4;
    let height = lines.len() as u16 + 2;
    let (width, height) = (width.min(room.width), height.min(room.height));
    let place = Rect { x: (room.width - width) / 2, y: (room.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let border = match theme.rule() {
        "-" => Block::bordered().border_set(ASCII_BORDER),
        _ => Block::bordered(),
    };
    frame.render_widget(Paragraph::new(lines).block(border.title(title)), place);
}

/// A border without letters of Unicode.
const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

fn choices<'a>(sizes: &[&str], choice: Choice, row: &dyn Fn(String, bool) -> Line<'a>) -> Vec<Line<'a>> {
    let node = choice.node.map_or_else(|| "any".to_owned(), |node| node.to_string());
    let mut lines = vec![Line::raw(format!("node  < {node} >")), Line::raw("")];
    lines.extend(sizes.iter().enumerate().map(|(at, size)| row(format!("{size:>6}"), at == choice.size)));
    lines
}

/// A list of which the chosen row is always seen.
fn list<'a>(rows: Vec<String>, at: usize, row: &dyn Fn(String, bool) -> Line<'a>) -> Vec<Line<'a>> {
    const ROOM: usize = 12;
    let first = (at + 1).saturating_sub(ROOM);
    let shown = rows.into_iter().enumerate().skip(first).take(ROOM);
    shown.map(|(number, text)| row(text, number == at)).collect()
}
