use std::collections::BTreeSet;

use super::*;

fn wanted(dir: &Path) -> Wanted {
    let place = |name, path: PathBuf, kind| Place { name, path, need: Need::default(), kind };
    Wanted {
        places: vec![
            place("data", dir.join("var"), PlaceKind::Data),
            place("bin", dir.join("bin"), PlaceKind::Programs),
            place("tmp", dir.to_owned(), PlaceKind::Passing { setting: "TMPDIR" }),
        ],
        memory: Memory { rest_bytes: 1, peak_bytes: 1, held_bytes: 0 },
        ports: vec![],
        latest_seen: None,
        docker: None,
        readers: None,
        gpu: false,
        online: None,
    }
}

fn check<'a>(report: &'a Report, id: &str) -> &'a Check {
    report.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("{id} is not checked"))
}

#[test]
fn every_check_is_there_with_an_id_of_its_own_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let mut wanted = wanted(dir.path());
    wanted.ports = vec![PortUse { port, purpose: "test".into(), is_ours: false }];
    let report = preflight(&wanted);
    let ids: BTreeSet<_> = report.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids.len(), report.checks.len(), "an id is used twice");
    for id in [
        "cpu.v3",
        "ram.total",
        "disk.data",
        "disk.bin",
        "disk.tmp",
        "inodes.data",
        "fs.data",
        "fs.bin",
        "rights.data",
        "latency.data",
        "kernel.version",
        "cgroups.version",
        "selinux",
        "clock.sane",
        "clock.synchronised",
        "docker.engine",
        "docker.api",
        "docker.compose",
        "docker.storage",
        "disk.docker-root",
        "disk.containerd-root",
        "data.readable",
        "gpu.driver",
        "gpu.toolkit",
        "dns",
        "proxy",
    ] {
        assert!(ids.contains(id), "{id} is not checked");
    }
    for check in &report.checks {
        let may_be_without = check.verdict == Verdict::Ok || check.is_not_asked();
        assert_eq!(check.remedy.is_none(), may_be_without, "{check:?}");
        assert!(!check.seen.is_empty(), "{check:?}");
    }
    let taken = check(&report, &format!("port.{port}"));
    assert_eq!(taken.verdict, Verdict::Failed);
    assert!(taken.seen.contains(&format!("pid {}", std::process::id())), "the holder is named: {}", taken.seen);
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn what_nobody_asked_for_fails_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let report = preflight(&wanted(dir.path()));
    for id in ["docker.engine", "docker.compose", "disk.docker-root", "data.readable", "gpu.driver", "dns", "proxy"] {
        assert!(check(&report, id).is_not_asked(), "{id}");
    }
    assert_eq!(report.with(Verdict::Failed).count(), 0, "{:?}", report.checks);
}

#[test]
fn an_engine_that_is_not_there_is_unknown_and_its_folders_too() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("no.sock");
    let mut wanted = wanted(dir.path());
    wanted.docker = Some(Engine::Socket(socket));
    let report = preflight(&wanted);
    for id in ["docker.engine", "docker.api", "docker.storage", "disk.docker-root", "disk.containerd-root"] {
        let found = check(&report, id);
        assert_eq!((found.verdict, found.is_not_asked()), (Verdict::Unknown, false), "{id}");
    }
}

#[test]
fn an_engine_that_answers_says_where_its_room_is_judged() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let root = dir.path().join("docker");
    let info = format!(
        r#"{{"DockerRootDir":"{}","Driver":"overlay2","MemoryLimit":true,"PidsLimit":true,"Runtimes":{{"runc":{{}}}}}}"#,
        root.display()
    );
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut asked) = (stream.unwrap(), [0; 256]);
            let count = stream.read(&mut asked).unwrap();
            let body = match asked[..count].starts_with(b"GET /version ") {
                true => r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#,
                false => info.as_str(),
            };
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
        }
    });
    let mut wanted = wanted(dir.path());
    wanted.docker = Some(Engine::Socket(socket));
    let report = preflight(&wanted);
    assert_eq!(check(&report, "docker.engine").verdict, Verdict::Ok);
    let room = check(&report, "disk.docker-root");
    assert!(room.seen.contains(&root.display().to_string()), "{}", room.seen);
    // One file system: the engine's need is part of the data's verdict.
    let needed = check(&report, "disk.data").space.unwrap().needed_bytes;
    assert_eq!(needed, Need::ENGINE.peak_bytes);
}

#[test]
fn the_report_is_what_scripts_read() {
    let report = Report::new(vec![
        Check::ok("cpu.v3", "X: has every feature of x86-64-v3"),
        Check::failed("port.5110", "held by nginx (pid 811)", "stop it"),
        Check::not_asked("dns", "--online"),
    ]);
    let json = serde_json::to_value(&report).unwrap();
    let expect = serde_json::json!({
        "format": 1,
        "verdict": "failed",
        "checks": [
            {"id": "cpu.v3", "verdict": "ok", "seen": "X: has every feature of x86-64-v3"},
            {"id": "port.5110", "verdict": "failed", "seen": "held by nginx (pid 811)", "remedy": "stop it"},
            {"id": "dns", "verdict": "unknown", "seen": "not asked for; `--online` does"},
        ],
    });
    assert_eq!(json, expect);
}
