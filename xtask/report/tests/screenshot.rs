//! The page in a browser: headless Chromium, where it is installed. Elsewhere the test says that it was left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use report::{figures, page};

/// Switches off the browser's background work.
const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];
/// Widths of a phone and of a screen.
const WIDTHS: [u32; 2] = [360, 1280];
/// A picture of an empty page of this size is far smaller.
const DRAWN: u64 = 20_000;

fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| which::which(name).ok())
}

fn run(browser: &Path, folder: &Path, words: &[String]) -> String {
    let mut command = Command::new("timeout");
    command
        .arg("60")
        .arg(browser)
        .args(QUIET)
        .arg(format!("--user-data-dir={}", folder.join("profile").display()));
    let output = command.args(words).stdin(Stdio::null()).output().expect("a browser that starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Width and height of a PNG, from its first chunk.
fn dimensions(png: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    assert!(png.starts_with(b"\x89PNG"), "no PNG");
    (word(16), word(20))
}

/// Proves that a browser draws the page, on a screen and on a phone, light and dark, and as a PDF; and that the page fits
/// the width of a phone, without sideways scrolling.
#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = browser() else {
        println!("Chromium is not installed: the page is NOT looked at");
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let data = serde_json::from_str(include_str!("canned.json")).expect("data of a report");
    let page = page::render(&data, &figures::kept().expect("kept figures"), None);
    let file = folder.path().join("page.html");
    fs::write(&file, &page).expect("it can be written");
    let url = format!("file://{}", file.display());
    for (width, dark) in WIDTHS.into_iter().zip([true, false]) {
        let picture = folder.path().join(format!("{width}.png"));
        let mut words =
            vec![format!("--screenshot={}", picture.display()), format!("--window-size={width},1600")];
        words.extend(dark.then(|| "--blink-settings=preferredColorScheme=0".to_owned()));
        words.push(url.clone());
        run(&browser, folder.path(), &words);
        let png = fs::read(&picture).expect("a picture");
        assert_eq!(dimensions(&png), (width, 1600));
        assert!(png.len() as u64 > DRAWN, "hardly anything is drawn");
    }
    let pdf = folder.path().join("page.pdf");
    run(&browser, folder.path(), &[format!("--print-to-pdf={}", pdf.display()), url]);
    assert!(fs::read(&pdf).expect("a PDF").starts_with(b"%PDF"));

    // The page itself has no script; this frame around it has, to look how wide it is.
    let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<body><iframe style='width:360px;height:900px;border:0' srcdoc=\"{escaped}\"></iframe><script>\
         onload=()=>document.title=document.querySelector('iframe').contentDocument.documentElement.scrollWidth\
         </script></body>"
    );
    let outer = folder.path().join("frame.html");
    fs::write(&outer, frame).expect("it can be written");
    let dumped =
        run(&browser, folder.path(), &["--dump-dom".to_owned(), format!("file://{}", outer.display())]);
    let width = dumped.split("<title>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    assert_eq!(width, "360", "something on the page is wider than a phone");
}
