//! The ends of the logs.

use std::{
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Layout, Role, Timestamp, file};
use stack::RotatingWriter;

use crate::gather::{Piece, Said};

pub(super) fn collect(layout: &Layout, customer: &CustomerLayout, since: Timestamp, room: usize) -> Said {
    let roles = Role::ALL.map(|role| (customer.log(role), format!("logs/{role}.log")));
    let logs: Vec<_> = roles.into_iter().chain([(layout.agent_log(), "logs/agent.log".to_owned())]).collect();
    let share = room / logs.len();
    let mut pieces = Vec::new();
    for (path, name) in logs {
        let mut left = share;
        // The newest part first; the older ones as far as there is room.
        for number in 0..RotatingWriter::PARTS {
            let (part, called) = match number {
                0 => (path.clone(), name.clone()),
                _ => (numbered(&path, number), format!("{name}.{number}")),
            };
            let Some(mut piece) = end(&part, called, left) else { continue };
            let was = piece.bytes.len();
            leave_out_older(&mut piece, since);
            left -= piece.bytes.len();
            let is_old = piece.bytes.is_empty() && was > 0;
            if !piece.bytes.is_empty() || number == 0 {
                pieces.push(piece);
            }
            if is_old || left == 0 {
                break;
            }
        }
    }
    Ok(pieces)
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Reads at most `bytes_max` of the end of a log, in whole lines. A role in a container writes there: no link is followed.
fn end(path: &Path, name: String, bytes_max: usize) -> Option<Piece> {
    let mut log = file::open_regular_nofollow(path).ok()?;
    let size = log.metadata().ok()?.len();
    // One byte more shows whether a line begins there.
    let from = size.saturating_sub(bytes_max as u64 + 1);
    log.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    log.take(bytes_max as u64 + 1).read_to_end(&mut bytes).ok()?;
    let mut piece = Piece::free(name, bytes);
    piece.keep_end(bytes_max);
    piece.cut_bytes += from;
    Some(piece)
}

/// Leaves out the lines before `since`. A line without a time belongs to the one before it.
fn leave_out_older(piece: &mut Piece, since: Timestamp) {
    let mut kept = 0;
    for line in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
        match time(line) {
            Some(at) if at < since => kept += line.len(),
            Some(_) => break,
            None if kept > 0 => kept += line.len(),
            None => break,
        }
    }
    piece.bytes.drain(..kept);
    piece.cut_bytes += kept as u64;
}

/// The RFC 3339 time a line begins with.
fn time(line: &[u8]) -> Option<Timestamp> {
    let word = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    Timestamp::parse(std::str::from_utf8(word).ok().filter(|word| word.len() <= 40)?).ok()
}

#[cfg(test)]
mod tests {
    use base::Slug;

    use super::*;

    #[test]
    fn old_lines_go_and_what_follows_stays() {
        let since = Timestamp::parse("2026-11-20T00:00:00Z").unwrap();
        let mut piece = Piece::free(
            "log",
            b"2026-11-19T10:00:00.123456Z  INFO old\n  of it\n2026-11-21T10:00:00Z  INFO new\n  of that\n".to_vec(),
        );
        leave_out_older(&mut piece, since);
        assert!(piece.bytes.starts_with(b"2026-11-21T10") && piece.bytes.ends_with(b"of that\n"));
        assert_eq!(piece.cut_bytes, 46);
        let mut piece = Piece::free("log", b"no time at all\n".to_vec());
        leave_out_older(&mut piece, since);
        assert_eq!(piece.bytes.len(), 15);
    }

    #[test]
    fn the_newest_parts_fit_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let customer = layout.customer(&Slug::parse("eaton").unwrap());
        std::fs::create_dir_all(customer.logs()).unwrap();
        let line = |text: &str| format!("2026-11-21T10:00:00Z  INFO {text}\n").repeat(10);
        std::fs::write(customer.log(Role::Llm), line("newest")).unwrap();
        std::fs::write(numbered(&customer.log(Role::Llm), 1), line("older")).unwrap();
        std::fs::write(dir.path().join("shadow"), "root:secret").unwrap();
        std::os::unix::fs::symlink(dir.path().join("shadow"), customer.log(Role::Lake)).unwrap();
        let since = Timestamp::parse("2026-11-20T00:00:00Z").unwrap();
        let all = |room| collect(&layout, &customer, since, room).unwrap();
        let names = |pieces: &[Piece]| pieces.iter().map(|piece| piece.path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&all(1 << 20)), ["logs/llm.log", "logs/llm.log.1"]);
        let few = all(7 * 450);
        assert_eq!(names(&few), ["logs/llm.log", "logs/llm.log.1"]);
        assert!(few[1].bytes.len() < line("older").len() && few[1].bytes.starts_with(b"2026"), "{few:?}");
        assert!(all(7 * 100)[0].cut_bytes > 0);
        let later = Timestamp::parse("2026-11-22T00:00:00Z").unwrap();
        assert_eq!(names(&collect(&layout, &customer, later, 1 << 20).unwrap()), ["logs/llm.log"]);
    }
}
