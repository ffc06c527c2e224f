//! vLLM in the place of `llm` and `embed`: what differs from a container of our own.
//!
//! For vLLM from 0.10.1 on (`--runner pooling`; before, it was `--task embed`); flags, variables and wire are those in the sources of
//! 0.10.2 and 0.32.0. The wire is the same as our own, so that no other role knows:
//! the token as `Authorization: Bearer`, `/health` without one, the chat model as `base`, the embedding model by its name.

use base::config::{Containers, ServiceConfig, Vllm};
use base::{CustomerLayout, Role};
use serde_json::{Value, json};

use super::compose::{bind, text};

/// Reads the token (its path is the word after it) into the environment of the program it becomes: neither the arguments nor the container's
/// description has it. Without a token vLLM would answer everybody, so then there is no vLLM. `$$` is Compose's `$`.
const START: &str = "VLLM_API_KEY=$$(cat \"$$0\") && [ -n \"$$VLLM_API_KEY\" ] && export VLLM_API_KEY && exec \"$$@\"";

/// Its name, whatever the model: `vN` is an adapter on it.
const BASE: &str = "base";
/// What the trainer makes at most (DESIGN, Contracts).
const LORA_RANK_MAX: u32 = 16;
/// The promoted version, the one before, and room to try.
const LORAS_MAX: u32 = 4;
/// Libraries start a thread per core in every process.
const PIDS_MAX: u64 = 8192;
/// Kernels compiled at the start. They are loaded as libraries from there, so it allows to execute; it goes with the container.
const CACHE: &str = "/cache";
const CACHE_BYTES: u64 = 8 << 30;
/// Processes of several cards pass data through it.
const SHM_BYTES: u64 = 8 << 30;

/// Makes a role's service one of vLLM's.
pub(super) fn stand_in(
    service: &mut Value,
    (config, containers, vllm): (&ServiceConfig, &Containers, &Vllm),
    customer: &CustomerLayout,
    role: Role,
) {
    let port = config.port(role);
    service["image"] = json!(vllm.image.to_string());
    service["entrypoint"] = json!(["/bin/sh", "-c", START, text(&customer.token())]);
    service["command"] = json!(command(config, vllm, role));
    service["environment"] = environment(role);
    service["volumes"] = match role {
        Role::Llm => json!([bind(&config.chat_model.path, true), bind(&customer.loras(), true)]),
        _ => json!([bind(&config.embed_model.path, true)]),
    };
    let (user, group) = (containers.user, containers.group);
    let cache = format!("{CACHE}:size={CACHE_BYTES},mode=0700,uid={user},gid={group},exec,nosuid,nodev");
    if let Some(list) = service["tmpfs"].as_array_mut() {
        list.push(json!(cache));
    }
    service["shm_size"] = json!(SHM_BYTES.to_string());
    service["pids_limit"] = json!(PIDS_MAX);
    // Python is in the image by its nature. Our own program would have to be mounted, and every update of it would make vLLM, which
    // takes minutes to start, start anew.
    let ask = format!("import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=8)");
    service["healthcheck"] = json!({
        "test": ["CMD", "python3", "-c", ask],
        "interval": "30s", "timeout": "10s", "retries": 4, "start_period": "1800s",
    });
    let cards = if role == Role::Llm { vllm.gpus } else { 1 };
    let ids: Vec<String> = (0..cards).map(|id| id.to_string()).collect();
    service["deploy"] = json!({
        "resources": { "reservations": { "devices": [{ "driver": "nvidia", "device_ids": ids, "capabilities": ["gpu"] }] } },
    });
}

fn command(config: &ServiceConfig, vllm: &Vllm, role: Role) -> Vec<String> {
    let (model, name, tokens, percent) = match role {
        Role::Llm => (&config.chat_model, BASE, vllm.context_tokens, Vllm::CHAT_SHARE_PERCENT),
        _ => (&config.embed_model, config.embed_model.name.as_str(), vllm.embed_tokens, Vllm::EMBED_SHARE_PERCENT),
    };
    let mut words: Vec<String> = ["vllm".to_owned(), "serve".to_owned(), text(&model.path)].to_vec();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("--served-model-name", name.to_owned());
    add("--host", config.listen_address(role).to_string());
    add("--port", config.port(role).to_string());
    add("--max-model-len", tokens.to_string());
    add("--gpu-memory-utilization", format!("0.{percent:02}"));
    if role == Role::Llm {
        add("--tensor-parallel-size", vllm.gpus.to_string());
        add("--max-lora-rank", LORA_RANK_MAX.to_string());
        add("--max-loras", LORAS_MAX.to_string());
        words.push("--enable-lora".to_owned());
    } else {
        add("--runner", "pooling".to_owned());
    }
    words
}

