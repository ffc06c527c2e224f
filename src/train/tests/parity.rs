//! The trainer against torch and PEFT: expected values of `../shared/fixtures/lora-parity`.
//!
//! Only the first steps of the ten run by default, to keep the test short; set
//! `ZERO711_PARITY_STEPS=10` for all of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use crate::{
    Adapter, AdapterShape, BaseModel, Batch, NO_TARGET, Network, Projection, math, optimiser::AdamW, tests::testing,
};

const LOSS: f64 = 1e-4;
const NORM: f64 = 1e-3;
const GRADIENT: f64 = 2e-3;
const LOGIT: f32 = 2e-3;

const STEPS: usize = 2;

/// The fixtures' folder, or `None` with a printed line.
fn fixtures() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/lora-parity");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: the fixtures {} are absent", dir.display());
    None
}

fn model() -> Arc<BaseModel> {
    static MODEL_READ: OnceLock<Arc<BaseModel>> = OnceLock::new();
    let read = || Arc::new(BaseModel::open(&testing::model_file()).unwrap());
    Arc::clone(MODEL_READ.get_or_init(read))
}

struct Fixture {
    expected: Value,
    dir: PathBuf,
    shape: AdapterShape,
    network: Network,
}

impl Fixture {
    fn open() -> Option<Self> {
        let dir = fixtures()?;
        let expected = fs::read(dir.join("expected.json")).unwrap();
        let model = model();
        let shape = AdapterShape::new(model.config(), 16, 32.0);
        Some(Self {
            expected: serde_json::from_slice(&expected).unwrap(),
            network: Network::new(model, shape.clone(), 2).unwrap(),
            shape,
            dir,
        })
    }

    fn number(&self, pointer: &str) -> f64 {
        self.expected.pointer(pointer).unwrap().as_f64().unwrap()
    }

    fn tensors(&self, file: &str) -> BTreeMap<String, Tensor> {
        candle_core::safetensors::load(self.dir.join(file), &Device::Cpu).unwrap().into_iter().collect()
    }

    /// Adapter parameters from PEFT names, with or without PEFT's prefix.
    fn fill(&self, adapter: &mut Adapter, tensors: &BTreeMap<String, Tensor>) {
        let mut used = 0;
        for (name, slot) in slots(&self.shape) {
            let Some(tensor) = tensors.get(&format!("base_model.model.{name}")) else {
                continue;
            };
            adapter.values[slot].copy_from_slice(&floats(tensor));
            used += 1;
        }
        assert_eq!(used, tensors.len());
    }

    fn initial(&self) -> Adapter {
        let mut adapter = Adapter::zero(self.shape.clone());
        self.fill(&mut adapter, &self.tensors("init_lora_A.safetensors"));
        adapter
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        let tensor = &self.tensors("tokens.safetensors")[name];
        let ids = tensor.flatten_all().unwrap().to_dtype(DType::U32).unwrap();
        ids.to_vec1().unwrap()
    }

    fn batch(&self, name: &str, index: usize) -> Batch {
        let (length, rows) = if name == "tiny" { (64, 2) } else { (512, 4) };
        let ids = self.ids(name);
        shifted(&ids[index * length * rows..][..length * rows], length)
    }
}

