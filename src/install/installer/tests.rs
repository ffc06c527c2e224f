use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use base::{Digest, Role, Secret, Slug, Timestamp};
use plan::{Step, StepId};

use super::*;
use crate::act::{Act, Depth, Probe};

/// Files to install, and a source that serves them.
struct Files {
    dir: tempfile::TempDir,
    asked: Mutex<Vec<String>>,
}

impl ModelSource for Files {
    fn obtain<'a>(
        &'a self,
        model: &'a ModelRef,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Cause>> + Send + 'a>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(model.name.clone());
            progress(1, 2);
            Ok(self.dir.path().join(&model.name))
        })
    }
}

const LICENSE: &[u8] = b"{\"payload\":\"\"}";
const BINARY: &[u8] = b"#!/bin/sh\nexec sleep 100\n";

/// The golden plan of room `plan`, made for files that exist here, without the steps that need services.
fn plan(root: &Path, name: &str) -> Plan {
    let mut json: serde_json::Value = serde_json::from_slice(include_bytes!("../../plan/make/golden.json")).unwrap();
    let layout = Layout::rooted(root);
    for step in json["steps"].as_array_mut().unwrap() {
        match step["step"].as_str().unwrap() {
            "license" => step["digest"] = Digest::of(LICENSE).to_string().into(),
            "binary" => {
                let digest = Digest::of(BINARY);
                step["digest"] = digest.to_string().into();
                step["size_bytes"] = BINARY.len().into();
                step["to"] = layout.binary_version("0.1.0", &digest).display().to_string().into();
            }
            "model" => {
                let content = step["model"]["name"].as_str().unwrap().to_owned() + name;
                let digest = Digest::of(content.as_bytes());
                step["size_bytes"] = content.len().into();
                step["model"]["digest"] = digest.to_string().into();
                step["model"]["path"] = layout.model(&digest).display().to_string().into();
            }
            _ => {}
        }
    }
    let needs_services = ["agent", "roles", "ingest", "train", "check"];
    json["steps"].as_array_mut().unwrap().retain(|step| !needs_services.contains(&step["step"].as_str().unwrap()));
    let text = json.to_string().replace("/opt/trial", &root.canonicalize().unwrap().display().to_string());
    Plan::from_json(text.as_bytes()).unwrap()
}

fn files(name: &str) -> Files {
    let dir = tempfile::tempdir().unwrap();
    for model in ["multilingual-e5-small", "smollm2-135m-instruct"] {
        std::fs::write(dir.path().join(model), format!("{model}{name}")).unwrap();
    }
    std::fs::write(dir.path().join("binary"), BINARY).unwrap();
    Files { dir, asked: Mutex::default() }
}

async fn install(root: &Path, plan: &Plan, files: &Files) -> Result<Outcome, Error> {
    let layout = Layout::rooted(root);
    let binary = files.dir.path().join("binary");
    let clock = Clock::fixed(Timestamp::from_millis(1_763_812_800_000));
    let installer = Installer {
        layout: &layout,
        plan,
        license: LICENSE,
        binary: &binary,
        models: files,
        release: None,
        waits: false,
        until: None,
        clock,
    };
    installer.run(&|_| (), &CancellationToken::new()).await.map(|outcome| outcome.expect("it was to come to its end"))
}

