use std::collections::BTreeMap;
use std::time::Duration;

use base::{Explain, Timestamp};
use host::{Cpu, Disk, Folder, Listener, Os, Survey};
use license::Standing;

use super::*;
use crate::AdapterOutcome;

/// A machine and a wish on which a plan can be made; tests spoil parts of it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) grant: Grant,
    pub(super) models: Vec<Model>,
    pub(super) images: Vec<Image>,
    pub(super) binary: Binary,
    pub(super) host: Facts,
    pub(super) present: BTreeSet<Digest>,
    pub(super) own_ports: BTreeSet<u16>,
    pub(super) slots: SlotTable,
    pub(super) answers: Answers,
    pub(super) receipt: Option<Receipt>,
    pub(super) layout: Layout,
}

const GIB: u64 = 1 << 30;

pub(super) fn case() -> Case {
    let at = |text| Timestamp::parse(text).unwrap();
    let model = |role, name: &str, size_bytes| Model {
        role,
        name: name.into(),
        digest: Digest::of(name.as_bytes()),
        size_bytes,
        folder: None,
    };
    let disk = |path: &str| Disk { path: path.into(), device: 1, free_bytes: 50 * GIB, total_bytes: 100 * GIB };
    let survey = Survey { files: 12, bytes: 3_400_000, complete: true, ..Survey::default() };
    Case {
        grant: Grant {
            license_id: "ENTERPRISE-EATON-2025".into(),
            customer: Some(Slug::parse("eaton").unwrap()),
            max_documents: 10_000,
            gpus: 0,
            not_before: at("2025-01-01T00:00:00Z"),
            expires: at("2027-01-01T00:00:00Z"),
            standing: Standing::Valid,
        },
        models: vec![
            model(ModelRole::Chat, "smollm2-135m-instruct", 98_000_000),
            model(ModelRole::Embed, "multilingual-e5-small", 72_000_000),
        ],
        images: vec![],
        binary: Binary { version: "0.1.0".into(), digest: Digest::of(b"binary"), size_bytes: 120_000_000 },
        host: Facts {
            hostname: "brain".into(),
            os: Os::default(),
            kernel: "6.1".into(),
            user: (0, 0),
            systemd: false,
            cpu: Cpu { model: None, cores: 2, missing_v3: vec![] },
            memory_total_bytes: 24 * GIB,
            memory_available_bytes: 20 * GIB,
            disks: vec![disk("/opt/trial/var"), disk("/opt/trial/bin")],
            listeners: BTreeMap::new(),
            folders: vec![Folder { path: "/srv/prices".into(), state: FolderState::Readable, survey: Some(survey) }],
            gpus: None,
        },
        present: BTreeSet::new(),
        own_ports: BTreeSet::new(),
        slots: SlotTable::default(),
        answers: Answers::new("Eaton", "ENTERPRISE-EATON-2025", vec!["/srv/prices".into()]),
        receipt: None,
        layout: Layout::rooted("/opt/trial"),
    }
}

impl Case {
    pub(super) fn make(&self) -> Result<Proposal, Faults> {
        make(&self.inputs())
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            grant: &self.grant,
            license: Digest::of(b"license"),
            models: &self.models,
            binary: &self.binary,
            images: &self.images,
            host: &self.host,
            present: &self.present,
            own_ports: &self.own_ports,
            slots: &self.slots,
            answers: &self.answers,
            receipt: self.receipt.as_ref(),
            installed_runtime: self.receipt.as_ref().map(|_| Runtime::Native),
            installed_profile: self.receipt.as_ref().map(|_| Answers::DEFAULT_PROFILE),
            layout: &self.layout,
        }
    }

    pub(super) fn installed(mut self) -> Self {
        let plan = self.make().unwrap().plan;
        self.slots.slots.insert(plan.slug.clone(), plan.slot);
        self.receipt = Some(Receipt {
            format: 1,
            plan: plan.digest(),
            customer_name: plan.customer_name.clone(),
            slug: plan.slug.clone(),
            version: plan.version.clone(),
            binary: self.binary.digest,
            license_id: self.grant.license_id.clone(),
            license: Digest::of(b"license"),
            port_base: plan.slot.port_base,
            root: plan.root.clone(),
            models: vec![],
            folders: self.answers.folders.clone(),
            documents: 12,
            adapter: Some(AdapterOutcome { version: Some("v1".into()), decision: "served".into() }),
            installed_at: Timestamp::from_millis(0),
        });
        self
    }
}

