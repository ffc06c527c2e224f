//! Scaled dot-product attention of a text over its own tokens, head by head, in f32.
//!
//! A few questions at a time: their scores for all tokens, softmax, and the mean of the values they weigh, while all that lies in the first
//! cache. Keys are laid out so that neighbouring tokens' scores are one register.

use std::{arch::x86_64::*, array, mem::transmute};

use super::{kernel::has_wide_registers, math::exp_row};

/// Registers of scores one question has at a time; tokens are filled up to a multiple of these.
const SCORES: usize = 4;
/// A head's values are filled up to a multiple of this: two wide registers or four others.
const VALUES: usize = 32;

/// The memory attention needs, used again from text to text.
pub(super) struct Attention {
    /// Values per head.
    size: usize,
    /// `[value of a head][token]`.
    keys: Vec<f32>,
    /// `[token][value of a head]`.
    values: Vec<[f32; VALUES]>,
    /// `[question][token]`.
    scores: Vec<f32>,
}

impl Attention {
    /// Makes room for heads of `size` values.
    pub fn new(size: usize) -> Self {
        Self { size, keys: Vec::new(), values: Vec::new(), scores: Vec::new() }
    }

    /// Attends within one text. `qkv` holds for each token its queries, keys and values, each of all heads, `hidden` values wide; `context`
    /// becomes for each token what its heads attended to.
    pub fn attend(&mut self, qkv: &[f32], context: &mut [f32], hidden: usize) {
        match has_wide_registers() {
            // SAFETY: the processor has the instructions.
            true => unsafe { self.attend_wide(qkv, context, hidden) },
            // SAFETY: AVX2 is checked before the engine starts.
            false => unsafe { self.attend_narrow(qkv, context, hidden) },
        }
    }

