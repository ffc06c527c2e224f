//! The length of fixed binary records, by how far a file resembles itself some bytes later.

/// More bytes than this say nothing new.
const SAMPLE_BYTES: usize = 32 << 10;
const SHORTEST: usize = 8;
const LONGEST: usize = 2_048;
/// How much better than chance a length must be.
const MIN_GAIN: f64 = 0.12;
/// Multiples of a record's length are as good as it; of those as good as the best, the shortest is meant.
const AS_GOOD: f64 = 0.96;

/// Returns the length of the records, where the bytes have one. A length that divides the size of the file is preferred: the last
/// record ends with it.
pub(super) fn record_bytes(bytes: &[u8], size: u64) -> Option<u32> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let longest = LONGEST.min(sample.len() / 3);
    if longest <= SHORTEST {
        return None;
    }
    let likeness = |lag: usize| {
        let pairs = sample.iter().zip(&sample[lag..]);
        let (mut same, mut counted) = (0_u32, 0_u32);
        for (a, b) in pairs {
            // Runs of padding resemble themselves at any distance and would outweigh everything.
            if a != b || !matches!(*a, 0 | b' ' | 0x40) {
                counted += 1;
                same += u32::from(a == b);
            }
        }
        // A file of next to nothing but padding has no likeness to speak of.
        if counted < 64 || (counted as usize) * 20 < sample.len() { 0.0 } else { f64::from(same) / f64::from(counted) }
    };
    let scores: Vec<(usize, f64)> = (SHORTEST..=longest).map(|lag| (lag, likeness(lag))).collect();
    let mean = scores.iter().map(|(_, score)| score).sum::<f64>() / scores.len() as f64;
    let best = |only_divisors: bool| {
        let fits = |lag: usize| !only_divisors || size.is_multiple_of(lag as u64);
        let best = scores.iter().filter(|(lag, _)| fits(*lag)).map(|(_, score)| *score).fold(0.0, f64::max);
        let shortest = scores.iter().find(|(lag, score)| fits(*lag) && *score >= best * AS_GOOD);
        shortest.copied().filter(|(_, score)| *score >= mean + MIN_GAIN)
    };
    let (any, dividing) = (best(false)?, best(true));
    let (lag, _) = dividing.filter(|(_, score)| *score >= any.1 * 0.85).unwrap_or(any);
    // Where records come again in the same order, the whole order resembles itself best. A part of it that stands out, and all of
    // whose multiples do, is a record; columns that repeat inside of one stand out only near by.
    let stands_out = |lag: usize| scores.get(lag - SHORTEST).is_some_and(|(_, score)| *score >= mean + MIN_GAIN);
    let is_record = |part: usize| lag.is_multiple_of(part) && (1..=lag / part).all(|times| stands_out(part * times));
    let part = scores.iter().map(|(part, _)| *part).find(|part| *part <= lag && is_record(*part));
    u32::try_from(part.unwrap_or(lag)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_and_noise_has_none() {
        let record = |row: u32| {
            let mut bytes = format!("KL{row:06}Reihenklemme grau     ").into_bytes();
            bytes.extend_from_slice(&(row.wrapping_mul(2_654_435_761)).to_be_bytes());
            bytes.extend_from_slice(&[0, 0x12, (row % 251) as u8, 0x4c]);
            bytes
        };
        let file: Vec<u8> = (0..200).flat_map(record).collect();
        let length = record(0).len() as u32;
        assert_eq!(record_bytes(&file, file.len() as u64), Some(length));
        let noise: Vec<u8> = (0..300_u32).flat_map(|i| *base::Digest::of(&i.to_le_bytes()).as_bytes()).collect();
        assert_eq!(record_bytes(&noise, noise.len() as u64), None);
        assert_eq!(record_bytes(b"kurz", 4), None);
    }
}
