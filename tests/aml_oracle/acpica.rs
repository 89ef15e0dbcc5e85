//! ACPICA as the judge: `iasl` compiles, `acpiexec` evaluates, and its printed answers are read back.
//!
//! Debian's acpiexec is of 2020. `ACPIEXEC` may name a newer one, which then judges beside it: ACPICA's source has it at
//! `generate/unix` (`make acpiexec`; needs bison and flex). No package list of the supported systems has one.
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use carapace_aml::Value;

/// An answer; errors are compared as such, not by their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(Value),
    Failed,
    /// It is longer than acpiexec can tell.
    TooLong,
}

/// Compiles an ASL source as it stands: without folding constants or shortening names.
pub fn compile(source: &str, directory: &Path, name: &str) -> Vec<u8> {
    let (asl, aml) = (directory.join(format!("{name}.asl")), directory.join(format!("{name}.aml")));
    std::fs::write(&asl, source).expect("the source");
    let output = Command::new("iasl").args(["-oa", "-of", "-p"]).arg(&aml).arg(&asl).output().expect("iasl");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    std::fs::read(&aml).expect("the table")
}

/// The programs that judge: the installed one, and the one that `ACPIEXEC` names.
pub fn judges() -> Vec<PathBuf> {
    let newer = std::env::var_os("ACPIEXEC").map(PathBuf::from);
    if newer.is_none() {
        println!("ACPIEXEC names no newer acpiexec: only the installed one judges");
    }
    [PathBuf::from("acpiexec")].into_iter().chain(newer).collect()
}

/// What acpiexec answers to the evaluation of each of `names`, in this order, in one run.
pub fn evaluate(judge: &Path, tables: &[PathBuf], names: &[String]) -> Vec<Answer> {
    let commands: Vec<String> = names.iter().map(|name| format!("evaluate {name}")).collect();
    // More than about 1000 characters of commands are cut off; a run keeps no state between lines.
    let output =
        Command::new(judge).arg("-b").arg(commands.join(";")).args(tables).output().expect("acpiexec");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut answers = Vec::new();
    for part in text.split("\nEvaluating ").skip(1) {
        let name = part.lines().next().unwrap_or_default().trim();
        assert_eq!(Some(name), names.get(answers.len()).map(String::as_str), "{text}");
        answers.push(answer(part).unwrap_or_else(|| panic!("unreadable answer: {part}")));
    }
    assert_eq!(answers.len(), names.len(), "{text}");
    answers
}

/// A run that takes longer is given up: some tables of machines wait for hardware.
const SECONDS: &str = "60";
const LONG_SECONDS: &str = "30";

/// Runs commands in acpiexec; without `_INI` and without repairing what methods return.
fn batch(judge: &Path, tables: &[PathBuf], commands: &str) -> String {
    let mut command = Command::new("timeout");
    command.arg(SECONDS).arg(judge).args(["-di", "-dr", "-b", commands]).args(tables);
    let output = command.output().expect("timeout and acpiexec");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The paths of all names.
pub fn namespace(judge: &Path, tables: &[PathBuf]) -> BTreeSet<String> {
    let text = batch(judge, tables, "namespace");
    let mut path: Vec<&str> = Vec::new();
    let mut names = BTreeSet::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("ACPI Namespace"));
    for line in lines.skip(1) {
        let mut words = line.split_whitespace();
        let level = words.next().and_then(|level| level.parse::<usize>().ok());
        let (Some(level), Some(name)) = (level, words.next()) else { continue };
        path.truncate(level);
        if path.len() == level && name.len() == 4 {
            let short = name.trim_end_matches('_');
            path.push(if short.is_empty() { "_" } else { short });
            names.insert(format!("\\{}", path.join(".")));
        }
    }
    names
}

/// Like [`evaluate`], for tables of real machines: the answers until acpiexec hangs or crashes; `None` is one
/// that cannot be read.
pub fn try_evaluate(judge: &Path, tables: &[PathBuf], names: &[String]) -> Vec<Option<Answer>> {
    let mut command = Command::new("timeout");
    command.arg(LONG_SECONDS).arg(judge).args(["-di", "-dr"]).args(tables);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("timeout and acpiexec");
    // acpiexec takes this one off its list to try that; the others are Linux' and ours.
    let interfaces = ["Windows 2006", "Module Device", "Processor Device"];
    let mut commands: String = interfaces.iter().map(|name| format!("osi install \"{name}\"\n")).collect();
    commands.extend(names.iter().map(|name| format!("evaluate {name}\n")));
    commands.push_str("quit\n");
    let mut input = child.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything.
        let _ended = input.write_all(commands.as_bytes());
    });
    let output = child.wait_with_output().expect("acpiexec's output");
    writer.join().expect("the writer");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The last one may be cut off.
    let finished = text.contains("\n- quit");
    let mut parts: Vec<&str> = text.split("\nEvaluating ").skip(1).collect();
    if !finished {
        parts.pop();
    }
    let named = |(name, part): &(&String, &str)| part.lines().next().map(str::trim) == Some(name.as_str());
    names.iter().zip(parts).take_while(named).map(|(_, part)| answer(part)).collect()
}

fn answer(text: &str) -> Option<Answer> {
    // acpiexec stops at AML's BreakPoint and asks what to do.
    if text.contains("**break**") {
        return None;
    }
    if text.contains("failed with status AE_BUFFER_OVERFLOW") {
        return Some(Answer::TooLong);
    }
    if text.contains("failed with status") {
        return Some(Answer::Failed);
    }
    if text.contains("No object was returned") {
        return Some(Answer::Value(Value::Uninitialized));
    }
    let (_, text) = text.split_once("external buffer length")?;
    let mut lines = text.lines().skip(1).map(str::trim).peekable();
    object(&mut lines).map(Answer::Value)
}

fn object<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Option<Value> {
    let line = lines.next()?;
    if let Some(rest) = line.strip_prefix("[Integer] = ") {
        return u64::from_str_radix(rest, 16).ok().map(Value::Integer);
    }
    if let Some(rest) = line.strip_prefix("[String] Length ") {
        let (_, text) = rest.split_once('"')?;
        return unescaped(text.strip_suffix('"')?).map(Value::String);
    }
    if let Some(rest) = line.strip_prefix("[Buffer] Length ") {
        let (length, mut rest) = rest.split_once('=')?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        let mut bytes = Vec::new();
        if length > 16 {
            rest = lines.next()?;
        }
        while bytes.len() < length {
            let (_, dump) = rest.split_once(": ")?;
            let (hex, _) = dump.split_once("//")?;
            bytes.extend(hex.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()));
            if bytes.len() < length {
                rest = lines.next()?;
            }
        }
        return Some(Value::Buffer(bytes));
    }
    if let Some(rest) = line.strip_prefix("[Package] Contains ") {
        let count = rest.split_whitespace().next()?.parse::<usize>().ok()?;
        return (0..count).map(|_| object(lines)).collect::<Option<Vec<_>>>().map(Value::Package);
    }
    if line.starts_with("[Object Reference]") {
        return Some(Value::Reference(String::new()));
    }
    line.contains("[Null Object]").then_some(Value::Uninitialized)
}

/// acpiexec prints quotes, backslashes and control bytes as C does, and what else is not printable as \xHH.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        plain.push(match letter {
            '\\' => match rest.next()? {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    char::from(u8::from_str_radix(&digits, 16).ok()?)
                }
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}