    /// Six questions keep 24 of 32 registers busy.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn attend_wide(&mut self, qkv: &[f32], context: &mut [f32], hidden: usize) {
        // SAFETY: the instructions are enabled.
        unsafe { self.attend_by::<__m512, 6>(qkv, context, hidden) };
    }

    /// Three questions keep 12 of 16 registers busy.
    #[target_feature(enable = "avx2,fma")]
    fn attend_narrow(&mut self, qkv: &[f32], context: &mut [f32], hidden: usize) {
        // SAFETY: the instructions are enabled.
        unsafe { self.attend_by::<__m256, 3>(qkv, context, hidden) };
    }

    /// `Q` questions at a time.
    ///
    /// # Safety
    /// The instructions of `R` are enabled where this is called.
    #[inline(always)]
    unsafe fn attend_by<R: Register, const Q: usize>(&mut self, qkv: &[f32], context: &mut [f32], hidden: usize) {
        let tokens = context.len() / hidden;
        let padded = tokens.next_multiple_of(size_of::<[R; SCORES]>() / size_of::<f32>());
        self.keys.resize(self.size * padded, 0.0);
        self.values.resize(tokens * self.size.div_ceil(VALUES), [0.0; VALUES]);
        self.scores.resize(Q * padded, 0.0);
        for head in (0..hidden).step_by(self.size) {
            self.lay_out(qkv, head, hidden, padded);
            let mut first = 0;
            while first < tokens {
                // The last ones are taken again with some of those before them.
                first = if tokens < Q { first } else { first.min(tokens - Q) };
                let question = |index: usize| &qkv[(first + index) * 3 * hidden + head..][..self.size];
                let context = &mut context[first * hidden + head..];
                // SAFETY: as promised to this function.
                first += unsafe {
                    match tokens < Q {
                        true => self.answer::<R, 1>([question(0)], tokens, context, hidden),
                        false => self.answer::<R, Q>(array::from_fn(question), tokens, context, hidden),
                    }
                };
            }
        }
    }

    /// Lays out the keys and values of one head.
    #[inline(always)]
    fn lay_out(&mut self, qkv: &[f32], head: usize, hidden: usize, padded: usize) {
        let rows = qkv.chunks_exact(3 * hidden).zip(self.values.chunks_exact_mut(self.size.div_ceil(VALUES)));
        for (token, (row, values)) in rows.enumerate() {
            let keys = self.keys[token..].iter_mut().step_by(padded);
            keys.zip(&row[hidden + head..][..self.size]).for_each(|(place, key)| *place = *key);
            values.as_flattened_mut()[..self.size].copy_from_slice(&row[2 * hidden + head..][..self.size]);
        }
    }

    /// Writes what `Q` questions attend to, the next one's `stride` values behind the last one's; returns how many they were.
    ///
    /// # Safety
    /// As of [`Self::attend_by`].
    #[inline(always)]
    unsafe fn answer<R: Register, const Q: usize>(
        &mut self,
        questions: [&[f32]; Q],
        tokens: usize,
        context: &mut [f32],
        stride: usize,
    ) -> usize {
        let padded = self.keys.len() / self.size;
        let lanes = size_of::<R>() / size_of::<f32>();
        // SAFETY: as promised to this function.
        unsafe {
            for chunk in (0..padded).step_by(lanes * SCORES) {
                let mut sums = [[R::all(0.0); SCORES]; Q];
                for (value, keys) in self.keys.chunks_exact(padded).enumerate() {
                    let keys: [R; SCORES] = array::from_fn(|part| R::load(&keys[chunk + part * lanes..]));
                    for question in 0..Q {
                        let factor = R::all(questions[question][value]);
                        for part in 0..SCORES {
                            sums[question][part] = factor.times_plus(keys[part], sums[question][part]);
                        }
                    }
                }
                for (sums, scores) in sums.into_iter().zip(self.scores.chunks_exact_mut(padded)) {
                    for (part, sum) in sums.into_iter().enumerate() {
                        sum.store(&mut scores[chunk + part * lanes..]);
                    }
                }
            }
        }
        let scale = 1.0 / (self.size as f32).sqrt();
        let mut inverses = [0.0; Q];
        for (inverse, scores) in inverses.iter_mut().zip(self.scores.chunks_exact_mut(padded)) {
            *inverse = 1.0 / exp_row(&mut scores[..tokens], scale);
        }
        let parts = self.size.div_ceil(VALUES);
        for part in 0..parts {
            let weights: [&[f32]; Q] = array::from_fn(|question| &self.scores[question * padded..][..tokens]);
            // SAFETY: as promised to this function; a register holds a part of the values.
            let means = unsafe { weigh::<R, Q>(weights, self.values[part..].iter().step_by(parts)) };
            for question in 0..Q {
                let places = context[question * stride..][..self.size][part * VALUES..].iter_mut().take(VALUES);
                places.zip(means[question]).for_each(|(place, mean)| *place = mean * inverses[question]);
            }
        }
        Q
    }
}

/// Returns, for `Q` rows of weights, the sums of the values they weigh.
///
/// # Safety
/// The instructions of `R` are enabled where this is called.
#[inline(always)]
unsafe fn weigh<'a, R: Register, const Q: usize>(
    weights: [&[f32]; Q],
    values: impl Iterator<Item = &'a [f32; VALUES]>,
) -> [[f32; VALUES]; Q] {
    let lanes = size_of::<R>() / size_of::<f32>();
    // As many as there are of the narrow ones; what a wide one has no use for is left out by the compiler.
    // SAFETY: as promised to this function.
    let mut sums = [[unsafe { R::all(0.0) }; VALUES / 8]; Q];
    let used = VALUES / lanes;
    for (token, values) in values.enumerate().take(weights[0].len()) {
        for part in 0..used {
            // SAFETY: as promised to this function.
            unsafe {
                let value = R::load(&values[part * lanes..]);
                for question in 0..Q {
                    let weight = R::all(weights[question][token]);
                    sums[question][part] = weight.times_plus(value, sums[question][part]);
                }
            }
        }
    }
    let mut means = [[0.0; VALUES]; Q];
    for question in 0..Q {
        for part in 0..used {
            // SAFETY: as promised to this function.
            unsafe { sums[question][part].store(&mut means[question][part * lanes..]) };
        }
    }
    means
}

