/// AdamW (Loshchilov and Hutter 2019) as torch computes it, without weight decay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamW {
    /// Updates made so far.
    pub(crate) steps: u32,
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

impl AdamW {
    pub(crate) fn new(parameters: usize) -> Self {
        Self { steps: 0, first: vec![0.0; parameters], second: vec![0.0; parameters] }
    }

    /// One update. `gradient_scale` multiplies every gradient first; clipping is a scale below one.
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradients: &[f32], learning_rate: f64, gradient_scale: f32) {
        self.steps += 1;
        let power = f64::from(self.steps);
        let step_size = (learning_rate / (1.0 - BETA_1.powf(power))) as f32;
        let root = (1.0 - BETA_2.powf(power)).sqrt() as f32;
        let (keep_1, keep_2) = (BETA_1 as f32, BETA_2 as f32);
        let (add_1, add_2) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * gradient_scale;
            *first = *first * keep_1 + gradient * add_1;
            *second = *second * keep_2 + gradient * gradient * add_2;
            *parameter -= step_size * *first / (second.sqrt() / root + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_follow_the_formula() {
        let mut optimiser = AdamW::new(1);
        let mut parameter = [1.0];
        // The first step moves by the learning rate, whatever the gradient's size.
        optimiser.step(&mut parameter, &[4.0], 0.1, 0.5);
        assert!((parameter[0] - 0.9).abs() < 1e-6);
        optimiser.step(&mut parameter, &[-1.0], 0.1, 1.0);
        let first = (0.9 * 0.2 - 0.1) / (1.0 - 0.81);
        let second: f64 = (0.999 * 0.004 + 0.001) / (1.0 - 0.998_001);
        let expected = 0.9 - 0.1 * first / (second.sqrt() + 1e-8);
        assert!((f64::from(parameter[0]) - expected).abs() < 1e-5);
    }
}