fn faults(spoil: impl FnOnce(&mut Case)) -> Vec<String> {
    let mut case = case();
    spoil(&mut case);
    case.make().err().map_or_else(Vec::new, |faults| faults.list().iter().map(ToString::to_string).collect())
}

#[test]
fn the_plan_is_golden() {
    let proposal = case().make().unwrap();
    let shown = proposal.render();
    let golden = include_str!("golden.txt");
    assert!(shown == golden, "the plan's text changed; if that is meant, make golden.txt this:\n{shown}");
    let json = String::from_utf8(proposal.plan.to_json().unwrap()).unwrap();
    let golden = include_str!("golden.json");
    assert!(
        json == golden,
        "the plan's file changed; if that is meant, raise its format or make golden.json this:\n{json}"
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_they_come_back() {
    let (first, second) = (case().make().unwrap().plan, case().make().unwrap().plan);
    assert_eq!(first.canonical(), second.canonical());
    let read = Plan::from_json(&first.to_json().unwrap()).unwrap();
    assert_eq!((read.digest(), &read), (first.digest(), &first));
}

#[test]
fn what_changes_by_the_hour_is_not_in_the_plan() {
    let plan = case().make().unwrap().plan;
    let mut later = case();
    later.host.disks[0].free_bytes -= GIB;
    later.host.memory_available_bytes /= 2;
    later.host.folders[0].survey = Some(host::survey(Path::new("/etc"), Duration::ZERO));
    later.host.listeners.insert(9999, Listener { port: 9999, pid: None, holder: "x".into() });
    later.present.insert(later.binary.digest);
    assert_eq!(later.make().unwrap().plan.digest(), plan.digest());
}

#[test]
fn all_reasons_are_told_together() {
    let found = faults(|case| {
        case.host.folders.clear();
        case.host.cpu.missing_v3 = vec!["avx2".into()];
        case.host.memory_total_bytes = GIB / 2;
        case.models.pop();
        case.grant.customer = Some(Slug::parse("siemens").unwrap());
    });
    assert_eq!(
        found,
        [
            "the license is for `siemens`, not for `eaton`",
            "folder `/srv/prices` does not exist",
            "this processor lacks avx2",
            "this machine has 537 MB of memory; the services need 1.4 GB",
            "model profile `cpu-small` has no embedding model",
        ]
    );
}

#[test]
fn a_held_port_is_named_with_its_holder_unless_it_is_ours() {
    let nginx = Listener { port: 5110, pid: Some(811), holder: "nginx (pid 811)".into() };
    let found = faults(|case| _ = case.host.listeners.insert(5110, nginx.clone()));
    assert_eq!(found, ["port 5110 for `console` is held by nginx (pid 811)"]);
    let found = faults(|case| {
        case.host.listeners.insert(5110, nginx.clone());
        case.own_ports.insert(5110);
    });
    assert_eq!(found, Vec::<String>::new());
    let found = faults(|case| {
        case.host.listeners.insert(5110, nginx);
        case.answers.port_base = Some(7000);
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_full_disk_is_refused_and_what_is_there_counts() {
    let small = |case: &mut Case| case.host.disks.iter_mut().for_each(|disk| disk.free_bytes = 700_000_000);
    let found = faults(small);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("`/opt/trial/var` has 700 MB free;"), "{found:?}");
    let found = faults(|case| {
        small(case);
        case.answers.training_minutes = 0;
    });
    assert_eq!(found, Vec::<String>::new());
    let found = faults(|case| {
        case.host.disks.iter_mut().for_each(|disk| disk.free_bytes = 800_000_000);
        case.present = case.models.iter().map(|model| model.digest).chain([case.binary.digest]).collect();
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_draft_says_what_is_needed_of_a_machine_that_has_it_not() {
    let mut case = case();
    case.host.disks.iter_mut().for_each(|disk| disk.free_bytes = 1);
    case.host.memory_total_bytes = 1;
    case.host.listeners.insert(5110, Listener { port: 5110, pid: None, holder: "nginx".into() });
    let needed = draft(&case.inputs()).unwrap();
    assert!(case.make().is_err());
    let whole = self::case().make().unwrap();
    assert_eq!((needed.plan, needed.forecast), (whole.plan, whole.forecast));
    case.answers.folders.clear();
    assert!(draft(&case.inputs()).is_err(), "answers that are no answers give no draft");
}

#[test]
fn the_installation_is_never_read_as_data() {
    let found = faults(|case| {
        case.answers.folders = vec!["/opt".into()];
        case.host.folders[0].path = "/opt".into();
    });
    assert_eq!(found, ["folder `/opt` and the installation's own `/opt/trial` lie in each other"]);
}

#[test]
fn expiry_stops_what_is_new_and_nothing_else() {
    assert_eq!(
        faults(|case| case.grant.standing = Standing::Expired),
        ["the license expired on 2027-01-01T00:00:00Z, and a new installation needs a valid one"]
    );
    let mut installed = case().installed();
    installed.grant.standing = Standing::Expired;
    let plan = installed.make().unwrap().plan;
    assert!(plan.step(crate::StepId::Train).is_none());
    assert!(plan.step(crate::StepId::Check).is_some());
}

#[test]
fn what_is_installed_is_recognised_and_a_change_does_not_train_again() {
    let mut installed = case().installed();
    assert!(installed.make().unwrap().is_installed);
    installed.answers.folders.push("/data".into());
    installed.host.folders.push(Folder { path: "/data".into(), state: FolderState::Readable, survey: None });
    let changed = installed.make().unwrap();
    assert!(!changed.is_installed);
    assert!(changed.plan.step(crate::StepId::Train).is_none());
    let mut receipt = installed.receipt.clone().unwrap();
    receipt.plan = changed.plan.digest();
    installed.receipt = Some(receipt);
    assert!(installed.make().unwrap().is_installed);
}

#[test]
fn notes_do_not_refuse() {
    let mut case = case();
    case.grant.max_documents = 5;
    case.grant.standing = Standing::Warning { days: 9 };
    let notes: Vec<_> = case.make().unwrap().notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "the folders hold 12 files; the license allows 5 documents, the rest will be listed as left out",
            "the license ends in 9 days"
        ]
    );
}

pub(super) fn in_containers() -> Case {
    let mut case = case();
    case.answers.runtime = Runtime::Docker;
    case.images = vec![Image {
        name: "0711/platform".into(),
        tag: "0.1.0".into(),
        id: Digest::of(b"image"),
        size_bytes: 40_000_000,
        unpacked_bytes: 120_000_000,
    }];
    case
}

#[test]
fn containers_come_after_their_images_and_their_configuration() {
    let plan = in_containers().make().unwrap().plan;
    let at = |id: crate::StepId| plan.steps().iter().position(|step| step.id() == id).unwrap();
    use crate::StepId::{Agent, Config, Containers, Images};
    assert!(at(Images) < at(Config) && at(Config) < at(Containers) && at(Containers) < at(Agent));
    let Some(Step::Config { config, .. }) = plan.step(Config) else { panic!("no configuration") };
    let containers = config.containers.as_ref().unwrap();
    assert_eq!((containers.image, containers.user), (Digest::of(b"image"), 7110));
    assert!(containers.project.starts_with("0711-eaton-"), "two roots may have a customer of one name");
    assert_eq!(config.url(Role::Lake), format!("http://lake:{}", config.port(Role::Lake)));
}

#[test]
fn containers_of_a_user_run_as_that_user() {
    let mut case = in_containers();
    case.host.user = (1000, 100);
    let plan = case.make().unwrap().plan;
    let Some(Step::Config { config, .. }) = plan.step(crate::StepId::Config) else { panic!("no configuration") };
    let containers = config.containers.as_ref().unwrap();
    assert_eq!((containers.user, containers.group), (1000, 100));
}

#[test]
fn containers_without_an_image_are_refused() {
    let mut case = in_containers();
    case.images.clear();
    let faults = case.make().unwrap_err();
    assert_eq!(faults.list(), [Fault::ImageMissing { name: "0711/platform" }]);
    assert!(faults.remedy().unwrap().0.contains("--bundle"));
}

#[test]
fn processes_do_not_become_containers_under_way() {
    let mut case = case().installed();
    case.answers.runtime = Runtime::Docker;
    case.images = in_containers().images;
    assert_eq!(case.make().unwrap_err().list(), [Fault::RuntimeFixed]);
}
