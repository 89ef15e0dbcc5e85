//! `cargo xtask tour`, without a terminal.

use std::process::Stdio;
use tests::task;

/// Proves that the tour goes through all its steps without a key, that the refusal names frame and owner, and that it ends
/// well. Fails when a step of it does not end as it should, which the tour itself notices.
#[test]
fn unattended() {
    let words = ["tour", "--accel", "tcg"].map(str::to_owned);
    let output = task::command(&words).stdin(Stdio::null()).output().expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for step in 1..=8 {
        assert!(text.contains(&format!("\n== {step} of 8: ")), "no step {step}: {text}");
    }
    assert!(text.contains("error: d0: the kernel keeps it: resource 2 has 1 pinned frame"), "{text}");
    assert!(text.contains("d0: 4T online on node 0"), "{text}");
}