fn environment(role: Role) -> Value {
    let mut all = json!({
        // Nothing is fetched and nothing is reported, whatever a library would like.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        // Its own address is asked of a name server otherwise.
        "VLLM_HOST_IP": "127.0.0.1",
        // Nobody has a home here, and the image knows no user of this number: libraries that ask are told.
        "HOME": CACHE,
        "USER": "0711",
        "LOGNAME": "0711",
        "XDG_CACHE_HOME": CACHE,
        "XDG_CONFIG_HOME": format!("{CACHE}/config"),
        "HF_HOME": format!("{CACHE}/huggingface"),
        "VLLM_CACHE_ROOT": format!("{CACHE}/vllm"),
        "VLLM_CONFIG_ROOT": format!("{CACHE}/config/vllm"),
        "TORCHINDUCTOR_CACHE_DIR": format!("{CACHE}/inductor"),
        "TRITON_CACHE_DIR": format!("{CACHE}/triton"),
        "CUDA_CACHE_PATH": format!("{CACHE}/cuda"),
    });
    if role == Role::Llm {
        // Behind the token, which the gateway does not pass on: the trainer alone asks for it.
        all["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = json!("True");
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use base::config::{FORMAT, ModelRef};
    use base::{Digest, Layout, Slug};

    use super::*;
    use crate::docker::Compose;

    fn rendered() -> String {
        let slug = Slug::parse("eaton").unwrap();
        let layout = Layout::rooted("/srv/brain");
        let model = |name: &str| {
            let digest = Digest::of(name.as_bytes());
            ModelRef { name: name.into(), digest, path: layout.model_folder(&digest) }
        };
        let config = ServiceConfig {
            format: FORMAT,
            customer_name: "Eaton".into(),
            slug,
            bind: [127, 0, 0, 1].into(),
            port_base: 5100,
            folders: vec!["/data".into()],
            chat_model: model("mixtral-8x7b-instruct"),
            embed_model: model("multilingual-e5-large"),
            max_documents: 1,
            training_minutes: 0,
            threads: 1,
            console_hosts: vec![],
            permissions: Default::default(),
            containers: Some(Containers {
                project: "0711-eaton".into(),
                image: Digest::of(b"image"),
                user: 7110,
                group: 7110,
                vllm: Some(Vllm {
                    image: Digest::of(b"vllm"),
                    gpus: 2,
                    context_tokens: 8192,
                    embed_tokens: 512,
                    dimension: 1024,
                }),
            }),
        };
        let services = Role::ALL.map(|role| (role, if role == Role::Llm { 12 << 30 } else { 64 << 20 }));
        let config_digest = Digest::of(b"config");
        Compose { config: &config, config_digest, layout: &layout, services: &services }.render().unwrap()
    }

    fn parsed() -> Value {
        serde_yaml::from_str(&rendered()).unwrap()
    }

    /// `tests/it/docker.rs` lets `docker compose` read the same file.
    #[test]
    fn the_gpu_profile_is_golden() {
        let text = rendered();
        let golden = include_str!("golden-gpu.yml");
        assert!(text == golden, "the compose file changed; if that is meant, make golden-gpu.yml this:\n{text}");
    }

    #[test]
    fn vllm_has_no_more_rights_than_our_own() {
        let file = parsed();
        for role in [Role::Llm, Role::Embed] {
            let service = &file["services"][role.name()];
            assert_eq!(service["image"], Digest::of(b"vllm").to_string());
            assert_eq!((&service["read_only"], &service["user"]), (&json!(true), &json!("7110:7110")));
            assert_eq!(service["cap_drop"], json!(["ALL"]));
            assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]));
            assert_eq!(service["networks"], json!(["core"]));
            assert_eq!((service.get("ports"), service.get("ipc"), service.get("privileged")), (None, None, None));
            let volumes = service["volumes"].as_array().unwrap();
            assert!(volumes.iter().all(|volume| volume["read_only"] == true), "{volumes:?}");
        }
        assert_eq!(file["services"]["lake"]["image"], Digest::of(b"image").to_string());
        assert!(file["services"]["lake"].get("deploy").is_none());
    }

    #[test]
    fn others_see_of_the_models_only_what_counts_tokens() {
        let file = parsed();
        let models = |role: Role| {
            let volumes = file["services"][role.name()]["volumes"].as_array().unwrap().iter();
            let sources = volumes.map(|volume| volume["source"].as_str().unwrap().to_owned());
            sources.filter(|source| source.contains("/models/")).collect::<Vec<_>>()
        };
        for role in [Role::Ingest, Role::Console] {
            assert!(matches!(&models(role)[..], [one] if one.ends_with("/tokenizer.json")), "{role}");
        }
        assert_eq!(models(Role::Trainer), Vec::<String>::new());
        assert_eq!((models(Role::Llm).len(), models(Role::Embed).len()), (1, 1));
    }

    /// What the shell of the container does, done by the one here.
    #[test]
    fn the_token_is_in_the_process_alone() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let start = |path: &Path| {
            let script = START.replace("$$", "$");
            let mut run = Command::new("/bin/sh");
            run.args(["-c", &script]).arg(path).args(["sh", "-c", "echo $VLLM_API_KEY $0 $1", "a", "b c"]);
            let output = run.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        std::fs::write(&token, "0123abcd\n").unwrap();
        assert_eq!(start(&token), (true, "0123abcd a b c\n".into()));
        std::fs::write(&token, "").unwrap();
        assert_eq!(start(&token), (false, String::new()), "without a token nothing is started");
        assert_eq!(start(&dir.path().join("absent")), (false, String::new()));
        assert!(!rendered().contains("0123abcd"));
    }
}
