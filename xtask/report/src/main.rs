//! The program behind `cargo xtask report`: plays the scenario, or reads what one found, and writes the page.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use options::ReportArgs;
use report::{data::Data, figures, page, scenario};

fn main() -> ExitCode {
    match make(&ReportArgs::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make(cli: &ReportArgs) -> Result<()> {
    let target = guest::task::root().join("target");
    let out = match &cli.out {
        Some(out) => std::path::absolute(out)?,
        None => target.join("report/index.html"),
    };
    let kept = figures::kept()?;
    let own = figures::read(&target.join("bench/figures.json"))?;
    let data: Data = match &cli.from {
        Some(from) => {
            let text = fs::read_to_string(from).with_context(|| format!("{}", from.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} is no data of a report", from.display()))?
        }
        None => scenario::play()?,
    };
    let folder = out.parent().context("the page lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let write =
        |path: &PathBuf, text: &str| fs::write(path, text).with_context(|| format!("{}", path.display()));
    if cli.from.is_none() {
        write(&folder.join("data.json"), &serde_json::to_string(&data)?)?;
    }
    write(&out, &page::render(&data, &kept, own.as_ref()))?;
    println!("{}", out.display());
    Ok(())
}
