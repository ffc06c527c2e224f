//! Two customers on one engine: what tries to leave is counted, and neither reaches anything of the other.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    docker::{bundle, engine_is_here, inspect, made, project},
    product::{Product, Run, checkout, free_port_base},
};

const ROLES: [&str; 6] = ["embed", "llm", "lake", "ingest", "trainer", "console"];
const OFFSETS: [u16; 7] = [0, 1, 10, 30, 40, 41, 60];

/// One of the two.
struct Customer {
    slug: &'static str,
    base: u16,
    folder: PathBuf,
    dir: PathBuf,
    project: String,
    containers: Vec<Container>,
}

struct Container {
    role: &'static str,
    pid: u64,
    /// On each of its networks.
    addresses: Vec<String>,
    /// The machine's own address on each of them.
    gateways: Vec<String>,
    /// Where its mounts come from.
    sources: Vec<PathBuf>,
}

impl Customer {
    fn install(product: &Product, name: &str, slug: &'static str, files: &[&str]) -> Self {
        let (bundle, root) = bundle();
        let folder = product.folder(slug);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for file in files {
            let from = checkout("tests/fixtures/share").join(file);
            fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
        }
        let base = free_port_base();
        let path = |path: &Path| path.display().to_string();
        let (bundle, root, port, share) = (path(bundle), path(root), base.to_string(), path(&folder));
        let mut args = vec!["install", "--customer", name, "--license", "DEMO", "--folder", &share, "--yes"];
        args.extend(["--bundle", &bundle, "--trust-root", &root, "--training-minutes", "0", "--port-base", &port]);
        product.ok(&args);
        let dir = product.root.join("var").join(slug);
        let project = project(&dir);
        let containers = ROLES.map(|role| Container::of(&project, role)).into();
        Self { slug, base, folder, dir, project, containers }
    }

    /// A container that was started anew has another process.
    fn look_again(&mut self) {
        self.containers = ROLES.map(|role| Container::of(&self.project, role)).into();
    }

    fn container(&self, role: &str) -> &Container {
        self.containers.iter().find(|container| container.role == role).unwrap()
    }

    fn secret(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("deployment/secrets").join(name)).unwrap().trim().to_owned()
    }
}

impl Container {
    fn of(project: &str, role: &'static str) -> Self {
        let found = inspect(&format!("{project}-{role}"));
        let networks = found["NetworkSettings"]["Networks"].as_object().unwrap();
        let of_networks = |name: &str| {
            let all = networks.values().map(|network| network[name].as_str().unwrap().to_owned());
            all.filter(|address| !address.is_empty()).collect()
        };
        let mounts = found["Mounts"].as_array().unwrap().iter();
        Self {
            role,
            pid: found["State"]["Pid"].as_u64().unwrap(),
            addresses: of_networks("IPAddress"),
            gateways: of_networks("Gateway"),
            sources: mounts.map(|mount| mount["Source"].as_str().unwrap().into()).collect(),
        }
    }

    /// A command in the container's network, and otherwise on this machine.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.pid.to_string(), program]).stdin(Stdio::null());
        command
    }

    /// Tries to connect to each of `addresses:ports`, all at once, and returns those that answered.
    fn reaches(&self, targets: &BTreeSet<String>) -> String {
        let script = r#"for target; do (timeout 1 bash -c ": >/dev/tcp/${target/:/\/}" 2>/dev/null && echo "$target") & done; wait"#;
        let run = self.inside("bash").args(["-c", script, "bash"]).args(targets).output().unwrap();
        Run::of(run).expect(0).out
    }

    /// Asks the engine's resolver, as the container does, and returns the address.
    fn resolves(&self, name: &str) -> Option<String> {
        const SCRIPT: &str = "
import socket, struct, sys
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.settimeout(10)
name = b''.join(bytes([len(part)]) + part.encode() for part in sys.argv[1].split('.')) + b'\\0'
ask.sendto(struct.pack('!6H', 7, 0x100, 1, 0, 0, 0) + name + struct.pack('!2H', 1, 1), ('127.0.0.11', 53))
answer = ask.recv(512)
print(socket.inet_ntoa(answer[-4:]) if struct.unpack('!H', answer[6:8])[0] else '')
";
        let python = std::env::var("ZERO711_TEST_PYTHON").expect("scripts/test.sh sets it");
        let run = Run::of(self.inside(&python).args(["-c", SCRIPT, name]).output().unwrap()).expect(0);
        Some(run.out.trim().to_owned()).filter(|address| !address.is_empty())
    }
}

