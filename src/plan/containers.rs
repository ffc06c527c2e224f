//! How the roles run as containers: which images, whose user, and for the GPU profile which graphics cards.

use base::config::{Containers, Vllm};
use base::{Digest, Slug};

use crate::make::{Folder, Inputs, Model, ModelRole};
use crate::{Fault, Image, Plan, Runtime, Step};

/// The image of every role that is not vLLM's.
const PLATFORM: &str = "0711/platform";
/// The image of `llm` and `embed` in the GPU profile, by the name its makers gave it.
const VLLM: &str = "vllm/vllm-openai";
/// vLLM spreads a model over a number of cards that divides its attention heads: powers of two do, up to those of one machine.
const CARDS_MAX: u32 = 8;
/// Beside the weights, at least this much of them again for what is remembered of open answers, in percent.
const REMEMBERED_PERCENT: u64 = 10;

/// Says how the roles run as containers, if they do.
pub(crate) fn containers(inputs: &Inputs<'_>, slug: &Slug) -> Result<Option<Containers>, Vec<Fault>> {
    if inputs.answers.runtime == Runtime::Native {
        let needs_containers = inputs.answers.is_gpu();
        return if needs_containers { Err(vec![Fault::GpuNeedsContainers]) } else { Ok(None) };
    }
    let (image, vllm) = match (image(inputs, PLATFORM), vllm(inputs)) {
        (Ok(image), Ok(vllm)) => (image, vllm),
        (image, vllm) => return Err(image.err().into_iter().chain(vllm.err().into_iter().flatten()).collect()),
    };
    // Two roots of one machine may have a customer of the same name; the engine is one.
    let project = match inputs.layout.root() {
        None => format!("0711-{slug}"),
        Some(root) => format!("0711-{slug}-{}", Digest::of(root.as_os_str().as_encoded_bytes()).short()),
    };
    let (user, group) = Containers::user_for(inputs.host.user);
    Ok(Some(Containers { project, image, user, group, vllm }))
}

/// Returns the images a plan brings into the engine: a bundle may carry vLLM's gigabytes for others.
pub(crate) fn images(inputs: &Inputs<'_>) -> Vec<Image> {
    let is_wanted = |image: &&Image| image.name != VLLM || inputs.answers.is_gpu();
    inputs.images.iter().filter(is_wanted).cloned().collect()
}

fn image(inputs: &Inputs<'_>, name: &'static str) -> Result<Digest, Fault> {
    let found = inputs.images.iter().find(|image| image.name == name);
    found.map(|image| image.id).ok_or(Fault::ImageMissing { name })
}

/// Says how vLLM runs, in the profile that has it.
fn vllm(inputs: &Inputs<'_>) -> Result<Option<Vllm>, Vec<Fault>> {
    if !inputs.answers.is_gpu() {
        return Ok(None);
    }
    let mut faults = Vec::new();
    let image = image(inputs, VLLM).map_err(|fault| faults.push(fault));
    if inputs.grant.gpus == 0 {
        faults.push(Fault::GpusNotLicensed);
    }
    let gpus = inputs.host.gpus.clone().unwrap_or_default();
    faults.extend(gpus.lacks.iter().map(|lack| Fault::Gpu { seen: lack.seen.clone(), remedy: lack.remedy.clone() }));
    let cards = cards(inputs);
    if gpus.lacks.is_empty() && gpus.cards.is_empty() {
        faults.push(Fault::Gpu {
            seen: "no graphics card was found".to_owned(),
            remedy: "see `nvidia-smi`; `0711 preflight --gpu --docker` says more".to_owned(),
        });
    }
    let (chat, embed) = (folder(inputs, ModelRole::Chat), folder(inputs, ModelRole::Embed));
    if let (Some((model, _)), true) = (chat, cards > 0) {
        let least = gpus.cards.iter().take(cards as usize).map(|card| card.memory_bytes).min().unwrap_or(0);
        // Every card holds the same part.
        let total_bytes = least * u64::from(cards) * Vllm::CHAT_SHARE_PERCENT / 100;
        let needed_bytes = model.size_bytes * (100 + REMEMBERED_PERCENT) / 100;
        if total_bytes < needed_bytes {
            faults.push(Fault::GpuMemoryTooSmall { cards, needed_bytes, total_bytes });
        }
    }
    match (image, chat, embed.and_then(|(_, folder)| Some((folder, folder.dimension?)))) {
        (Ok(image), Some((_, chat)), Some((embed, dimension))) if faults.is_empty() => Ok(Some(Vllm {
            image,
            gpus: cards,
            context_tokens: chat.context_tokens,
            embed_tokens: embed.context_tokens,
            dimension,
        })),
        // A model that is missing is told once, by whoever looks for models.
        _ => Err(faults),
    }
}

fn folder<'a>(inputs: &Inputs<'a>, role: ModelRole) -> Option<(&'a Model, &'a Folder)> {
    let model = inputs.models.iter().find(|model| model.role == role)?;
    Some((model, model.folder.as_ref()?))
}

/// Returns how many graphics cards the chat model is spread over.
pub(crate) fn cards(inputs: &Inputs<'_>) -> u32 {
    usable(inputs.host.gpus.as_ref().map_or(0, |gpus| gpus.cards.len()), inputs.grant.gpus)
}

/// The cards that are there and licensed, down to a number vLLM can spread a model over.
fn usable(there: usize, licensed: u32) -> u32 {
    let most = u32::try_from(there).unwrap_or(u32::MAX).min(licensed).min(CARDS_MAX);
    if most == 0 { 0 } else { 1 << most.ilog2() }
}

impl Plan {
    /// Returns the models that are folders, as they were when the plan was made: a plan of the same intent needs no bundle.
    pub fn folders(&self) -> Vec<Model> {
        let vllm = self.steps.iter().find_map(|step| match step {
            Step::Config { config, .. } => config.vllm(),
            _ => None,
        });
        let Some(vllm) = vllm else { return Vec::new() };
        let model = |step: &Step| match step {
            Step::Model { role, model, size_bytes, files } => {
                let (context_tokens, dimension) = match role {
                    ModelRole::Chat => (vllm.context_tokens, None),
                    ModelRole::Embed => (vllm.embed_tokens, Some(vllm.dimension)),
                };
                let folder = Some(Folder { files: files.clone(), context_tokens, dimension });
                let (name, digest) = (model.name.clone(), model.digest);
                Some(Model { role: *role, name, digest, size_bytes: *size_bytes, folder })
            }
            _ => None,
        };
        self.steps.iter().filter_map(model).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_cards_than_are_there_licensed_and_of_use() {
        for ((there, licensed), expect) in
            [((0, 4), 0), ((2, 0), 0), ((1, 4), 1), ((2, 8), 2), ((8, 2), 2), ((3, 8), 2), ((6, 6), 4), ((16, 16), 8)]
        {
            assert_eq!(usable(there, licensed), expect, "{there} there, {licensed} licensed");
        }
    }
}