/// Next-token targets inside each row, none for its last position.
fn shifted(ids: &[u32], length: usize) -> Batch {
    let targets = ids.chunks_exact(length).flat_map(|row| row[1..].iter().copied().chain([NO_TARGET])).collect();
    Batch { length, tokens: ids.to_vec(), targets }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.flatten_all().unwrap();
    flat.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// Each parameter matrix by its Hugging Face name.
fn slots(shape: &AdapterShape) -> Vec<(String, std::ops::Range<usize>)> {
    let mut slots = Vec::new();
    for layer in 0..shape.layers() {
        for projection in Projection::ALL {
            let name = format!("model.layers.{layer}.self_attn.{}", projection.module());
            let (a, b) = (shape.a(layer, projection), shape.b(layer, projection));
            slots.push((format!("{name}.lora_A.weight"), a.range()));
            slots.push((format!("{name}.lora_B.weight"), b.range()));
        }
    }
    slots
}

fn near(what: &str, got: f64, expected: f64, bound: f64) {
    let difference = (got - expected).abs();
    println!("{what}: {got:.6}, off by {difference:.1e}");
    assert!(difference <= bound, "{what}: {got}, expected {expected}");
}

fn near_logits(what: &str, got: &[f32], expected: &Tensor) {
    let expected = floats(expected);
    assert_eq!(got.len(), expected.len());
    let pairs = got.iter().zip(&expected);
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: largest difference {worst:.1e}");
    assert!(worst <= LOGIT, "{what}: a logit is off by {worst}");
}

fn norm(values: &[f32]) -> f64 {
    math::sum_of_squares(values).sqrt()
}

#[test]
fn base_model_computes_what_torch_computes() {
    let Some(mut fixture) = Fixture::open() else {
        return;
    };
    for (name, pointer) in [("tiny", "/base/loss_tiny"), ("batches", "/base/loss_batch0")] {
        let batch = fixture.batch(name, 0);
        let loss = fixture.network.loss(None, &batch) / batch.asked() as f64;
        near(pointer, loss, fixture.number(pointer), LOSS);
    }
    let prompt = fixture.ids("prompt");
    let mut norms = Vec::new();
    let hidden = model().config().hidden;
    let logits = fixture.network.observed_logits(None, &prompt, 0..prompt.len(), &mut |_, x| {
        norms.push(norm(&x[x.len() - hidden..]));
    });
    for (index, norm) in norms.iter().enumerate() {
        let expected = fixture.number(&format!("/base/hidden_last_token_norms/{index}"));
        assert!((norm - expected).abs() <= 1e-4 * expected, "hidden state {index}: {norm}, expected {expected}");
    }
    assert_eq!(norms.len(), 31);
    let expected = fixture.tensors("logits.safetensors");
    let rows: Vec<&[f32]> = logits.chunks_exact(logits.len() / prompt.len()).collect();
    near_logits("base_last", rows[rows.len() - 1], &expected["base_last"]);
    for (row, expected) in rows.iter().zip(floats(&expected["base_logsumexp"])) {
        assert!((math::log_sum_exp(row) - expected).abs() <= LOGIT);
    }
}

#[test]
fn gradients_are_those_of_torch() {
    let Some(mut fixture) = Fixture::open() else {
        return;
    };
    let mut adapter = fixture.initial();
    let b = fixture.tensors("gradcheck_lora_B_f16.safetensors");
    fixture.fill(&mut adapter, &b);
    let batch = fixture.batch("tiny", 0);
    let mut gradients = vec![0.0; fixture.shape.parameters()];
    let asked = batch.asked() as f64;
    let loss = fixture.network.gradients(&adapter, &batch, (1.0 / asked) as f32, &mut gradients);
    near("loss", loss / asked, fixture.number("/gradcheck_tiny/loss"), LOSS);
    let norms = fixture.expected["gradcheck_tiny"]["grad_norms"].as_object();
    let norms = norms.unwrap();
    let slots = slots(&fixture.shape);
    assert_eq!(norms.len(), slots.len());
    let mut worst = 0.0f64;
    for (name, slot) in &slots {
        let expected = norms[name].as_f64().unwrap();
        let off = (norm(&gradients[slot.clone()]) - expected).abs() / expected;
        worst = worst.max(off);
        assert!(off <= NORM, "norm of {name} is off by {off}");
    }
    println!("gradient norms: off by at most {worst:.1e}");
    let expected = fixture.tensors("gradcheck_grads.safetensors");
    let mut worst = 0.0f64;
    for (name, slot) in &slots {
        let Some(expected) = expected.get(name) else {
            continue;
        };
        let expected = floats(expected);
        let got = &gradients[slot.clone()];
        let difference: Vec<f32> = got.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let off = norm(&difference) / norm(&expected);
        worst = worst.max(off);
        assert!(off <= GRADIENT, "gradient of {name} is off by {off}");
    }
    println!("gradients: off by at most {worst:.1e}");
    near("total norm", norm(&gradients), fixture.number("/gradcheck_tiny/total_grad_norm"), NORM * norm(&gradients));
    let prompt = fixture.ids("prompt");
    let last = prompt.len() - 1..prompt.len();
    let logits = fixture.network.logits(Some(&adapter), &prompt, last);
    let expected = fixture.tensors("logits.safetensors");
    near_logits("gradcheck_last", &logits, &expected["gradcheck_last"]);
}

#[test]
fn training_follows_the_curve_of_peft() {
    let Some(mut fixture) = Fixture::open() else {
        return;
    };
    let steps = std::env::var("ZERO711_PARITY_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS);
    let mut adapter = fixture.initial();
    let mut optimiser = AdamW::new(fixture.shape.parameters());
    let slots = slots(&fixture.shape);
    for step in 0..steps {
        let batch = fixture.batch("batches", step);
        let asked = batch.asked() as f64;
        let mut gradients = vec![0.0; fixture.shape.parameters()];
        let started = std::time::Instant::now();
        let loss = fixture.network.gradients(&adapter, &batch, (1.0 / asked) as f32, &mut gradients);
        println!("step {step}: {:.0} tokens/s", batch.tokens.len() as f64 / started.elapsed().as_secs_f64());
        let expected = fixture.number(&format!("/losses/{step}"));
        near(&format!("loss {step}"), loss / asked, expected, LOSS);
        let expected = fixture.number(&format!("/grad_norms/{step}"));
        near("gradient norm", norm(&gradients), expected, NORM * expected);
        if step == 0 {
            for (name, slot) in &slots {
                let Some(expected) = fixture.expected["step1_grad_norms"][name].as_f64() else {
                    continue;
                };
                let off = (norm(&gradients[slot.clone()]) - expected).abs() / expected;
                assert!(off <= NORM, "norm of {name} at step 1 is off by {off}");
            }
        }
        optimiser.step(&mut adapter.values, &gradients, 2e-4, 1.0);
        let norms = match step {
            0 => &fixture.expected["after_step1_param_norms"],
            9 => &fixture.expected["after_10_steps"]["param_norms"],
            _ => continue,
        };
        let mut checked = 0;
        for (name, slot) in &slots {
            let Some(expected) = norms[name].as_f64() else {
                continue;
            };
            let off = (norm(&adapter.values[slot.clone()]) - expected).abs() / expected;
            assert!(off <= NORM, "parameter norm of {name} is off by {off}");
            checked += 1;
        }
        assert_eq!(checked, 16);
    }
}

#[test]
fn an_adapter_of_peft_gives_the_same_logits() {
    let Some(mut fixture) = Fixture::open() else {
        return;
    };
    let mut adapter = Adapter::zero(fixture.shape.clone());
    let tensors = fixture.tensors("adapter_after_10_steps/adapter_model.safetensors");
    fixture.fill(&mut adapter, &tensors);
    let batch = fixture.batch("tiny", 0);
    let loss = fixture.network.loss(Some(&adapter), &batch) / batch.asked() as f64;
    near("loss_tiny", loss, fixture.number("/reloaded_adapter/loss_tiny"), LOSS);
    let prompt = fixture.ids("prompt");
    let logits = fixture.network.logits(Some(&adapter), &prompt, 0..prompt.len());
    let expected = fixture.tensors("logits.safetensors");
    let rows: Vec<&[f32]> = logits.chunks_exact(logits.len() / prompt.len()).collect();
    near_logits("adapter_last", rows[rows.len() - 1], &expected["adapter_last"]);
    for (row, expected) in rows.iter().zip(floats(&expected["adapter_logsumexp"])) {
        assert!((math::log_sum_exp(row) - expected).abs() <= LOGIT);
    }
}
