use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use base::{
    Clock, CustomerLayout, Digest, Layout, Seed, Slug, Timestamp,
    dsse::{PrivateKey, PublicKey},
};

use super::*;

const NOW: i64 = 1_763_812_800_000;

struct Place {
    dir: tempfile::TempDir,
    customer: CustomerLayout,
    log: Log,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let customer = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
    Place { log: Log::customer(&customer), customer, dir }
}

fn clock() -> Clock {
    Clock::fixed(Timestamp::from_millis(NOW))
}

fn entry(object: &str) -> Entry {
    Entry::new(Who::this_process(), Act::Promote).object(object)
}

impl Place {
    fn with(records: u64) -> Self {
        let place = place();
        place.add(records);
        place
    }

    fn add(&self, records: u64) {
        for number in 0..records {
            self.log.append(entry(&format!("v{number}")), clock()).unwrap();
        }
    }

    fn file(&self) -> PathBuf {
        self.log.files().unwrap().pop().unwrap()
    }

    fn verify(&self) -> Verdict {
        verify(&self.log, &BTreeMap::new(), &[]).unwrap()
    }

    fn key(&self) -> PublicKey {
        let key = installation_key(&self.customer, clock()).unwrap().public();
        assert_eq!(installation_key(&self.customer, clock()).unwrap().public(), key, "it is made once");
        assert_eq!(read(&self.log, None).unwrap().records.last().unwrap().record.object, key.hex());
        key
    }
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
}

fn without_line(text: String, number: usize) -> String {
    text.split_inclusive('\n').enumerate().filter(|(index, _)| *index != number).map(|(_, line)| line).collect()
}

