//! The whole way on a machine whose network leads nowhere: not one packet may try to leave.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    product::{Product, Run, binary, free_port_base},
    story,
};

/// A network namespace with loopback, and a card with a default route behind which nobody is. What leaves through it is counted.
struct Gap {
    name: String,
}

impl Gap {
    /// Nothing where this is not root, or the tools are missing.
    fn make() -> Option<Self> {
        let name = format!("0711-gap-{}", std::process::id());
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        if !is_root || !sh("ip netns list && nft --version").success() {
            println!("skipped: this needs root, `ip` and `nft`");
            return None;
        }
        let gap = Self { name };
        let Resolver { file, folder } = gap.resolver();
        fs::create_dir_all(folder).unwrap();
        fs::write(file, "nameserver 198.51.100.53\n").unwrap();
        assert!(sh(&format!("ip netns add {}", gap.name)).success());
        for command in [
            "ip link set lo up",
            "ip link add card0 type veth peer name card1",
            "ip link set card1 up",
            "ip address add 198.51.100.1/24 dev card0",
            "ip link set card0 up",
            "ip route add default via 198.51.100.254",
            "nft add table inet gap",
            "nft add chain inet gap out '{ type filter hook output priority 0 ; }'",
            // What the kernel itself says to neighbours and routers when a card comes up is nobody's attempt.
            "nft add rule inet gap out oifname card0 meta l4proto '{ tcp, udp }' counter",
            // What containers of the namespace would send through it, whatever an engine's own rules make of it later.
            "nft add chain inet gap through '{ type filter hook forward priority -10 ; }'",
            "nft add rule inet gap through oifname card0 counter",
        ] {
            assert!(gap.sh(command).status().unwrap().success(), "{command}");
        }
        Some(gap)
    }

    fn resolver(&self) -> Resolver {
        let folder = PathBuf::from("/etc/netns").join(&self.name);
        Resolver { file: folder.join("resolv.conf"), folder }
    }

    fn sh(&self, command: &str) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name, "sh", "-c", command]).stdin(Stdio::null());
        inside
    }

    /// The product inside.
    fn product(&self) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name, binary()]);
        inside
    }

    /// Packets that tried to leave.
    fn attempts(&self) -> u64 {
        let listed = Run::of(self.sh("nft --json list table inet gap").output().unwrap()).expect(0).json();
        let rules = listed["nftables"].as_array().unwrap().iter().filter_map(|item| item.get("rule"));
        let counters = rules.flat_map(|rule| rule["expr"].as_array().unwrap()).filter_map(|expr| expr.get("counter"));
        counters.map(|counter| counter["packets"].as_u64().unwrap()).sum()
    }
}

/// What `ip netns exec` shows as `/etc/resolv.conf`.
struct Resolver {
    file: PathBuf,
    folder: PathBuf,
}

impl Drop for Gap {
    fn drop(&mut self) {
        sh(&format!("ip netns delete {}", self.name));
        let _ = fs::remove_dir_all(self.resolver().folder);
    }
}

fn sh(command: &str) -> std::process::ExitStatus {
    Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[test]
fn nothing_tries_to_leave() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: a whole installation and a second training; scripts/soak.sh runs it");
        return;
    }
    let Some(gap) = Gap::make() else { return };
    let product = Product::new();
    live(&gap, &product, &|| gap.product(), &story::install_args(free_port_base()), 14);
}

/// The same in containers, on an engine that has no other network either.
#[test]
fn nothing_tries_to_leave_containers() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!(
            "skipped: a whole installation on an engine of its own, and a second training; scripts/soak.sh runs it"
        );
        return;
    }
    if !crate::docker::engine_is_here() {
        return;
    }
    let Some(gap) = Gap::make() else { return };
    let product = Product::new();
    let args = crate::docker::install_args(free_port_base());
    let engine = Engine::start(&gap, &product.folder("engine"));
    live(&gap, &product, &|| engine.product(), &args, 0);
    let left = Run::of(engine.inside("docker").args(["ps", "--all", "--quiet"]).output().unwrap()).expect(0).out;
    assert_eq!(left, "", "an uninstallation leaves nothing on the engine");
}

/// Installs, asks, trains and removes; `told` is the exit code of `egress` that fits.
fn live(gap: &Gap, product: &Product, program: &dyn Fn() -> Command, install: &[String], told: i32) {
    let run = |args: &[String]| {
        let mut command = program();
        command.args(args).arg("--root").arg(&product.root).arg("--json").stdin(Stdio::null());
        Run::of(command.output().unwrap())
    };
    run(install).expect(0);
    let answer = run(&words(&["ask", "Welchen Bemessungsstrom hat die KX 4?"])).expect(0).json();
    assert_eq!(answer["abstained"], Value::Bool(false), "{answer}");
    let status = run(&words(&["status"])).expect(0).json();
    assert!(status["roles"].as_array().unwrap().iter().all(|role| role["state"] == "ready"), "{status}");
    run(&words(&["train", "--minutes", "1"])).expect(0);
    let egress = run(&words(&["egress"])).expect(told).json();
    assert_eq!(egress["statement"]["connections"], serde_json::json!([]), "{egress}");
    run(&words(&["uninstall", "--purge", "--yes"])).expect(0);
    assert_eq!(gap.attempts(), 0, "something tried to reach another machine");
    // The counter counts: a name and an address that are asked for show up.
    let _ =
        gap.sh("timeout 1 getent hosts example.com; timeout 1 bash -c ': >/dev/tcp/192.0.2.1/80'").status().unwrap();
    assert!(gap.attempts() > 0, "the counter sees nothing at all");
}

/// A Docker engine in the namespace. It has a `/run` of its own, so that its socket stands where everybody looks for one.
struct Engine {
    daemon: Child,
}

impl Engine {
    fn start(gap: &Gap, dir: &Path) -> Self {
        const SCRIPT: &str = "mount -t tmpfs none /run && mount --bind $1 /etc/resolv.conf && exec dockerd \
            --data-root $2/data --exec-root $2/exec --pidfile $2/pid >$2/log 2>&1";
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", gap.name)).args(["unshare", "--mount", "sh", "-c", SCRIPT, "sh"]);
        let daemon = command.arg(gap.resolver().file).arg(dir).stdin(Stdio::null()).spawn().unwrap();
        let engine = Self { daemon };
        let begun = Instant::now();
        while !engine.inside("docker").arg("version").output().unwrap().status.success() {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "the engine does not start\n{log}");
            std::thread::sleep(Duration::from_millis(300));
        }
        engine
    }

    /// A program where the engine is.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.daemon.id().to_string(), program]).stdin(Stdio::null());
        command
    }

    fn product(&self) -> Command {
        self.inside(binary())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.daemon.wait();
    }
}
