//! The GPU profile: what it needs, and what a plan makes of it.

use base::Explain;
use host::{Card, Gpus, Lack};

use super::tests::{Case, in_containers};
use super::*;

const GIB: u64 = 1 << 30;

/// A machine with two large cards, a license for them, and a release with Mixtral and e5-large.
fn case() -> Case {
    let mut case = in_containers();
    case.answers.profile = Answers::GPU_PROFILE.into();
    case.grant.gpus = 2;
    let card = Card { name: "NVIDIA A100-SXM4-80GB".into(), memory_bytes: 80 * GIB };
    case.host.gpus = Some(Gpus { cards: vec![card.clone(), card], lacks: vec![] });
    case.host.memory_total_bytes = 128 * GIB;
    case.host.disks.iter_mut().for_each(|disk| disk.free_bytes = 500 * GIB);
    case.images.push(Image { name: "vllm/vllm-openai".into(), id: Digest::of(b"vllm"), ..case.images[0].clone() });
    let folder = |role, name: &str, size_bytes, context_tokens, dimension| {
        let file = |path: &str, size_bytes| ModelFile {
            path: path.into(),
            digest: Digest::of(format!("{name}/{path}").as_bytes()),
            size_bytes,
        };
        let files = vec![file("config.json", 1000), file("model.safetensors", size_bytes - 1000)];
        let folder = Some(Folder { files, context_tokens, dimension });
        Model { role, name: name.into(), digest: Digest::of(name.as_bytes()), size_bytes, folder }
    };
    case.models = vec![
        folder(ModelRole::Chat, "mixtral-8x7b-instruct", 93_400_000_000, 8192, None),
        folder(ModelRole::Embed, "multilingual-e5-large", 2_260_000_000, 512, Some(1024)),
    ];
    case
}

fn faults(spoil: impl FnOnce(&mut Case)) -> Vec<String> {
    let mut case = case();
    spoil(&mut case);
    case.make().err().map_or_else(Vec::new, |faults| faults.list().iter().map(ToString::to_string).collect())
}

fn config(plan: &Plan) -> &ServiceConfig {
    match plan.step(crate::StepId::Config) {
        Some(Step::Config { config, .. }) => config,
        _ => panic!("no configuration"),
    }
}

#[test]
fn vllm_stands_in_for_two_roles_and_nothing_is_trained() {
    let case = case();
    let proposal = case.make().unwrap();
    let config = config(&proposal.plan);
    let containers = config.containers.as_ref().unwrap();
    assert_eq!(containers.image_of(Role::Llm), Digest::of(b"vllm"));
    assert_eq!(containers.image_of(Role::Lake), Digest::of(b"image"));
    let vllm = config.vllm().unwrap();
    assert_eq!((vllm.gpus, vllm.context_tokens, vllm.embed_tokens, config.dimension()), (2, 8192, 512, 1024));
    assert!(config.chat_model.path.starts_with(case.layout.models().join("folders")));
    assert!(proposal.plan.step(crate::StepId::Train).is_none());
    let notes: Vec<_> = proposal.notes.iter().map(ToString::to_string).collect();
    assert!(notes[0].starts_with("no adapter is trained"), "{notes:?}");
    assert_eq!(proposal.plan.images().len(), 2);
    assert!(proposal.forecast.disk_bytes > 95_000_000_000 && proposal.forecast.memory_bytes < 32 * GIB);
}

#[test]
fn the_same_plan_is_made_again_without_the_bundle() {
    let mut case = case();
    let plan = case.make().unwrap().plan;
    case.models = plan.folders();
    case.models.reverse();
    case.images = plan.images().to_vec();
    assert_eq!(case.make().unwrap().plan, plan);
    assert_eq!(super::tests::case().make().unwrap().plan.folders(), []);
}

#[test]
fn a_bundle_for_both_profiles_brings_vllm_only_to_those_who_run_it() {
    let mut small = in_containers();
    small.images = case().images;
    assert_eq!(small.make().unwrap().plan.images(), in_containers().images);
}

#[test]
fn everything_that_is_lacking_is_told_with_its_cure() {
    let mut case = case();
    case.grant.gpus = 0;
    case.images.pop();
    case.models.pop();
    let lack = Lack { seen: "no NVIDIA driver is loaded".into(), remedy: "install NVIDIA's driver".into() };
    case.host.gpus = Some(Gpus { cards: vec![], lacks: vec![lack] });
    let found = case.make().unwrap_err();
    let texts: Vec<_> = found.list().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "no release names a model for embedding of profile `gpu-vllm`, which is a folder of safetensors",
            "the services are to be containers, and there is no image `vllm/vllm-openai` for them",
            "the license allows no graphics card",
            "containers cannot use a graphics card: no NVIDIA driver is loaded",
        ]
    );
    assert!(found.remedy().unwrap().0.contains("install NVIDIA's driver"));
}

#[test]
fn processes_have_no_vllm_and_files_are_no_folders() {
    assert_eq!(
        faults(|case| case.answers.runtime = Runtime::Native),
        ["the GPU profile runs vLLM, which is a container"]
    );
    let found = faults(|case| case.models = super::tests::case().models);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|fault| fault.contains("a folder of safetensors")), "{found:?}");
}

#[test]
fn a_model_that_does_not_fit_the_licensed_cards_is_refused() {
    let found = faults(|case| case.grant.gpus = 1);
    assert_eq!(found, ["1 of this machine's graphics cards hold 73 GB of a model; 103 GB are needed"]);
    let found = faults(|case| case.host.gpus = Some(Gpus::default()));
    assert_eq!(found, ["containers cannot use a graphics card: no graphics card was found"]);
}

#[test]
fn what_was_read_with_other_models_is_not_read_on() {
    let mut installed = super::tests::case().installed();
    installed.answers.profile = Answers::GPU_PROFILE.into();
    let found = installed.make().unwrap_err();
    assert_eq!(found.list()[0], Fault::ProfileFixed { installed: "cpu-small".into() });
}
