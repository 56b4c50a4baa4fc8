//! Checks every length in a request against what is left of the frame, before the codec allocates.
//!
//! The codec believes the counts on the wire: four bytes can make it ask for more memory than there
//! is, which ends the process. So a frame is first walked against a description of its request
//! (`shape` is the notation, `requests` the descriptions). The walk allocates nothing, reads each
//! byte at most once, and passes a frame only if
//! - every string, array and tagged field lies within it,
//! - null stands only where it may,
//! - what the codec will allocate for it stays within [`decoded_bytes_max`].
//!
//! Bytes after the last field are none of the request, and are ignored as Kafka ignores them:
//! librdkafka 2.16 asks for all topics with three bytes too many.
//!
//! Whether text is UTF-8 and numbers make sense is not its business.

pub(crate) mod requests;
pub(crate) mod shape;

use crate::api::ApiSpec;
use crate::varint::{self, VarintError};
use shape::{Element, Field, Kind, Struct, TaggedField};

/// Bytes that the codec may allocate for any frame, however short.
const DECODED_FREE_BYTES: usize = 1 << 20;
/// Bytes that the codec may allocate for each byte of a frame. Requests of real clients, made of
/// names and numbers, need one to seven.
const DECODED_PER_FRAME_BYTE_MAX: usize = 8;
/// Bytes that the codec may allocate at most, however long the frame: that of Produce is bounded by
/// a setting only, but most of it should be records, which are not copied.
const DECODED_TOTAL_BYTES_MAX: usize = 64 << 20;
/// What an unknown tagged field costs the codec: at worst a node of a B-tree for itself.
const UNKNOWN_TAG_DECODED_BYTES: usize = 512;
/// Kafka's limit for text in both encodings.
const TEXT_BYTES_MAX: usize = 0x7fff;

const _: () = assert!(DECODED_FREE_BYTES < DECODED_TOTAL_BYTES_MAX);

/// The most bytes that decoding a frame of that length may allocate.
#[must_use]
pub const fn decoded_bytes_max(frame_bytes: usize) -> usize {
    let proportional = frame_bytes.saturating_mul(DECODED_PER_FRAME_BYTE_MAX);
    let bytes = proportional.saturating_add(DECODED_FREE_BYTES);
    if bytes < DECODED_TOTAL_BYTES_MAX { bytes } else { DECODED_TOTAL_BYTES_MAX }
}

/// Why a frame does not pass: what is wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{flaw} (field {field}, {position} bytes after the client id)")]
pub struct GuardError {
    /// What is wrong.
    pub flaw: Flaw,
    /// The innermost field that was being read.
    pub field: &'static str,
    /// Where the walk stopped, in bytes after the client id.
    pub position: usize,
}

/// What can be wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A field, or the count of an array, goes beyond the frame.
    #[error("the frame ends too early")]
    Truncated,
    /// A varint has more bits than its width.
    #[error("a varint is overlong")]
    Varint,
    /// Null, or another negative length, where that means nothing.
    #[error("a length is negative where it must not be")]
    Negative,
    /// Text beyond Kafka's limit.
    #[error("a text has {0} bytes, more than 32767")]
    TextTooLong(usize),
    /// The byte before an optional structure is neither 1 nor -1.
    #[error("an optional structure begins with {0}")]
    Presence(u8),
    /// A tagged field is longer than what it holds.
    #[error("a tagged field has {0} bytes left over")]
    TagSlack(usize),
    /// The codec would allocate too much for so short a frame.
    #[error("the frame decodes to far more memory than it takes itself")]
    Amplification,
}

/// Where the parts of a passed frame end, in bytes after the client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// End of the header's tagged fields, where the body begins (exclusive).
    pub header_end: usize,
    /// End of the body (exclusive); what follows is to be ignored.
    pub body_end: usize,
}

/// Checks what follows the client id in a request: the tagged fields of a flexible header, and the
/// body.
///
/// # Errors
/// [`GuardError`].
pub fn check(spec: &ApiSpec, version: i16, rest: &[u8]) -> Result<Passed, GuardError> {
    let flexible = spec.is_flexible(version);
    let decoded_bytes_left = decoded_bytes_max(rest.len());
    let mut walk =
        Walk { rest, beyond_bytes: 0, version, flexible, decoded_bytes_left, field: "header" };
    walk.request(spec.shape).map_err(|flaw| GuardError {
        flaw,
        field: walk.field,
        position: rest.len() - walk.rest.len() - walk.beyond_bytes,
    })
}

/// A walk over one frame. Its recursion is as deep as the descriptions are nested, never deeper.
struct Walk<'a> {
    rest: &'a [u8],
    /// Bytes of the frame that follow `rest`, while that is the value of a tagged field.
    beyond_bytes: usize,
    version: i16,
    flexible: bool,
    decoded_bytes_left: usize,
    field: &'static str,
}

