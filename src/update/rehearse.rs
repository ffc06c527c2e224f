//! The new release beside the running one: an installation of its own in a scratch folder, on a copy of the data, with its own ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use base::{API_OFFSET, CustomerLayout, Layout, Role, Slug, file};
use serde::Deserialize;

use crate::program::Program;
use crate::tree::{self, How};
use crate::{Attempt, Error, Score, golden, room};

/// Installs the new release for one customer in the scratch folder, asks it the golden questions, and removes it.
///
/// Returns the score, where there are questions.
pub(crate) async fn rehearse(layout: &Layout, slug: &Slug, attempt: &Attempt) -> Result<Option<Score>, Error> {
    let scratch = Layout::rooted(layout.update_rehearsal());
    let program = Program { path: &attempt.program, version: &attempt.to, layout: &scratch };
    // What a rehearsal that was killed left running.
    clear(&program, slug).await?;
    let outcome = tried(layout, &scratch, slug, attempt, &program).await;
    let cleared = clear(&program, slug).await;
    let score = outcome?;
    cleared?;
    Ok(score)
}

async fn tried(
    layout: &Layout,
    scratch: &Layout,
    slug: &Slug,
    attempt: &Attempt,
    program: &Program<'_>,
) -> Result<Option<Score>, Error> {
    let (customer, copy) = (layout.customer(slug), scratch.customer(slug));
    check_room(layout, &customer)?;
    prepare(layout, scratch, &customer, &copy)?;
    let (answers, license, bundle) = (text(&copy.answers()), text(&copy.license()), text(&attempt.bundle));
    let runtime = runtime(&customer)?;
    let port_base = free_port_base().to_string();
    let install = [
        "--slug",
        slug.as_str(),
        "install",
        "--answers",
        &answers,
        "--license",
        &license,
        "--bundle",
        &bundle,
        "--runtime",
        runtime,
        "--port-base",
        &port_base,
        "--training-minutes",
        "0",
        "--until-ready",
        "--yes",
        "--json",
    ];
    let roots = attempt.root_words();
    let install: Vec<&str> = install.into_iter().chain(roots.iter().map(String::as_str)).collect();
    program.run(&install).await?;
    serves(program, slug).await?;
    Ok(golden::ask(program, slug, &golden::questions(&customer)?).await)
}

/// The scratch installation's license and answers are files of its own.
fn prepare(layout: &Layout, scratch: &Layout, customer: &CustomerLayout, copy: &CustomerLayout) -> Result<(), Error> {
    for dir in [copy.dir(), copy.etc(), &scratch.trust_dir()] {
        file::private_dir(dir).map_err(Error::file("make folder", dir))?;
    }
    // The row that names the versions of all tables first: what it names is there, and stays there for a while.
    let commits = customer.delta().join("commits");
    if commits.is_dir() {
        let to = copy.delta();
        file::private_dir(&to).map_err(Error::file("make folder", &to))?;
        tree::bring(&commits, &to.join("commits"), How::Copy)?;
    }
    for entry in list(&customer.lakehouse())? {
        if entry == customer.delta() {
            for table in list(&entry)?.into_iter().filter(|table| *table != commits) {
                tree::bring(&table, &copy.delta().join(table.file_name().unwrap_or_default()), How::Copy)?;
            }
        } else if entry != customer.lake_lock() {
            tree::bring(&entry, &copy.lakehouse().join(entry.file_name().unwrap_or_default()), How::Copy)?;
        }
    }
    for (from, to) in [(customer.loras(), copy.loras()), (customer.ingest_state(), copy.ingest_state())] {
        if from.exists() {
            tree::bring(&from, &to, How::Copy)?;
        }
    }
    for (from, to) in [(customer.answers(), copy.answers()), (customer.license(), copy.license())] {
        tree::bring(&from, &to, How::Copy)?;
    }
    // Models are proven by their digest when they are opened, and nobody writes to them.
    if layout.models().is_dir() {
        tree::bring(&layout.models(), &scratch.models(), How::Link)?;
    }
    if layout.trust_dir().is_dir() {
        tree::bring(&layout.trust_dir(), &scratch.trust_dir(), How::Copy)?;
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::File { act: "read", path: dir.to_owned(), source: error }),
    }
}

fn check_room(layout: &Layout, customer: &CustomerLayout) -> Result<(), Error> {
    let needed_bytes = room::rehearsal_bytes(customer);
    let path = layout.var();
    let free_bytes = host::disk(&path).map_err(Error::file("measure", &path))?.free_bytes;
    if free_bytes < needed_bytes {
        return Err(Error::NoRoom { path, what: "the rehearsal", free_bytes, needed_bytes });
    }
    Ok(())
}

/// How the customer's services run, as the command line says it.
pub(crate) fn runtime(customer: &CustomerLayout) -> Result<&'static str, Error> {
    let plan = install::read_plan(customer).map_err(Error::Install)?.ok_or(Error::NothingInstalled)?;
    Ok(match plan.answers().runtime {
        plan::Runtime::Native => "native",
        plan::Runtime::Docker => "docker",
    })
}

/// The part of `0711 status --json` that is judged.
#[derive(Deserialize)]
struct Status {
    roles: Vec<RoleStatus>,
}

#[derive(Deserialize)]
struct RoleStatus {
    role: String,
    state: String,
}

async fn serves(program: &Program<'_>, slug: &Slug) -> Result<(), Error> {
    let said = program.run(&["--slug", slug.as_str(), "status", "--json"]).await?;
    let reason = match serde_json::from_str::<Status>(&said) {
        Ok(status) if status.roles.is_empty() => "no service runs".to_owned(),
        Ok(status) => match status.roles.iter().find(|role| role.state != "ready") {
            Some(role) => format!("`{}` is {} in the rehearsal", role.role, role.state),
            None => return Ok(()),
        },
        Err(error) => format!("its status cannot be read: {error}"),
    };
    Err(Error::NotServing { slug: slug.clone(), reason })
}

/// Removes the scratch installation with all it runs.
pub(crate) async fn clear(program: &Program<'_>, slug: &Slug) -> Result<(), Error> {
    let root = program.layout.root().unwrap_or(Path::new(""));
    if !root.exists() {
        return Ok(());
    }
    if program.layout.customer(slug).plan().exists() && program.path.exists() {
        program.run(&["--slug", slug.as_str(), "uninstall", "--purge", "--yes", "--json"]).await?;
    }
    tree::remove(root)
}

/// A block of ports nobody listens on just now.
fn free_port_base() -> u16 {
    let is_free = |base: &u16| {
        let offsets = Role::ALL.iter().map(|role| role.port_offset()).chain([API_OFFSET]);
        offsets.into_iter().all(|offset| TcpListener::bind((Ipv4Addr::LOCALHOST, base + offset)).is_ok())
    };
    // Above the blocks of customers, below where the kernel takes ports for outgoing connections.
    (251..=326).map(|block| block * 100).find(is_free).unwrap_or(32_600)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
