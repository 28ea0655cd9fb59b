//! The bytes of one file: what is written, and what a power cut may leave of it.

use ::std::collections::BTreeMap;
use ::std::ops::Range;

/// A power cut leaves each sector in one of its versions, whole.
const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// A file's contents. Bytes behind the end read as zeros if the file grows over them.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What a read shows.
    bytes: Vec<u8>,
    /// Of each sector changed since the last sync, the versions before the present one, oldest
    /// first: the oldest is the durable one.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// The lengths before the present one since the last sync, oldest first.
    lens: Vec<usize>,
    /// What the disk holds of sectors whose sync failed, which reads do not show.
    lost: BTreeMap<usize, Sector>,
}

impl Inode {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of `range`, which lies within the length.
    pub(super) fn read(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Writes `bytes` at `position`, growing the file if need be.
    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if end > self.len() {
            self.set_len(end);
        }
        for sector in sectors(position..end) {
            let old = self.sector(sector);
            let start = (sector * SECTOR_BYTES).max(position);
            let stop = ((sector + 1) * SECTOR_BYTES).min(end);
            self.bytes[start..stop].copy_from_slice(&bytes[start - position..stop - position]);
            self.note_version(sector, old);
        }
    }

    /// Cuts or extends the file with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        let before = self.len();
        if len == before {
            return;
        }
        self.lens.push(before);
        let cut: Vec<_> = sectors(len..before)
            .map(|index| (index, self.sector(index)))
            .collect();
        self.bytes.resize(len, 0);
        for (sector, old) in cut {
            self.note_version(sector, old);
        }
    }

    /// Makes bytes and length durable, except where a sync failed before.
    pub(super) fn sync(&mut self) {
        self.dirty.clear();
        self.lens.clear();
    }

    /// The sector `index` as a read shows it, zeros behind the end.
    fn sector(&self, index: usize) -> Sector {
        let mut sector = [0; SECTOR_BYTES];
        let start = (index * SECTOR_BYTES).min(self.len());
        let end = ((index + 1) * SECTOR_BYTES).min(self.len());
        sector[..end - start].copy_from_slice(&self.bytes[start..end]);
        sector
    }

    /// Records that `old` was the version of the sector `index` before a change.
    ///
    /// A sector written again identically is in no doubt, so nothing is recorded for it, unless
    /// its last sync failed: then the disk holds something else, and writing it is what heals it.
    fn note_version(&mut self, index: usize, old: Sector) {
        let on_disk = self.lost.remove(&index);
        if on_disk.is_some() || old != self.sector(index) {
            let versions = self.dirty.entry(index).or_default();
            versions.extend(on_disk);
            versions.push(old);
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Inode {
    /// What a power cut may leave of the file.
    pub(super) fn power_cut(&self, random: &mut fastrand::Rng) -> Self {
        let mut image = Self::default();
        let len = random.choice(&self.lens).copied().filter(|_| random.bool());
        let longest = self
            .lens
            .iter()
            .copied()
            .chain([self.len()])
            .max()
            .unwrap_or(0);
        image.bytes.extend_from_slice(&self.bytes);
        image
            .bytes
            .resize(longest.next_multiple_of(SECTOR_BYTES), 0);
        for (&index, versions) in &self.dirty {
            if let Some(version) = versions.get(random.usize(0..=versions.len())) {
                image.place(index, version);
            }
        }
        for (&index, on_disk) in &self.lost {
            image.place(index, on_disk);
        }
        image.bytes.resize(len.unwrap_or(self.len()), 0);
        image
    }

    /// Fixes what the disk holds of each unsynced sector; reads go on to show what was written.
    pub(super) fn lose_unsynced(&mut self, random: &mut fastrand::Rng) {
        for (index, versions) in ::std::mem::take(&mut self.dirty) {
            if let Some(version) = versions.get(random.usize(0..=versions.len())) {
                self.lost.insert(index, *version);
            }
        }
    }

    /// Puts `sector` in its place; the bytes hold whole sectors and reach that far, or the sector
    /// lies behind every length the file had.
    fn place(&mut self, index: usize, sector: &Sector) {
        let start = index * SECTOR_BYTES;
        if let Some(bytes) = self.bytes.get_mut(start..start + SECTOR_BYTES) {
            bytes.copy_from_slice(sector);
        }
    }
}

/// The indices of the sectors that `range` of bytes touches.
fn sectors(range: Range<usize>) -> Range<usize> {
    if range.start >= range.end {
        return 0..0;
    }
    range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)
}
