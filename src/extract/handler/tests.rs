//! Handlers in this process: what they can do. What they cannot is in `tests/handlers.rs`, against real processes.

use super::{HandlerLimits, Refusal, Run, interpret};

fn run(code: &str, file: &[u8]) -> Run {
    interpret::run(code, file, "probe.dat", &HandlerLimits::default())
}

fn rows(run: &Run) -> Vec<String> {
    assert_eq!(run.refusal, None, "{}", run.printed);
    let line = |row: &Vec<String>| row.join("|");
    run.tables.iter().flat_map(|table| table.rows.iter().map(line)).collect()
}

#[test]
fn every_host_function_gives_what_the_contract_says() {
    let file = b"\xd2\xd3\x01\x23\x4c\xf0\xf1\xf2\xd5\xff\xff\xff\xfe\x00\x02..Gr\x94\xe1e\r\n<a b='1'>x &amp; y</a>";
    let code = r#"
def handle(name, size):
    emit({"name": name, "size": size})
    emit({"text": text(0, 2, "cp037"), "packed": packed(2, 3, 2), "zoned": zoned(5, 4, scale=1)}, "mainframe")
    a, b = unpack(">iH", 9)
    emit({"a": a, "b": b, "c": integer(13, 2), "d": integer(9, 4, "big", True)}, table="binary")
    skip(15, 2)
    words, next = line(17, "cp850")
    emit({"line": words, "next": next, "found": find(b"<a"), "none": find(b"zzz"), "peek": decode(read(0, 1), "cp500")}, "text")
    for event in xml_events(next, size - next):
        emit({"event": event[0], "what": event[1], "more": str(event[2]) if len(event) > 2 else None}, "xml")
    print("done")
    emit_text("Ende")
"#;
    let run = run(code, file);
    let expect = [
        "probe.dat|46",
        "KL|12.34|-12.5",
        "-2|2|2|-2",
        "Größe|24|24|-1|K",
        "start|a|{'b': '1'}",
        "text|x & y|",
        "end|a|",
    ];
    assert_eq!(rows(&run), expect);
    assert_eq!((run.texts.as_slice(), run.printed.as_str()), (&["Ende".to_owned()][..], "done\n"));
    assert_eq!((run.figures.skipped_bytes, run.figures.coverage()), (2, 1.0));
}

#[test]
fn archives_and_data_are_unpacked_within_bounds() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, b"\x01\x00\x02\x12\x3c").unwrap();
    let code = r#"
def handle(name, size):
    for member, data in unzip(0, size):
        a, b = unpack_data("<HB", data)
        emit({"a": a, "b": b, "c": packed_data(data[3:], 1)})
"#;
    assert_eq!(rows(&run(code, &gzip.finish().unwrap())), ["1|2|12.3"]);
}

#[test]
fn records_of_one_name_share_their_columns() {
    let code = r#"
def handle(name, size):
    emit({"a": 1, "b": None})
    emit({"c": 2.5, "a": True})
    emit({"a": [1, "x"], "b": 2 ** 70})
"#;
    let run = run(code, b"");
    assert_eq!(run.tables[0].columns, ["a", "b", "c"]);
    assert_eq!(rows(&run), ["1||", "true||2.5", "1, x|1180591620717411303424|"]);
}

#[test]
fn a_mistake_can_be_caught_and_what_came_before_it_stays() {
    let code = r#"
def handle(name, size):
    for call in (lambda: text(0, 99, "cp037"), lambda: text(-1, 1, "cp037"), lambda: text(0, 1, "klingon"),
                 lambda: packed(0, 3), lambda: emit({}), lambda: emit({"a": b"x"}), lambda: emit([1])):
        try:
            call()
        except (IndexError, ValueError, TypeError) as error:
            emit({"error": type(error).__name__})
    text(0, 99, "cp037")
"#;
    let run = run(code, b"abc");
    let raised: Vec<&str> = run.tables[0].rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        raised,
        ["IndexError", "ValueError", "ValueError", "ValueError", "ValueError", "TypeError", "TypeError"]
    );
    match run.refusal {
        Some(Refusal::Raised { exception, line, .. }) => assert_eq!((exception.as_str(), line), ("IndexError", 9)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_end_a_run_whatever_it_catches() {
    let limits = HandlerLimits { time_ms: 300, max_calls: 50, max_records: 3, ..HandlerLimits::default() };
    let check = |body: &str, expect: Refusal| {
        let code = format!(
            "def handle(name, size):\n    while True:\n        try:\n            {body}\n        except BaseException:\n            pass\n"
        );
        assert_eq!(interpret::run(&code, b"abc", "x", &limits).refusal, Some(expect), "{body}");
    };
    check("pass", Refusal::Time { limit_ms: 300 });
    check("text(0, 1, 'cp037')", Refusal::Calls { limit: 50 });
    check("emit({'a': 1})", Refusal::Output { what: "records".to_owned(), limit: 3 });
    check("open('/etc/passwd')", Refusal::Forbidden { what: "open".to_owned() });
    let name = |code: &str| interpret::run(code, b"", "x", &limits).refusal.map(|refusal| refusal.name());
    assert_eq!(name("x = 1"), Some("no handle"));
    assert_eq!(name("def handle(name, size:\n"), Some("syntax"));
    assert_eq!(name("def handle(name, size):\n    return handle(name, size)\n"), Some("recursion"));
}
