//! What decides whether a version is served: the twin must compute what was trained, and the score
//! must be better than what is served.

use std::path::Path;

use engine::{ChatModel, ChatOptions};

use crate::{
    Error,
    format::{Agreement, Decision, FORMAT},
    math,
};

/// Held-out rows compared, each of up to 512 positions: on 200 positions alone the share below moves by two points from run to run.
pub(crate) const ROWS: usize = 2;
/// Positions recorded for a check by other means.
pub(crate) const RECORDED: usize = 200;
/// The engine computes with the quantised weights and rounds activations, so two right
/// implementations differ; more than this is another model.
const LEAST_TOP1: f64 = 0.95;
const MOST_KL: f64 = 0.02;
const TOP1_NOISE: f64 = 0.03;
/// Tokens kept per position; together they have nearly all of the probability.
const LIKELIEST: usize = 64;
/// Held-out perplexity must fall by at least this share: below it lies chance.
const LEAST_GAIN: f64 = 0.002;
/// The adapter's name in the engine that checks it.
pub(crate) const CANDIDATE: &str = "candidate";

/// Mean held-out losses, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// Of the version served now, when there is one.
    pub(crate) served: Option<f64>,
}

/// What the gate says, why, and whether the version may be promoted by hand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) decision: Decision,
    pub(crate) reason: String,
    pub(crate) servable: bool,
}

/// Decides about a version.
pub(crate) fn decide(scores: Scores, agreement: Agreement, served: Option<&str>) -> Verdict {
    let refused = |reason, servable| Verdict { decision: Decision::Refused, reason, servable };
    // The engine's own rounding costs points too: what it does to the base model it may do to the adapter.
    let least_top1 = LEAST_TOP1.min(agreement.base_top1 - TOP1_NOISE);
    if agreement.top1 < least_top1 || agreement.mean_kl > MOST_KL {
        let reason = format!(
            "the engine agrees with the trainer on {:.1} % of {} positions (divergence {:.4}); {:.0} % and {MOST_KL} are needed",
            agreement.top1 * 100.0,
            agreement.positions,
            agreement.mean_kl,
            least_top1 * 100.0,
        );
        return refused(reason, false);
    }
    let (before, after) = (scores.before.exp(), scores.after.exp());
    if after > before * (1.0 - LEAST_GAIN) {
        return refused(
            format!("held-out perplexity {after:.2} is no better than {before:.2} of the base model"),
            true,
        );
    }
    if let (Some(name), Some(loss)) = (served, scores.served)
        && after > loss.exp() * (1.0 - LEAST_GAIN)
    {
        return refused(
            format!("held-out perplexity {after:.2} is no better than {:.2} of `{name}`, which is served", loss.exp()),
            true,
        );
    }
    Verdict {
        decision: Decision::Promoted,
        reason: format!("held-out perplexity fell from {before:.2} to {after:.2}"),
        servable: true,
    }
}

/// Opens the engine that will serve, with the adapter of a folder loaded as [`CANDIDATE`].
pub(crate) async fn open_engine(base: &Path, dir: &Path, threads: u32) -> Result<ChatModel, Error> {
    let options = ChatOptions { context_tokens: 512, threads };
    let path = base.to_owned();
    let model =
        tokio::task::spawn_blocking(move || ChatModel::open(&path, options)).await.map_err(Error::BrokeOff)??;
    model.load_adapter(CANDIDATE, dir).await?;
    Ok(model)
}

/// How often two engines think the same token the likeliest, and how far apart they are in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    positions: usize,
    same: usize,
    divergence: f64,
}

impl Tally {
    /// Adds the logits of one row, position by position.
    pub(crate) fn add(&mut self, ours: &[&[f32]], theirs: &[Vec<f32>]) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            self.positions += 1;
            self.same += usize::from(likeliest(ours) == likeliest(theirs));
            let (our_sum, their_sum) = (math::log_sum_exp(ours), math::log_sum_exp(theirs));
            let terms = ours.iter().zip(theirs).map(|(ours, theirs)| {
                let (ours, theirs) = (f64::from(ours - our_sum), f64::from(theirs - their_sum));
                ours.exp() * (ours - theirs)
            });
            self.divergence += terms.sum::<f64>();
        }
    }

    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    /// Share of positions with the same likeliest token.
    pub(crate) fn top1(&self) -> f64 {
        self.same as f64 / self.positions.max(1) as f64
    }

    /// Mean KL(ours ‖ theirs), in nats.
    pub(crate) fn mean_kl(&self) -> f64 {
        self.divergence / self.positions.max(1) as f64
    }
}

