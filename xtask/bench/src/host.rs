//! The machine that the figures were measured on; the raw data include it.

use std::fs;
use std::process::Command;

use ::report::figures::Host;

/// This machine, now.
pub fn describe() -> Host {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    let kilobytes = after(&meminfo, "MemTotal:").and_then(|text| number(&text)).unwrap_or(0.0);
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut command: Vec<String> = ["cargo", "xtask", "bench"].map(str::to_owned).to_vec();
    let word = |word: String| if word.contains('/') { "DIR".to_owned() } else { word };
    command.extend(std::env::args().skip(1).map(word));
    Host {
        cpu: after(&cpuinfo, "model name").unwrap_or_else(|| "unknown".into()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory: kilobytes as u64 * 1024,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        qemu: first_line("qemu-system-x86_64", &["--version"]),
        commit: first_line("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]),
        started: since.map_or(0, |since| since.as_secs()),
        load: number(&loads).unwrap_or(0.0),
        command,
    }
}

/// The lines that stand above a table.
pub fn print(host: &Host) {
    println!("{}, {} cores, load {}; Linux {}", host.cpu, host.cores, host.load, host.kernel);
    println!("{}; Carapace {}", host.qemu, host.commit);
    println!("{}", host.command());
}

/// What follows `key` and a colon in a file of such lines.
fn after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(guest::task::root()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