#[tokio::test]
async fn puts_everything_in_place_and_finds_it_there_the_second_time() {
    let root = tempfile::tempdir().unwrap();
    let (files, plan) = (files("-1"), plan(root.path(), "-1"));
    let first = install(root.path(), &plan, &files).await.unwrap();
    let layout = Layout::rooted(root.path());
    let customer = layout.customer(&Slug::parse("eaton").unwrap());
    assert_eq!(std::fs::read(layout.binary()).unwrap(), BINARY);
    assert_eq!(std::fs::metadata(layout.binary()).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(stack::service_config(&customer).unwrap().port(Role::Console), 5110);
    assert_eq!(crate::read_slots(&layout).unwrap().slots[&Slug::parse("eaton").unwrap()].port_base, 5100);
    let password = crate::take_first_password(&customer).unwrap().unwrap();
    assert!(access::PasswordHash::read(&customer.password_hash()).unwrap().matches(password.expose()));
    assert!(crate::take_first_password(&customer).unwrap().is_none(), "it is shown once");
    let token = Secret::read(&customer.token()).unwrap();

    let receipt = std::fs::read(customer.receipt()).unwrap();
    let journal = std::fs::read(customer.journal()).unwrap();
    let second = install(root.path(), &plan, &files).await.unwrap();
    assert_eq!(second.receipt, first.receipt);
    assert_eq!(std::fs::read(customer.receipt()).unwrap(), receipt);
    assert_eq!(std::fs::read(customer.journal()).unwrap(), journal, "nothing happened, so nothing is journalled");
    assert!(Secret::read(&customer.token()).unwrap().matches(token.expose()), "a token is made once");
    assert_eq!(files.asked.lock().unwrap().len(), 2, "each model was fetched once");
}

#[tokio::test]
async fn interrupted_after_any_step_the_receipt_is_the_same() {
    let expected_root = tempfile::tempdir().unwrap();
    let files = files("-2");
    let whole = install(expected_root.path(), &plan(expected_root.path(), "-2"), &files).await.unwrap();
    for stop_after in 0..8 {
        let root = tempfile::tempdir().unwrap();
        let plan = plan(root.path(), "-2");
        let layout = Layout::rooted(root.path());
        let customer = layout.customer(plan.slug());
        std::fs::create_dir_all(customer.dir()).unwrap();
        let binary = files.dir.path().join("binary");
        let mut world = World {
            layout: &layout,
            customer: customer.clone(),
            plan: &plan,
            license: LICENSE,
            binary: &binary,
            models: &files,
            release: None,
        };
        {
            // What a killed run leaves: some effects, and a journal that speaks of fewer.
            let mut journal =
                JournalFile::open(&customer.journal(), Clock::fixed(Timestamp::from_millis(1_763_812_800_000)))
                    .unwrap();
            journal.append(plan::journal::Event::Opened { plan: plan.digest() }).unwrap();
            for step in plan.steps().iter().take(stop_after) {
                journal.append(plan::journal::Event::Started { step: step.id() }).unwrap();
                world.apply(step, &|_| ()).await.unwrap();
            }
        }
        let resumed = install(root.path(), &plan, &files).await.unwrap();
        let at_home = |receipt: &Receipt, root: &Path| {
            let text = String::from_utf8(receipt.to_json().unwrap()).unwrap();
            let text = text.replace(&root.canonicalize().unwrap().display().to_string(), "ROOT");
            text.replace(&receipt.plan.to_string(), "PLAN")
        };
        assert_eq!(
            at_home(&resumed.receipt, root.path()),
            at_home(&whole.receipt, expected_root.path()),
            "stopped after step {stop_after}"
        );
    }
}

#[tokio::test]
async fn what_is_not_the_very_file_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (files, plan) = (files("-3"), plan(root.path(), "-3"));
    std::fs::write(files.dir.path().join("binary"), "#!/bin/sh\nexec sleep 666\n").unwrap();
    let error = install(root.path(), &plan, &files).await.unwrap_err();
    assert!(
        matches!(&error, Error::Step { step: StepId::Binary, source } if matches!(**source, Error::DigestMismatch { .. })),
        "{error}"
    );
    assert!(!Layout::rooted(root.path()).binary().exists(), "nothing unverified is ever in place");
}

#[tokio::test]
async fn a_file_of_somebody_else_is_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let (files, plan) = (files("-4"), plan(root.path(), "-4"));
    std::fs::create_dir_all(root.path().join("bin")).unwrap();
    std::fs::write(root.path().join("bin/0711"), "mine").unwrap();
    let error = install(root.path(), &plan, &files).await.unwrap_err();
    assert!(
        matches!(&error, Error::Step { step: StepId::Binary, source } if matches!(**source, Error::NotOurs { .. })),
        "{error}"
    );
    assert_eq!(std::fs::read(root.path().join("bin/0711")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_second_install_says_who_holds_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let (files, plan) = (files("-5"), plan(root.path(), "-5"));
    let customer = Layout::rooted(root.path()).customer(plan.slug());
    let held = Lock::try_acquire(&customer.install_lock(), "install").unwrap();
    let error = install(root.path(), &plan, &files).await.unwrap_err();
    assert!(
        matches!(&error, Error::Locked { holder, .. } if holder.contains(&std::process::id().to_string())),
        "{error}"
    );
    drop(held);
    install(root.path(), &plan, &files).await.unwrap();
}

#[tokio::test]
async fn a_damaged_model_is_noticed_and_replaced() {
    let root = tempfile::tempdir().unwrap();
    let (files, plan) = (files("-6"), plan(root.path(), "-6"));
    install(root.path(), &plan, &files).await.unwrap();
    let Some(Step::Model { model, size_bytes, .. }) = plan.step(StepId::ChatModel) else { panic!("no model") };
    // A hard link is the same file: damage a copy.
    std::fs::remove_file(&model.path).unwrap();
    std::fs::write(&model.path, vec![b'x'; usize::try_from(*size_bytes).unwrap()]).unwrap();
    let layout = Layout::rooted(root.path());
    let mut world = World {
        layout: &layout,
        customer: layout.customer(plan.slug()),
        plan: &plan,
        license: LICENSE,
        binary: Path::new("/"),
        models: &files,
        release: None,
    };
    let step = plan.step(StepId::ChatModel).unwrap();
    assert_eq!(world.probe(step, Depth::Whole).await.unwrap(), Probe::Missing);
    world.apply(step, &|_| ()).await.unwrap();
    assert!(matches!(world.probe(step, Depth::Whole).await.unwrap(), Probe::Holds(_)));
}
