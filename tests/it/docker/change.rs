//! What changes beside running containers: the administrator's own changes, an edit, a newer release.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    engine_is_here,
    installed::{Installed, Told, has_image},
    next_bundle,
};
use crate::story;

/// What a step left, and when.
fn finished<'a>(told: &'a [Told], step: &str) -> &'a Told {
    let is_it = |event: &Value| event["event"] == "step_finished" && event["step"] == step;
    told.iter().find(|(_, event)| is_it(event)).unwrap()
}

/// Changes beside the compose file, an edit of it, and a newer release.
#[test]
fn changes_edits_and_a_newer_release() {
    if !engine_is_here() {
        return;
    }
    let here = Installed::new();
    your_changes_are_noticed_and_applied(&here);
    broken_changes_change_nothing(&here);
    an_edit_is_kept(&here);
    let images = the_old_images_serve_until_the_new_ones_are_there(&here);
    let left = here.product.json(&["uninstall", "--yes"]);
    for kept in ["docker-compose.override.yml", "docker-compose.edited-"] {
        let is_named = |path: &Value| path.as_str().unwrap().contains(kept);
        assert!(left["left"].as_array().unwrap().iter().any(is_named), "{kept} is not named in {left}");
    }
    assert!(here.deployment().join("docker-compose.override.yml").is_file());
    assert!(images.iter().all(|id| !has_image(id)), "an image that was loaded here is left");
    here.product.ok(&["uninstall", "--purge", "--yes"]);
    assert!(!here.deployment().exists());
}

fn your_changes_are_noticed_and_applied(here: &Installed) {
    let before = here.ids();
    let label = |container: &Value| container["Config"]["Labels"]["com.example.mine"].clone();
    let changes = "services: {trainer: {labels: {com.example.mine: '${MINE}'}}}\n";
    fs::write(here.deployment().join(".env"), "MINE=one\n").unwrap();
    fs::write(here.deployment().join("docker-compose.override.yml"), changes).unwrap();
    let status = here.product.json(&["status"]);
    let drift = |status: &Value| {
        let all = status["drift"].as_array().unwrap().iter();
        all.filter(|drift| drift["what"] == "compose").map(|drift| drift["cause"].to_string()).collect::<Vec<_>>()
    };
    assert!(drift(&status)[0].contains("`docker-compose.override.yml` was added"), "{status}");
    let told = here.repeat();
    assert!(finished(&told, "containers").1["evidence"]["changes"].as_str().unwrap().ends_with("override.yml"));
    let status = here.product.json(&["status"]);
    assert!(drift(&status).is_empty() && status["changes"].is_string(), "{status}");
    for ((role, container), id) in story::ROLES.iter().zip(here.containers()).zip(before) {
        assert_eq!(label(&container) == "one", *role == "trainer", "{role}");
        assert_eq!(container["Id"] == id.as_str(), *role != "trainer", "{role} was made anew for nothing");
    }
    assert!(here.product.ok(&["plan"]).out.contains("docker-compose.override.yml"));
}

fn broken_changes_change_nothing(here: &Installed) {
    let (path, before) = (here.deployment().join("docker-compose.override.yml"), here.ids());
    let good = fs::read(&path).unwrap();
    for (broken, said) in [
        ("services: {llm: {no_such_thing: 1}}", "no_such_thing"),
        ("services: [", "yaml"),
        ("services: {llm: {image: 'other:1'}}", "image, name or label of service `llm`"),
    ] {
        fs::write(&path, broken).unwrap();
        let refused = here.product.run(&["install", "--yes"]).expect(1);
        assert!(refused.err.contains(said) && refused.err.contains("docker-compose.override.yml"), "{}", refused.err);
        assert!(refused.err.contains("what runs was left as it is"), "{}", refused.err);
    }
    assert_eq!(here.ids(), before);
    let roles = here.product.json(&["status"])["roles"].clone();
    assert!(roles.as_array().unwrap().iter().all(|role| role["state"] == "ready"), "{roles}");
    fs::write(&path, good).unwrap();
}

fn an_edit_is_kept(here: &Installed) {
    let path = here.deployment().join("docker-compose.yml");
    let edited = fs::read_to_string(&path).unwrap().replace("pids_limit: 1024", "pids_limit: 999");
    fs::write(&path, &edited).unwrap();
    let said = here.product.run(&["install", "--yes"]).expect(0).err;
    let kept = base_name(&said, "docker-compose.edited-");
    assert_eq!(fs::read_to_string(here.deployment().join(&kept)).unwrap(), edited, "{said}");
    fs::write(&path, edited.replace("999", "998")).unwrap();
    let told = here.repeat();
    assert!(finished(&told, "containers").1["evidence"]["edited_file_kept_as"].is_string());
    assert!(here.containers().iter().all(|container| container["HostConfig"]["PidsLimit"] == 1024));
}

/// The file's name that begins so, out of a text.
fn base_name(text: &str, begin: &str) -> String {
    let at = text.find(begin).unwrap_or_else(|| panic!("{begin} is not in {text}"));
    text[at..].chars().take_while(|c| c.is_alphanumeric() || ".-".contains(*c)).collect()
}

/// Returns the ids of both images.
fn the_old_images_serve_until_the_new_ones_are_there(here: &Installed) -> Vec<String> {
    let image = |container: &Value| container["Image"].as_str().unwrap().to_owned();
    let old = image(&here.containers()[0]);
    let next = next_bundle();
    let is_over = AtomicBool::new(false);
    let (told, silent) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut silent = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let at = Instant::now();
                let url = format!("http://127.0.0.1:{}/health", here.base + 10);
                let asked = Command::new("curl").args(["-sf", "--max-time", "2", "-o", "/dev/null", &url]).status();
                if !asked.unwrap().success() {
                    silent.push(at);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            silent
        });
        let told = here.update(&next);
        is_over.store(true, Ordering::Relaxed);
        (told, watched.join().unwrap())
    });
    let (loaded, _) = finished(&told, "images");
    let down = silent.last().copied().zip(silent.first().copied()).map(|(last, first)| last - first);
    println!("the console was silent for {down:?} while six containers were replaced");
    assert!(silent.first().is_none_or(|first| first > loaded), "it stopped before the images were there");
    let new: BTreeSet<_> = here.containers().iter().map(image).collect();
    assert_eq!(new.len(), 1, "all six run the same image");
    let new = new.into_iter().next().unwrap();
    assert_ne!(new, old);
    assert!(has_image(&old), "the image before is the way back");
    let roles = here.product.json(&["status"])["roles"].clone();
    assert!(roles.as_array().unwrap().iter().all(|role| role["state"] == "ready" && role["is_current"] == true));
    assert!(here.ask("Welchen Bemessungsstrom hat die KX 4?")["choices"][0].is_object());
    vec![old, new]
}