#[test]
fn what_was_appended_is_read_back_and_holds() {
    let place = Place::with(3);
    let verdict = place.verify();
    assert!(verdict.is_intact(), "{verdict:?}");
    assert_eq!((verdict.records, verdict.head.unwrap().seq), (3, 2));
    let reading = read(&place.log, None).unwrap();
    let objects: Vec<_> = reading.records.iter().map(|kept| kept.record.object.as_str()).collect();
    assert_eq!((objects, reading.unreadable), (vec!["v0", "v1", "v2"], 0));
    assert_eq!(read(&place.log, Some(Timestamp::from_millis(NOW + 1))).unwrap().records, []);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(place.file()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let first = fs::read_to_string(place.file()).unwrap();
    assert!(first.starts_with("{\"format\":1,\"seq\":0,"), "{first}");
}

#[test]
fn an_empty_place_is_whole_and_looking_makes_nothing() {
    let place = place();
    let verdict = place.verify();
    assert!(verdict.is_intact() && verdict.head.is_none() && !place.log.exists());
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_line_can_be_checked_without_this_program() {
    let place = Place::with(1);
    let line = fs::read_to_string(place.file()).unwrap();
    let body = line.split(",\"digest\"").next().unwrap();
    assert!(line.contains(&format!("\"digest\":\"{}\"", Digest::of(body.as_bytes()))));
}

/// Every way to change a log of five records that its writer did not: where it is noticed, and by which words.
#[test]
fn every_change_is_noticed_where_it_was_made() {
    type Change = fn(&Place);
    let cases: [(&str, Change, Option<u64>, &str); 13] = [
        ("one letter", |p| edit(&p.file(), |t| t.replacen("\"v2\"", "\"v9\"", 1)), Some(1), "not what was written"),
        ("a line out of the middle", |p| edit(&p.file(), |t| without_line(t, 2)), Some(1), "record 2 is missing"),
        ("the first line", |p| edit(&p.file(), |t| without_line(t, 0)), None, "record 0 is missing"),
        ("the last line", |p| edit(&p.file(), |t| without_line(t, 4)), Some(3), "record 4, which the head file"),
        ("half of the last line", |p| edit(&p.file(), |t| t[..t.len() - 40].to_owned()), Some(3), "record 4, which"),
        ("two lines swapped", |p| edit(&p.file(), swapped), Some(0), "missing"),
        (
            "a line twice",
            |p| edit(&p.file(), |t| t.clone() + t.lines().last().unwrap() + "\n"),
            Some(4),
            "stands where",
        ),
        ("a replaced record with a digest of its own", |p| edit(&p.file(), forged), Some(2), "does not follow"),
        ("a line of somebody's own", |p| edit(&p.file(), |t| t + "{\"hello\":1}\n"), Some(4), "not what was written"),
        ("the head file", |p| fs::remove_file(&p.log.head).unwrap(), Some(4), "head file is gone"),
        ("a damaged head file", |p| fs::write(&p.log.head, "x").unwrap(), Some(4), "damaged"),
        ("all files", |p| fs::remove_file(p.file()).unwrap(), None, "missing"),
        ("a link instead of the file", linked, None, "no file of a log"),
    ];
    for (what, change, intact_to, word) in cases {
        let place = Place::with(5);
        change(&place);
        for turn in ["at once", "after a further record"] {
            let verdict = place.verify();
            let first = verdict.breaks.first().unwrap_or_else(|| panic!("{what}, {turn}: not noticed"));
            assert_eq!(first.intact_to, intact_to, "{what}, {turn}: {verdict:?}");
            if turn == "at once" {
                assert!(verdict.breaks.iter().any(|found| found.why.contains(word)), "{what}: {verdict:?}");
                // Whoever writes next neither stumbles over it nor heals it. A link is not written through.
                if what.starts_with("a link") {
                    assert!(place.log.append(entry("next"), clock()).is_err(), "{what}");
                } else {
                    place.log.append(entry("next"), clock()).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            }
        }
    }
}

fn linked(place: &Place) {
    let target = place.dir.path().join("elsewhere");
    fs::rename(place.file(), &target).unwrap();
    std::os::unix::fs::symlink(&target, place.log.file(1)).unwrap();
}

fn swapped(text: String) -> String {
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    lines.swap(1, 2);
    lines.concat()
}

fn forged(text: String) -> String {
    let lines: Vec<_> = text.lines().collect();
    let (record, _) = format::decode(lines[2].as_bytes()).unwrap();
    let (line, _) = format::encode(&Record { object: "another".into(), ..record }).unwrap();
    lines.iter().enumerate().map(|(index, old)| if index == 2 { &line } else { *old }.to_owned() + "\n").collect()
}

#[test]
fn a_torn_line_is_mended_and_said_so() {
    for torn in ["{", "{\"format\":1,\"seq\":3,\"at\":17638", "\0\0\0\0\0\0"] {
        let place = Place::with(3);
        OpenOptions::new().append(true).open(place.file()).unwrap().write_all(torn.as_bytes()).unwrap();
        let verdict = place.verify();
        assert!(verdict.is_intact() && verdict.is_torn, "a crash is no break: {verdict:?}");
        place.add(2);
        let verdict = place.verify();
        assert!(verdict.is_intact() && !verdict.is_torn, "{verdict:?}");
        assert_eq!((verdict.records, verdict.mended), (6, 1));
        let records = read(&place.log, None).unwrap().records;
        assert_eq!(records[3].record.act, Act::Mended);
        assert!(records[3].record.detail.contains(&Digest::of(torn.as_bytes()).to_string()));
    }
}

/// Killed between the line and the head, and between making a file and its first line.
#[test]
fn a_crash_between_two_writes_is_no_break() {
    let place = Place::with(2);
    let head = fs::read(&place.log.head).unwrap();
    place.add(1);
    fs::write(&place.log.head, head).unwrap();
    assert!(place.verify().is_intact());
    place.add(1);
    assert!(place.verify().is_intact());
    fs::write(place.log.file(2), "").unwrap();
    place.add(1);
    let verdict = place.verify();
    assert!(verdict.is_intact() && verdict.records == 5, "{verdict:?}");
    assert!(fs::metadata(place.log.file(2)).unwrap().len() > 0);

    let first = Place::with(1);
    fs::remove_file(&first.log.head).unwrap();
    assert!(first.verify().is_intact());
    first.add(1);
    assert!(first.verify().is_intact());
}

#[test]
fn the_chain_goes_on_from_file_to_file() {
    let place = place();
    for number in 0..40 {
        place.log.append_within(entry(&format!("v{number}")), clock(), 2000).unwrap();
    }
    let files = place.log.files().unwrap();
    assert!(files.len() > 4, "{files:?}");
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= 2000));
    assert!(place.verify().is_intact());
    let of = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let (first, last) = (text.lines().next().unwrap().to_owned(), text.lines().last().unwrap().to_owned());
        (format::decode(first.as_bytes()).unwrap().0, format::decode(last.as_bytes()).unwrap().1)
    };
    assert_eq!(of(&files[1]).0.previous, of(&files[0]).1, "a file begins with the last digest of the one before");
    fs::remove_file(&files[2]).unwrap();
    let verdict = place.verify();
    assert!(verdict.breaks[0].why.contains("are missing"), "{verdict:?}");
    assert_eq!(verdict.breaks[0].file.as_deref(), Some("audit-000004.jsonl"));
}

