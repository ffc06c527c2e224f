use std::{fs, path::Path};

use ::license::{Description, Edition, Entitlement, Found, Limits, PrivateKey, Request, Seen, embedded_roots};
use base::{Clock, Exit, file};

use crate::{
    args::{LicenseArgs, LicenseVerb},
    context::{Context, license_dirs},
    failure::{During, Failure, Outcome},
};

const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// What a vendor's root may sign beyond edition and documents; the printed text is there to be narrowed.
const MCPS: [&str; 3] = ["etim", "product", "ctax"];
const VALID_DAYS: u32 = 3660;

/// Makes, checks and shows licenses.
pub fn run(context: &Context, args: &LicenseArgs) -> Outcome {
    match &args.verb {
        LicenseVerb::Keygen { out, name, edition, max_documents } => {
            keygen(context, out, name, edition, *max_documents)
        }
        LicenseVerb::Issue { key, request, out } => issue(context, key, request, out),
        LicenseVerb::Show { license } => {
            let (entitlement, seen) = authenticated(context, license.as_deref())?;
            print(context, &entitlement, &seen)
        }
        LicenseVerb::Verify { license } => verify(context, license.as_deref()),
    }
}

fn keygen(context: &Context, out: &Path, name: &str, edition: &str, max_documents: u64) -> Outcome {
    let edition: Edition = serde_yaml::from_str(edition)
        .map_err(|_| Failure::new(Exit::Usage, format!("`{edition}` is no edition: demo, standard or enterprise")))?;
    let limits = Limits {
        edition,
        max_documents,
        gpus: 64,
        mcps: MCPS.map(str::to_owned).to_vec(),
        channels: vec!["stable".to_owned()],
        auto_update: true,
        managed: true,
        valid_days: VALID_DAYS,
    };
    let root = ::license::keygen(out, name, limits)?;
    context.printer.note(format!("private key: {} (keep it offline; nobody can make it again)", out.display()));
    context.printer.note("public root, for a file in licenses/trust/ of the programs that shall trust it:");
    context.printer.line(root.to_yaml()?.trim_end());
    Ok(())
}

fn issue(context: &Context, key: &Path, request: &Path, out: &Path) -> Outcome {
    let act = || format!("cannot use the request `{}`", request.display());
    let bytes = file::read_bounded(request, MAX_REQUEST_BYTES).during(act())?;
    let text = String::from_utf8(bytes).during(act())?;
    let envelope = ::license::issue(&Request::parse(&text)?, &PrivateKey::read(key)?, Clock::system().now())?;
    if out.exists() {
        let failure = Failure::new(Exit::Usage, format!("`{}` exists and is not overwritten", out.display()));
        return Err(failure.remedy("name another file with `--out FILE`"));
    }
    file::write_atomic(out, &envelope, 0o644).during(format!("cannot write `{}`", out.display()))?;
    context.printer.note(format!("signed: {}", out.display()));
    Ok(())
}

/// A license about to be accepted must be valid today; the installed one is checked for its signature, and its age is shown.
fn verify(context: &Context, license: Option<&str>) -> Outcome {
    let (entitlement, seen) = match license {
        Some(id_or_path) => {
            let now = Clock::system().now();
            (find(context, id_or_path)?.verify(&embedded_roots()?, now)?, Seen::nothing())
        }
        None => authenticated(context, None)?,
    };
    if !context.printer.json {
        context.printer.note("the signature holds, and its key may sign this");
    }
    print(context, &entitlement, &seen)
}

fn authenticated(context: &Context, license: Option<&str>) -> Outcome<(Entitlement, Seen)> {
    let roots = embedded_roots()?;
    match license {
        Some(id_or_path) => Ok((find(context, id_or_path)?.authenticate(&roots)?, Seen::nothing())),
        None => {
            let customer = context.customer()?;
            let path = customer.license();
            if fs::symlink_metadata(&path).is_err() {
                let failure = Failure::new(Exit::Usage, "no license is installed here");
                return Err(failure.remedy("name one: `0711 license show ID_OR_FILE`"));
            }
            Ok((::license::load_installed(&path, &roots)?, Seen::load(&customer.seen())?))
        }
    }
}

fn find(context: &Context, id_or_path: &str) -> Outcome<Found> {
    Ok(::license::find(id_or_path, &license_dirs(&context.layout))?)
}

fn print(context: &Context, entitlement: &Entitlement, seen: &Seen) -> Outcome {
    let description = Description::of(entitlement, Clock::system().now(), seen);
    if context.printer.json {
        return context.printer.value(&description);
    }
    for (label, value) in description.lines() {
        context.printer.line(format!("{label:<20}{value}"));
    }
    Ok(())
}
