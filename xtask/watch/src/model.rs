//! What the kernel says on its second serial line, read: answers of commands, and what happens.
//!
//! A line that is not what it should be is passed over: an answer that the kernel had to break off is followed by its
//! error, and a newer kernel may tell more.

use carapace_cli::memory_map::{KINDS, Kind};
use guest::rpc::Message;
use serde::Deserialize;
use serde_json::Value;

/// A resource, of `resources`; sizes in bytes and pages of 4 KiB.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Resource {
    /// Its number.
    pub id: u32,
    /// Its device's ACPI path, or `boot`.
    pub device: String,
    /// Its address.
    pub base: u64,
    /// Its bytes.
    pub size: u64,
    /// Its node.
    pub node: u32,
    /// Its zone.
    pub zone: String,
    /// `online`, `offline` or what is between.
    pub state: String,
    /// Pages of its memmap.
    pub memmap_pages: u64,
    /// Pages that can be allocated when all is online.
    pub usable_pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
}

impl Resource {
    /// The last name of the device's path.
    pub fn short(&self) -> &str {
        short(&self.device)
    }
}

/// The last name of an ACPI path.
pub fn short(path: &str) -> &str {
    path.rsplit(['.', '\\']).next().unwrap_or(path)
}

/// A run of frames that are alike, of `map`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Extent {
    /// The first frame.
    pub start_pfn: u64,
    /// Frames.
    pub pages: u64,
    /// Its node.
    pub node: u32,
    /// What they are.
    #[serde(deserialize_with = "kind")]
    pub kind: Kind,
}

fn kind<'de, D: serde::Deserializer<'de>>(word: D) -> Result<Kind, D::Error> {
    let word = String::deserialize(word)?;
    let found = KINDS.into_iter().find(|kind| kind.name() == word);
    found.ok_or_else(|| serde::de::Error::custom(format!("no kind of frame is called {word}")))
}

/// Free blocks of a resource, of `buddyinfo`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Buddy {
    /// The resource.
    pub resource: u32,
    /// Its node.
    pub node: u32,
    /// Its zone.
    pub zone: String,
    /// Blocks by order.
    pub free: Vec<u64>,
}

/// What an answer belongs to, or what has come unasked.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The answer to the request of that number, or its error.
    Answer(u32, Result<Value, String>),
    /// Something happened.
    Event(Event),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields are the kernel's: crate carapace-cli's NewsRow has them")]
pub enum Event {
    /// The firmware has notified a device.
    Notify { uptime_us: u64, device: String, value: u64 },
    /// The firmware was answered.
    Ost { uptime_us: u64, device: String, source: u64, status: u64 },
    /// Memory has come.
    Added { uptime_us: u64, device: String, resource: u32, base: u64, size: u64, node: u32 },
    /// Memory has gone.
    Removed { uptime_us: u64, device: String, size: u64 },
    /// A line of the log.
    Log { line: String },
    /// So much was not told.
    Lost { pieces: u64 },
}

/// What a message is to the view; `None` for an event that it does not know.
pub fn known(message: Message) -> Option<Line> {
    match message {
        Message::Answer(id, answer) => Some(Line::Answer(id, answer)),
        Message::Text(..) => None,
        Message::Event(event) => serde_json::from_value(event).ok().map(Line::Event),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A guest of 512 MiB with a DIMM of 256 MiB in node 1, of which 200 MiB are allocated.
    pub const RESOURCES: &str = r#"[
        {"id":0,"device":"boot","base":1048576,"size":535691264,"node":0,"zone":"kernel","state":"online",
         "memmap_pages":5637,"usable_pages":125147,"free_pages":125147},
        {"id":1,"device":"\\_SB.MHPC.MP00","base":4294967296,"size":268435456,"node":1,"zone":"any",
         "state":"online","memmap_pages":1024,"usable_pages":64512,"free_pages":13312}]"#;
    /// Its frames.
    pub const MAP: &str = r#"[
        {"start_pfn":256,"pages":1,"node":0,"resource":0,"kind":"boot"},
        {"start_pfn":257,"pages":3841,"node":0,"resource":0,"kind":"free"},
        {"start_pfn":4098,"pages":2044,"node":0,"resource":0,"kind":"memmap"},
        {"start_pfn":6142,"pages":124898,"node":0,"resource":0,"kind":"free"},
        {"start_pfn":1048576,"pages":1024,"node":1,"resource":1,"kind":"memmap"},
        {"start_pfn":1049600,"pages":1024,"node":1,"resource":1,"kind":"free"},
        {"start_pfn":1050624,"pages":51200,"node":1,"resource":1,"kind":"used"},
        {"start_pfn":1101824,"pages":12288,"node":1,"resource":1,"kind":"free"}]"#;
    /// Its free blocks.
    pub const BUDDY: &str = r#"[
        {"resource":0,"node":0,"zone":"kernel","free":[3,4,5,3,4,3,1,2,1,1,1,2,1,2,2,2]},
        {"resource":1,"node":1,"zone":"any","free":[0,0,0,0,0,0,0,0,0,0,1,0,1,1,0,0]}]"#;

    /// A line of the kernel's as the view takes it.
    pub fn read(line: &str) -> Option<Line> {
        Message::read(line).and_then(known)
    }

    /// Events have their fields; one that the view does not know is passed over.
    #[test]
    fn events() {
        let event = read(r#"{"event":"ost","uptime_us":5,"device":"\\_SB.MHPC.MP00","source":1,"status":0}"#);
        let device = "\\_SB.MHPC.MP00".to_owned();
        assert_eq!(event, Some(Line::Event(Event::Ost { uptime_us: 5, device, source: 1, status: 0 })));
        assert_eq!(read(r#"{"event":"new-kind"}"#), None);
    }

    /// The kernel's own answers are read, with the device's last name for the table.
    #[test]
    fn answers() {
        let resources: Vec<Resource> = serde_json::from_str(RESOURCES).expect("resources");
        assert_eq!((resources[0].short(), resources[1].short()), ("boot", "MP00"));
        let map: Vec<Extent> = serde_json::from_str(MAP).expect("extents");
        assert_eq!(map[4].kind, Kind::Memmap);
        assert!(serde_json::from_str::<Vec<Extent>>(&MAP.replace("\"used\"", "\"odd\"")).is_err());
        let buddy: Vec<Buddy> = serde_json::from_str(BUDDY).expect("free blocks");
        assert_eq!(buddy[1].free.len(), 16);
    }
}
