//! Fields of Kafka's schemas, for the records that the codec crate does not know.
//!
//! Integers are big-endian. Of strings, bytes and arrays there are two forms: with a length of two or
//! four bytes, -1 for null; and, in flexible versions (KIP-482), with a varint of the length plus one,
//! 0 for null. A reader allocates nothing that the bytes in front of it do not pay for.

use uuid::Uuid;

use crate::varint;

/// Why bytes do not hold what their schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end within a field.
    #[error("the bytes end within {0}")]
    Truncated(&'static str),
    /// A varint is longer than its width allows.
    #[error("{0} has an overlong length")]
    Overlong(&'static str),
    /// A length or count that is negative, or null where nothing may be missing.
    #[error("{0} has the length {1}")]
    Length(&'static str, i64),
    /// Not UTF-8.
    #[error("{0} is not UTF-8")]
    Text(&'static str),
    /// A type or version that nobody has defined.
    #[error("{0} is {1}, which is not known")]
    Unknown(&'static str, i16),
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
}

/// Whether lengths are varints and structs end with tagged fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Versions before the first flexible one.
    Plain,
    /// Flexible versions.
    Flexible,
}

/// Reads fields in their order. Every method names the field for its error.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], form: Form) -> Self {
        Self { rest: bytes, form }
    }

    /// What follows is of another form.
    pub(crate) const fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let taken = self.take(N, what)?;
        Ok(taken.try_into().expect("as many were taken"))
    }

    pub(crate) fn i8(&mut self, what: &'static str) -> Result<i8, WireError> {
        self.array(what).map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, WireError> {
        self.array(what).map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, WireError> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, WireError> {
        self.array(what).map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self, what: &'static str) -> Result<Uuid, WireError> {
        self.array(what).map(Uuid::from_bytes)
    }

    fn varint(&mut self, what: &'static str) -> Result<u32, WireError> {
        varint::read_u32(&mut self.rest).map_err(|error| match error {
            varint::VarintError::Truncated => WireError::Truncated(what),
            varint::VarintError::Overlong => WireError::Overlong(what),
        })
    }

    /// A length of at least -1, which stands for null.
    fn length(&mut self, plain: Width, what: &'static str) -> Result<Option<usize>, WireError> {
        let length = match (self.form, plain) {
            (Form::Flexible, _) => i64::from(self.varint(what)?) - 1,
            (Form::Plain, Width::Two) => i64::from(self.i16(what)?),
            (Form::Plain, Width::Four) => i64::from(self.i32(what)?),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).or(Err(WireError::Length(what, length))),
        }
    }

    pub(crate) fn nullable_string(
        &mut self,
        what: &'static str,
    ) -> Result<Option<&'a str>, WireError> {
        let Some(length) = self.length(Width::Two, what)? else { return Ok(None) };
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map(Some).or(Err(WireError::Text(what)))
    }

    pub(crate) fn string(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        self.nullable_string(what)?.ok_or(WireError::Length(what, -1))
    }

    pub(crate) fn nullable_bytes(
        &mut self,
        what: &'static str,
    ) -> Result<Option<&'a [u8]>, WireError> {
        let Some(length) = self.length(Width::Four, what)? else { return Ok(None) };
        self.take(length, what).map(Some)
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        self.nullable_bytes(what)?.ok_or(WireError::Length(what, -1))
    }

    /// An array, each element of which takes at least one byte.
    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        self.nullable_list(what, element)?.ok_or(WireError::Length(what, -1))
    }

    /// The same where it may be null.
    pub(crate) fn nullable_list<T>(
        &mut self,
        what: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(count) = self.length(Width::Four, what)? else { return Ok(None) };
        if count > self.rest.len() {
            return Err(WireError::Truncated(what));
        }
        // Grows as elements come: one of them may be much larger in memory than here.
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(element(self)?);
        }
        Ok(Some(found))
    }

    /// The tagged fields at the end of a struct; `known` reads those that it knows, by their bytes.
    /// Nothing, in a plain version.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &'a [u8]) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        const WHAT: &str = "the tagged fields";
        if self.form == Form::Plain {
            return Ok(());
        }
        for _ in 0..self.varint(WHAT)? {
            let tag = self.varint(WHAT)?;
            let bytes = usize::try_from(self.varint(WHAT)?).or(Err(WireError::Overlong(WHAT)))?;
            known(tag, self.take(bytes, WHAT)?)?;
        }
        Ok(())
    }

    /// The end of a struct all of whose tagged fields are of no interest.
    pub(crate) fn no_tags(&mut self) -> Result<(), WireError> {
        self.tags(|_, _| Ok(()))
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(WireError::Trailing(bytes)),
        }
    }
}

/// Bytes of a length in a plain version.
#[derive(Debug, Clone, Copy)]
enum Width {
    Two,
    Four,
}

/// Writes fields in their order.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    form: Form,
}

impl Writer {
    pub(crate) const fn new(form: Form) -> Self {
        Self { bytes: Vec::new(), form }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.bytes.extend(value.as_bytes());
    }

    fn varint(&mut self, value: usize) {
        varint::write_u64(&mut self.bytes, u64::try_from(value).expect("a usize fits u64 here"));
    }

    /// # Panics
    /// If the length does not fit the field: whoever made the record has checked it.
    fn length(&mut self, plain: Width, length: Option<usize>) {
        match (self.form, plain, length) {
            (Form::Flexible, _, None) => self.varint(0),
            (Form::Flexible, _, Some(length)) => self.varint(length + 1),
            (Form::Plain, Width::Two, None) => self.i16(-1),
            (Form::Plain, Width::Four, None) => self.i32(-1),
            (Form::Plain, Width::Two, Some(length)) => {
                self.i16(i16::try_from(length).expect("a string of a record is short"));
            }
            (Form::Plain, Width::Four, Some(length)) => {
                self.i32(i32::try_from(length).expect("a record is far below 2 GiB"));
            }
        }
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        self.length(Width::Two, value.map(str::len));
        self.bytes.extend(value.unwrap_or_default().as_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.length(Width::Four, Some(value.len()));
        self.bytes.extend(value);
    }

    pub(crate) fn null_bytes(&mut self) {
        self.length(Width::Four, None);
    }

    pub(crate) fn list<T>(&mut self, elements: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.length(Width::Four, Some(elements.len()));
        for each in elements {
            element(self, each);
        }
    }

    /// Ends a struct with those of its tagged fields that are not at their defaults, by rising tag.
    pub(crate) fn tags(&mut self, fields: &[(u32, Vec<u8>)]) {
        if self.form == Form::Plain {
            return;
        }
        self.varint(fields.len());
        for (tag, bytes) in fields {
            varint::write_u64(&mut self.bytes, u64::from(*tag));
            self.varint(bytes.len());
            self.bytes.extend(bytes);
        }
    }
}
