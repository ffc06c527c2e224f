//! What goes into an evidence pack.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ::audit::{Act, Log, Pack, merged, to_json_lines};
use ::bundle::release::{self, VerifiedRelease};
use base::{Clock, CustomerLayout, file};
use install::control::Client;
use license::{Description, Seen};
use serde::Serialize;
use serde_json::json;

use crate::{
    context::Context,
    failure::{During, Failure, Outcome},
    progress::Progress,
    verb::bundle::options,
};

const FILE_BYTES_MAX: u64 = 64 << 20;
const SBOM_BYTES_MAX: u64 = 64 << 20;
/// What a person decided, or the gate in their name.
const APPROVALS: [Act; 6] = [Act::Approve, Act::Promote, Act::Rollback, Act::Update, Act::License, Act::ConfigChange];

/// Gathers what is at hand. What is not is said in `CONTENTS.json`, not passed over.
pub async fn gather(
    context: &Context,
    customer: &CustomerLayout,
    bundle: Option<&Path>,
    trust_roots: &[PathBuf],
) -> Outcome<Pack> {
    let mut pack = Pack::default();
    let mut absent = Vec::new();
    let license = license(customer);
    match license {
        Ok(description) => pack.add("license.json", pretty(&description)?),
        Err(failure) => absent.push(format!("license.json: {failure}")),
    }
    for (path, name) in [
        (customer.plan(), "installation/plan.json"),
        (customer.receipt(), "installation/receipt.json"),
        (customer.journal(), "installation/journal.jsonl"),
        (customer.config(), "installation/config.yaml"),
        (customer.loras().join("registry.json"), "adapters.json"),
    ] {
        match file::read_bounded_nofollow(&path, FILE_BYTES_MAX) {
            Ok(bytes) => pack.add(name, bytes),
            Err(error) => absent.push(format!("{name}: {}", Failure::from_error("absent", &error))),
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    pack.add("sbom/program.cdx.json", release::sbom_of_binary("0711", version)?);
    match bundle {
        Some(path) => add_bundle(&mut pack, &prove(context, path, trust_roots).await?)?,
        None => absent
            .push("bundle: none was named; the digests that were checked are in the plan and the journal".to_owned()),
    }
    match Client::new(&context.layout).status().await {
        Ok(status) => {
            pack.add("probes.json", pretty(&json!({"at": Clock::system().now().to_string(), "status": status}))?)
        }
        Err(error) => absent.push(format!("probes.json: {error}")),
    }
    let verdicts = ::audit::verify_customer(&context.layout, customer, &Default::default(), Vec::new())?;
    pack.add("audit/verify.json", pretty(&verdicts)?);
    let logs = Log::of_customer(&context.layout, customer);
    let mut approvals = merged(&logs, None)?.records;
    approvals.retain(|kept| APPROVALS.contains(&kept.record.act));
    pack.add("approvals.jsonl", to_json_lines(&approvals)?);
    for log in &logs {
        let files = log.files()?.into_iter().chain([log.head_file().to_owned()]);
        for path in files.filter(|path| fs::symlink_metadata(path).is_ok()) {
            let bytes = file::read_bounded_nofollow(&path, FILE_BYTES_MAX).during("cannot read the audit log")?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            pack.add(format!("audit/{}/{name}", log.name()), bytes);
        }
    }
    pack.add("CONTENTS.json", pretty(&json!({"format": 1, "absent": absent}))?);
    Ok(pack)
}

/// The license's payload, which the vendor signed. Its standing is judged now.
fn license(customer: &CustomerLayout) -> Outcome<Description> {
    let entitlement = license::load_installed(&customer.license(), &license::embedded_roots()?)?;
    Ok(Description::of(&entitlement, Clock::system().now(), &Seen::load(&customer.seen())?))
}

async fn prove(context: &Context, path: &Path, trust_roots: &[PathBuf]) -> Outcome<VerifiedRelease> {
    let progress = Progress::start(context.printer, "proving the bundle");
    let proven = release::verify(path, &options(context, trust_roots, None)?, &|_| ()).await;
    match &proven {
        Ok(release) => progress.finish(&format!("release {}", release.release().version)),
        Err(_) => progress.abandon(),
    }
    Ok(proven?)
}

fn add_bundle(pack: &mut Pack, release: &VerifiedRelease) -> Outcome {
    pack.add("bundle/release.json", pretty(release.release())?);
    for image in &release.release().images {
        let Some(path) = release.blob_path(&image.sbom) else { continue };
        let bytes = file::read_bounded(&path, SBOM_BYTES_MAX).during("cannot read a bill of materials")?;
        pack.add(format!("sbom/{}.cdx.json", image.name.replace('/', "-")), bytes);
    }
    Ok(())
}

fn pretty(value: &impl Serialize) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).during("cannot write the evidence")?;
    bytes.push(b'\n');
    Ok(bytes)
}
