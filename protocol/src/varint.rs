//! Variable-length integers of the wire (KIP-482) and of records: seven bits a byte, lowest first,
//! the high bit set on all but the last.
//!
//! Reading never goes beyond the bytes that the width allows: 5 for 32 bits, 10 for 64. Bits beyond
//! the width are an error, not cut off.

/// Why bytes are not such an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end within it.
    Truncated,
    /// It does not fit its width.
    Overlong,
}

/// Reads an unsigned 32-bit integer and leaves `bytes` behind it.
#[inline]
pub(crate) fn read_u32(bytes: &mut &[u8]) -> Result<u32, VarintError> {
    read::<32>(bytes).map(|value| u32::try_from(value).expect("read keeps to 32 bits"))
}

/// Reads a zigzag-encoded 32-bit integer and leaves `bytes` behind it.
#[inline]
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    read_u32(bytes).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag-encoded 64-bit integer and leaves `bytes` behind it.
#[inline]
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    read::<64>(bytes).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

#[inline]
fn read<const WIDTH: u32>(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first().ok_or(VarintError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift + 7 > WIDTH && bits >> (WIDTH - shift) != 0 {
            return Err(VarintError::Overlong);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
        shift += 7;
        if shift >= WIDTH {
            return Err(VarintError::Overlong);
        }
    }
}

/// Appends an unsigned integer.
pub(crate) fn write_u64(out: &mut impl bytes::BufMut, mut value: u64) {
    loop {
        let bits = u8::try_from(value & 0x7f).expect("seven bits fit a byte");
        value >>= 7;
        if value == 0 {
            out.put_u8(bits);
            return;
        }
        out.put_u8(bits | 0x80);
    }
}

/// Appends a zigzag-encoded integer; the same bytes for both widths.
pub(crate) fn write_i64(out: &mut impl bytes::BufMut, value: i64) {
    write_u64(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive_a_round_trip() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(read_i64(&mut out.as_slice()), Ok(value));
            assert_eq!(read_i32(&mut out.as_slice()).map(i64::from), Ok(value));
        }
        for value in [i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out.len(), 10);
            assert_eq!(read_i64(&mut out.as_slice()), Ok(value));
            assert_eq!(read_i32(&mut out.as_slice()), Err(VarintError::Overlong));
        }
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let mut out = Vec::new();
        write_u64(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
        assert_eq!(read_u32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()), Ok(u32::MAX));
    }

    #[test]
    fn a_fifth_byte_that_continues_or_overflows_is_refused() {
        for bytes in [[0x80, 0x80, 0x80, 0x80, 0x80], [0xff, 0xff, 0xff, 0xff, 0x1f]] {
            assert_eq!(read_u32(&mut bytes.as_slice()), Err(VarintError::Overlong));
        }
        assert_eq!(read_u32(&mut [0x80].as_slice()), Err(VarintError::Truncated));
        let eleven = [0x80; 11];
        assert_eq!(read_i64(&mut eleven.as_slice()), Err(VarintError::Overlong));
    }
}
