//! The same stories with the services as containers, from a signed bundle.

mod change;
mod engines;
mod installed;
mod update;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::{
    foreign::Foreign,
    product::{Product, Run, binary, free_port_base, run},
    story,
};

const SOCKET: &str = "/var/run/docker.sock";

/// Whether an engine answers here. `scripts/setup.sh test` starts one where it may.
pub fn engine_is_here() -> bool {
    let is_here = Path::new(SOCKET).exists() && docker(&["info"]).code == 0;
    if !is_here {
        println!("skipped: no Docker engine answers at {SOCKET}");
    }
    is_here
}

fn docker(args: &[&str]) -> Run {
    Run::of(Command::new("docker").arg("--host").arg(format!("unix://{SOCKET}")).args(args).output().unwrap())
}

/// A signed bundle of the binary under test and the models with the root that trusts it, made once for all tests.
pub fn bundle() -> &'static (PathBuf, PathBuf) {
    static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker");
        // A bundle of an older binary is of no use.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let stripped = Command::new("strip").args(["-o", &path("0711"), binary()]).status().unwrap();
        assert!(stripped.success());
        let spec = crate::product::checkout("bundles/platform.yaml").display().to_string();
        for key in ["root.key", "release.key"] {
            run(["release", "keygen", "--out", &path(key)]).expect(0);
        }
        let init = ["release", "init", "--trust", &path("trust"), "--threshold", "1"];
        run(init.iter().copied().chain(["--root-key", &path("root.key"), "--release-key", &path("release.key")]))
            .expect(0);
        run(["bundle", "build", "--spec", &spec, "--binary", &path("0711"), "--out", &path("bundle")]).expect(0);
        run(["release", "sign", &path("bundle"), "--trust", &path("trust"), "--key", &path("release.key")]).expect(0);
        (dir.join("bundle"), dir.join("trust/metadata/1.root.json"))
    })
}

/// The next release of the same vendor: its program has a byte more, so its image is another one.
fn next_bundle() -> PathBuf {
    let dir = bundle().0.parent().unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let mut program = fs::read(dir.join("0711")).unwrap();
    program.push(0);
    fs::write(dir.join("0711-next"), program).unwrap();
    let spec = crate::product::checkout("bundles/platform.yaml").display().to_string();
    run(["bundle", "build", "--spec", &spec, "--binary", &path("0711-next"), "--out", &path("next")]).expect(0);
    run(["release", "sign", &path("next"), "--trust", &path("trust"), "--key", &path("release.key")]).expect(0);
    dir.join("next")
}

pub fn install_args(base: u16) -> Vec<String> {
    from(story::install_args(base), &bundle().0)
}

/// The same from another bundle, or the first.
fn from(args: Vec<String>, bundle_path: &Path) -> Vec<String> {
    let more = ["--bundle", &bundle_path.display().to_string(), "--trust-root", &bundle().1.display().to_string()];
    args.into_iter().chain(more.map(str::to_owned)).collect()
}

/// What takes longest is left out where a story is about something else.
fn without_training(base: u16) -> Vec<String> {
    let mut args = story::install_args(base);
    let minutes = args.iter().position(|arg| arg == "--training-minutes").unwrap();
    args[minutes + 1] = "0".to_owned();
    args
}

/// What the engine holds with our label, of one project.
pub fn made(project: &str) -> Vec<String> {
    let label = format!("label=com.docker.compose.project={project}");
    let containers = docker(&["ps", "-aq", "--filter", &label]).expect(0).out;
    let networks = docker(&["network", "ls", "-q", "--filter", &label]).expect(0).out;
    containers.lines().chain(networks.lines()).map(str::to_owned).collect()
}

/// The compose project of the customer whose folder this is.
pub fn project(customer: &Path) -> String {
    let plan: Value = serde_json::from_slice(&fs::read(customer.join("plan.json")).unwrap()).unwrap();
    let step = plan["steps"].as_array().unwrap().iter().find(|step| step["step"] == "containers").unwrap();
    step["project"].as_str().unwrap().to_owned()
}

