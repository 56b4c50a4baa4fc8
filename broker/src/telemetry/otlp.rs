//! Metrics as clients push them: OTLP's `MetricsData`, in protobuf's binary form.
//!
//! ```text
//! MetricsData 1 ResourceMetrics { 1 Resource { 1 KeyValue }, 2 ScopeMetrics { 2 Metric } }
//! Metric { 1 name, 5 Gauge { 1 point }, 7 Sum { 1 point, 2 temporality: 1 delta, 2 cumulative } }
//! NumberDataPoint { 4 double, 6 sfixed64, 7 KeyValue }    KeyValue { 1 key, 2 AnyValue }
//! AnyValue { 1 string, 2 bool, 3 int64, 4 double }
//! ```
//! Everything else is skipped, histograms among it: clients of Kafka push none. Names and values are
//! slices of the input, and a point costs its own bytes: nothing here allocates by a length that the
//! input only claims.

/// Attributes of one point, those of its client included; more are skipped.
const ATTRIBUTES_MAX: usize = 32;

/// Bytes that are not of the form above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics are not protobuf of the form of OTLP")]
pub(super) struct Malformed;

/// How a point's value is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is.
    Gauge,
    /// As what came since the last push.
    Delta,
    /// As what came since the client began.
    Cumulative,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    pub(super) value: Value<'a>,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// A list, a map or bytes.
    Other,
}

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) value: f64,
    /// Those of the client, then those of the point.
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// Hands each point of `bytes` to `take`.
///
/// # Errors
/// [`Malformed`]; points before the flaw were taken.
pub(super) fn read<'a>(bytes: &'a [u8], mut take: impl FnMut(Point<'a>)) -> Result<(), Malformed> {
    for field in Fields(bytes) {
        if let (1, Field::Bytes(resource_metrics)) = field? {
            read_resource(resource_metrics, &mut take)?;
        }
    }
    Ok(())
}

fn read_resource<'a>(bytes: &'a [u8], take: &mut impl FnMut(Point<'a>)) -> Result<(), Malformed> {
    // The resource may stand behind its metrics.
    let mut of_client = Vec::new();
    for field in Fields(bytes) {
        if let (1, Field::Bytes(resource)) = field? {
            attributes(resource, 1, &mut of_client)?;
        }
    }
    for field in Fields(bytes) {
        let (2, Field::Bytes(scope)) = field? else { continue };
        for field in Fields(scope) {
            if let (2, Field::Bytes(metric)) = field? {
                read_metric(metric, &of_client, take)?;
            }
        }
    }
    Ok(())
}

fn read_metric<'a>(
    bytes: &'a [u8],
    of_client: &[Attribute<'a>],
    take: &mut impl FnMut(Point<'a>),
) -> Result<(), Malformed> {
    const DELTA: u64 = 1;
    let mut name = "";
    for field in Fields(bytes) {
        if let (1, Field::Bytes(text)) = field? {
            name = utf8(text)?;
        }
    }
    for field in Fields(bytes) {
        let (data, mut kind) = match field? {
            (5, Field::Bytes(gauge)) => (gauge, Kind::Gauge),
            (7, Field::Bytes(sum)) => (sum, Kind::Cumulative),
            _ => continue,
        };
        for field in Fields(data) {
            if let (2, Field::Varint(DELTA)) = field?
                && kind == Kind::Cumulative
            {
                kind = Kind::Delta;
            }
        }
        for field in Fields(data) {
            let (1, Field::Bytes(point)) = field? else { continue };
            let mut attributes = of_client.to_vec();
            if let Some(value) = read_point(point, &mut attributes)? {
                take(Point { name, kind, value, attributes });
            }
        }
    }
    Ok(())
}

/// The point's value, if it has one.
fn read_point<'a>(bytes: &'a [u8], all: &mut Vec<Attribute<'a>>) -> Result<Option<f64>, Malformed> {
    attributes(bytes, 7, all)?;
    let mut value = None;
    for field in Fields(bytes) {
        match field? {
            (4, Field::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
            (6, Field::Fixed64(bits)) => value = Some(as_value(bits.cast_signed())),
            _ => {}
        }
    }
    Ok(value)
}

fn attributes<'a>(
    bytes: &'a [u8],
    number: u32,
    all: &mut Vec<Attribute<'a>>,
) -> Result<(), Malformed> {
    for field in Fields(bytes) {
        let (found, Field::Bytes(pair)) = field? else { continue };
        if found != number || all.len() >= ATTRIBUTES_MAX {
            continue;
        }
        let mut attribute = Attribute { key: "", value: Value::Other };
        for field in Fields(pair) {
            match field? {
                (1, Field::Bytes(key)) => attribute.key = utf8(key)?,
                (2, Field::Bytes(value)) => attribute.value = any_value(value)?,
                _ => {}
            }
        }
        all.push(attribute);
    }
    Ok(())
}

