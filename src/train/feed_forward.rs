//! SwiGLU: act = silu(gate) · up, forward and backward. Gate and up lie beside each other in a row.

use rayon::prelude::*;

use crate::math;

/// `gate_up` is `[rows, 2 · width]`, `act` `[rows, width]`.
pub(crate) fn forward(gate_up: &[f32], act: &mut [f32], width: usize) {
    gate_up.par_chunks_exact(2 * width).zip(act.par_chunks_exact_mut(width)).for_each(|(gate_up, act)| {
        let (gate, up) = gate_up.split_at(width);
        for ((act, gate), up) in act.iter_mut().zip(gate).zip(up) {
            *act = gate * math::sigmoid(*gate) * up;
        }
    });
}

/// Replaces `gate_up` by its gradient, given the gradient of `act`.
pub(crate) fn backward(gate_up: &mut [f32], d_act: &[f32], width: usize) {
    gate_up.par_chunks_exact_mut(2 * width).zip(d_act.par_chunks_exact(width)).for_each(|(gate_up, d_act)| {
        let (gates, ups) = gate_up.split_at_mut(width);
        for ((gate, up), d_act) in gates.iter_mut().zip(ups).zip(d_act) {
            let sigmoid = math::sigmoid(*gate);
            let silu = *gate * sigmoid;
            let slope = sigmoid * (1.0 + *gate * (1.0 - sigmoid));
            *gate = d_act * *up * slope;
            *up = d_act * silu;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck;

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let x: Vec<f32> = gradcheck::values(12, 1).iter().map(|v| v * 3.0).collect();
        let up = gradcheck::values(6, 2);
        let mut gradient = x.clone();
        backward(&mut gradient, &up, 3);
        gradcheck::compare(&x, &gradient, |x| {
            let mut act = vec![0.0; 6];
            forward(x, &mut act, 3);
            gradcheck::weighted(&act, &up)
        });
    }
}