#[test]
fn several_processes_may_append() {
    let place = place();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &place.log;
            scope.spawn(move || {
                for number in 0..10 {
                    log.append(entry(&format!("{thread}-{number}")), clock()).unwrap();
                }
            });
        }
    });
    let verdict = place.verify();
    assert!(verdict.is_intact() && verdict.records == 40, "{verdict:?}");
}

#[test]
fn checkpoints_are_signed_once_there_is_a_key() {
    let place = Place::with(10);
    let key = place.key();
    place.add(140);
    let verdict = verify(&place.log, &BTreeMap::new(), std::slice::from_ref(&key)).unwrap();
    assert!(verdict.is_intact(), "{verdict:?}");
    assert_eq!((verdict.signed, verdict.signed_by_others), (2, 0));
    assert_eq!(place.verify().signed_by_others, 2, "without the key nothing is believed, and nothing is refused");

    // A checkpoint carried over from another record signs something else.
    let checkpoint =
        read(&place.log, None).unwrap().records.into_iter().find(|kept| kept.record.act == Act::Checkpoint);
    let Kept { record, .. } = checkpoint.unwrap();
    let (next, head) = (place.verify().records, place.verify().head.unwrap());
    let (line, digest) = format::encode(&Record { seq: next, previous: head.digest, ..record }).unwrap();
    edit(&place.file(), |text| text + &line + "\n");
    fs::write(&place.log.head, serde_json::to_vec(&Head::new(next, digest)).unwrap()).unwrap();
    let verdict = verify(&place.log, &BTreeMap::new(), &[key]).unwrap();
    assert!(verdict.breaks[0].why.contains("signs something else"), "{verdict:?}");
}

#[test]
fn a_history_written_anew_is_shown_by_what_was_noted_elsewhere() {
    let place = Place::with(5);
    let noted: BTreeMap<_, _> = [(2, read(&place.log, None).unwrap().records[2].digest)].into();
    assert!(verify(&place.log, &noted, &[]).unwrap().is_intact());
    fs::remove_dir_all(&place.log.dir).unwrap();
    fs::remove_file(&place.log.head).unwrap();
    for number in 0..5 {
        place.log.append(entry(&format!("other{number}")), clock()).unwrap();
    }
    assert!(place.verify().is_intact(), "root can do that, and nothing here shows it");
    let verdict = verify(&place.log, &noted, &[]).unwrap();
    assert!(verdict.breaks[0].why.contains("record 2 is another one"), "{verdict:?}");
}

#[test]
fn the_consoles_log_cannot_lose_what_the_customers_log_saw() {
    let place = place();
    let console = Log::console(&place.customer);
    let login = || Entry::new(Who::console("admin", [127, 0, 0, 1].into()), Act::Login);
    for _ in 0..3 {
        console.append(login(), clock()).unwrap();
    }
    place.add(1);
    console.append(login(), clock()).unwrap();
    let seen = place.verify().seen;
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(verify(&console, &seen, &[]).unwrap().is_intact());
    // The console's own process could do this.
    fs::remove_dir_all(&console.dir).unwrap();
    fs::remove_file(&console.head).unwrap();
    console.append(login(), clock()).unwrap();
    assert!(verify(&console, &BTreeMap::new(), &[]).unwrap().is_intact());
    assert!(!verify(&console, &seen, &[]).unwrap().is_intact());

    let logs = [place.log.clone(), console];
    let story = merged(&logs, None).unwrap();
    assert_eq!(story.records.iter().map(|kept| kept.log).collect::<Vec<_>>(), ["customer", "console"]);
}