/// The compose file of the GPU profile, read by Compose itself: its parser holds it against the schema of the Compose Specification. No
/// engine and no graphics card are needed, and none is used: vLLM is not run here.
#[test]
fn the_gpu_profile_is_valid_compose() {
    let client = ["docker", "/usr/bin/docker"].into_iter().find(|client| {
        Command::new(client).args(["compose", "version"]).output().is_ok_and(|output| output.status.success())
    });
    let Some(client) = client else {
        println!("skipped: there is no `docker compose` here");
        return;
    };
    // `stack` holds what it renders against this file.
    let file = crate::product::checkout("src/stack/docker/golden-gpu.yml");
    let read = |file: &Path| {
        let mut command = Command::new(client);
        command.args(["compose", "--file"]).arg(file).args(["config", "--format", "json"]);
        Run::of(command.output().unwrap())
    };
    let run = read(&file).expect(0);
    assert!(!run.err.contains("level=warning"), "{}", run.err);
    let services = &run.json()["services"];
    let devices = |role: &str| services[role]["deploy"]["resources"]["reservations"]["devices"].clone();
    assert_eq!(devices("llm")[0]["device_ids"], serde_json::json!(["0", "1"]));
    assert_eq!(devices("embed")[0]["capabilities"], serde_json::json!(["gpu"]));
    assert_eq!(devices("lake"), Value::Null);
    let words = |role: &str| {
        let words = ["entrypoint", "command"].map(|part| services[role][part].as_array().unwrap().clone());
        words.concat().iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let llm = words("llm");
    assert!(llm.windows(2).any(|pair| pair == ["--served-model-name", "base"]), "{llm:?}");
    assert!(words("embed").windows(2).any(|pair| pair == ["--runner", "pooling"]));

    // The same reader does refuse: what it accepts means something.
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    for (from, to) in [("capabilities:", "capability:"), ("shm_size:", "shm_sizes:"), ("- core\n", "- kern\n")] {
        let spoiled = dir.path().join("spoiled.yml");
        fs::write(&spoiled, text.replacen(from, to, 1)).unwrap();
        assert_ne!(read(&spoiled).code, 0, "{from} was accepted as {to}");
    }
}

pub fn inspect(name: &str) -> Value {
    let found: Value = docker(&["inspect", name]).expect(0).json();
    found[0].clone()
}

#[test]
fn the_same_story_in_containers() {
    if !engine_is_here() {
        return;
    }
    let product = Product::new();
    let base = free_port_base();
    let name = std::cell::RefCell::new(String::new());
    let by_container = |role: &str, offset: u16| {
        let project = project(&product.customer());
        name.replace(project.clone());
        check_containers(&product, &project);
        if role == "console" {
            return format!("http://127.0.0.1:{}", base + offset);
        }
        let address = &inspect(&format!("{project}-{role}"))["NetworkSettings"]["Networks"][format!("{project}-core")]
            ["IPAddress"];
        format!("http://{}:{}", address.as_str().unwrap(), base + offset)
    };
    story::tell(&product, base, &install_args(base), &by_container);
    assert_eq!(made(&name.borrow()), Vec::<String>::new(), "an uninstallation leaves nothing on the engine");
}

/// What the engine says about the rights of each container, whatever the compose file claims.
fn check_containers(product: &Product, project: &str) {
    let compose = product.customer().join("deployment/docker-compose.yml").display().to_string();
    docker(&["compose", "-f", &compose, "config", "--quiet"]).expect(0);
    for role in story::ROLES {
        let found = inspect(&format!("{project}-{role}"));
        let host = &found["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{role}");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{role}");
        assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]), "{role}");
        assert!(host["Memory"].as_u64().unwrap() > 0 && host["PidsLimit"].as_u64().unwrap() > 0, "{role}");
        assert_ne!(found["Config"]["User"], "0:0", "{role}");
        let published: Vec<_> =
            host["PortBindings"].as_object().unwrap().values().flat_map(|all| all.as_array().unwrap()).collect();
        assert_eq!(published.is_empty(), role != "console", "{role}");
        assert!(published.iter().all(|port| port["HostIp"] == "127.0.0.1"), "{role}: {published:?}");
        let mounts = found["Mounts"].as_array().unwrap();
        let share = mounts.iter().find(|mount| mount["Source"].as_str().unwrap().ends_with("tests/fixtures/share"));
        assert_eq!(share.is_some(), role == "ingest", "{role}");
        assert!(share.is_none_or(|mount| mount["RW"] == false), "{role}");
    }
}