#[test]
fn two_customers_reach_nothing_of_each_other() {
    if !engine_is_here() {
        return;
    }
    let product = Product::new();
    let mut a = Customer::install(
        &product,
        "Kessler Klemmtechnik GmbH",
        "kessler-klemmtechnik-gmbh",
        &["Datenblätter/Datenblatt_KX-10_Durchgangsklemme.md", "Vertrieb/FAQ_Kundenservice.md"],
    );
    // Another customer does not begin with the folders of the first.
    let run = product.run(&["install", "--customer", "Adler Relais AG", "--yes"]).expect(2);
    assert!(run.err.contains("folder"), "{}", run.err);
    let b = Customer::install(
        &product,
        "Adler Relais AG",
        "adler-relais-ag",
        &["Datenblätter/RKM-24_relay_module.md", "Recht/Terms_of_delivery_export.md"],
    );
    egress_counts_what_tries_to_leave(&product, &a, &b);
    a.look_again();
    for (one, other) in [(&a, &b), (&b, &a)] {
        no_connection_and_no_name(one, other);
        no_file(&product, one, other);
        no_secret(one, other);
    }
    for customer in [&a, &b] {
        let table = table(&product, customer);
        assert!(tables().contains(&table), "{}", tables());
        product.ok(&["uninstall", "--purge", "--yes", "--slug", customer.slug]);
        assert_eq!(made(&customer.project), Vec::<String>::new());
        assert!(!tables().contains(&table), "{}", tables());
    }
}

/// The table that counts for a customer, by the list of everything 0711 made.
fn table(product: &Product, customer: &Customer) -> String {
    let footprint = product.json(&["footprint", "--slug", customer.slug]);
    footprint["engine"]["tables"][0].as_str().unwrap_or_else(|| panic!("{footprint}")).to_owned()
}

fn tables() -> String {
    Run::of(Command::new("nft").args(["list", "tables"]).output().unwrap()).expect(0).out
}

/// What `0711 egress` says, and its exit code.
fn egress(product: &Product, customer: &Customer, more: &[&str]) -> (Value, i32) {
    let args = [&["egress", "--json", "--slug", customer.slug], more].concat();
    let run = product.run(&args);
    (run.json()["statement"].clone(), run.code)
}

fn egress_counts_what_tries_to_leave(product: &Product, a: &Customer, b: &Customer) {
    for customer in [a, b] {
        let (statement, code) = egress(product, customer, &[]);
        assert_eq!((statement["verdict"].as_str(), code), (Some("none"), 0), "{statement}");
        assert!(statement["counted"]["since"].is_string() && statement["gaps"] == serde_json::json!([]), "{statement}");
    }
    let nowhere = BTreeSet::from(["192.0.2.1:80".to_owned()]);
    assert_eq!(a.container("console").reaches(&nowhere), "", "the gateway has a route, and nobody answers");
    let (statement, code) = egress(product, a, &[]);
    assert_eq!((statement["verdict"].as_str(), code), (Some("attempts"), 13), "{statement}");
    let edge = statement["networks"]["edge"]["connections"].as_u64().unwrap();
    assert!(edge >= 1, "{statement}");

    assert_eq!(a.container("lake").reaches(&nowhere), "");
    assert_eq!(a.container("console").resolves("example.com"), None);
    let of = |statement: &Value, role: &str, what: &str| statement["roles"][role][what].as_u64().unwrap();
    let (statement, _) = egress(product, a, &[]);
    assert!(of(&statement, "lake", "without_route") >= 1, "{statement}");
    assert!(of(&statement, "console", "names") >= 1, "{statement}");
    assert_eq!(of(&statement, "llm", "without_route") + of(&statement, "llm", "names"), 0, "{statement}");

    // Neither a container that begins anew nor a table that is lost makes anything unseen.
    product.ok(&["restart", "lake", "--slug", a.slug]);
    let table = table(product, a);
    Run::of(Command::new("nft").args(["delete", "table", "inet", &table]).output().unwrap()).expect(0);
    let (later, _) = egress(product, a, &[]);
    assert_eq!(of(&later, "lake", "without_route"), of(&statement, "lake", "without_route"));
    assert_eq!(later["networks"]["edge"]["connections"], statement["networks"]["edge"]["connections"]);
    assert_eq!(later["gaps"].as_array().unwrap().len(), 1, "{later}");
    assert!(tables().contains(&table), "it counts again");
    assert_eq!(egress(product, b, &[]).0["verdict"], "none", "each has its own");

    a_report_is_its_installations(product, a, b);
}