/// What the engine thinks likely after each token, for a check of the adapter by other means (`tests/peft_check.py`).
///
/// Of the first [`RECORDED`] positions the [`LIKELIEST`] most likely tokens with the logarithms of their probabilities, best first.
pub(crate) fn record(tokens: &[u32], logits: &[Vec<f32>]) -> serde_json::Value {
    let recorded = tokens.len().min(logits.len()).min(RECORDED);
    let (tokens, logits) = (&tokens[..recorded], &logits[..recorded]);
    let rows: Vec<Vec<(usize, f32)>> = logits
        .iter()
        .map(|row| {
            let sum = math::log_sum_exp(row);
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_unstable_by(|&a, &b| row[b].total_cmp(&row[a]));
            order.into_iter().take(LIKELIEST).map(|id| (id, row[id] - sum)).collect()
        })
        .collect();
    serde_json::json!({ "format": FORMAT, "tokens": tokens, "likeliest": rows })
}

fn likeliest(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Agreement =
        Agreement { positions: 1024, top1: 0.97, mean_kl: 0.004, base_top1: 0.97, base_mean_kl: 0.004 };

    #[test]
    fn only_a_better_and_faithful_version_is_promoted() {
        let scores = |after, served| Scores { before: 3.0, after, served };
        let decide = |scores, agreement| decide(scores, agreement, Some("v1"));
        let verdict = decide(scores(2.5, None), GOOD);
        assert_eq!((verdict.decision, verdict.servable), (Decision::Promoted, true));
        assert_eq!(verdict.reason, "held-out perplexity fell from 20.09 to 12.18");
        for (scores, agreement, servable, reason) in [
            (scores(3.1, None), GOOD, true, "of the base model"),
            (scores(3.0, None), GOOD, true, "of the base model"),
            (scores(2.5, Some(2.5)), GOOD, true, "of `v1`"),
            (scores(2.0, None), Agreement { top1: 0.9, ..GOOD }, false, "90.0 %"),
            (scores(2.0, None), Agreement { mean_kl: 0.3, ..GOOD }, false, "0.3000"),
        ] {
            let verdict = decide(scores, agreement);
            assert_eq!((verdict.decision, verdict.servable), (Decision::Refused, servable));
            assert!(verdict.reason.contains(reason), "{}", verdict.reason);
        }
        assert_eq!(decide(scores(2.4, Some(2.5)), GOOD).decision, Decision::Promoted);
    }

    #[test]
    fn the_record_holds_the_likeliest_tokens_best_first() {
        let record = record(&[5], &[vec![0.0, 2.0, 1.0]]);
        let row = record["likeliest"][0].as_array().unwrap();
        let ids: Vec<u64> = row.iter().map(|entry| entry[0].as_u64().unwrap()).collect();
        assert_eq!(ids, [1, 2, 0]);
        let total: f64 = row.iter().map(|entry| entry[1].as_f64().unwrap().exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_comparison_is_the_definition() {
        let ours: [&[f32]; 2] = [&[2.0, 1.0, 0.0], &[0.0, 0.0, 1.0]];
        let same: Vec<Vec<f32>> = ours.iter().map(|row| row.iter().map(|x| x + 5.0).collect()).collect();
        let mut tally = Tally::default();
        tally.add(&ours, &same);
        assert_eq!((tally.positions(), tally.top1()), (2, 1.0));
        assert!(tally.mean_kl().abs() < 1e-6);
        tally.add(&ours, &[vec![0.0, 0.0, 0.1], vec![0.0, 0.0, 0.1]]);
        assert_eq!((tally.positions(), tally.top1()), (4, 0.75));
        assert!(tally.mean_kl() > 0.05);
    }
}
