//! What the remote line tells unasked: a line of JSON each, told apart by its field `event`.

use super::Device;
use serde::Serialize;

/// A piece of news; times are microseconds since boot, sizes and addresses bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields are named as in the answers of commands")]
pub enum NewsRow {
    /// The firmware has notified a device (ACPI 6.5, table 5.187): 1 it has come, 3 it is asked back.
    Notify { uptime_us: u64, device: Device, value: u64 },
    /// `_OST` was evaluated: the answer to the Notify of value `source`.
    Ost { uptime_us: u64, device: Device, source: u64, status: u64 },
    /// A resource has come.
    Added { uptime_us: u64, device: Device, resource: u32, base: u64, size: u64, node: u32 },
    /// A device's memory has gone.
    Removed { uptime_us: u64, device: Device, size: u64 },
    /// So many pieces of news, or places in the log, are missing here: the reader was too slow.
    Lost { pieces: u64 },
}

/// A line of the log.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename = "log")]
pub struct LogRow<'a> {
    /// The line, with its time and level.
    pub line: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::frame;

    // Each piece is one line of JSON that says what it is; the longest fits its buffer.
    #[test]
    fn news() {
        let device = Device::of(&"\\_SB.".repeat(40));
        let (uptime_us, value) = (u64::MAX, u64::MAX);
        let rows = [
            (NewsRow::Notify { uptime_us, device, value }, "notify"),
            (NewsRow::Ost { uptime_us, device, source: value, status: value }, "ost"),
            (
                NewsRow::Added { uptime_us, device, resource: 1, base: value, size: value, node: u32::MAX },
                "added",
            ),
            (NewsRow::Removed { uptime_us, device, size: value }, "removed"),
            (NewsRow::Lost { pieces: value }, "lost"),
        ];
        for (row, event) in rows {
            let out = frame(&row).unwrap();
            assert_eq!(out.matches('\n').count(), 1);
            let read: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(read["event"], event);
        }
        let out = frame(&LogRow { line: &"\\".repeat(400) }).unwrap();
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&read["event"], read["line"].as_str().unwrap().len()), (&"log".into(), 400));
    }
}