fn a_report_is_its_installations(product: &Product, a: &Customer, b: &Customer) {
    let file = product.folder("reports").join("egress.json");
    let path = file.display().to_string();
    let run = product.run(&["egress", "--json", "--slug", a.slug, "--report", &path]).expect(13);
    let key = run.json()["key"]["public_key"].as_str().unwrap().to_owned();
    let check = |more: &[&str]| crate::product::run([&["egress", "--json", "--check", &path], more].concat());
    // Elsewhere, with nothing but the key.
    let checked = check(&["--key", &key]).expect(13).json();
    assert_eq!(checked["statement"]["verdict"], "attempts", "{checked}");
    assert_eq!(checked["statement"]["customer"]["slug"], a.slug);
    product.run(&["egress", "--check", &path, "--slug", a.slug]).expect(13);
    product.run(&["egress", "--check", &path, "--slug", b.slug]).expect(9);
    let whole = fs::read_to_string(&file).unwrap();
    let at = whole.find("\"payload\": \"").unwrap() + 40;
    let mut flipped = whole.clone().into_bytes();
    flipped[at] ^= 1;
    fs::write(&file, flipped).unwrap();
    check(&["--key", &key]).expect(9);
    let mode = fs::metadata(a.dir.join("deployment/secrets/report-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn no_connection_and_no_name(one: &Customer, other: &Customer) {
    let mut targets = BTreeSet::new();
    let mut add = |addresses: &[String], base: u16| {
        targets.extend(addresses.iter().flat_map(|ip| OFFSETS.map(|offset| format!("{ip}:{}", base + offset))));
    };
    for container in &other.containers {
        add(&container.addresses, other.base);
        add(&container.gateways, other.base);
    }
    for container in &one.containers {
        // Where the other is published, and where it would be if it were published everywhere.
        add(&container.gateways, other.base);
    }
    add(&own_addresses(), other.base);
    assert!(targets.len() > 60, "{targets:?}");
    std::thread::scope(|scope| {
        for container in &one.containers {
            let targets = &targets;
            scope.spawn(move || {
                let reached = container.reaches(targets);
                assert_eq!(reached, "", "{} of {} reaches {}", container.role, one.slug, other.slug);
            });
        }
    });
    let console = one.container("console");
    // The way of asking works: the own lake answers.
    let own: BTreeSet<_> = one.container("lake").addresses.iter().map(|ip| format!("{ip}:{}", one.base + 40)).collect();
    assert_eq!(console.reaches(&own).lines().count(), 1);
    for role in ROLES {
        assert_eq!(console.resolves(&format!("{}-{role}", other.project)), None, "{role}");
        let own = console.resolves(role).unwrap_or_else(|| panic!("{role} has no address"));
        assert!(one.container(role).addresses.contains(&own), "{role} is {own}");
    }
}

/// Of this machine itself: what is published beyond loopback would be there.
fn own_addresses() -> Vec<String> {
    let listed = Command::new("ip").args(["-json", "-4", "address"]).output().unwrap();
    let listed = Run::of(listed).expect(0).json();
    let of_each = listed.as_array().unwrap().iter().flat_map(|card| card["addr_info"].as_array().unwrap().clone());
    of_each.map(|address| address["local"].as_str().unwrap().to_owned()).collect()
}

fn no_file(product: &Product, one: &Customer, other: &Customer) {
    let of_other = [
        other.dir.clone(),
        other.folder.clone(),
        product.root.join("etc").join(other.slug),
        product.root.join("run").join(other.slug),
    ];
    for container in &one.containers {
        for source in &container.sources {
            let is_apart = |path: &PathBuf| !source.starts_with(path) && !path.starts_with(source);
            assert!(of_other.iter().all(is_apart), "{} of {} has {}", container.role, one.slug, source.display());
        }
        let seen = Path::new("/proc").join(container.pid.to_string()).join("root");
        // The way of looking works: its own configuration is there.
        assert!(below(&seen, &one.dir).join("deployment/config.yaml").is_file());
        for path in &of_other {
            assert!(!below(&seen, path).exists(), "{} of {} sees {}", container.role, one.slug, path.display());
        }
    }
    let sources = |customer: &Customer| -> BTreeSet<PathBuf> {
        customer.containers.iter().flat_map(|container| container.sources.clone()).collect()
    };
    let models = product.root.join("var/models");
    let shared: Vec<_> = sources(one).intersection(&sources(other)).cloned().collect();
    assert!(shared.iter().all(|path| path.starts_with(&models)), "{shared:?}");
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

fn no_secret(one: &Customer, other: &Customer) {
    for name in ["token", "api-token", "console-password.argon2id", "report-key"] {
        assert_ne!(one.secret(name), other.secret(name), "{name}");
    }
    let (own, foreign) = (one.secret("api-token"), other.secret("api-token"));
    assert_eq!(status_of(one.base, &own), 200);
    assert_eq!(status_of(one.base, &foreign), 401);
    assert_eq!(status_of(one.base, &other.secret("token")), 401, "nor the one the services show each other");
}

/// The gateway's answer to a program that shows this token.
fn status_of(port: u16, token: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    write!(stream, "{head}Authorization: Bearer {token}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}
