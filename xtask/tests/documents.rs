//! The documents keep what they promise: their links lead somewhere, and the code they name is there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The targets of all links `[text](target)` in `text`, with the words in front of each.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("](").map(|at| from + at) {
        let end = text[at..].find(')').map_or(text.len(), |end| at + end);
        let before = &text[from..text[..at].rfind('[').unwrap_or(at)];
        found.push((before, &text[at + 2..end]));
        from = end;
    }
    found
}

/// Proves that no document links to a file that is gone.
#[test]
fn links_lead_somewhere() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    for document in ["README.md", "HOWITWORKS.md"].map(|name| root().join(name)).into_iter().chain(pages) {
        let name = document.display();
        let text = fs::read_to_string(&document).unwrap();
        let links = links(&text);
        assert!(!links.is_empty(), "{name} links to nothing: is it still read right?");
        let folder = document.parent().unwrap();
        for (_, target) in links.into_iter().filter(|(_, target)| !target.contains("://")) {
            assert!(folder.join(target).exists(), "{name} links to {target}, which is not there");
        }
    }
}

/// Proves that where HOWITWORKS says "`function` in [file]", the file has that name.
#[test]
fn named_functions_are_where_they_are_said_to_be() {
    let text = fs::read_to_string(root().join("HOWITWORKS.md")).unwrap();
    let mut checked = 0;
    for (before, target) in links(&text) {
        let words = before.trim_end();
        let Some(words) = words.strip_suffix("in").map(str::trim_end).filter(|words| words.ends_with('`'))
        else {
            continue;
        };
        let name = words.trim_end_matches('`').rsplit('`').next().unwrap_or_default();
        let name = name.rsplit("::").next().unwrap_or_default();
        let path = root().join(target);
        let file = if path.is_dir() { path.join("mod.rs") } else { path };
        let mut code = fs::read_to_string(&file).unwrap();
        // A module's functions may lie in its folder.
        let folder = match file.file_name().and_then(|name| name.to_str()) {
            Some("mod.rs") => file.parent().map(Path::to_path_buf),
            _ => Some(file.with_extension("")),
        };
        for entry in folder.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
            code += &fs::read_to_string(entry.path()).unwrap_or_default();
        }
        assert!(code.contains(&format!("fn {name}")), "HOWITWORKS says {target} has a function {name}");
        checked += 1;
    }
    assert!(checked > 5, "only {checked} names found: is HOWITWORKS still read right?");
}
