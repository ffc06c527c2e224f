use super::super::Verdict::{self, Failed, Ok as Good, Unknown, Warning};
use super::super::engine::{Component, Info, Version};
use super::*;

fn facts(version: &str, api: &str, driver: &str) -> Facts {
    let version = Version { version: version.into(), api_version: api.into(), components: None };
    let info = Info {
        docker_root_dir: "/var/lib/docker".into(),
        driver: driver.into(),
        memory_limit: Some(true),
        pids_limit: Some(true),
        ..Info::default()
    };
    Facts { version, info }
}

fn verdicts(facts: Facts, compose: &Said) -> Vec<Verdict> {
    let engine = Engine::from_docker_host(None);
    docker(&engine, &Some(Ok(facts)), compose).into_iter().map(|check| check.verdict).collect()
}

fn compose_of(text: &str) -> Said {
    Said::Text(text.into())
}

#[test]
fn both_ends_of_the_tested_range_will_do() {
    assert_eq!(verdicts(facts("20.10.24+dfsg1", "1.41", "overlay2"), &compose_of("2.26.1")), [Good; 5]);
    assert_eq!(verdicts(facts("26.1.5", "1.45", "overlay2"), &compose_of("v2.1.0")), [Good; 5]);
}

#[test]
fn what_is_too_old_fails() {
    let old = verdicts(facts("19.03.15", "1.40", "aufs"), &compose_of("1.29.2"));
    assert_eq!(old, [Failed, Failed, Failed, Failed, Good]);
}

#[test]
fn what_was_not_tested_is_said() {
    let mut odd = facts("5.0.1", "1.41", "btrfs");
    odd.version.components = Some(vec![Component { name: "Podman Engine".into() }]);
    odd.info.memory_limit = Some(false);
    assert_eq!(verdicts(odd, &compose_of("2.20.0")), [Warning, Good, Good, Warning, Warning]);
    let mut rootless = facts("26.1.5", "1.45", "overlay2");
    rootless.info.security_options = Some(vec!["name=seccomp,profile=builtin".into(), "name=rootless".into()]);
    assert_eq!(verdicts(rootless, &compose_of("2.20.0"))[0], Warning);
}

#[test]
fn nothing_that_is_absent_is_ok() {
    let engine = Engine::from_docker_host(None);
    let absent: Answer = Some(Err(ErrorKind::NotFound.into()));
    for (answer, compose) in [(absent, Said::Absent), (None, Said::Late)] {
        let checks = docker(&engine, &answer, &compose);
        assert_eq!(checks.len(), 7);
        assert!(checks.iter().all(|check| check.verdict == Unknown && check.remedy.is_some()), "{checks:?}");
    }
    assert_eq!(verdicts(Facts::default(), &Said::Failed("exit status: 1".into())), [Unknown; 5]);
}

#[test]
fn compose_is_known_without_an_engine() {
    let refused: Answer = Some(Err(ErrorKind::ConnectionRefused.into()));
    let checks = docker(&Engine::from_docker_host(None), &refused, &compose_of("2.26.1"));
    assert_eq!((checks[0].verdict, checks[2].verdict), (Unknown, Good));
    assert!(checks[0].seen.contains("nobody listens"), "{}", checks[0].seen);
}

#[test]
fn an_engine_elsewhere_is_not_asked_and_its_user_not_shown() {
    let engine = Engine::from_docker_host(Some("ssh://anna@server"));
    let checks = docker(&engine, &None, &Said::Absent);
    assert!(checks[0].seen.contains("over ssh") && !checks[0].seen.contains("anna"), "{}", checks[0].seen);
}

#[test]
fn the_need_follows_the_store() {
    let need = Need { peak_bytes: 4, final_bytes: 2 };
    let of = |facts: &Facts| -> Vec<(&str, Need)> {
        places(facts, "", need).into_iter().map(|place| (place.name, place.need)).collect()
    };
    let classic = facts("26.1.5", "1.45", "overlay2");
    assert_eq!(of(&classic), [("docker-root", need), ("containerd-root", Need::default())]);
    let mut contained = facts("29.0.0", "1.52", "overlayfs");
    contained.info.driver_status = Some(vec![("driver-type".into(), "io.containerd.snapshotter.v1".into())]);
    assert_eq!(of(&contained), [("docker-root", Need::default()), ("containerd-root", need)]);
    assert_eq!(storage(&contained).verdict, Good);
    assert_eq!(storage(&facts("26", "1.45", "overlayfs")).verdict, Warning, "a driver nobody explained");
    assert_eq!(of(&Facts::default()), []);
}

#[test]
fn containerd_says_where_it_writes() {
    let root = |config: &str| containerd_root(config).display().to_string();
    assert_eq!(root("version = 2\nroot = \"/srv/containerd\"\n[plugins]\n"), "/srv/containerd");
    assert_eq!(root("version = 2\n[plugins.x]\n  root = \"/other\"\n"), "/var/lib/containerd");
    assert_eq!(root(""), "/var/lib/containerd");
}

#[test]
fn versions_are_read_and_foreign_text_is_cut() {
    assert_eq!(
        [numbers("v2.26.1-4"), numbers("1.41"), numbers("26"), numbers("")],
        [Some((2, 26)), Some((1, 41)), None, None]
    );
    assert_eq!(short("2.26.1\u{1b}[31m\nmore"), "2.26.1[31m");
}
