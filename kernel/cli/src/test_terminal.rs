//! A terminal of 80 columns for tests: it shows the text that a person sees.

use core::fmt;
use std::string::{String, ToString};
use std::vec::Vec;
use vte::{Params, Parser, Perform};

/// The written bytes, and the screen.
#[derive(Default)]
pub struct Terminal {
    /// Every byte written.
    pub bytes: String,
    screen: Screen,
    parser: Parser,
}

#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Terminal {
    /// The rows, without blanks at their ends.
    pub fn rows(&self) -> Vec<String> {
        self.screen.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_string()).collect()
    }

    /// The row the cursor stands in.
    pub fn row(&self) -> String {
        self.rows().get(self.screen.row).cloned().unwrap_or_default()
    }

    /// The cursor's column.
    pub fn column(&self) -> usize {
        self.screen.column
    }

    /// How often the output has the prompt directly after a newline.
    pub fn prompts(&self) -> usize {
        std::format!("\n{}", self.bytes).matches("\ncarapace> ").count()
    }
}

impl fmt::Write for Terminal {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.push_str(text);
        self.parser.advance(&mut self.screen, text.as_bytes());
        Ok(())
    }
}

impl Screen {
    fn line(&mut self) -> &mut Vec<char> {
        while self.rows.len() <= self.row {
            self.rows.push(Vec::new());
        }
        &mut self.rows[self.row]
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        let column = self.column;
        assert!(column < 80, "the editor never writes into the last column's wrap");
        let line = self.line();
        while line.len() <= column {
            line.push(' ');
        }
        line[column] = c;
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.column = 0,
            b'\n' => self.row += 1,
            8 => self.column = self.column.saturating_sub(1),
            7 => {}
            _ => panic!("control byte {byte:#x}"),
        }
        self.line();
    }

    fn csi_dispatch(&mut self, params: &Params, _: &[u8], _: bool, action: char) {
        let first = params.iter().next().map_or(0, |group| usize::from(group[0]));
        match action {
            'C' => self.column += first.max(1),
            'D' => self.column -= first.max(1),
            'K' => {
                let column = self.column;
                self.line().truncate(column);
            }
            'H' => (self.row, self.column) = (0, 0),
            'J' => self.rows.clear(),
            'm' => {}
            _ => panic!("sequence {action}"),
        }
    }
}
