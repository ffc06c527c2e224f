use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use base::Exit;
use tokio_util::sync::CancellationToken;

use crate::{
    args::LogsArgs,
    context::Context,
    failure::{During, Failure, Outcome},
};

const POLL: Duration = Duration::from_millis(300);

/// Shows the end of a log, and with `--follow` what comes after it.
pub async fn run(context: &Context, args: &LogsArgs, interrupt: CancellationToken) -> Outcome {
    let path = match args.role {
        Some(role) => {
            let customer = context.customer()?;
            let config = crate::context::read_config(&customer)?;
            let containers = config.and_then(|config| config.containers).filter(|of| of.vllm(role).is_some());
            if let Some(containers) = containers {
                let failure =
                    Failure::new(Exit::Failed, format!("`{role}` is vLLM, whose log the Docker engine keeps"));
                return Err(failure.remedy(format!("run `docker logs {}`", containers.name(role))));
            }
            customer.log(role)
        }
        None => context.layout.agent_log(),
    };
    let mut file = open(&path)?;
    for line in last_lines(&mut file, args.lines).during(reading(&path))? {
        context.printer.line(line);
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::select! {
            // Nothing is taken from the file before the wait is over.
            () = interrupt.cancelled() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
        // A log that reached its limit is copied and emptied: what follows begins at the front again.
        if was_emptied(&mut file).during(reading(&path))? {
            file.seek(SeekFrom::Start(0)).during(reading(&path))?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).during(reading(&path))?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.is_empty() {
            context.printer.line(text.trim_end_matches('\n'));
        }
        if was_rotated(&file, &path) {
            file = open(&path)?;
        }
    }
}

fn open(path: &Path) -> Outcome<File> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Exit::Failed, format!("there is no log `{}` yet", path.display()))
            .remedy("see `0711 status` for what runs"),
        _ => Failure::from_error(reading(path), &error),
    })
}

fn last_lines(file: &mut File, count: usize) -> std::io::Result<VecDeque<String>> {
    let mut kept = VecDeque::new();
    let mut reader = BufReader::new(&mut *file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if kept.len() == count {
            kept.pop_front();
        }
        if count > 0 {
            kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        line.clear();
    }
    file.seek(SeekFrom::End(0))?;
    Ok(kept)
}

fn was_emptied(file: &mut File) -> std::io::Result<bool> {
    Ok(file.metadata()?.len() < file.stream_position()?)
}

fn was_rotated(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() != named.ino(),
        _ => false,
    }
}

fn reading(path: &Path) -> String {
    format!("cannot read the log `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_was_emptied_is_read_from_its_front() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut file = File::open(&path).unwrap();
        assert_eq!(last_lines(&mut file, 2).unwrap(), ["two", "three"]);
        assert!(!was_emptied(&mut file).unwrap());
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        writer.set_len(0).unwrap();
        writer.write_all(b"four\n").unwrap();
        assert!(was_emptied(&mut file).unwrap());
    }
}
