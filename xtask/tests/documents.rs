//! The documents are consistent: the targets of their links and the code they name exist.

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
    for document in [root().join("README.md")].into_iter().chain(pages) {
        let name = document.display();
        let text = fs::read_to_string(&document).unwrap();
        let links = links(&text);
        assert!(!links.is_empty(), "{name} links to nothing: is it still read right?");
        let folder = document.parent().unwrap();
        for (_, target) in links.into_iter().filter(|(_, target)| !target.contains("://")) {
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, id)| (file, Some(id)));
            let file = if file.is_empty() { document.clone() } else { folder.join(file) };
            assert!(file.exists(), "{name} links to {target}, which is not there");
            if let Some(id) = heading {
                let text = fs::read_to_string(&file).unwrap();
                let there = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == id);
                assert!(there, "{name} links to {target}: there is no such heading");
            }
        }
    }
}

/// The id that a heading's line has on a page.
fn slug(line: &str) -> String {
    let words = line.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The names in backquotes that `before`, the words in front of a link, says are in the file: those of
/// "`a` in", "`a` and `b` in", "`a` (".
fn named(before: &str) -> Vec<&str> {
    let mut rest = before.trim_end();
    let Some(shorter) = rest.strip_suffix("in").or_else(|| rest.strip_suffix('(')) else { return Vec::new() };
    rest = shorter.trim_end();
    let mut names = Vec::new();
    while let Some((front, name)) = rest.strip_suffix('`').and_then(|quoted| quoted.rsplit_once('`')) {
        names.push(name.rsplit("::").next().unwrap_or(name));
        let front = front.trim_end();
        match front.strip_suffix("and").or_else(|| front.strip_suffix(',')) {
            Some(front) => rest = front.trim_end(),
            None => break,
        }
    }
    let is_name = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    names.into_iter().filter(is_name).collect()
}

/// Whether this code defines something of that name.
fn defines(code: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    kinds.iter().any(|kind| {
        let wanted = format!("{kind} {name}");
        code.match_indices(&wanted).any(|(at, found)| {
            let next = code[at + found.len()..].chars().next();
            next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        })
    })
}

/// Proves that where a page says "`name` in [file]", the file (or its module's folder) defines it.
/// Fails when something is renamed or moved and the documents are not.
#[test]
fn named_functions_are_where_they_are_said_to_be() {
    let mut checked = 0;
    for document in ["docs/architecture.md", "docs/reuse.md", "docs/memmap.md"].map(|name| root().join(name))
    {
        let text = fs::read_to_string(&document).unwrap();
        for (before, target) in links(&text) {
            let path = document.parent().unwrap().join(target.split('#').next().unwrap_or_default());
            let file = if path.is_dir() { path.join("mod.rs") } else { path };
            if file.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let mut code = fs::read_to_string(&file).unwrap();
            // A module's functions may lie in its folder.
            let folder = match file.file_name().and_then(|name| name.to_str()) {
                Some("mod.rs") => file.parent().map(Path::to_path_buf),
                _ => Some(file.with_extension("")),
            };
            for entry in folder.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten()
            {
                code += &fs::read_to_string(entry.path()).unwrap_or_default();
            }
            for name in named(before) {
                assert!(defines(&code, name), "{} says that {target} has `{name}`", document.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} names found: are the documents still read right?");
}

/// Proves that names are found in the forms that the documents use, and nothing else is taken for one.
#[test]
fn names_in_front_of_a_link() {
    assert_eq!(named("the text, `survey` and\n   `make_room` in "), ["make_room", "survey"]);
    assert_eq!(named("a variant of `AddError` ("), ["AddError"]);
    assert_eq!(named("by `Buddy::find` in "), ["find"]);
    assert!(named("nothing in ").is_empty() && named("`VMEMMAP + 64 n` (").is_empty());
    assert!(defines("pub fn find(", "find") && !defines("fn finder(", "find"));
    assert_eq!(slug("## What it costs"), "what-it-costs");
}

/// Proves that the figures of README and docs are those of docs/figures.json, from which the report takes its own. Fails when
/// a figure is changed in a document or in the file alone.
#[test]
fn figures_are_those_of_the_file() {
    let root = root();
    let figures =
        report::figures::read(&root.join(report::documents::FILE)).unwrap().expect("docs/figures.json");
    let mut blocks = Vec::new();
    for document in report::documents::files(&root).unwrap() {
        let text = fs::read_to_string(&document).unwrap();
        let name = document.strip_prefix(&root).unwrap().display().to_string();
        blocks.extend(report::documents::names(&text).iter().map(|block| format!("{name} {block}")));
        let anew = report::documents::with_figures(&text, &figures).unwrap();
        for (line, (is, should)) in text.lines().zip(anew.lines()).enumerate() {
            assert_eq!(is, should, "{name}:{}: `cargo xtask bench --documents` writes it anew", line + 1);
        }
        assert_eq!(text, anew, "{name}: `cargo xtask bench --documents` writes it anew");
    }
    let benchmarks =
        ["add", "floor", "aml", "remove", "migrate", "virtio-mem", "cpus"].map(|name| ("benchmarks", name));
    let architecture = ["counted", "allocator", "allocator-two-threads"].map(|name| ("architecture", name));
    let wanted = benchmarks.iter().chain(&architecture).map(|(file, name)| format!("docs/{file}.md {name}"));
    for block in wanted.chain(["README.md summary", "docs/memmap.md growth"].map(str::to_owned)) {
        assert!(blocks.contains(&block), "{block} is missing: {blocks:?}");
    }
}
