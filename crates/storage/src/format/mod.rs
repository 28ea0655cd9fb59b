//! The room of byte formats: every file of a data directory but the stores, encoded and decoded.
//!
//! Lives here: [`manifest`] with its [`edit`]s and the [`state`] they add up to, [`mark`],
//! [`index`], the [`topic`] (with its [`replica`]s), [`node`] and [`snapshot`] files, an embedded log's [`carry`], the names
//! of [`quarantine`] files. `FORMAT.md` in
//! the root of this crate draws what they write.
//!
//! Never lives here: I/O, and the batches of a store (those are `corelog_record::batch`).
//!
//! Laws kept: little-endian, fixed widths, field by field; length is checked before anything is
//! allocated, the checksum before the meaning; an unknown version, required feature or kind is
//! refused; no input makes a decoder panic.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod carry;
pub(crate) mod cursor;
pub(crate) mod damage;
pub mod edit;
pub mod index;
pub mod manifest;
pub mod mark;
pub mod node;
pub mod quarantine;
pub mod replica;
pub mod snapshot;
pub mod state;
pub mod topic;

mod envelope;
mod seal;

use corelog_record::Offset;

use self::cursor::{Reader, Writer};

/// The version of every format of this crate.
pub const VERSION: u32 = 1;

/// The required feature of a `topic` file that names partitions which are not the node's alone:
/// who does not know it would take appends that belong to another node.
pub const FEATURE_REPLICAS: u32 = 1;

/// The required features of a kind of file that this version knows. A file that carries a bit outside
/// this set was written by a later version that must not be misread, and is refused.
const fn features_known(magic: [u8; MAGIC_BYTES]) -> u32 {
    match magic {
        topic::MAGIC => FEATURE_REPLICAS,
        _ => 0,
    }
}

/// What is wrong with the bytes of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer bytes than the format needs.
    #[error("{what} needs {needed} bytes, found {found}")]
    TooShort {
        /// The thing decoded.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// A length beyond its limit.
    #[error("{what} of {found} bytes exceeds {max}")]
    TooLong {
        /// The thing decoded.
        what: &'static str,
        /// The most bytes it may have.
        max: usize,
        /// Bytes found or claimed.
        found: usize,
    },
    /// A store that is longer than any that was ever made.
    #[error(
        "a store of {found} bytes, and none is longer than {max}: its length is not what it was; cut it to {max} bytes, \
         behind which no record was ever written"
    )]
    StoreTooLong {
        /// Its length in bytes.
        found: u64,
        /// The most bytes that one may have.
        max: u64,
    },
    /// Not a file of this kind at all.
    #[error("{what} starts with {found:02x?}, which is not its magic number")]
    Magic {
        /// The thing decoded.
        what: &'static str,
        /// Its first bytes.
        found: [u8; 8],
    },
    /// A version that this program does not know.
    #[error("{what} has version {found}, this program knows version {known}")]
    Version {
        /// The thing decoded.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// Required features that this program does not know.
    #[error("{what} requires features {unknown:#010x}, which this program does not know")]
    Features {
        /// The thing decoded.
        what: &'static str,
        /// The unknown bits.
        unknown: u32,
    },
    /// Bytes that do not match their checksum.
    #[error("{what} has checksum {found:08x}, its bytes give {expected:08x}")]
    Checksum {
        /// The thing decoded.
        what: &'static str,
        /// The checksum of the bytes.
        expected: u32,
        /// The checksum stored.
        found: u32,
    },
    /// A field with a value that it cannot have.
    #[error("{what} has {field} {found}")]
    Field {
        /// The thing decoded.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// A body that is not the MessagePack expected.
    #[error("{what} has a malformed body")]
    Body {
        /// The thing decoded.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// An edit of a kind that this program does not know.
    #[error("edit {sequence} is of kind {kind}, which this program does not know")]
    UnknownEdit {
        /// Which edit of the manifest.
        sequence: u32,
        /// Its kind.
        kind: u16,
    },
    /// An edit that does not follow from those before it.
    #[error("edit {sequence} does not follow from those before it")]
    Inconsistent {
        /// Which edit of the manifest.
        sequence: u32,
        /// What it breaks.
        #[source]
        source: state::Broken,
    },
    /// Bytes among the edits of a manifest that were promised and cannot be trusted.
    #[error("the manifest is damaged at [{position}, {end})")]
    DamagedEdits {
        /// Where the first bad edit starts, in bytes from the start of the file.
        position: u64,
        /// The end of the last byte that is not zero.
        end: u64,
    },
    /// A manifest without an edit, which nobody writes.
    #[error("the manifest says nothing: its edits are lost")]
    NoEdits,
    /// A manifest that does not name what the mark tells was durable.
    #[error(
        "the last edits of the manifest are lost: the mark tells of records up to offset {offset}, in segment {segment}, \
         which it does not know"
    )]
    LostEdits {
        /// The base offset of the segment that the mark speaks of.
        segment: Offset,
        /// Below it all was durable.
        offset: Offset,
    },
    /// A snapshot's directory without the file that tells what it holds, and without what says that it never had one.
    #[error(
        "it is not there, and what is was not left by a snapshot that was never finished: put it back from a copy, or \
         delete the snapshot"
    )]
    NoSummary,
}

impl Error {
    /// A field of `what` has a value that it cannot have.
    fn field(what: &'static str, field: &'static str, found: u64) -> Self {
        Self::Field { what, field, found }
    }

    /// Whether a file may be right, and this program too old for it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Version { .. } | Self::Features { .. } | Self::UnknownEdit { .. }
        )
    }
}

/// Checks the start that all headers share, and leaves `reader` behind it.
///
/// ```text
/// 0  magic              8 bytes
/// 8  version            u32
/// 12 required features  u32
/// ```
fn read_start(
    reader: &mut Reader<'_>,
    what: &'static str,
    magic: [u8; MAGIC_BYTES],
) -> Result<(), Error> {
    let found = reader.array()?;
    if found != magic {
        return Err(Error::Magic { what, found });
    }
    let version = reader.u32()?;
    if version != VERSION {
        return Err(Error::Version {
            what,
            found: version,
            known: VERSION,
        });
    }
    let unknown = reader.u32()? & !features_known(magic);
    if unknown != 0 {
        return Err(Error::Features { what, unknown });
    }
    Ok(())
}

/// Reads what a header of `len` bytes holds behind that start. Such a header keeps its length and, in its last 4 bytes, its
/// checksum in all versions: a rotten byte is not taken for a later version.
fn read_header<'a>(
    what: &'static str,
    bytes: &'a [u8],
    len: usize,
    magic: [u8; MAGIC_BYTES],
) -> Result<Reader<'a>, Error> {
    let start = read_start(&mut Reader::new(what, bytes), what, magic);
    if let Err(error @ (Error::Magic { .. } | Error::TooShort { .. })) = start {
        return Err(error);
    }
    let mut reader = Reader::checked(what, bytes, len)?;
    read_start(&mut reader, what, magic)?;
    Ok(reader)
}

/// Writes the start that all headers share, of a file that requires no feature.
fn write_start(writer: &mut Writer, magic: [u8; MAGIC_BYTES]) {
    write_start_requiring(writer, magic, 0);
}

/// Writes the start that all headers share.
fn write_start_requiring(writer: &mut Writer, magic: [u8; MAGIC_BYTES], features: u32) {
    writer.bytes(&magic).u32(VERSION).u32(features);
}

const MAGIC_BYTES: usize = 8;

#[cfg(test)]
mod tests;
