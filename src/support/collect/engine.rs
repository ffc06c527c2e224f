//! The Docker engine, asked with its own client: a program that hangs can be ended.

use std::{
    io,
    process::{Output, Stdio},
};

use base::{Role, config::Containers};
use serde_json::{Value, json};

use crate::gather::{Piece, Said};

/// The last answers of a health check, and what is kept of each.
const HEALTH_ANSWERS: usize = 3;
const HEALTH_CHARACTERS: usize = 300;
/// Of what a container printed.
const PRINTED_LINES: &str = "300";

pub(super) async fn version() -> Said {
    match docker(&["version", "--format", "{{json .}}"]).await? {
        Some(text) => Ok(vec![Piece::free("docker/version.json", text)]),
        None => Ok(Vec::new()),
    }
}

pub(super) async fn compose_version() -> Said {
    match docker(&["compose", "version"]).await? {
        Some(text) => Ok(vec![Piece::free("docker/compose-version.txt", text)]),
        None => Ok(Vec::new()),
    }
}

pub(super) async fn containers(containers: Containers) -> Said {
    let names: Vec<_> = Role::ALL.iter().map(|role| containers.name(*role)).collect();
    let mut arguments = vec!["container", "inspect"];
    arguments.extend(names.iter().map(String::as_str));
    let Some(text) = docker(&arguments).await? else { return Err("there is no docker client".to_owned()) };
    let found: Vec<Value> = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let reduced: Vec<_> = found.iter().map(reduced).collect();
    // What a health check printed is free text.
    Ok(vec![Piece { is_free: true, ..Piece::json("docker/containers.json", &reduced)? }])
}

/// What the containers themselves printed: of an image of others that is all there is of a log, and of ours what came before it.
pub(super) async fn output(containers: Containers) -> Said {
    let mut pieces = Vec::new();
    for role in Role::ALL {
        let name = containers.name(role);
        let Some(mut output) = run(&["logs", "--timestamps", "--tail", PRINTED_LINES, &name]).await? else { break };
        if output.status.success() {
            output.stdout.append(&mut output.stderr);
            pieces.push(Piece::free(format!("docker/{role}.out"), output.stdout));
        }
    }
    Ok(pieces)
}

/// What matters of a container; its environment, command line and the engine's own paths do not.
fn reduced(found: &Value) -> Value {
    let pick = |value: &Value, names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), value[*name].clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut state = pick(&found["State"], &["Status", "OOMKilled", "ExitCode", "Error", "StartedAt", "FinishedAt"]);
    let health = &found["State"]["Health"];
    let answers = list(&health["Log"]);
    let answers = answers.iter().rev().take(HEALTH_ANSWERS).map(|answer| {
        let output: String = answer["Output"].as_str().unwrap_or_default().chars().take(HEALTH_CHARACTERS).collect();
        json!({"exit_code": answer["ExitCode"], "output": output})
    });
    state["Health"] = json!({
        "Status": health["Status"], "FailingStreak": health["FailingStreak"], "last": answers.collect::<Vec<_>>(),
    });
    let networks: serde_json::Map<_, _> = found["NetworkSettings"]["Networks"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, network)| (name.clone(), network["IPAddress"].clone()))
        .collect();
    json!({
        "Name": found["Name"],
        "Image": found["Image"],
        "Created": found["Created"],
        "RestartCount": found["RestartCount"],
        "State": state,
        "User": found["Config"]["User"],
        "Rights": pick(&found["HostConfig"], &["ReadonlyRootfs", "CapDrop", "SecurityOpt", "Memory", "PidsLimit"]),
        "Mounts": list(&found["Mounts"]).iter().map(|mount| pick(mount, &["Source", "Destination", "RW"])).collect::<Vec<_>>(),
        "Networks": networks,
    })
}

/// Asks the client; nothing when there is none.
async fn docker(arguments: &[&str]) -> Result<Option<Vec<u8>>, String> {
    match run(arguments).await? {
        Some(output) if output.status.success() => Ok(Some(output.stdout)),
        Some(output) => {
            let text: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(400).collect();
            Err(format!("`docker {}`: {text}", arguments.first().copied().unwrap_or_default()))
        }
        None => Ok(None),
    }
}

/// Runs the client to its end. Whoever stops waiting ends it.
async fn run(arguments: &[&str]) -> Result<Option<Output>, String> {
    let mut command = tokio::process::Command::new("docker");
    command.arg("--host").arg(format!("unix://{}", host::Engine::SOCKET)).args(arguments);
    match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`docker` cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_reduced_to_what_matters() {
        let found = json!({
            "Name": "/0711-eaton-llm",
            "Config": {"User": "7110:7110", "Env": ["TOKEN=abc"], "Cmd": ["serve", "llm"]},
            "State": {"Status": "running", "ExitCode": 0, "Health": {"Status": "healthy", "Log": [
                {"ExitCode": 0, "Output": "x".repeat(1000)}]}},
            "HostConfig": {"Memory": 1},
            "Mounts": [{"Source": "/a", "Destination": "/a", "RW": false, "Propagation": "rprivate"}],
            "NetworkSettings": {"Networks": {"core": {"IPAddress": "172.18.0.2", "MacAddress": "02:42"}}},
        });
        let text = reduced(&found).to_string();
        assert!(text.contains("running") && text.contains("healthy") && text.contains("172.18.0.2"), "{text}");
        for absent in ["TOKEN", "serve", "Propagation", "02:42", &"x".repeat(400)] {
            assert!(!text.contains(absent), "{text}");
        }
    }
}