#[test]
fn a_clock_set_back_keeps_each_logs_order() {
    let place = place();
    for at in [10, 5, 20] {
        place.log.append(entry(&at.to_string()), Clock::fixed(Timestamp::from_millis(at))).unwrap();
    }
    let console = Log::console(&place.customer);
    console.append(entry("console"), Clock::fixed(Timestamp::from_millis(7))).unwrap();
    let story = merged(&[place.log.clone(), console], None).unwrap();
    let order: Vec<_> = story.records.iter().map(|kept| kept.record.object.clone()).collect();
    assert_eq!(order, ["console", "10", "5", "20"]);
}

#[test]
fn texts_from_outside_are_bounded_and_tame_in_every_form() {
    let place = place();
    let evil = format!("=cmd|' /C calc'!A0\u{1b}[2J\n{}", "x".repeat(100_000));
    place.log.append(entry(&evil).detail(&evil), clock()).unwrap();
    let line = fs::read_to_string(place.file()).unwrap();
    assert!(line.len() < 2000 && line.lines().count() == 1 && !line.contains('\u{1b}'));
    let records = read(&place.log, None).unwrap().records;
    let csv = String::from_utf8(to_csv(&records).unwrap()).unwrap();
    assert!(csv.contains("'=cmd") && csv.lines().count() == 2, "{csv}");
    let json = String::from_utf8(to_json_lines(&records).unwrap()).unwrap();
    assert!(json.starts_with("{\"format\":1,") && json.contains("\"time\":\"2025-11-22T12:00:00Z\""), "{json}");
}

#[test]
fn a_log_of_a_newer_program_is_left_alone() {
    let place = Place::with(1);
    edit(&place.file(), |text| text + "{\"format\":2,\"more\":true}\n");
    assert!(matches!(place.log.append(entry("x"), clock()), Err(Error::Format { found: 2, .. })));
    assert!(matches!(verify(&place.log, &BTreeMap::new(), &[]), Err(Error::Format { .. })));
}

#[test]
fn a_pack_is_whole_or_refused_with_the_file_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let key = PrivateKey::of(&Seed::generate().unwrap());
    let slug = Slug::parse("eaton").unwrap();
    let make = |files: &[(&str, &str)]| {
        let mut pack = Pack::default();
        for (path, text) in files {
            pack.add(*path, text.as_bytes().to_vec());
        }
        pack.seal(&slug, &key, Timestamp::from_millis(NOW)).unwrap()
    };
    let (bytes, packed) = make(&[("license.json", "{\"a\":1}"), ("audit/customer/audit-000001.jsonl", "line\n")]);
    let path = dir.path().join("evidence.tar");
    let check = |bytes: &[u8], key: Option<&PublicKey>| {
        fs::write(&path, bytes).unwrap();
        read_pack(&path, key)
    };
    assert_eq!(check(&bytes, None).unwrap(), packed);
    assert_eq!(check(&bytes, Some(&key.public())).unwrap().files.len(), 2);
    let other = PrivateKey::of(&Seed::generate().unwrap());
    assert!(matches!(check(&bytes, Some(&other.public())), Err(Error::Signature(_))));

    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    let mut changed = bytes.clone();
    changed[at(b"line\n")] = b'f';
    assert!(check(&changed, None).unwrap_err().to_string().contains("audit-000001.jsonl` was changed"));
    let mut changed = bytes.clone();
    changed[at(b"\"slug\": \"eaton\"") + 9] = b'E';
    assert!(check(&changed, None).is_err());
    assert!(check(&bytes[..bytes.len() / 2], None).is_err());
    // The files of one pack under the manifest of another.
    let (more, _) = make(&[("license.json", "{\"a\":1}")]);
    let manifests = at(b"audit/customer");
    let of_more = more.windows(12).rposition(|window| window == b"license.json").unwrap();
    assert!(check(&[&bytes[..manifests], &more[of_more..]].concat(), None).is_err());
}
