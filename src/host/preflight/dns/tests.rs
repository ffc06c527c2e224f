use super::super::Verdict::{Ok as Good, Unknown, Warning};
use super::*;

/// An answer to `question` with these flags and records.
fn reply(question: &Question, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.bytes.clone();
    bytes[2] = 0x81;
    bytes[3] = 0x80 | code;
    bytes[7] = u8::try_from(records.len()).unwrap();
    bytes.extend(records.concat());
    bytes
}

/// A record whose name points to the question's.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length.to_be_bytes(), data].concat()
}

#[test]
fn a_question_is_what_the_standard_says() {
    let question = Question::new("a.example").unwrap();
    assert_eq!(question.bytes[2..], *b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01");
    assert_eq!(Question::new("").unwrap().bytes[12..], [0, 0, 2, 0, 1], "the root's name servers");
    for name in ["a..b", &"x".repeat(64), &["abcdefgh"; 60].join(".")] {
        assert!(Question::new(name).is_none(), "{name}");
    }
}

#[test]
fn answers_are_read_through_aliases_and_pointers() {
    let question = Question::new("a.example").unwrap();
    let alias = record(5, b"\x03cdn\xc0\x0e");
    let address = record(1, &[192, 0, 2, 7]);
    let read = question.read(&reply(&question, 0, &[alias, address]));
    assert_eq!(read, Some(Answer::Known(vec![Ipv4Addr::new(192, 0, 2, 7)])));
    assert_eq!(question.read(&reply(&question, 3, &[])), Some(Answer::NoSuchName));
    assert_eq!(question.read(&reply(&question, 5, &[])), Some(Answer::Refused(5)));
}

#[test]
fn what_belongs_to_another_question_is_no_answer() {
    let question = Question::new("a.example").unwrap();
    let mut other = reply(&question, 0, &[]);
    other[0] ^= 1;
    assert_eq!(question.read(&other), None);
    let foreign = Question { id: question.id, ..Question::new("b.example").unwrap() };
    let mut bytes = reply(&foreign, 0, &[]);
    bytes[..2].copy_from_slice(&question.id);
    assert_eq!(question.read(&bytes), None);
    assert_eq!(question.read(&question.bytes), None, "the question itself");
}

#[test]
fn no_damage_makes_it_panic() {
    let question = Question::new("a.example").unwrap();
    let whole = reply(&question, 0, &[record(1, &[192, 0, 2, 7]), record(1, &[192, 0, 2, 8])]);
    for end in 0..whole.len() {
        let _ = question.read(&whole[..end]);
    }
    for at in 0..whole.len() {
        for value in [0x00, 0x3f, 0xc0, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = question.read(&damaged);
        }
    }
}

#[test]
fn a_server_is_asked_over_the_wire() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    let question = Question::new("a.example").unwrap();
    let answer = reply(&question, 0, &[record(1, &[192, 0, 2, 7])]);
    let thread = std::thread::spawn(move || {
        let (_, from) = server.recv_from(&mut [0; 512]).unwrap();
        server.send_to(b"noise", from).unwrap();
        server.send_to(&answer, from).unwrap();
    });
    let told = question.put(at, Duration::from_secs(5)).unwrap();
    assert_eq!(told, Answer::Known(vec![Ipv4Addr::new(192, 0, 2, 7)]));
    thread.join().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let told = question.put(silent.local_addr().unwrap(), Duration::from_millis(100));
    assert!(!matches!(told, Ok(Answer::Known(_))) && begun.elapsed() < Duration::from_secs(3), "{told:?}");
}

#[test]
fn the_machine_is_read_before_anybody_is_asked() {
    let text = "# from dhcp\nsearch example\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver nonsense\n";
    assert_eq!(servers(text), ["10.0.0.2".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    let names = Names { servers: vec![], hosts: "127.0.0.1 localhost\n10.1.1.1 Proxy proxy.example # ours\n".into() };
    let now = Instant::now();
    assert_eq!(names.resolve("PROXY.example", now), Ok("10.1.1.1".parse().unwrap()));
    assert_eq!(names.resolve("192.0.2.1", now), Ok("192.0.2.1".parse().unwrap()));
    assert_eq!(names.resolve("ours", now), Err(Answer::Silence));
}

#[test]
fn verdicts_never_fail_an_installation_that_needs_no_names() {
    let names = Names { servers: vec!["10.0.0.2".parse().unwrap()], hosts: String::new() };
    let verdict = |name: &str, answer| dns(Some(&names), &[(name.to_owned(), answer)]).verdict;
    assert_eq!(verdict("", Answer::Known(vec![])), Good);
    assert_eq!(verdict("", Answer::NoSuchName), Good, "it answers, which is all that was asked");
    assert_eq!(verdict("a.example", Answer::Refused(5)), Warning);
    assert_eq!(verdict("a.example", Answer::Known(vec![Ipv4Addr::LOCALHOST])), Good);
    assert_eq!(verdict("a.example", Answer::Known(vec![])), Warning);
    assert_eq!(verdict("a.example", Answer::NoSuchName), Warning);
    assert_eq!(verdict("", Answer::Silence), Warning);
    assert_eq!(dns(Some(&Names::default()), &[]).verdict, Warning);
    assert_eq!(dns(Some(&names), &[]).verdict, Unknown);
    assert_eq!(dns(None, &[]).verdict, Unknown);
}
