//! A guest's second serial line for tests: a missing answer ends the test.

use guest::rpc::Client;
use serde_json::Value;

/// The connection.
#[derive(Debug)]
pub struct Remote(Client);

impl Remote {
    /// Over this connection.
    pub fn new(client: Client) -> Remote {
        Remote(client)
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.0.requests().send(text.as_bytes()).expect("the guest reads its second line");
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.0.messages().line().expect("a line from the guest in time");
        line.expect("the guest runs")
    }

    /// Waits for the answer of that number, or its error. Events in front of it are kept.
    #[track_caller]
    pub fn answer(&mut self, id: u32) -> Result<Value, String> {
        self.0.answer(id).expect("an answer")
    }

    /// Asks for `command`, which has to go well; its answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        let answer = self.0.ask(command).expect("an answer");
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Asks for `command`, which has to be refused; its error.
    #[track_caller]
    pub fn refused(&mut self, command: &str) -> String {
        let answer = self.0.ask(command).expect("an answer");
        answer.expect_err(command)
    }

    /// Waits for the next event of that kind; others before it are dropped.
    #[track_caller]
    pub fn event(&mut self, kind: &str) -> Value {
        self.0.event(kind).expect("an event")
    }

    /// The events that came with the answers so far.
    pub fn events(&mut self) -> Vec<Value> {
        self.0.events()
    }
}