/// The image of an engine is, in a bundle, the one of its archive and of a registry.
#[test]
fn an_image_of_the_engine_is_the_one_of_its_archive() {
    if !engine_is_here() {
        return;
    }
    /// Removed also when the test fails.
    struct Loaded(String);
    impl Drop for Loaded {
        fn drop(&mut self) {
            docker(&["image", "rm", &self.0]);
        }
    }
    let product = Product::new();
    let image = Foreign::make(&product.folder("image"), &format!("it-store-{}", std::process::id()));
    let by_archive = image.build("archive", "!docker-archive saved.tar").expect(0).json();
    image.build("absent", &format!("!engine {}", image.reference)).expect(1);
    docker(&["load", "--input", &image.archive().display().to_string()]).expect(0);
    let loaded = Loaded(image.reference.clone());
    let by_engine = image.build("engine", &format!("!engine {}", image.reference)).expect(0).json();
    assert_eq!(by_engine["release"], by_archive["release"]);
    let (_, name) = image.serve();
    let by_registry = image.build("registry", &format!("!registry \"{name}\"")).expect(0).json();
    assert_eq!(by_registry["release"], by_archive["release"]);
    drop(loaded);
    let refused = image.build("gone", &format!("!engine {}", image.reference)).expect(1).json();
    assert!(refused["remedy"].as_str().unwrap().contains("docker pull"), "{refused}");
}

/// `kill -9` at every journal record, and nothing left on the engine in the end.
#[test]
fn killed_at_every_record_in_containers() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: two dozen installations in containers take long; scripts/soak.sh runs them");
        return;
    }
    if !engine_is_here() {
        return;
    }
    let volumes = || docker(&["volume", "ls", "-q"]).expect(0).out;
    let before = volumes();
    let product = Product::new();
    crate::kill::kill_at_every_record(&product, &install_args(free_port_base()));
    let project = project(&product.customer());
    assert_eq!(made(&project).len(), 8, "six containers and two networks");
    assert_eq!(docker(&["images", "-q", "--filter", "label=com.0711.loading"]).expect(0).out, "");
    product.ok(&["uninstall", "--purge", "--yes"]);
    assert_eq!(made(&project), Vec::<String>::new());
    assert_eq!(volumes(), before);
}

/// `scripts/release.sh` makes one file; it installs without network or checkout, and a damaged one does nothing.
#[test]
fn the_one_file_installs_and_notices_damage() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: it unpacks a release of half a gigabyte several times; scripts/soak.sh runs it");
        return;
    }
    let (bundle, root) = bundle();
    let dir = bundle.parent().unwrap();
    let out = dir.join("release");
    let path = |path: &Path| path.display().to_string();
    let (key, public) = (path(&dir.join("vendor.pem")), path(&dir.join("vendor.pub")));
    let openssl = |args: &[&str]| Run::of(Command::new("openssl").args(args).output().unwrap());
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &key]).expect(0);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]).expect(0);
    let made = Command::new("bash")
        .arg(crate::product::checkout("scripts/release.sh"))
        .args(["--bundle", &path(bundle), "--root", &path(root), "--binary", &path(&dir.join("0711"))])
        .args(["--out", &path(&out), "--key", &key])
        .output();
    println!("{}", Run::of(made.unwrap()).expect(0).out);
    let file = path(&out.join("install-0711.sh"));
    let signature = file.clone() + ".sig";
    let check = ["pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &file, "-sigfile", &signature];
    openssl(&check).expect(0);

    let product = Product::new();
    let install = |file: &str| {
        let args = without_training(free_port_base());
        let mut command = Command::new("bash");
        command.arg(file).args(&args[1..]).args(["--runtime", "native", "--json", "--root"]);
        Run::of(command.arg(&product.root).stdin(std::process::Stdio::null()).output().unwrap())
    };
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 100_000;
    bytes[last] ^= 1;
    let damaged = path(&out.join("damaged.sh"));
    fs::write(&damaged, &bytes).unwrap();
    assert!(install(&damaged).expect(1).err.contains("damaged"));
    fs::write(&damaged, &bytes[..last]).unwrap();
    assert!(install(&damaged).expect(1).err.contains("not whole"));
    assert_ne!(openssl(&check.map(|word| if word == file { damaged.as_str() } else { word })).code, 0);
    assert!(!product.root.exists(), "a damaged file made something");

    let run = install(&file).expect(0);
    let summary: Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    assert!(summary["documents"].as_u64().unwrap() >= 35, "{summary}");
}
