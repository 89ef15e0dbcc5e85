//! Names of running code that were looked up before: where a name string stands, and the object that it named.
//!
//! A loop reads the same name strings again and again. An entry saves parsing the string and the search through the
//! enclosing scopes. Invariant: an entry is used only while the search would find the same node. The result of a search
//! depends on the code (which never changes), on the scope it starts from, and on the names of the tree: adding or
//! deleting a name outdates all entries whose path ends with that segment. A path of several segments could also lead
//! through an alias, so that an alias that comes or goes outdates every entry. Neighbours: `namespace` reports the
//! changes, `declare` looks names up.
use alloc::boxed::Box;

use crate::code::Cursor;
use crate::model::{Handle, Object, ROOT};
use crate::name::NameSeg;

/// Entries, as many as [`spread`] has values. A method has some dozen names.
const ENTRIES: usize = 256;
/// Counters of changes. Names with the same counter outdate each other's entries, which costs a search.
const COUNTERS: usize = 256;
/// No name string is there.
const NOWHERE: u32 = u32::MAX;

/// A looked-up name string.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the name string starts and ends.
    at: u32,
    after: u32,
    table: u16,
    /// The counter of the path's last segment, and its value at the search.
    counter: u8,
    changes: u64,
    scope: Handle,
    found: Handle,
}

/// Spreads numbers that differ in a few bits: a multiplication mixes all bits into the upper ones.
fn spread(number: u32) -> u8 {
    let [.., high] = number.wrapping_mul(0x9e37_79b1).to_le_bytes();
    high
}

/// The cache: each place in a table can be in one entry only. Its size is fixed, so it does not count as bytes held.
#[derive(Debug)]
pub(crate) struct NameCache {
    entries: Box<[Entry]>,
    /// How often a name with a segment of this number was added or deleted.
    changes: Box<[u64]>,
}

impl NameCache {
    pub(crate) fn new() -> Self {
        let empty =
            Entry { at: NOWHERE, after: NOWHERE, table: 0, counter: 0, changes: 0, scope: ROOT, found: ROOT };
        Self { entries: alloc::vec![empty; ENTRIES].into(), changes: alloc::vec![0; COUNTERS].into() }
    }

    fn counter(segment: NameSeg) -> u8 {
        spread(segment.key())
    }

    fn place(table: u16, at: u32) -> usize {
        usize::from(spread(at ^ u32::from(table) << 16))
    }

    /// The object that the name string at `cursor` names from `scope`, and the offset behind the string, if that was
    /// looked up before and nothing has changed since.
    pub(crate) fn get(&self, cursor: Cursor, scope: Handle) -> Option<(Handle, u32)> {
        let entry = self.entries.get(Self::place(cursor.table, cursor.at))?;
        let is_it = entry.at == cursor.at
            && entry.table == cursor.table
            && entry.scope == scope
            && entry.after <= cursor.end
            && self.changes.get(usize::from(entry.counter)) == Some(&entry.changes);
        is_it.then_some((entry.found, entry.after))
    }

    /// Remembers that the string from `from` to `after`, whose path ends with `last`, names `found`.
    pub(crate) fn put(&mut self, from: Cursor, after: u32, last: NameSeg, scope: Handle, found: Handle) {
        let counter = Self::counter(last);
        let changes = self.changes.get(usize::from(counter)).copied().unwrap_or_default();
        if let Some(entry) = self.entries.get_mut(Self::place(from.table, from.at)) {
            *entry = Entry { at: from.at, after, table: from.table, counter, changes, scope, found };
        }
    }

    /// `object` comes or goes with a name that has this segment.
    pub(crate) fn changed(&mut self, segment: NameSeg, object: &Object) {
        let outdated = match object {
            Object::Alias(_) => self.changes.get_mut(..),
            _ => self.changes.get_mut(usize::from(Self::counter(segment))).map(core::slice::from_mut),
        };
        for changes in outdated.into_iter().flatten() {
            *changes = changes.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: NameSeg = NameSeg::literal(*b"MSEL");
    const FOUND: Handle = Handle { index: 7, generation: 1 };

    /// Proves that an entry is found at its place from its scope only, within the enclosing block only, and until a name
    /// with its last segment or any alias comes or goes. Fails when one of the comparisons is left out.
    #[test]
    fn entries_end_with_their_reasons() {
        let mut cache = NameCache::new();
        let cursor = Cursor { table: 1, at: 100, end: 104 };
        let remember = |cache: &mut NameCache| cache.put(cursor, 104, SEGMENT, ROOT, FOUND);
        assert_eq!(cache.get(cursor, ROOT), None);
        remember(&mut cache);
        assert_eq!(cache.get(cursor, ROOT), Some((FOUND, 104)));
        assert_eq!(cache.get(cursor, FOUND), None);
        assert_eq!(cache.get(Cursor { end: 103, ..cursor }, ROOT), None);
        for other in 0..ENTRIES.try_into().unwrap_or_default() {
            let elsewhere = [
                Cursor { table: 2, at: 100 ^ other, end: 200 },
                Cursor { table: 1, at: 101 + other, end: 900 },
            ];
            assert!(elsewhere.iter().all(|&cursor| cache.get(cursor, ROOT).is_none()));
        }
        cache.changed(SEGMENT, &Object::Device);
        assert_eq!(cache.get(cursor, ROOT), None);
        remember(&mut cache);
        cache.changed(NameSeg::literal(*b"NONE"), &Object::Alias(FOUND));
        assert_eq!(cache.get(cursor, ROOT), None);
    }
}
