use std::path::Path;

use ::update::{Policy, Record, Settings};
use base::{Exit, Layout};
use license::{Entitlement, embedded_roots};
use plan::{Answers, UpdateAnswers};

use crate::{
    context::license_dirs,
    failure::{During, Failure, Outcome},
    printer::Printer,
};

/// What a license allows of updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub channels: Vec<String>,
    pub is_automatic: bool,
}

/// Returns what this license allows, if it can be found and is genuine.
pub fn allowed(layout: &Layout, license: &str) -> Option<Allowed> {
    let found = license::find(license, &license_dirs(layout)).ok()?;
    let entitlement = found.authenticate(&embedded_roots().ok()?).ok()?;
    Some(Allowed { channels: entitlement.channels().to_vec(), is_automatic: entitlement.auto_update() })
}

/// Returns whether updates were set up on this machine before, by an installation or by a person.
pub fn are_set_up(layout: &Layout) -> bool {
    layout.update_settings().exists()
}

/// Returns a channel as the agent finds it, which has another current folder.
pub fn address(channel: &str) -> Outcome<String> {
    let here = Path::new(channel);
    Ok(match here.is_dir() {
        true => here.canonicalize().during("cannot use the channel")?.display().to_string(),
        false => channel.to_owned(),
    })
}

/// Checks what the answers say of updates, before anything is changed.
///
/// # Errors
/// A window that is none, or what the license does not allow.
pub fn check(answers: &Answers, entitlement: &Entitlement) -> Outcome {
    let Some(updates) = &answers.updates else { return Ok(()) };
    settings(updates)?;
    if entitlement.channels().is_empty() {
        let failure = Failure::new(Exit::License, "the license allows no updates from a channel");
        return Err(failure.remedy("leave the update channel out, or ask for a license with one"));
    }
    if updates.policy == Policy::Automatic && !entitlement.auto_update() {
        let failure = Failure::new(Exit::License, "the license does not allow automatic updates");
        return Err(failure.remedy("take `--update-policy approve`: the agent looks, and a person says yes"));
    }
    Ok(())
}

fn settings(updates: &UpdateAnswers) -> Outcome<Settings> {
    let window = updates.window.as_deref().map(str::parse).transpose();
    let window = window.map_err(|error: ::update::WindowError| Failure::new(Exit::Usage, error.to_string()))?;
    Ok(Settings { channel: Some(updates.channel.clone()), policy: updates.policy, window, ..Settings::default() })
}

/// Sets updates up as the answers say, unless that was done before: what an administrator changed since stays.
///
/// # Errors
/// When the settings cannot be written.
pub fn set_up_once(printer: Printer, layout: &Layout, answers: &Answers) -> Outcome {
    let Some(updates) = answers.updates.as_ref().filter(|_| !are_set_up(layout)) else { return Ok(()) };
    Record::new(layout).set(&settings(updates)?)?;
    let has_root = layout.trust_dir().read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if !has_root && !printer.json {
        printer.note(
            "note: updates are set up; name the root their makers sign with: `0711 update configure --trust-root FILE`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(policy: Policy, window: Option<&str>) -> Answers {
        let mut answers = Answers::new("Eaton", "DEMO", vec!["/srv".into()]);
        let channel = "https://releases.example.com/stable".to_owned();
        answers.updates = Some(UpdateAnswers { channel, policy, window: window.map(str::to_owned) });
        answers
    }

    #[test]
    fn what_is_set_up_once_stays_as_a_person_changed_it() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, printer) = (Layout::rooted(dir.path()), Printer::new(true));
        set_up_once(printer, &layout, &Answers::new("Eaton", "DEMO", vec!["/srv".into()])).unwrap();
        assert!(!are_set_up(&layout), "updates are off until somebody turns them on");
        set_up_once(printer, &layout, &answers(Policy::Approve, Some("22:00-04:00"))).unwrap();
        let record = Record::new(&layout);
        let mut changed = record.settings().unwrap();
        assert_eq!((changed.policy, changed.window.is_some()), (Policy::Approve, true));
        changed.policy = Policy::Manual;
        record.set(&changed).unwrap();
        set_up_once(printer, &layout, &answers(Policy::Approve, None)).unwrap();
        assert_eq!(record.settings().unwrap(), changed);
    }

    #[test]
    fn a_license_limits_what_may_be_set_up() {
        let roots = embedded_roots().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let found = license::find("DEMO", &license_dirs(&Layout::rooted(dir.path()))).unwrap();
        let demo = found.authenticate(&roots).unwrap();
        assert!(!demo.auto_update(), "the demo never updates itself");
        let said = |policy, window| check(&answers(policy, window), &demo).err().map(|failure| failure.to_string());
        assert!(said(Policy::Automatic, None).unwrap().contains("does not allow"));
        assert!(said(Policy::Approve, Some("at night")).unwrap().contains("is no window"));
        assert_eq!(said(Policy::Approve, Some("22:00-04:00")).is_none(), !demo.channels().is_empty());
        assert!(check(&Answers::new("Eaton", "DEMO", vec!["/srv".into()]), &demo).is_ok());
    }
}
