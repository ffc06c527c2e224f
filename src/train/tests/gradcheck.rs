//! Central differences for the tests of hand-written backward passes.

/// Deterministic values in about ±1.
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = crate::random::Random::new(seed);
    (0..count).map(|_| random.uniform(-1.0, 1.0)).collect()
}

/// Σ valueᵢ · weightᵢ: a scalar loss whose gradient with respect to `values` is `weights`.
pub(crate) fn weighted(values: &[f32], weights: &[f32]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| f64::from(*value) * f64::from(*weight)).sum()
}

/// Compares `gradient` with (loss(x + h) − loss(x − h)) / 2h in every coordinate.
///
/// The functions compute in `f32`, so h is large and the bound is what rounding leaves: 2e-3 of the
/// largest gradient.
pub(crate) fn compare(x: &[f32], gradient: &[f32], mut loss: impl FnMut(&[f32]) -> f64) {
    assert_eq!(x.len(), gradient.len());
    const STEP: f32 = 5e-3;
    let largest = gradient.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!(largest > 0.0, "a zero gradient proves nothing");
    let mut moved = x.to_vec();
    for (index, &analytic) in gradient.iter().enumerate() {
        moved[index] = x[index] + STEP;
        let above = loss(&moved);
        moved[index] = x[index] - STEP;
        let below = loss(&moved);
        moved[index] = x[index];
        let numeric = (above - below) / (2.0 * f64::from(STEP));
        let difference = (numeric - f64::from(analytic)).abs();
        assert!(
            difference < 2e-3 * f64::from(largest) + 2e-4,
            "coordinate {index}: numeric {numeric}, analytic {analytic}"
        );
    }
}
