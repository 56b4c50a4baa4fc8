//! Primitives of the binary form of commands, outcomes and snapshots.
//!
//! ```text
//! number   big-endian, of its own width
//! text     u32 length in bytes, then UTF-8
//! list     u32 count, then the items
//! option   u8 0, or u8 1 and the value
//! ```
//! Nothing here has a checksum: the metadata log and the snapshot file that carry these bytes have.
//! Reading trusts no length: a list is never allocated beyond what the bytes that are left can hold.

use std::collections::BTreeMap;

use protocol::topic::{TopicId, TopicName};
use protocol::types::BrokerId;
use uuid::Uuid;

use crate::settings::Values;

/// Why bytes cannot be read: they are damaged, or a newer version wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The bytes end inside a value.
    #[error("it ends early")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes are left over")]
    Leftover(usize),
    /// A value breaks its own rules.
    #[error("it holds an impossible {0}")]
    Impossible(&'static str),
    /// Not of a version or kind that this program knows.
    #[error("{what} {found} is not known to this version, which knows up to {known}")]
    Newer {
        /// The version or kind.
        what: &'static str,
        /// The number found.
        found: u8,
        /// The largest number known.
        known: u8,
    },
}

/// Appends values to bytes.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn finish(self) -> bytes::Bytes {
        self.0.into()
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("requests that make lists are far below 4 GiB");
        self.0.extend_from_slice(&count.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let items = items.into_iter();
        self.count(items.len());
        items.for_each(|item| write(self, item));
    }

    pub(super) fn values(&mut self, values: &Values) {
        self.list(values, |writer, (name, value)| {
            writer.text(name);
            writer.text(value);
        });
    }

    pub(super) fn broker(&mut self, broker: BrokerId) {
        self.i32(broker.get());
    }

    pub(super) fn topic_id(&mut self, id: TopicId) {
        self.uuid(id.get());
    }

    pub(super) fn uuid(&mut self, id: Uuid) {
        self.0.extend_from_slice(id.as_bytes());
    }
}

/// Takes values off bytes.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Everything must have been read.
    pub(super) const fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Leftover(self.0.len())) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.array().map(u32::from_be_bytes)?;
        usize::try_from(count).ok().filter(|count| *count <= self.0.len()).ok_or(DecodeError::Short)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).or(Err(DecodeError::Impossible("text")))
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeError::Impossible("option")),
        }
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count()?;
        // Grown as items are read, not by the count: an item may be larger here than in the bytes.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(super) fn values(&mut self) -> Result<Values, DecodeError> {
        let pairs =
            self.list(|reader| Ok((reader.text()?.to_owned(), reader.text()?.to_owned())))?;
        Ok(BTreeMap::from_iter(pairs))
    }

    pub(super) fn broker(&mut self) -> Result<BrokerId, DecodeError> {
        self.i32().map(BrokerId::new)
    }

    pub(super) fn topic_id(&mut self) -> Result<TopicId, DecodeError> {
        TopicId::new(self.uuid()?).ok_or(DecodeError::Impossible("topic id"))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn topic_name(&mut self) -> Result<TopicName, DecodeError> {
        let text = self.text()?;
        TopicName::new(text).or(Err(DecodeError::Impossible("topic name")))
    }
}
