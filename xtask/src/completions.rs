//! `cargo xtask completions`: what a shell needs to complete this command line.
//!
//! The scripts that clap makes are for a program of one name, `cargo-xtask`; a few lines behind them lead the shell
//! there from `cargo xtask`. zsh needs none: cargo's own completion asks `_cargo-xtask` by itself.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::generate;

use crate::cli::{Cli, Shell};

/// The name under which zsh and fish know the script: cargo's own completion looks for it.
const NAME: &str = "cargo-xtask";
/// The same for bash: clap's script for it takes a hyphen apart (`clap_complete` 4.6).
const BASH_NAME: &str = "cargo_xtask";

/// The previous completion of `cargo` serves all commands but `cargo xtask`.
const BASH: &str = r#"
# `cargo xtask ...` is completed as `cargo_xtask ...`; any other `cargo` as before.
if declare -F _comp_load >/dev/null; then _comp_load cargo 2>/dev/null
elif declare -F _completion_loader >/dev/null; then _completion_loader cargo 2>/dev/null
fi
_carapace_cargo_before=$(complete -p cargo 2>/dev/null | sed -n 's/.*-F \([^ ]*\).*/\1/p')
if [ "$_carapace_cargo_before" = _carapace_cargo ]; then _carapace_cargo_before=; fi
_carapace_cargo() {
    if [ "${COMP_WORDS[1]}" = xtask ] && [ "$COMP_CWORD" -ge 2 ]; then
        local words=(cargo_xtask "${COMP_WORDS[@]:2}") at=$((COMP_CWORD - 1))
        local COMP_WORDS=("${words[@]}") COMP_CWORD=$at
        _cargo_xtask cargo_xtask "$2" "$3"
    elif [ -n "$_carapace_cargo_before" ]; then
        "$_carapace_cargo_before" "$@"
    else
        COMPREPLY=($(compgen -W "xtask build check test run clippy fmt doc" -- "$2"))
    fi
}
complete -F _carapace_cargo -o bashdefault -o default cargo
"#;

const FISH: &str = r#"
# `cargo xtask ...` is completed as `cargo-xtask ...`.
complete -c cargo -n '__fish_seen_subcommand_from xtask' -f -a '(complete -C (string replace -r "^.*?cargo\s+xtask" cargo-xtask -- (commandline -cp)))'
"#;

/// Writes the script for `shell`.
pub fn write(shell: Shell, out: &mut dyn Write) -> Result<()> {
    let mut script = Vec::new();
    let (kind, name, more) = match shell {
        Shell::Bash => (clap_complete::Shell::Bash, BASH_NAME, BASH),
        Shell::Zsh => (clap_complete::Shell::Zsh, NAME, ""),
        Shell::Fish => (clap_complete::Shell::Fish, NAME, FISH),
    };
    generate(kind, &mut Cli::command().name(name), name, &mut script);
    script.extend_from_slice(more.as_bytes());
    out.write_all(&script)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn script(shell: Shell) -> String {
        let mut script = Vec::new();
        write(shell, &mut script).expect("a script");
        String::from_utf8(script).expect("text")
    }

    /// What bash offers for these words, the last of which is being typed.
    fn bash(words: &[&str]) -> Vec<String> {
        let (last, list) = (words[words.len() - 1], words.join("' '"));
        let script = script(Shell::Bash);
        let at = words.len() - 1;
        let before = words[at - 1];
        let line = format!(
            "{script}\nCOMP_WORDS=('{list}'); COMP_CWORD={at}; \
             _carapace_cargo cargo '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &line]).output().expect("bash");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// bash knows tasks, their subtasks, options and values behind `cargo xtask`, and leaves the rest of cargo alone.
    #[test]
    fn bash_completes() {
        let tasks = bash(&["cargo", "xtask", ""]);
        for task in ["run", "dimm", "watch", "test", "completions"] {
            assert!(tasks.iter().any(|offered| offered == task), "{task} in {tasks:?}");
        }
        assert!(bash(&["cargo", "xtask", "dimm", "re"]).contains(&"remove".to_owned()));
        assert!(bash(&["cargo", "xtask", "dimm", "add", "--no"]).contains(&"--node".to_owned()));
        assert_eq!(bash(&["cargo", "xtask", "run", "--machine", ""]), ["q35", "pc", "microvm"]);
        assert_eq!(bash(&["cargo", "bui"]), ["build"]);
    }

    /// zsh's script is one that cargo's own completion finds, fish's leads from `cargo xtask` to itself.
    #[test]
    fn other_shells() {
        assert!(script(Shell::Zsh).starts_with("#compdef cargo-xtask\n"));
        assert!(script(Shell::Zsh).contains("_cargo-xtask() {"));
        assert!(script(Shell::Fish).contains("complete -c cargo-xtask "));
        assert!(script(Shell::Fish).ends_with(FISH));
    }
}
