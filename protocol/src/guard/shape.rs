//! The notation in which requests are described: fields in the order of the wire, each with the
//! versions that have it. Facts of the protocol only; nothing here reads bytes.
//!
//! Lengths are not described: text, bytes and arrays have compact ones in flexible versions, and
//! structures end with tagged fields there. Where a value is decoded into memory of its own, the
//! description says how much.

/// A range of versions, both ends inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versions {
    min: i16,
    max: i16,
}

impl Versions {
    const ALL: Self = Self { min: 0, max: i16::MAX };
    const NONE: Self = Self { min: i16::MAX, max: 0 };

    pub(super) const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// Fields in order, then tagged fields.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(super) fields: &'static [Field],
    pub(super) tagged: &'static [TaggedField],
}

impl Struct {
    pub(super) const fn new(fields: &'static [Field]) -> Self {
        Self { fields, tagged: &[] }
    }

    pub(super) const fn with_tagged(self, tagged: &'static [TaggedField]) -> Self {
        Self { fields: self.fields, tagged }
    }
}

/// One field of a structure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) versions: Versions,
    /// The versions in which it may be null.
    pub(super) nullable: Versions,
}

/// A field that stands only where its tag announces it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaggedField {
    pub(super) tag: u32,
    pub(super) field: Field,
}

impl TaggedField {
    pub(super) const fn is(&self, tag: u32, version: i16) -> bool {
        self.tag == tag && self.field.versions.contains(version)
    }
}

/// What a field is on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A number, boolean or UUID of that many bytes.
    Fixed(usize),
    /// A string.
    Text,
    /// Bytes, records among them; decoded in place.
    Bytes,
    /// Elements, each of which takes that much memory when decoded.
    Array(Element, usize),
    /// A structure that is always there.
    Struct(&'static Struct),
    /// A byte, then a structure if it is 1, nothing if it is -1.
    OptionalStruct(&'static Struct),
}

/// What an array holds; never null, never empty on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Element {
    /// A number of that many bytes.
    Fixed(usize),
    /// A string.
    Text,
    /// A structure.
    Struct(&'static Struct),
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, versions: Versions::ALL, nullable: Versions::NONE }
}

/// A boolean or a byte.
pub(super) const fn int8(name: &'static str) -> Field {
    field(name, Kind::Fixed(1))
}

pub(super) const fn int16(name: &'static str) -> Field {
    field(name, Kind::Fixed(2))
}

pub(super) const fn int32(name: &'static str) -> Field {
    field(name, Kind::Fixed(4))
}

pub(super) const fn int64(name: &'static str) -> Field {
    field(name, Kind::Fixed(8))
}

pub(super) const fn uuid(name: &'static str) -> Field {
    field(name, Kind::Fixed(16))
}

pub(super) const fn text(name: &'static str) -> Field {
    field(name, Kind::Text)
}

pub(super) const fn bytes(name: &'static str) -> Field {
    field(name, Kind::Bytes)
}

/// An array whose elements are decoded into `T`.
pub(super) const fn array<T>(name: &'static str, element: Element) -> Field {
    field(name, Kind::Array(element, size_of::<T>()))
}

pub(super) const fn structure(name: &'static str, shape: &'static Struct) -> Field {
    field(name, Kind::Struct(shape))
}

pub(super) const fn optional(name: &'static str, shape: &'static Struct) -> Field {
    field(name, Kind::OptionalStruct(shape))
}

impl Field {
    /// The first version that has the field.
    pub(super) const fn since(mut self, version: i16) -> Self {
        self.versions.min = version;
        self
    }

    /// The last version that has the field.
    pub(super) const fn until(mut self, version: i16) -> Self {
        self.versions.max = version;
        self
    }

    /// Null is allowed.
    pub(super) const fn nullable(self) -> Self {
        self.nullable_since(0)
    }

    /// Null is allowed from `version` on.
    pub(super) const fn nullable_since(mut self, version: i16) -> Self {
        self.nullable = Versions { min: version, max: i16::MAX };
        self
    }

    /// The field is a tagged one.
    pub(super) const fn tagged(self, tag: u32) -> TaggedField {
        TaggedField { tag, field: self }
    }
}
