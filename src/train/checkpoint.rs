//! Where a run stands: one safetensors file, replaced whole, whose header holds the counters.

use std::{collections::HashMap, io, path::Path};

use base::{Digest, file};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, optimiser::AdamW, schedule::Plan};

const FORMAT: u32 = 1;
const LARGEST: u64 = 4 << 30;
/// The entry of the file's metadata that holds [`State`].
const STATE: &str = "state";

/// The counters of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    /// What is trained on what: a checkpoint of another job is not gone on with.
    pub(crate) job: Digest,
    /// Names the run in the version it makes.
    pub(crate) run: String,
    pub(crate) plan: Plan,
    /// Updates made.
    pub(crate) step: u32,
    pub(crate) tokens: u64,
    /// Seconds spent in steps.
    pub(crate) seconds: f64,
    /// Mean held-out loss of the base model.
    pub(crate) before: f64,
    /// Step and mean held-out loss of the best look so far.
    pub(crate) best: Option<(u32, f64)>,
}

/// Counters, parameters and the optimiser's moments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    pub(crate) adapter: Vec<f32>,
    pub(crate) optimiser: AdamW,
    /// The parameters at the best look.
    pub(crate) best: Vec<f32>,
}

impl Checkpoint {
    /// The start of a run.
    pub(crate) fn start(job: Digest, run: String, plan: Plan, before: f64, adapter: Vec<f32>) -> Self {
        Self {
            state: State { format: FORMAT, job, run, plan, step: 0, tokens: 0, seconds: 0.0, before, best: None },
            optimiser: AdamW::new(adapter.len()),
            best: Vec::new(),
            adapter,
        }
    }

    /// Writes it, so that a crash leaves this one or the one before.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let malformed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Malformed { path: path.to_owned(), source };
        let state = serde_json::to_string(&self.state).map_err(|source| malformed(source.into()))?;
        let parts = [
            ("adapter", &self.adapter),
            ("best", &self.best),
            ("first", &self.optimiser.first),
            ("second", &self.optimiser.second),
        ];
        let parts = parts.map(|(name, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, values.len(), bytes)
        });
        let mut views = Vec::with_capacity(parts.len());
        for (name, length, bytes) in &parts {
            let view = TensorView::new(Dtype::F32, vec![*length], bytes).map_err(|source| malformed(source.into()))?;
            views.push((*name, view));
        }
        let metadata = HashMap::from([(STATE.to_owned(), state)]);
        let bytes = safetensors::serialize(views.iter().map(|(name, view)| (*name, view)), Some(metadata))
            .map_err(|source| malformed(source.into()))?;
        file::write_atomic(path, &bytes, 0o600).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// Reads the checkpoint of a job; `None` when there is none, or one of another job or shape.
    ///
    /// A damaged one is said and passed over: starting anew costs minutes, refusing to train costs the night.
    pub(crate) fn load(path: &Path, job: Digest, parameters: usize) -> Option<Self> {
        let bytes = match file::read_bounded(path, LARGEST) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the training checkpoint cannot be read; starting anew");
                return None;
            }
        };
        let read = Self::decode(&bytes, parameters);
        if read.is_none() {
            tracing::warn!(path = %path.display(), "the training checkpoint is damaged or of another shape; starting anew");
        }
        read.filter(|checkpoint| checkpoint.state.job == job)
    }

    fn decode(bytes: &[u8], parameters: usize) -> Option<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
        let state: State = serde_json::from_str(header.metadata().as_ref()?.get(STATE)?).ok()?;
        let tensors = SafeTensors::deserialize(bytes).ok()?;
        let read = |name: &str| {
            let view = tensors.tensor(name).ok()?;
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            (view.dtype() == Dtype::F32).then(|| values.collect::<Vec<f32>>())
        };
        let whole = |name: &str| read(name).filter(|values| values.len() == parameters);
        let best = read("best")?;
        let fits = best.len() == if state.best.is_some() { parameters } else { 0 };
        (state.format == FORMAT && fits).then_some(())?;
        Some(Self {
            adapter: whole("adapter")?,
            optimiser: AdamW { steps: state.step, first: whole("first")?, second: whole("second")? },
            best,
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck::values;

    #[test]
    fn what_is_saved_is_loaded_for_its_own_job_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let job = Digest::of(b"job");
        let plan = Plan::for_minutes(1).with_steps(10.0, 1.0, 5);
        let mut checkpoint = Checkpoint::start(job, "run".to_owned(), plan, 3.5, values(7, 1));
        assert!(Checkpoint::load(&path, job, 7).is_none());
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, job, 7), Some(checkpoint.clone()));
        checkpoint.optimiser.step(&mut checkpoint.adapter, &values(7, 2), 0.1, 1.0);
        checkpoint.state.step = 1;
        checkpoint.state.best = Some((1, 2.5));
        checkpoint.best = checkpoint.adapter.clone();
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, job, 7), Some(checkpoint));
        assert!(Checkpoint::load(&path, Digest::of(b"other"), 7).is_none());
        assert!(Checkpoint::load(&path, job, 8).is_none());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Checkpoint::load(&path, job, 7).is_none(), "a torn file is passed over");
    }
}
