//! The graphics card, its driver, and what containers need to reach it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::check::{Check, Verdict};
use super::docker::{numbers, short};
use super::engine;
use super::look::{Said, ask};
use super::wanted::Engine;

/// The graphics cards containers can use, and what keeps them from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// In the order the driver counts them.
    pub cards: Vec<Card>,
    /// Empty when driver and container toolkit are in place: what could not be learned counts as lacking.
    pub lacks: Vec<Lack>,
}

/// A graphics card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// As the driver calls it.
    pub name: String,
    /// Of its memory.
    pub memory_bytes: u64,
}

/// What keeps containers from the graphics cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What was found.
    pub seen: String,
    /// What mends it.
    pub remedy: String,
}

/// How long the programs and the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks for graphics cards and asks the engine whether its containers reach them; takes some seconds at most.
pub fn gpus() -> Gpus {
    let deadline = Instant::now() + PATIENCE;
    let answer = engine::look(Path::new(Engine::SOCKET), deadline).ok();
    let has_runtime = answer.and_then(|engine| Some(engine.info.runtimes?.contains_key("nvidia")));
    judged(&look(deadline), has_runtime)
}

fn judged(found: &Gpu, has_runtime: Option<bool>) -> Gpus {
    let lacking = gpu(found, has_runtime).into_iter().filter(|check| check.verdict != Verdict::Ok);
    Gpus {
        cards: cards(&found.cards),
        lacks: lacking.map(|check| Lack { seen: check.seen, remedy: check.remedy.unwrap_or_default() }).collect(),
    }
}

/// Reads `NVIDIA L40S, 46068 MiB, 550.54.15`, a line per card.
fn cards(said: &Said) -> Vec<Card> {
    let Said::Text(text) = said else { return Vec::new() };
    let card = |line: &str| {
        let mut fields = line.rsplitn(3, ", ");
        let (_driver, memory, name) = (fields.next()?, fields.next()?, fields.next()?);
        let mebibytes: u64 = memory.strip_suffix(" MiB")?.trim().parse().ok()?;
        Some(Card { name: short(name), memory_bytes: mebibytes << 20 })
    };
    text.lines().filter_map(card).collect()
}

/// What was found about NVIDIA cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gpu {
    /// First line of what the loaded kernel module says about itself.
    pub(super) module: Option<String>,
    /// `nvidia-smi`: a line per card with name, memory and driver version.
    pub(super) cards: Said,
    /// `nvidia-ctk --version`.
    pub(super) toolkit: Said,
    /// Whether a CDI description of the cards is there, which engines from 25 on use.
    pub(super) has_cdi: bool,
}

pub(super) fn look(deadline: Instant) -> Gpu {
    let module = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    let cdi = ["/etc/cdi/nvidia.yaml", "/etc/cdi/nvidia.json", "/var/run/cdi/nvidia.yaml"];
    Gpu {
        module: module.map(|text| short(&text)),
        cards: ask("nvidia-smi", &["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"], deadline),
        toolkit: ask("nvidia-ctk", &["--version"], deadline),
        has_cdi: cdi.iter().any(|path| Path::new(path).is_file()),
    }
}

pub(super) fn not_asked() -> Vec<Check> {
    ["gpu.driver", "gpu.toolkit"].into_iter().map(|id| Check::not_asked(id, "--gpu")).collect()
}

/// Both checks, when nothing came back in time.
pub(super) fn late() -> Vec<Check> {
    let unknown = |id| Check::unknown(id, "nothing was learned in time", "run `nvidia-smi` yourself; see `dmesg`");
    ["gpu.driver", "gpu.toolkit"].into_iter().map(unknown).collect()
}

/// CUDA 12, which vLLM is built for, wants this driver or a newer one (NVIDIA, "CUDA Compatibility").
const DRIVER_MIN: u32 = 525;

/// `gpu.driver` and `gpu.toolkit`; `has_runtime` says whether the engine knows the runtime `nvidia`, where one was asked.
pub(super) fn gpu(gpu: &Gpu, has_runtime: Option<bool>) -> Vec<Check> {
    vec![driver(gpu), toolkit(gpu, has_runtime)]
}

fn driver(gpu: &Gpu) -> Check {
    let id = "gpu.driver";
    let install = "install NVIDIA's driver 525 or newer (Debian: `nvidia-driver`) and start the machine anew";
    match (&gpu.cards, &gpu.module) {
        (Said::Text(cards), _) if !cards.is_empty() => {
            let shown = cards.lines().map(short).collect::<Vec<_>>().join("; ");
            let version = cards.lines().next().and_then(|card| card.rsplit(", ").next());
            match version.and_then(|version| Some(numbers(version)?.0)) {
                Some(found) if found < DRIVER_MIN => Check::failed(id, format!("{shown}: older than 525"), install),
                Some(_) => Check::ok(id, shown),
                None => Check::unknown(id, shown, "compare the driver's version with 525 yourself"),
            }
        }
        (Said::Late, _) => Check::unknown(id, "`nvidia-smi` does not end", "see `dmesg`: the card may have fallen off"),
        (Said::Absent, Some(module)) => Check::unknown(
            id,
            format!("{module}; there is no `nvidia-smi` to ask"),
            "install it (Debian: `nvidia-smi`)",
        ),
        (_, Some(module)) => Check::failed(id, format!("{module}; it finds no card"), "see `nvidia-smi` and `dmesg`"),
        (_, None) => Check::unknown(id, "no NVIDIA driver is loaded, so nobody knows of a card", install),
    }
}