/// A register of floats.
///
/// # Safety
/// Its methods may be called only where its instructions are enabled.
trait Register: Copy {
    /// Returns the value in all places.
    unsafe fn all(value: f32) -> Self;
    /// Returns as many of the first values as it holds.
    unsafe fn load(values: &[f32]) -> Self;
    /// Writes itself over the first values.
    unsafe fn store(self, values: &mut [f32]);
    /// Returns `self × factor + sum`, rounded once.
    unsafe fn times_plus(self, factor: Self, sum: Self) -> Self;
}

/// Implements [`Register`]. Values are moved as plain arrays: the load intrinsics check their pointers in builds with debug assertions, and
/// spill.
macro_rules! register {
    ($register:ty, $lanes:literal, $all:ident, $fma:ident) => {
        impl Register for $register {
            #[inline(always)]
            unsafe fn all(value: f32) -> Self {
                // SAFETY: as promised to the trait.
                unsafe { $all(value) }
            }

            #[inline(always)]
            unsafe fn load(values: &[f32]) -> Self {
                let mut first = [0.0; $lanes];
                first.copy_from_slice(&values[..$lanes]);
                // SAFETY: plain values of the same size.
                unsafe { transmute::<[f32; $lanes], Self>(first) }
            }

            #[inline(always)]
            unsafe fn store(self, values: &mut [f32]) {
                // SAFETY: plain values of the same size.
                values[..$lanes].copy_from_slice(&unsafe { transmute::<Self, [f32; $lanes]>(self) });
            }

            #[inline(always)]
            unsafe fn times_plus(self, factor: Self, sum: Self) -> Self {
                // SAFETY: as promised to the trait.
                unsafe { $fma(self, factor, sum) }
            }
        }
    };
}

register!(__m512, 16, _mm512_set1_ps, _mm512_fmadd_ps);
register!(__m256, 8, _mm256_set1_ps, _mm256_fmadd_ps);

#[cfg(test)]
mod tests {
    use super::*;

    /// What each token attends to, by the formula.
    fn by_formula(qkv: &[f32], tokens: usize, hidden: usize, size: usize) -> Vec<f64> {
        let value = |token: usize, part: usize, at: usize| f64::from(qkv[(token * 3 + part) * hidden + at]);
        let mut context = vec![0.0; tokens * hidden];
        for (token, head) in (0..tokens).flat_map(|token| (0..hidden).step_by(size).map(move |head| (token, head))) {
            let score = |other| (head..head + size).map(|at| value(token, 0, at) * value(other, 1, at)).sum::<f64>();
            let weights: Vec<f64> = (0..tokens).map(|other| (score(other) / (size as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for at in head..head + size {
                let sum: f64 = weights.iter().enumerate().map(|(other, weight)| weight * value(other, 2, at)).sum();
                context[token * hidden + at] = sum / total;
            }
        }
        context
    }

    #[test]
    fn attention_is_that_of_the_formula_for_every_length_and_size_of_head() {
        // One attention for all: what a longer text leaves behind must not show in a shorter one.
        for (size, heads) in [(32, 3), (8, 2), (48, 2), (64, 1)] {
            let (mut wide, mut narrow) = (Attention::new(size), Attention::new(size));
            for tokens in [67, 128, 1, 2, 5, 6, 7, 40] {
                let hidden = size * heads;
                let qkv: Vec<f32> = (0..tokens * 3 * hidden).map(|at| (at as f32 * 0.731).sin() * 1.5).collect();
                let expected = by_formula(&qkv, tokens, hidden, size);
                let check = |attend: &mut dyn FnMut(&mut [f32])| {
                    let mut context = vec![f32::NAN; tokens * hidden];
                    attend(&mut context);
                    let off = context.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                    assert!(off < 1e-5, "{tokens} tokens, {heads} heads of {size}: off by {off}");
                };
                check(&mut |context| wide.attend(&qkv, context, hidden));
                // SAFETY: AVX2 is the floor of this program.
                check(&mut |context| unsafe { narrow.attend_narrow(&qkv, context, hidden) });
            }
        }
    }
}