fn any_value(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut value = Value::Other;
    for field in Fields(bytes) {
        value = match field? {
            (1, Field::Bytes(text)) => Value::Text(utf8(text)?),
            (2, Field::Varint(flag)) => Value::Bool(flag != 0),
            (3, Field::Varint(number)) => Value::Int(number.cast_signed()),
            (4, Field::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
            _ => Value::Other,
        };
    }
    Ok(value)
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).or(Err(Malformed))
}

/// Metrics are floating point; a rounding beyond 2^53 would not be seen by anybody.
#[expect(clippy::cast_precision_loss, reason = "see the comment above")]
const fn as_value(number: i64) -> f64 {
    number as f64
}

/// What stands in one field.
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message, each with its number. Ends after the first flaw.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                let (bits, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                Field::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            5 => {
                let (_bits, rest) = self.0.split_first_chunk::<4>()?;
                self.0 = rest;
                Field::Fixed32
            }
            _ => return None,
        };
        Some((number, field))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for at in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if at == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
        let length = varint(content.len().try_into().unwrap());
        [varint(number << 3 | 2), length, content.to_vec()].concat()
    }

    fn attribute(key: &str, value: &str) -> Vec<u8> {
        [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat()
    }

    /// One point of one metric, as clients send it. `temporality` makes it a sum.
    pub(in crate::telemetry) fn metrics(
        name: &str,
        temporality: Option<u8>,
        value: f64,
        labels: &[(&str, &str)],
    ) -> Vec<u8> {
        let labels = labels.iter().map(|(key, value)| bytes(7, &attribute(key, value)));
        let double = [varint(4 << 3 | 1), value.to_le_bytes().to_vec()].concat();
        let point = bytes(1, &[labels.collect::<Vec<_>>().concat(), double].concat());
        let data = match temporality {
            None => bytes(5, &point),
            Some(kind) => bytes(7, &[point, vec![2 << 3, kind]].concat()),
        };
        let metric = [bytes(1, name.as_bytes()), data].concat();
        let resource = bytes(1, &bytes(1, &attribute("client_rack", "r1")));
        // The resource behind its metrics: an order that nothing forbids.
        bytes(1, &[bytes(2, &bytes(2, &metric)), resource].concat())
    }

    #[test]
    fn points_are_read_with_the_attributes_of_their_client() {
        let pushed = [
            metrics("a.b", None, 1.5, &[("topic", "t")]),
            metrics("c", Some(1), 2.0, &[]),
            metrics("d", Some(2), 3.0, &[]),
        ];
        let mut points = Vec::new();
        let pushed = pushed.concat();
        read(&pushed, |point| points.push(point)).unwrap();
        let kinds: Vec<_> = points.iter().map(|p| (p.name, p.kind, p.value)).collect();
        let expected =
            [("a.b", Kind::Gauge, 1.5), ("c", Kind::Delta, 2.0), ("d", Kind::Cumulative, 3.0)];
        assert_eq!(kinds, expected);
        let keys: Vec<_> = points[0].attributes.iter().map(|a| (a.key, a.value.clone())).collect();
        assert_eq!(keys, [("client_rack", Value::Text("r1")), ("topic", Value::Text("t"))]);
    }

    #[test]
    fn damage_is_found_and_never_panics() {
        let sound = metrics("a.b", Some(1), 1.5, &[("topic", "t")]);
        for end in 1..sound.len() {
            read(&sound[..end], drop).unwrap_err();
        }
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut damaged = sound.clone();
                damaged[at] ^= 1 << bit;
                let _whatever_it_makes_of_it = read(&damaged, drop);
            }
        }
        read(&[], drop).unwrap();
        read(b"not protobuf", drop).unwrap_err();
        read(&[0xff; 20], drop).unwrap_err();
    }
}