fn toolkit(gpu: &Gpu, has_runtime: Option<bool>) -> Check {
    let id = "gpu.toolkit";
    let version = match &gpu.toolkit {
        Said::Text(text) => short(text),
        Said::Absent => {
            return Check::unknown(id, "there is no `nvidia-ctk`", "install the NVIDIA Container Toolkit");
        }
        Said::Failed(_) | Said::Late => {
            return Check::unknown(id, "`nvidia-ctk` does not say its version", "run `nvidia-ctk --version` yourself");
        }
    };
    let register = "run `nvidia-ctk runtime configure --runtime=docker` and restart the engine";
    match (has_runtime, gpu.has_cdi) {
        (Some(true), _) => Check::ok(id, format!("{version}; the engine knows its runtime")),
        (_, true) => Check::ok(id, format!("{version}; the cards are described for CDI")),
        (Some(false), false) => Check::failed(id, format!("{version}; the engine does not know its runtime"), register),
        (None, false) => Check::unknown(
            id,
            format!("{version}; no engine said whether it knows its runtime"),
            "ask with `--docker` too",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Failed, Ok, Unknown};
    use super::*;

    fn found(module: Option<&str>, cards: Said, toolkit: Said, has_cdi: bool) -> Gpu {
        Gpu { module: module.map(str::to_owned), cards, toolkit, has_cdi }
    }

    fn verdicts(found: &Gpu, has_runtime: Option<bool>) -> Vec<Verdict> {
        gpu(found, has_runtime).into_iter().map(|check| check.verdict).collect()
    }

    const MODULE: Option<&str> = Some("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15");

    fn said(text: &str) -> Said {
        Said::Text(text.into())
    }

    #[test]
    fn a_card_that_containers_reach_will_do() {
        let whole =
            found(MODULE, said("NVIDIA L40S, 46068 MiB, 550.54.15"), said("NVIDIA Container Toolkit CLI 1.15"), false);
        assert_eq!(verdicts(&whole, Some(true)), [Ok, Ok]);
        assert_eq!(verdicts(&whole, Some(false)), [Ok, Failed]);
        assert_eq!(verdicts(&whole, None), [Ok, Unknown]);
        assert_eq!(verdicts(&Gpu { has_cdi: true, ..whole }, Some(false)), [Ok, Ok]);
    }

    #[test]
    fn cards_are_counted_and_what_is_lacking_is_named() {
        let two = "NVIDIA A100-SXM4-80GB, 81920 MiB, 550.54.15\nNVIDIA A100-SXM4-80GB, 81920 MiB, 550.54.15";
        let toolkit = said("NVIDIA Container Toolkit CLI 1.15");
        let found = judged(&found(MODULE, said(two), toolkit, false), Some(true));
        let card = Card { name: "NVIDIA A100-SXM4-80GB".into(), memory_bytes: 80 << 30 };
        assert_eq!(found, Gpus { cards: vec![card.clone(), card], lacks: vec![] });
        let none = judged(&self::found(None, Said::Absent, Said::Absent, false), None);
        assert_eq!(none.cards, []);
        let seen: Vec<_> = none.lacks.iter().map(|lack| lack.seen.as_str()).collect();
        assert_eq!(seen, ["no NVIDIA driver is loaded, so nobody knows of a card", "there is no `nvidia-ctk`"]);
        assert!(none.lacks.iter().all(|lack| !lack.remedy.is_empty()));
    }

    #[test]
    fn an_old_driver_or_a_lost_card_fails() {
        let driver = |module, cards| verdicts(&found(module, cards, Said::Absent, false), None)[0];
        assert_eq!(driver(MODULE, said("Tesla K80, 11441 MiB, 470.82.01")), Failed);
        assert_eq!(driver(MODULE, Said::Failed("exit status: 9".into())), Failed);
        assert_eq!(driver(MODULE, said("")), Failed);
    }

    #[test]
    fn nothing_that_is_absent_is_ok() {
        assert_eq!(verdicts(&found(None, Said::Absent, Said::Absent, true), Some(true)), [Unknown, Unknown]);
        assert_eq!(verdicts(&found(MODULE, Said::Absent, Said::Late, true), Some(true)), [Unknown, Unknown]);
        assert_eq!(verdicts(&found(MODULE, Said::Late, Said::Absent, false), None), [Unknown, Unknown]);
    }
}
