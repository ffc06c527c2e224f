use std::os::unix::fs::PermissionsExt;

use super::*;

fn whats(diagnosis: &Diagnosis) -> Vec<&str> {
    diagnosis.findings.iter().map(|finding| finding.what.as_str()).collect()
}

#[tokio::test]
async fn an_empty_root_has_no_agent_and_nothing_installed() {
    let dir = tempfile::tempdir().unwrap();
    let diagnosis = doctor(&Layout::rooted(dir.path()), None).await;
    let whats = whats(&diagnosis);
    assert!(
        whats.contains(&"the agent does not run") && whats.contains(&"nothing is installed here"),
        "{diagnosis:#?}"
    );
    assert!(diagnosis.is_ill());
    assert!(diagnosis.findings.iter().all(|finding| !finding.remedy.is_empty()), "{diagnosis:#?}");
    assert!(diagnosis.findings.is_sorted_by_key(|finding| finding.severity));
}

#[tokio::test]
async fn a_stale_socket_and_wrong_settings_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(dir.path());
    for folder in [layout.run(), layout.etc()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    drop(stack::bind_private(&layout.agent_socket()).unwrap());
    std::fs::write(layout.agent_config(), "format: 9\n").unwrap();
    let diagnosis = doctor(&layout, None).await;
    let of = |what: &str| diagnosis.findings.iter().find(|finding| finding.what == what).unwrap();
    assert!(of("the agent does not run").seen.contains("left behind"));
    assert!(of("the agent's settings are not used").seen.contains("format is 9"));
}

#[tokio::test]
async fn a_customer_without_a_configuration_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(dir.path());
    std::fs::create_dir_all(layout.etc()).unwrap();
    std::fs::write(layout.slots_file(), r#"{"format":1,"slots":{"eaton":{"port_base":12000}}}"#).unwrap();
    let diagnosis = doctor(&layout, None).await;
    let finding = diagnosis.findings.iter().find(|finding| finding.customer.is_some()).unwrap();
    assert_eq!(finding.what, "its configuration cannot be read");
    assert!(finding.remedy.contains("0711 install"));
    let other = Slug::parse("other").unwrap();
    assert!(doctor(&layout, Some(&other)).await.findings.iter().all(|finding| finding.customer.is_none()));
}

#[test]
fn the_last_words_of_a_log_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    assert_eq!(last_line(&path), None);
    std::fs::write(&path, format!("{}\nthe end\u{1b}[2J\n\n", "x".repeat(20_000))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(last_line(&path).as_deref(), Some("the end[2J"));
}