impl<'a> Walk<'a> {
    fn request(&mut self, body: &Struct) -> Result<Passed, Flaw> {
        let frame_bytes = self.rest.len();
        self.tagged_fields(&[])?;
        let header_end = frame_bytes - self.rest.len();
        self.structure(body)?;
        Ok(Passed { header_end, body_end: frame_bytes - self.rest.len() })
    }

    fn structure(&mut self, shape: &Struct) -> Result<(), Flaw> {
        let version = self.version;
        for field in shape.fields.iter().filter(|field| field.versions.contains(version)) {
            self.field(field)?;
        }
        self.tagged_fields(shape.tagged)
    }

    fn field(&mut self, field: &Field) -> Result<(), Flaw> {
        self.field = field.name;
        let nullable = field.nullable.contains(self.version);
        match field.kind {
            Kind::Fixed(bytes) => self.skip(bytes),
            Kind::Text => self.text(nullable),
            Kind::Bytes => {
                let bytes = self.length(nullable)?;
                self.skip(bytes)
            }
            Kind::Array(element, decoded_bytes) => {
                let count = self.length(nullable)?;
                self.array(count, element, decoded_bytes)
            }
            Kind::Struct(shape) => self.structure(shape),
            Kind::OptionalStruct(shape) => match self.take(1)? {
                [1] => self.structure(shape),
                [0xff] => Ok(()),
                other => Err(Flaw::Presence(other.first().copied().unwrap_or_default())),
            },
        }
    }

    /// Walks the elements. No element is empty, so the count is bounded by the bytes left.
    fn array(&mut self, count: usize, element: Element, decoded_bytes: usize) -> Result<(), Flaw> {
        if count > self.rest.len() {
            return Err(Flaw::Truncated);
        }
        self.charge(count.saturating_mul(decoded_bytes))?;
        match element {
            Element::Fixed(bytes) => self.skip(count.saturating_mul(bytes)),
            Element::Text => (0..count).try_for_each(|_| self.text(false)),
            Element::Struct(shape) => (0..count).try_for_each(|_| self.structure(shape)),
        }
    }

    fn text(&mut self, nullable: bool) -> Result<(), Flaw> {
        let bytes = if self.flexible {
            self.length(nullable)?
        } else {
            let raw = self.number().map(i16::from_be_bytes)?;
            not_negative(raw.into(), nullable)?
        };
        if bytes > TEXT_BYTES_MAX {
            return Err(Flaw::TextTooLong(bytes));
        }
        self.skip(bytes)
    }

    /// The length of bytes or an array, 0 for null.
    fn length(&mut self, nullable: bool) -> Result<usize, Flaw> {
        if self.flexible {
            let raw = i64::from(self.uvarint()?);
            not_negative(raw - 1, nullable)
        } else {
            let raw = self.number().map(i32::from_be_bytes)?;
            not_negative(raw.into(), nullable)
        }
    }

    /// Walks tagged fields, those of `known` by their description and all others by their size.
    fn tagged_fields(&mut self, known: &[TaggedField]) -> Result<(), Flaw> {
        if !self.flexible {
            return Ok(());
        }
        self.field = "tagged fields";
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = usize::try_from(self.uvarint()?).or(Err(Flaw::Truncated))?;
            let value = self.take(size)?;
            match known.iter().find(|field| field.is(tag, self.version)) {
                Some(known) => self.tagged_value(value, known)?,
                None => self.charge(UNKNOWN_TAG_DECODED_BYTES)?,
            }
        }
        Ok(())
    }

    /// Walks a known tagged field, which must fill exactly its size.
    fn tagged_value(&mut self, value: &'a [u8], known: &TaggedField) -> Result<(), Flaw> {
        let after = std::mem::replace(&mut self.rest, value);
        self.beyond_bytes += after.len();
        self.field(&known.field)?;
        if !self.rest.is_empty() {
            return Err(Flaw::TagSlack(self.rest.len()));
        }
        self.beyond_bytes -= after.len();
        self.rest = after;
        Ok(())
    }

    fn charge(&mut self, decoded_bytes: usize) -> Result<(), Flaw> {
        self.decoded_bytes_left =
            self.decoded_bytes_left.checked_sub(decoded_bytes).ok_or(Flaw::Amplification)?;
        Ok(())
    }

    fn uvarint(&mut self) -> Result<u32, Flaw> {
        varint::read_u32(&mut self.rest).map_err(|error| match error {
            VarintError::Truncated => Flaw::Truncated,
            VarintError::Overlong => Flaw::Varint,
        })
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(Flaw::Truncated)?;
        self.rest = rest;
        Ok(*number)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.take(bytes).map(|_skipped| ())
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Flaw::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// A length as a count of bytes or elements; null, which is -1, counts as none.
fn not_negative(length: i64, nullable: bool) -> Result<usize, Flaw> {
    match usize::try_from(length) {
        Ok(length) => Ok(length),
        Err(_negative) if nullable && length == -1 => Ok(0),
        Err(_negative) => Err(Flaw::Negative),
    }
}

#[cfg(test)]
mod tests;
