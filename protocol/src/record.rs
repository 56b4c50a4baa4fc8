//! Records inside a batch: a walk over an uncompressed records payload.
//!
//! ```text
//! ├ varint ────┼ i8 ────────┼ varlong ────┼ varint ───┼ varint ┼ bytes ┼ varint ┼ bytes ┼ varint ──┤
//! │ bytes of   │ attributes │ timestamp   │ offset    │ length,│ key   │ length,│ value │ headers, │
//! │ the rest   │ (unused)   │ delta       │ delta     │ -1 null│       │ -1 null│       │ then each│
//!
//! a header: varint length, key; varint length (-1 null), value
//! ```
//! Signed integers are zigzag-encoded. The walk allocates nothing and believes no count: it stops at
//! the first byte that contradicts another. It never interprets keys, values or header keys.

use crate::varint::{self, VarintError};

/// One record of a payload, by reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers as they stand in the record, their count first.
    pub header_bytes: &'a [u8],
}

/// Why a payload is not the records that its batch announces. `record` counts from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The batch announces a negative number of records.
    #[error("the batch announces {count} records")]
    Count {
        /// As announced.
        count: i32,
    },
    /// The payload, or the record by its own length, ends within a field.
    #[error("record {record} ends within a field")]
    Truncated {
        /// Which record.
        record: i32,
    },
    /// A varint is longer than its width allows.
    #[error("record {record} holds an overlong varint")]
    Varint {
        /// Which record.
        record: i32,
    },
    /// A length or count is negative where that means nothing.
    #[error("record {record} holds the length {length}")]
    NegativeLength {
        /// Which record.
        record: i32,
        /// The field.
        length: i32,
    },
    /// The record's fields are shorter than its length says.
    #[error("record {record} has {bytes} bytes after its last header")]
    Slack {
        /// Which record.
        record: i32,
        /// Bytes left.
        bytes: usize,
    },
    /// The offset deltas are not 0, 1, 2, …
    #[error("record {record} has the offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record.
        record: i32,
        /// The field.
        offset_delta: i32,
    },
    /// Bytes follow the last record.
    #[error("{bytes} bytes follow the last record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Walks the `record_count` records of `payload`, which is uncompressed. Offset deltas must be
/// 0, 1, 2, … as in every batch that a client sends.
///
/// The payload is sound only if the iterator ends without an error: bytes after the last record are
/// reported as its last item.
///
/// # Errors
/// [`RecordError::Count`] if `record_count` is negative.
pub const fn walk(payload: &[u8], record_count: i32) -> Result<RecordWalk<'_>, RecordError> {
    if record_count < 0 {
        return Err(RecordError::Count { count: record_count });
    }
    Ok(RecordWalk { rest: payload, record: 0, record_count })
}

/// See [`walk`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordWalk<'a> {
    rest: &'a [u8],
    record: i32,
    record_count: i32,
}

impl<'a> Iterator for RecordWalk<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.record >= self.record_count {
            let bytes = std::mem::take(&mut self.rest).len();
            return (bytes > 0).then_some(Err(RecordError::Trailing { bytes }));
        }
        let item = self.read_record();
        if item.is_ok() {
            self.record += 1;
        } else {
            self.record = self.record_count;
            self.rest = &[];
        }
        Some(item)
    }
}

impl std::iter::FusedIterator for RecordWalk<'_> {}

impl<'a> RecordWalk<'a> {
    fn read_record(&mut self) -> Result<RecordView<'a>, RecordError> {
        let record = self.record;
        let mut outer = Fields { rest: self.rest, record };
        let length = outer.length()?;
        let mut fields = Fields { rest: outer.take(length)?, record };
        self.rest = outer.rest;

        let _attributes = fields.take(1)?;
        let timestamp_delta =
            varint::read_i64(&mut fields.rest).map_err(|error| fields.flaw(error))?;
        let offset_delta = fields.varint()?;
        if offset_delta != record {
            return Err(RecordError::OffsetDelta { record, offset_delta });
        }
        let key = fields.nullable_bytes()?;
        let value = fields.nullable_bytes()?;
        let header_bytes = fields.rest;
        let header_count = fields.length()?;
        for _ in 0..header_count {
            let key_length = fields.length()?;
            fields.take(key_length)?;
            fields.nullable_bytes()?;
        }
        match fields.rest.len() {
            0 => Ok(RecordView { offset_delta, timestamp_delta, key, value, header_bytes }),
            bytes => Err(RecordError::Slack { record, bytes }),
        }
    }
}

/// What is left of one record.
struct Fields<'a> {
    rest: &'a [u8],
    record: i32,
}

impl<'a> Fields<'a> {
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        varint::read_i32(&mut self.rest).map_err(|error| self.flaw(error))
    }

    /// A length or count that may not be null.
    #[inline]
    fn length(&mut self) -> Result<usize, RecordError> {
        let length = self.varint()?;
        usize::try_from(length).or(Err(RecordError::NegativeLength { record: self.record, length }))
    }

    #[inline]
    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match self.varint()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_negative) => Err(RecordError::NegativeLength { record: self.record, length }),
            },
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or(RecordError::Truncated { record: self.record })?;
        self.rest = rest;
        Ok(taken)
    }

    const fn flaw(&self, error: VarintError) -> RecordError {
        match error {
            VarintError::Truncated => RecordError::Truncated { record: self.record },
            VarintError::Overlong => RecordError::Varint { record: self.record },
        }
    }
}

#[cfg(test)]
mod tests;
