//! Parses the kernel's messages on its second serial line: answers of commands, and events.
//!
//! A line of unknown form is skipped: the kernel may break off an answer, whose error follows, and a newer kernel may
//! have more events.

use guest::rpc::Message;
use serde_json::Value;

/// The last name of an ACPI path.
pub fn short(path: &str) -> &str {
    path.rsplit(['.', '\\']).next().unwrap_or(path)
}

/// The request of an answer, or the kind of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The answer to the request of that number, or its error.
    Answer(u32, Result<Value, String>),
    /// Something happened.
    Event(Box<Event>),
}

/// Something that happened.
pub type Event = guest::schema::Event<String>;

/// What a message is to the view; `None` for an event that it does not know.
pub fn known(message: Message) -> Option<Line> {
    match message {
        Message::Answer(id, answer) => Some(Line::Answer(id, answer)),
        Message::Text(..) => None,
        Message::Event(event) => serde_json::from_value(event).ok().map(|event| Line::Event(Box::new(event))),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use guest::schema::{Buddyinfo, Device, Extent, Kind, Resource};

    /// A guest of 512 MiB with a DIMM of 256 MiB in node 1, of which 200 MiB are allocated.
    pub const RESOURCES: &str = r#"[
        {"id":0,"device":"boot","base":1048576,"size":535691264,"node":0,"zone":"kernel","state":"online",
         "memmap_start_pfn":4098,"memmap_pages":5637,"usable_start_pfn":257,"usable_pages":125147,"free_pages":125147,
         "largest_free_pages":65536,"offline_pages":0,"movable_pages":0,"pinned_pages":0,"removable":false,
         "pinned_pfn":null,"pinned_by":null,
         "add":{"aml_us":0,"map_us":0,"online_us":0,"answer_ns":0,"aml_ns":0,"check_ns":0,"map_ns":0,"online_ns":0,
         "existing_pages_used":0,"existing_heap_bytes_used":0,"entries_written":0,"tables":0,"descriptors_written":0,
         "frames_written":0,"large_frames_written":0}},
        {"id":1,"device":"\\_SB.MHPC.MP00","base":4294967296,"size":268435456,"node":1,"zone":"any",
         "state":"online","memmap_start_pfn":1048576,"memmap_pages":1024,"usable_start_pfn":1049600,
         "usable_pages":64512,"free_pages":13312,"largest_free_pages":8192,"offline_pages":0,"movable_pages":51200,
         "pinned_pages":0,"removable":true,"pinned_pfn":null,"pinned_by":null,
         "add":{"aml_us":0,"map_us":0,"online_us":0,"answer_ns":0,"aml_ns":0,"check_ns":0,"map_ns":0,"online_ns":0,
         "existing_pages_used":0,"existing_heap_bytes_used":0,"entries_written":0,"tables":0,"descriptors_written":0,
         "frames_written":0,"large_frames_written":0}}]"#;
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
        let device = Device::of(&"\\_SB.MHPC.MP00");
        assert_eq!(
            event,
            Some(Line::Event(Box::new(Event::Ost { uptime_us: 5, device, source: 1, status: 0 })))
        );
        assert_eq!(read(r#"{"event":"new-kind"}"#), None);
    }

    /// The kernel's own answers are read, with the device's last name for the table.
    #[test]
    fn answers() {
        let resources: Vec<Resource> = serde_json::from_str(RESOURCES).expect("resources");
        assert_eq!((short(&resources[0].device), short(&resources[1].device)), ("boot", "MP00"));
        let map: Vec<Extent> = serde_json::from_str(MAP).expect("extents");
        assert_eq!(map[4].kind, Kind::Memmap);
        assert!(serde_json::from_str::<Vec<Extent>>(&MAP.replace("\"used\"", "\"odd\"")).is_err());
        let buddy: Vec<Buddyinfo> = serde_json::from_str(BUDDY).expect("free blocks");
        assert_eq!(buddy[1].free.len(), 16);
    }
}
