//! The steps' effects on this machine.

mod agent;
mod binary;
mod check;
mod containers;
mod folder;
mod give;
mod images;
mod job;
mod model;
mod place;
mod roles;
mod secrets;
mod slot;

pub(crate) use agent::{apply as start_agent, end_agent, systemctl};
pub(crate) use slot::release as release_slot;

use std::path::Path;

use audit::{Act, Log};
use base::{CustomerLayout, Digest, Layout};
use bundle::release::VerifiedRelease;
use plan::journal::Evidence;
use plan::{Plan, Step};

use crate::act::{Depth, Probe, Report};
use crate::record::{entry, record};
use crate::{Error, ModelSource};

/// The machine, as the steps of one plan change it.
pub(crate) struct World<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) customer: CustomerLayout,
    pub(crate) plan: &'a Plan,
    /// The license's envelope.
    pub(crate) license: &'a [u8],
    /// The binary to be installed: usually the one that runs.
    pub(crate) binary: &'a Path,
    pub(crate) models: &'a dyn ModelSource,
    /// Where images come from; needed only while the engine lacks one.
    pub(crate) release: Option<&'a VerifiedRelease>,
}

impl crate::act::Act for World<'_> {
    async fn probe(&mut self, step: &Step, depth: Depth) -> Result<Probe, Error> {
        match step {
            Step::Folders { paths } => Ok(place::probe_folders(paths)),
            Step::Slot { slug, slot } => slot::probe(self.layout, slug, *slot),
            Step::License { digest, to, .. } => place::probe_bytes(to, *digest),
            Step::Secrets { .. } => Ok(secrets::probe(&self.customer)),
            Step::Model { model, files, .. } if !files.is_empty() => folder::probe(model, files, depth).await,
            Step::Model { model, size_bytes, .. } => model::probe(model, *size_bytes, depth).await,
            Step::Binary { digest, size_bytes, to, link, .. } => {
                binary::probe(to, link, *digest, *size_bytes, depth).await
            }
            Step::Images { images } => images::probe(images).await,
            Step::Config { config, to } => place::probe_config(self, config, to),
            Step::Containers { to, .. } => containers::probe(self, to).await,
            Step::Agent { .. } => agent::probe(self.layout).await,
            Step::Roles { roles } => roles::probe(self, roles).await,
            Step::Train { .. } => job::probe_training(&self.customer),
            Step::Ingest { .. } | Step::Check => Ok(Probe::Unknown),
        }
    }

    async fn apply(&mut self, step: &Step, report: Report<'_>) -> Result<Evidence, Error> {
        match step {
            Step::Folders { paths } => place::make_folders(paths),
            Step::Slot { slug, slot } => slot::apply(self.layout, slug, *slot).await,
            Step::License { id, digest, to } => {
                let before = place::license_id(to);
                let evidence = place::write_license(self.license, *digest, to)?;
                let detail = before.map(|before| format!("replaced {before}; ")).unwrap_or_default();
                let entry = entry(Act::License).object(id).detail(format!("{detail}envelope {digest}"));
                record(Log::customer(&self.customer), entry).await;
                Ok(evidence)
            }
            Step::Secrets { .. } => secrets::apply(&self.customer).await,
            Step::Model { model, files, .. } if !files.is_empty() => {
                folder::apply(self.models, model, files, report).await
            }
            Step::Model { model, size_bytes, .. } => model::apply(self.models, model, *size_bytes, report).await,
            Step::Binary { digest, size_bytes, to, link, .. } => {
                binary::apply(self.binary, to, link, *digest, *size_bytes, report).await
            }
            Step::Images { images } => images::apply(self, images, report).await,
            Step::Config { config, to } => {
                let before = Digest::of_file(to).ok();
                let evidence = place::write_config(self, config, to)?;
                if let (Some(before), Ok(now)) = (before, Digest::of_file(to)) {
                    let entry = entry(Act::ConfigChange).object(to.display().to_string());
                    record(Log::customer(&self.customer), entry.detail(format!("{before} became {now}"))).await;
                }
                Ok(evidence)
            }
            Step::Containers { project, to } => containers::apply(self, project, to).await,
            Step::Agent { supervision } => agent::apply(self.layout, *supervision).await.map(|()| Evidence::default()),
            Step::Roles { roles } => roles::apply(self, roles, report).await,
            Step::Ingest { .. } => job::ingest(self, report).await,
            Step::Train { minutes } => job::train(self, *minutes, report).await,
            Step::Check => check::apply(self).await,
        }
    }
}
