//! The page of `cargo xtask report`: its scenario played for real.

use std::fs;
use std::process::Stdio;
use tests::task;

/// Proves that the scenario runs to its end without input, that the page has the figures of the example and of the
/// guest, and that it can be made again from its data. Fails if a step differs from the proposal.
#[test]
fn report_scenario() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let run = |arguments: &[&str]| {
        let arguments: Vec<_> = ["report"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let output = task::command(&arguments).stdin(Stdio::null()).output().expect("cargo can be started");
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(output.status.code(), Some(0), "{out}--- standard error:\n{err}");
        out
    };
    let (page, again, data) = (path("page.html"), path("again.html"), path("data.json"));
    assert_eq!(run(&["--out", &page]).trim(), page);
    let text = fs::read_to_string(&page).expect("the page");
    for figure in
        ["64,512 frames", "1,024 frames (4 MiB)", "51,200 frames", "512 GiB", "1 TiB", "carapace 0.1.0"]
    {
        assert!(text.contains(figure), "{figure} is not in the page");
    }
    let raw: serde_json::Value = serde_json::from_slice(&fs::read(&data).expect("its data")).expect("JSON");
    let plugged = &raw["steps"][0]["event"]["Plugged"];
    assert_eq!((&plugged["usable_pages"], &plugged["memmap_pages"]), (&64512.into(), &1024.into()));
    run(&["--from", &data, "--out", &again]);
    assert_eq!(fs::read_to_string(&again).expect("the page once more"), text);
}
