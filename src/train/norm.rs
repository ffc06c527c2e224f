//! RMSNorm: y = x · w / √(mean(x²) + ε), forward and backward. The weight is frozen.

use rayon::prelude::*;

use crate::math;

/// Normalises each row of `x` into `y` and leaves 1/√(mean(x²) + ε) of each row in `inverse`.
pub(crate) fn forward(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32], inverse: &mut [f32]) {
    let width = weight.len();
    x.par_chunks_exact(width).zip(y.par_chunks_exact_mut(width)).zip(inverse.par_iter_mut()).for_each(
        |((x, y), inverse)| {
            let mean = math::dot(x, x) / width as f32;
            *inverse = 1.0 / (mean + epsilon).sqrt();
            scale(x, weight, *inverse, y);
        },
    );
}

/// Repeats [`forward`] from the stored `inverse`.
pub(crate) fn again(x: &[f32], weight: &[f32], inverse: &[f32], y: &mut [f32]) {
    let width = weight.len();
    x.par_chunks_exact(width)
        .zip(y.par_chunks_exact_mut(width))
        .zip(inverse.par_iter())
        .for_each(|((x, y), inverse)| scale(x, weight, *inverse, y));
}

fn scale(x: &[f32], weight: &[f32], inverse: f32, y: &mut [f32]) {
    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
        *y = x * inverse * weight;
    }
}

/// Adds the gradient with respect to `x` to `dx`.
///
/// With g = dy · w and s = 1/√(mean(x²) + ε): dx = s·g − x · s³ · mean(g·x).
pub(crate) fn backward(dy: &[f32], x: &[f32], weight: &[f32], inverse: &[f32], dx: &mut [f32]) {
    let width = weight.len();
    dy.par_chunks_exact(width)
        .zip(x.par_chunks_exact(width))
        .zip(dx.par_chunks_exact_mut(width))
        .zip(inverse.par_iter())
        .for_each_init(
            || vec![0.0f32; width],
            |scaled, (((dy, x), dx), inverse)| {
                for ((scaled, dy), weight) in scaled.iter_mut().zip(dy).zip(weight) {
                    *scaled = dy * weight;
                }
                let pull = math::dot(scaled, x) * inverse * inverse * inverse / width as f32;
                for ((dx, scaled), x) in dx.iter_mut().zip(scaled.iter()).zip(x) {
                    *dx += inverse * scaled - pull * x;
                }
            },
        );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck;

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let weight = gradcheck::values(5, 1);
        let up = gradcheck::values(15, 2);
        let loss = |x: &[f32]| {
            let (mut y, mut inverse) = (vec![0.0; 15], vec![0.0; 3]);
            forward(x, &weight, 1e-5, &mut y, &mut inverse);
            gradcheck::weighted(&y, &up)
        };
        let x = gradcheck::values(15, 3);
        let (mut y, mut inverse) = (vec![0.0; 15], vec![0.0; 3]);
        forward(&x, &weight, 1e-5, &mut y, &mut inverse);
        let mut repeated = vec![0.0; 15];
        again(&x, &weight, &inverse, &mut repeated);
        assert_eq!(y, repeated);
        let mut dx = vec![0.0; 15];
        backward(&up, &x, &weight, &inverse, &mut dx);
        gradcheck::compare(&x, &dx, loss);
    }
}
