//! Numbers of mainframes: packed (COMP-3) and zoned (DISPLAY) decimals, exact, as text.

/// Reads a packed decimal: two digits per byte, the sign in the last half byte (C, A, E, F positive; D, B negative).
///
/// # Errors
/// What is wrong with the bytes, for the one who wrote the handler.
pub(super) fn packed(bytes: &[u8], scale: usize) -> Result<String, String> {
    let Some((last, front)) = bytes.split_last() else { return Err("a packed decimal has at least one byte".into()) };
    let mut digits = String::with_capacity(bytes.len() * 2);
    let mut push = |half: u8| match half {
        0..=9 => {
            digits.push(char::from(b'0' + half));
            Ok(())
        }
        _ => Err(format!("{} is no packed decimal: {half:X} is no digit", hex(bytes))),
    };
    for byte in front {
        push(byte >> 4)?;
        push(byte & 15)?;
    }
    push(last >> 4)?;
    let is_negative = match last & 15 {
        0xa | 0xc | 0xe | 0xf => false,
        0xb | 0xd => true,
        sign => return Err(format!("{} is no packed decimal: {sign:X} is no sign", hex(bytes))),
    };
    Ok(place_point(&digits, is_negative, scale))
}

/// Reads a zoned decimal: one digit per byte. In EBCDIC (`is_ebcdic`) the zone of the last byte is the sign; in ASCII the last
/// character is, either by overpunch (`{`, `A`–`I` positive, `}`, `J`–`R` negative) or with the bit 0x40. A sign of its own
/// (`+`, `-`) may stand before or after. Spaces alone are no number: an empty text.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn zoned(bytes: &[u8], scale: usize, is_ebcdic: bool) -> Result<String, String> {
    let (space, plus, minus) = if is_ebcdic { (0x40, 0x4e, 0x60) } else { (b' ', b'+', b'-') };
    let mut core = bytes;
    while let [first, rest @ ..] = core
        && (*first == space || *first == 0)
    {
        core = rest;
    }
    while let [rest @ .., last] = core
        && *last == space
    {
        core = rest;
    }
    if core.is_empty() {
        return Ok(String::new());
    }
    let mut is_negative = false;
    if let [rest @ .., last] = core
        && (*last == minus || *last == plus)
    {
        (is_negative, core) = (*last == minus, rest);
    } else if let [first, rest @ ..] = core
        && (*first == minus || *first == plus)
    {
        (is_negative, core) = (*first == minus, rest);
    }
    let mut digits = String::with_capacity(core.len());
    for (index, byte) in core.iter().enumerate() {
        let is_last = index + 1 == core.len();
        let (digit, negative) = digit(*byte, is_ebcdic, is_last)
            .ok_or_else(|| format!("{} is no zoned decimal: {byte:02X} is no digit", hex(bytes)))?;
        is_negative |= negative;
        digits.push(char::from(b'0' + digit));
    }
    if digits.is_empty() {
        return Err(format!("{} is no zoned decimal: it has a sign and no digits", hex(bytes)));
    }
    Ok(place_point(&digits, is_negative, scale))
}

/// The digit of a byte, and whether it says that the number is negative.
fn digit(byte: u8, is_ebcdic: bool, is_last: bool) -> Option<(u8, bool)> {
    if is_ebcdic {
        let (zone, digit) = (byte >> 4, byte & 15);
        return match zone {
            _ if digit > 9 => None,
            0xf => Some((digit, false)),
            0xa | 0xc | 0xe if is_last => Some((digit, false)),
            0xb | 0xd if is_last => Some((digit, true)),
            _ => None,
        };
    }
    match byte {
        b'0'..=b'9' => Some((byte - b'0', false)),
        _ if !is_last => None,
        b'{' => Some((0, false)),
        b'A'..=b'I' => Some((byte - b'A' + 1, false)),
        b'}' => Some((0, true)),
        b'J'..=b'R' => Some((byte - b'J' + 1, true)),
        b'p'..=b'y' => Some((byte - b'p', true)),
        _ => None,
    }
}

/// Puts the decimal point `scale` digits from the right, without leading zeros. Zero has no sign.
fn place_point(digits: &str, is_negative: bool, scale: usize) -> String {
    let mut padded = digits.trim_start_matches('0').to_owned();
    let is_zero = padded.is_empty();
    while padded.len() <= scale {
        padded.insert(0, '0');
    }
    if scale > 0 {
        padded.insert(padded.len() - scale, '.');
    }
    if is_negative && !is_zero {
        padded.insert(0, '-');
    }
    padded
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(20).map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_decimals() {
        for (bytes, scale, expect) in [
            (&b"\x12\x34\x5c"[..], 2, "123.45"),
            (b"\x12\x34\x5d", 2, "-123.45"),
            (b"\x00\x00\x0f", 2, "0.00"),
            (b"\x00\x00\x0d", 0, "0"),
            (b"\x00\x7c", 3, "0.007"),
            (b"\x09\x99\x9c", 0, "9999"),
        ] {
            assert_eq!(packed(bytes, scale).as_deref(), Ok(expect));
        }
        assert!(packed(b"", 0).is_err());
        assert_eq!(packed(b"\x1a\x2c", 0), Err("1A2C is no packed decimal: A is no digit".to_owned()));
        assert!(packed(b"\x12\x34", 0).is_err());
    }

    #[test]
    fn zoned_decimals() {
        for (bytes, scale, is_ebcdic, expect) in [
            (&b"\xf0\xf1\xf2\xf3"[..], 0, true, "123"),
            (b"\xf1\xf2\xd3", 1, true, "-12.3"),
            (b"\x40\x40\xf7\xc5", 0, true, "75"),
            (b"\xf1\xf2\x60", 0, true, "-12"),
            (b"0012", 2, false, "0.12"),
            (b"001B", 2, false, "0.12"),
            (b"00120}", 2, false, "-12.00"),
            (b"12s", 0, false, "-123"),
            (b"   -5", 0, false, "-5"),
            (b"12,", 0, true, "?"),
            (b"    ", 2, false, ""),
        ] {
            let read = zoned(bytes, scale, is_ebcdic).unwrap_or_else(|_| "?".to_owned());
            assert_eq!(read, expect, "{bytes:x?}");
        }
    }
}
