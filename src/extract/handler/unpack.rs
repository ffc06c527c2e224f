//! Binary fields by a format like that of Python's `struct`, always with the order of the bytes said: `<` or `>`.

/// One field of a format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Pad,
    Int { bytes: usize, is_signed: bool },
    Float,
    Double,
    Flag,
    Text(usize),
}

/// A format that was understood.
#[derive(Debug)]
pub(super) struct Format {
    is_little: bool,
    fields: Vec<Field>,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i128),
    Float(f64),
    Flag(bool),
    Bytes(Vec<u8>),
}

/// More fields than any record has.
const MAX_FIELDS: usize = 4_096;
const MAX_BYTES: usize = 64 << 10;

impl Format {
    /// Understands a format: `<` or `>`, then `x b B h H i I l L q Q f d ? s` with counts before them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut characters = text.chars();
        let is_little = match characters.next() {
            Some('<') => true,
            Some('>' | '!') => false,
            _ => return Err("a format begins with `<` (little endian) or `>` (big endian)".to_owned()),
        };
        let mut fields = Vec::new();
        let (mut count, mut size) = (None::<usize>, 0_usize);
        for character in characters {
            if let Some(digit) = character.to_digit(10) {
                count = Some(count.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
                continue;
            }
            if character == ' ' && count.is_none() {
                continue;
            }
            let times = count.take().unwrap_or(1);
            let int = |bytes| Field::Int { bytes, is_signed: character.is_ascii_lowercase() };
            let field = match character {
                'x' => Field::Pad,
                'b' | 'B' => int(1),
                'h' | 'H' => int(2),
                'i' | 'I' | 'l' | 'L' => int(4),
                'q' | 'Q' => int(8),
                'f' => Field::Float,
                'd' => Field::Double,
                '?' => Field::Flag,
                's' => Field::Text(times),
                other => return Err(format!("a format has no `{}`", other.escape_default())),
            };
            let times = if character == 's' { 1 } else { times };
            size = size.saturating_add(times.saturating_mul(field.size()));
            if fields.len().saturating_add(times) > MAX_FIELDS || size > MAX_BYTES {
                return Err(format!("a format has at most {MAX_FIELDS} fields and {MAX_BYTES} bytes"));
            }
            fields.extend(std::iter::repeat_n(field, times));
        }
        if count.is_some() {
            return Err("a format does not end with a count".to_owned());
        }
        Ok(Self { is_little, fields })
    }

    /// Returns how many bytes it takes.
    pub fn size(&self) -> usize {
        self.fields.iter().map(|field| field.size()).sum()
    }

    /// Reads the values; `bytes` are [`Self::size`] of them. `pad` is told of every byte of padding, by its position.
    pub fn read(&self, bytes: &[u8], mut pad: impl FnMut(usize)) -> Vec<Value> {
        let mut values = Vec::new();
        let mut at = 0;
        for field in &self.fields {
            let Some(part) = bytes.get(at..at + field.size()) else { break };
            match field {
                Field::Pad => pad(at),
                Field::Int { is_signed, .. } => values.push(Value::Int(integer(part, self.is_little, *is_signed))),
                Field::Float => {
                    let bits = integer(part, self.is_little, false) as u32;
                    values.push(Value::Float(f64::from(f32::from_bits(bits))));
                }
                Field::Double => values.push(Value::Float(f64::from_bits(integer(part, self.is_little, false) as u64))),
                Field::Flag => values.push(Value::Flag(part[0] != 0)),
                Field::Text(_) => values.push(Value::Bytes(part.to_vec())),
            }
            at += part.len();
        }
        values
    }
}

impl Field {
    const fn size(self) -> usize {
        match self {
            Self::Pad | Self::Flag => 1,
            Self::Int { bytes, .. } => bytes,
            Self::Float => 4,
            Self::Double => 8,
            Self::Text(bytes) => bytes,
        }
    }
}

/// Reads an integer of up to 15 bytes.
pub(super) fn integer(bytes: &[u8], is_little: bool, is_signed: bool) -> i128 {
    let add = |value: i128, byte: &u8| (value << 8) | i128::from(*byte);
    let value = if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
    let bits = bytes.len() * 8;
    if is_signed && bits > 0 && value >> (bits - 1) & 1 == 1 { value - (1 << bits) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_both_orders() {
        let format = Format::parse("<hB2x3sI").unwrap();
        let mut padding = Vec::new();
        let values = format.read(b"\xfe\xff\x07..abc\x01\0\0\x80", |at| padding.push(at));
        let expect = [Value::Int(-2), Value::Int(7), Value::Bytes(b"abc".to_vec()), Value::Int(0x8000_0001)];
        assert_eq!((values.as_slice(), padding.as_slice(), format.size()), (&expect[..], &[3, 4][..], 12));
        let format = Format::parse(">qfd?").unwrap();
        let bytes = b"\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x80\0\0\xc0\x04\0\0\0\0\0\0\x01";
        let expect = [Value::Int(-1), Value::Float(1.0), Value::Float(-2.5), Value::Flag(true)];
        assert_eq!(format.read(bytes, |_| ()), expect);
    }

    #[test]
    fn formats_that_are_none() {
        for text in ["", "hh", "<z", "<999999999999999999999s", "<4097B", "<3", "<9999999i", "@i"] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
        assert_eq!(Format::parse("<").unwrap().size(), 0);
    }

    #[test]
    fn odd_widths() {
        assert_eq!(integer(b"\x01\x02\x03", false, false), 0x01_02_03);
        assert_eq!(integer(b"\xff\xff\xff", true, true), -1);
        assert_eq!(integer(b"", false, true), 0);
    }
}
