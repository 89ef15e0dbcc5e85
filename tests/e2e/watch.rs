//! `cargo xtask watch`, as a person sees it on a terminal of 80 by 24 beside a guest.

use tests::screen::Terminal;
use tests::session::Session;

const ENTER: &str = "\r";
const DOWN: &str = "\x1b[B";
const ESCAPE: &str = "\x1b";
const CONTROL_C: &str = "\x03";

/// Proves that keys add a DIMM of 256 MiB to node 1, that the map then shows its memmap in its first 4 MiB and the rest
/// free, the table its row, the list the kernel's answer; that memory allocated there is seen as used and is verified;
/// that keys remove the DIMM, and it is gone from the screen; that another size is filled, and that the
/// terminal is as it was in the end.
#[test]
fn a_dimm_by_keys() {
    let session = Session::start();
    let mut view = session.terminal(&["watch"], &[]);
    let rows = view.wait("the guest", |rows| rows.iter().any(|row| row.starts_with("  0 boot")));
    assert!(rows[0].starts_with(" Carapace: 510.9M in 1 resource"), "{rows:#?}");
    assert!(view.look(vt100::Screen::alternate_screen));
    assert!(!rows.iter().any(|row| row.starts_with("node 1:")), "{rows:#?}");

    // The default is 256M on the last node.
    view.press("a");
    view.wait_text("node  < 1 >");
    view.press(ENTER);
    view.wait_text("d0: 256M accepted on node 1");
    // A frame may be half drawn, and the table be newer than the map: wait for both.
    let first = ["0x000100000000 mmmm", &".".repeat(60)].concat();
    let last = ["0x00010c000000 ", &".".repeat(64)].concat();
    let resource = "  1 MP00      0x100000000    256M    1 any     online       4M   252M   252M";
    let rows = view.wait("the DIMM in the map and in the table", |rows| {
        let has = |wanted: &str| rows.iter().any(|row| row.starts_with(wanted));
        has("node 1: 256 MiB present, 252 MiB free; a cell is 1 MiB")
            && has(&first)
            && has(&last)
            && has(resource)
    });
    let at = rows.iter().position(|row| row.starts_with("0x000100000000")).expect("its first row");
    let colour = |column: u16| {
        view.look(|screen| screen.cell(u16::try_from(at).unwrap_or(0), column).map(vt100::Cell::bgcolor))
    };
    assert!(colour(15) == colour(18) && colour(18) != colour(19), "memmap and free memory look different");
    view.wait_text("MP00: Notify 1, device check");
    view.wait_text("MP00: +256M node 1 at 0x100000000");
    view.wait_text("MP00: _OST 1,0x0 accepted");

    // 100M in any node, from where node 0 has most.
    view.press("m");
    view.wait_text("node  < any >");
    view.press("\t\t");
    view.wait_text("node  < 1 >");
    view.press(ENTER);
    view.wait_text("allocation 1: 100 MiB");
    view.wait("the used memory", |rows| {
        let used = |row: &String| row.starts_with("0x0001") && row.contains("uuuuuuuu");
        rows.iter().any(|row| row.starts_with("node 1: 256 MiB present, 152 MiB")) && rows.iter().any(used)
    });
    view.press("v");
    view.wait_text("25600 pages match their pattern");

    // Its content moves to node 0.
    view.press("d");
    view.wait_text("> d0");
    view.press(ENTER);
    view.wait_text("d0: unplugged");
    view.wait_text("MP00: _OST 3,0x84 being ejected");
    view.wait_text("MP00: -256M given up");
    view.wait("one resource and one node", |rows| {
        let gone = |row: &String| !row.starts_with("  1 MP00") && !row.starts_with("node 1:");
        rows[0].contains("in 1 resource,") && rows.iter().all(gone)
    });
    view.press("v");
    view.wait_text("25600 pages match their pattern");
    view.press(&["f", DOWN, ENTER].concat());
    view.wait_text("1 allocation freed: 100 MiB");

    view.resize(40, 132);
    view.wait("all of the larger terminal", |rows| rows.len() == 40 && rows[39].starts_with(" a add DIMM"));
    view.press("q");
    assert_eq!(view.wait_exit(), Some(0));
    assert!(!view.look(vt100::Screen::alternate_screen) && !view.look(vt100::Screen::hide_cursor));
}

/// Proves that without colours the same letters are there and nothing else is needed, that Ctrl-C leaves a terminal as
/// it was, that a guest's end is said, and that a guest that starts later is shown, also where there was none before.
#[test]
fn plain_terminals_and_ends() {
    let mut session = Session::start();
    let mut view = session.terminal(&["watch"], &[("TERM", "vt100")]);
    view.wait_text("a cell is ");
    let colours = view.look(|screen| {
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let coloured = |cell: &vt100::Cell| {
            (cell.fgcolor(), cell.bgcolor()) != (vt100::Color::Default, vt100::Color::Default)
        };
        cells.filter(|&(row, column)| screen.cell(row, column).is_some_and(coloured)).count()
    });
    assert_eq!(colours, 0);
    assert!(view.rows().iter().all(|row| row.is_ascii()), "{:#?}", view.rows());
    view.press("?");
    view.wait_text("add a DIMM");
    view.press(ESCAPE);
    view.press(CONTROL_C);
    assert_eq!(view.wait_exit(), Some(0));
    assert!(!view.look(vt100::Screen::alternate_screen));

    let view = session.terminal(&["watch"], &[("NO_COLOR", "1")]);
    view.wait_text("a cell is ");
    assert_eq!(session.end(), Some(0));
    view.wait_text("the guest has ended; the next one that `cargo xtask run` starts is shown here");
    let mut other: Terminal = session.terminal(&["watch"], &[]);
    other.wait_text("no guest runs yet; waiting for `cargo xtask run`");
    let mut session = session.start_again();
    for view in [&view, &other] {
        view.wait("the next guest", |rows| rows[0].contains(" in 1 resource,"));
    }
    other.press("q");
    assert_eq!(other.wait_exit(), Some(0));
    assert_eq!(session.end(), Some(0));
}
