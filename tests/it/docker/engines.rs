//! The short story on whichever engine is here.

use std::time::Instant;

use super::{
    bundle, check_containers, docker, engine_is_here,
    installed::{Installed, has_image},
    made,
};
use crate::product::run;

/// Loading, installing, asking over HTTP and removing: what every engine must do. `scripts/test-engines.sh` runs it on others than
/// the one that is installed.
#[test]
fn the_short_story_on_the_engine_that_is_here() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: the other stories tell more; scripts/test-engines.sh runs it on other engines");
        return;
    }
    if !engine_is_here() {
        return;
    }
    let version = docker(&["version", "--format", "{{.Server.Version}} (API {{.Server.APIVersion}})"]).expect(0).out;
    let driver = docker(&["info", "--format", "{{.Driver}} {{.DriverStatus}}"]).expect(0).out;
    println!("engine {}, {}", version.trim(), driver.trim());
    match std::env::var("ZERO711_TEST_ENGINE").as_deref() {
        Ok("containerd") => assert!(driver.contains("io.containerd.snapshotter"), "{driver}"),
        Ok(wanted) => assert!(version.starts_with(wanted), "{version}"),
        Err(_) => {}
    }
    let (bundle_path, root) = bundle();
    let words = ["bundle", "load", &bundle_path.display().to_string(), "--trust-root", &root.display().to_string()];
    let load = || run(words.iter().copied().chain(["--json"])).expect(0);
    let started = Instant::now();
    let first = load().json();
    println!("loaded in {:?}: {first}", started.elapsed());
    let again = load().json();
    assert_eq!(again["loaded"][0]["layers_sent"], 0, "{again}");
    let id = first["loaded"][0]["id"].as_str().unwrap().to_owned();
    assert!(has_image(&id));
    // One that is there when we come is there when we have gone.
    let here = Installed::new();
    check_containers(&here.product, &here.project);
    let answer = here.ask("Welchen Bemessungsstrom hat die Durchgangsklemme KX 4?");
    let cited = answer["choices"][0]["message"]["citations"].as_array().unwrap();
    assert!(cited.iter().any(|one| one["document"].as_str().unwrap().contains("KX-4")), "{answer}");
    let left = here.product.json(&["uninstall", "--purge", "--yes"]);
    assert_eq!(left["left_on_engine"][0]["why"], "it was on the engine before", "{left}");
    assert_eq!(made(&here.project), Vec::<String>::new());
    assert!(has_image(&id));
    docker(&["image", "rm", &id]).expect(0);
    // And one that we bring goes with us.
    let here = Installed::new();
    let left = here.product.json(&["uninstall", "--purge", "--yes"]);
    assert!(left.get("left_on_engine").is_none() && !has_image(&id), "{left}");
    assert_eq!(docker(&["images", "-q", "--filter", "label=com.0711.loading"]).expect(0).out, "");
}
