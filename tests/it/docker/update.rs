//! A release replaces another in containers, and is taken back; killed in every stage, one stack serves.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    docker, engine_is_here,
    installed::{Installed, has_image},
};
use crate::{
    chaos::restart_engine,
    update::{Vendor, begin, configure, killed_in_every_stage, until_stage, version},
};

/// What the containers run.
fn images(here: &Installed) -> BTreeSet<String> {
    here.containers().iter().map(|container| container["Image"].as_str().unwrap().to_owned()).collect()
}

/// One complete stack of this release: six containers of one image, ready, and questions are answered.
fn serves(here: &Installed, expect: &str) {
    let roles = here.product.json(&["status"])["roles"].as_array().unwrap().clone();
    let is_good = |role: &Value| role["state"] == "ready" && role["is_current"] == true;
    assert!(roles.len() == 6 && roles.iter().all(is_good), "{roles:#?}");
    assert_eq!(version(&here.product), expect);
    assert_eq!(images(here).len(), 1, "two releases at once");
    let answer = here.ask("Welchen Bemessungsstrom hat die KX 4?");
    assert!(!answer["choices"][0]["message"]["citations"].as_array().unwrap().is_empty(), "{answer}");
    assert!(!here.product.root.join("var/update/rehearsal").exists(), "the rehearsal was left behind");
}

#[test]
fn a_release_in_containers_replaces_another_and_is_taken_back() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: it takes minutes; scripts/soak.sh runs it");
        return;
    }
    if !engine_is_here() {
        return;
    }
    let (here, vendor) = (Installed::new(), Vendor::the());
    configure(&here.product);
    let good = vendor.good();
    let old = images(&here);
    let done = here.product.json(&["update", "--from", &good, "--yes"]);
    let attempt = &done["attempt"];
    assert_eq!(attempt["stage"], "finished", "{done}");
    let scores = &attempt["customers"][0];
    for when in ["before", "rehearsed", "after"] {
        assert_eq!(scores[when]["right"], 2, "{when}: {scores}");
    }
    println!("update in containers: the console was away for {} ms", attempt["downtime_ms"]);
    assert!(attempt["downtime_ms"].as_u64().unwrap() < 90_000, "{attempt}");
    serves(&here, "0.2.0");
    let new = images(&here);
    assert!(new.is_disjoint(&old) && old.iter().all(|id| has_image(id)), "the image before is the way back");

    let back = here.product.json(&["update", "rollback", "--yes"]);
    assert_eq!(back["attempt"]["stage"], "rolled-back", "{back}");
    println!("and back: {} ms in all", back["attempt"]["downtime_ms"]);
    serves(&here, "0.1.0");
    assert_eq!(images(&here), old);

    killed_in_every_stage(&here.product, &good, &|expect| serves(&here, expect));
    an_engine_that_is_started_anew(&here, &good);
    let new = new.into_iter().next().unwrap();
    here.product.ok(&["uninstall", "--purge", "--yes"]);
    assert!(old.iter().chain([&new]).all(|id| !has_image(id)), "an image that was loaded here is left");
    assert!(fs::read_dir(here.product.root.join("var/update")).map_or(0, Iterator::count) == 0);
}

/// While it loads the images: the release is not to blame, what ran comes back, and the same command goes on.
fn an_engine_that_is_started_anew(here: &Installed, good: &str) {
    here.product.run(&["update", "release", "0.2.0"]).expect(0);
    let tag = docker(&["images", "--format", "{{.ID}} {{.Tag}}"]).expect(0).out;
    for id in tag.lines().filter_map(|line| line.strip_suffix(" 0.2.0")) {
        docker(&["rmi", "--force", id]).expect(0);
    }
    let mut update = begin(&here.product, good);
    until_stage(&here.product, "rehearsing");
    std::thread::sleep(Duration::from_millis(1500));
    restart_engine();
    let was_successful = update.wait().unwrap().success();
    let state = here.product.json(&["update", "status"])["state"].clone();
    println!("an engine started anew while it loads: {} {}", state["attempt"]["stage"], state["attempt"]["cause"]);
    let until = Instant::now() + Duration::from_secs(120);
    let is_back =
        || here.product.json(&["status"])["roles"].as_array().unwrap().iter().all(|role| role["state"] == "ready");
    while !is_back() {
        assert!(Instant::now() < until, "what ran does not come back: {}", here.product.json(&["status"]));
        std::thread::sleep(Duration::from_millis(500));
    }
    if !was_successful {
        assert_eq!(version(&here.product), "0.1.0");
        // The same command, as often as it is typed: nothing is held against the release.
        here.product.ok(&["update", "--from", good, "--yes"]);
    }
    serves(here, "0.2.0");
    here.product.ok(&["update", "rollback", "--yes"]);
    serves(here, "0.1.0");
}
