//! A guest that does not answer: whether it works, sleeps when it should not, or the host does not let it run.

use super::{Guest, LIMIT};
use guest::serial::Silence;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

impl Guest {
    /// Ends the test because `what` did not come; prints the guest's state.
    #[track_caller]
    pub(super) fn silence(&mut self, what: &str, silence: Silence) -> ! {
        match silence {
            Silence::Timeout => {
                let state = self.state_of_the_silent();
                self.ask_where_it_is();
                panic!("{what}: nothing in {} s ({state})", LIMIT.as_secs())
            }
            Silence::Closed => panic!("{what}: the guest has ended"),
        }
    }

    /// What a guest that does not answer does: it works, it sleeps and should not, or the host does not let it run.
    fn state_of_the_silent(&mut self) -> String {
        let before = cpu_time(self.0.process());
        thread::sleep(Duration::from_secs(1));
        let used = cpu_time(self.0.process()).zip(before).map(|(after, before)| after.saturating_sub(before));
        let used = used.map_or("an unknown time".to_owned(), |ticks| format!("{ticks} ticks"));
        let registers = self.ask("info registers").unwrap_or_default();
        let halted = registers.split_whitespace().find(|word| word.starts_with("HLT="));
        let halted = halted.unwrap_or("its monitor does not answer");
        format!("QEMU used {used} of the CPU in a second; asleep is HLT=1: {halted}")
    }

    /// Makes a guest that does not answer say where it is: by the report of a non-maskable interrupt, in its log.
    fn ask_where_it_is(&mut self) {
        if self.ask("nmi").is_some() {
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end && matches!(self.0.ended(), Ok(None)) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// An HMP line; the answer, if one comes.
    fn ask(&mut self, line: &str) -> Option<String> {
        self.0.monitor()?.human(line).ok()
    }
}

/// The CPU time of a process so far, in the kernel's clock ticks (proc(5): fields 14 and 15 of `stat`).
fn cpu_time(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state behind it is field 3.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
