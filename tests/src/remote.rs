//! A guest's second serial line, as a program uses it: a line in, a line of JSON out, events in between.

use crate::guest::{Guest, LIMIT, Plan};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// QEMU's arguments for a second serial port on the socket `remote` in the guest's own directory.
pub fn with_second_port(plan: Plan) -> Plan {
    let socket = format!("socket,id=remote,path={}/remote,server=on,wait=off", crate::xtask::DIRECTORY);
    plan.qemu(&["-chardev", &socket, "-serial", "chardev:remote"])
}

/// The connection.
#[derive(Debug)]
pub struct Remote {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    events: VecDeque<Value>,
    id: u32,
}

impl Remote {
    /// Connects to the second port of `guest`, which was planned by [`with_second_port`].
    #[track_caller]
    pub fn connect(guest: &Guest) -> Remote {
        Remote::connect_to(&guest.directory().join("remote"))
    }

    /// Connects to the socket at `path`.
    #[track_caller]
    pub fn connect_to(path: &Path) -> Remote {
        let stream = UnixStream::connect(path).expect("QEMU listens on the second port's socket");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut remote = Remote { stream, reader, events: VecDeque::new(), id: 0 };
        // Ends what somebody before may have left unfinished.
        remote.send("\n");
        remote
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("the guest reads its second line");
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.reader.read_line(&mut line).expect("a line from the guest in time");
        assert!(bytes > 0, "the guest has ended");
        line
    }

    /// Asks for `command`; the whole answer, with its number. Events in front of it are kept.
    #[track_caller]
    pub fn ask_raw(&mut self, command: &str) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(&format!("@{id} {command}\n"));
        self.answer(id)
    }

    /// Waits for the answer of that number. Events in front of it are kept.
    #[track_caller]
    pub fn answer(&mut self, id: u32) -> Value {
        loop {
            let line = self.line();
            let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
            if value["id"] == id {
                return value;
            }
            if value["event"].is_string() {
                self.events.push_back(value);
            }
        }
    }

    /// Asks for `command`, which has to go well; its answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        let mut value = self.ask_raw(command);
        assert!(value["error"].is_null(), "{command}: {value}");
        value["answer"].take()
    }

    /// Asks for `command`, which has to be refused; its error.
    #[track_caller]
    pub fn refused(&mut self, command: &str) -> String {
        let value = self.ask_raw(command);
        value["error"].as_str().unwrap_or_else(|| panic!("{command} is not refused: {value}")).to_owned()
    }

    /// Waits for the next event of that kind; others before it are dropped.
    #[track_caller]
    pub fn event(&mut self, kind: &str) -> Value {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["event"] == kind {
                    return event;
                }
            }
            let line = self.line();
            if let Ok(value) = serde_json::from_str::<Value>(&line)
                && value["event"].is_string()
            {
                self.events.push_back(value);
            }
        }
    }

    /// The events that came with the answers so far.
    pub fn events(&mut self) -> Vec<Value> {
        self.events.drain(..).collect()
    }
}
