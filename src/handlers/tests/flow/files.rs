//! Files of formats nobody reads, made here, with what they hold.

/// Names and places with umlauts, amounts with signs.
pub const ORDERS: [(&str, &str, &str, i64, i32); 6] = [
    ("Klemmen Grünwald", "München", "20260114", 123_456, 12),
    ("Schaltbau Köhler", "Köln", "20260203", -9_950, -1),
    ("Elektro Weiß", "Gießen", "20260219", 5, 1_000_000),
    ("Anlagenbau Öztürk", "Duisburg", "20260301", 98_765_432, 40),
    ("Süd-Kabel", "Lörrach", "20260315", 0, 0),
    ("Relais Jäger", "Würzburg", "20260402", 1_200, 3),
];

/// The bytes of a text in the German page of mainframes, for the characters used here.
fn cp273(text: &str, width: usize) -> Vec<u8> {
    let byte = |character: char| match character {
        'a'..='i' => 0x81 + (character as u8 - b'a'),
        'j'..='r' => 0x91 + (character as u8 - b'j'),
        's'..='z' => 0xa2 + (character as u8 - b's'),
        'A'..='I' => 0xc1 + (character as u8 - b'A'),
        'J'..='R' => 0xd1 + (character as u8 - b'J'),
        'S'..='Z' => 0xe2 + (character as u8 - b'S'),
        '0'..='9' => 0xf0 + (character as u8 - b'0'),
        'ä' => 0xc0,
        'ö' => 0x6a,
        'ü' => 0xd0,
        'ß' => 0xa1,
        'Ö' => 0xe0,
        '-' => 0x60,
        _ => 0x40,
    };
    let mut bytes: Vec<u8> = text.chars().map(byte).collect();
    bytes.resize(width, 0x40);
    bytes
}

fn packed(value: i64, bytes: usize) -> Vec<u8> {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = bytes * 2 - 1);
    let mut halves: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
    halves.push(if value < 0 { 0xd } else { 0xc });
    halves.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Records of 60 bytes: number, name, place, day, amount (packed), count (binary), state, four spaces.
pub fn ebcdic(first: u32, count: u32) -> Vec<u8> {
    let record = |number: u32| {
        let (name, place, day, amount, pieces) = ORDERS[number as usize % ORDERS.len()];
        let mut bytes = cp273(&format!("{number:06}"), 6);
        bytes.extend(cp273(name, 20));
        bytes.extend(cp273(place, 12));
        bytes.extend(cp273(day, 8));
        bytes.extend(packed(amount, 5));
        bytes.extend(pieces.to_be_bytes());
        bytes.extend(cp273(if amount < 0 { "S" } else { "O" }, 1));
        bytes.extend([0x40; 4]);
        bytes
    };
    (first..first + count).flat_map(record).collect()
}

/// Lines of 80 characters, Windows-1252, with a head.
pub fn sap(count: u32) -> Vec<u8> {
    let mut text = format!("{:<18}{:<40}{:<3}{:>15}{:<4}\r\n", "MATNR", "MAKTX", "MEI", "LABST", "WERK");
    for number in 1..=count {
        let stock = format!(
            "{}.{:03},{:03}{}",
            number % 9,
            number * 7 % 1000,
            number * 125 % 1000,
            if number % 4 == 0 { "-" } else { " " }
        );
        let name =
            ["Reihenklemme grün/gelb", "Überspannungsschutz Typ 2", "Endwinkel für Tragschiene"][number as usize % 3];
        text.push_str(&format!(
            "{:018}{name:<40}{:<3}{stock:>15}{:<4}\r\n",
            1_020_000_000 + number,
            "ST",
            1000 + number % 3
        ));
    }
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("Latin-1")).collect()
}

/// Head, articles, additions and prices, in the page of DOS.
pub fn datanorm(count: u32) -> Vec<u8> {
    let mut text = format!("V 010326{:<40}{:<40}04EUR\r\n", "Artikelstammdaten", "Muster Elektro GmbH");
    for number in 1..=count {
        text.push_str(&format!(
            "A;N;10{number:05};40;Klemme {number} grau;für Tragschiene;1;0;St;{};06;004;\r\n",
            number * 115
        ));
        text.push_str(&format!("B;N;10{number:05};KL{number};40{number:011};0;0;\r\n"));
        text.push_str(&format!("P;A;10{number:05};1;{};\r\n", number * 99));
    }
    text.chars()
        .map(|character| if character == 'ü' { 0x81 } else { u8::try_from(u32::from(character)).expect("ASCII") })
        .collect()
}

/// Tag, length, value.
pub fn tlv(count: u32) -> Vec<u8> {
    let mut bytes = b"MESS\x02\x00".to_vec();
    let mut put = |tag: u8, value: &[u8]| {
        bytes.push(tag);
        bytes.extend(u16::try_from(value.len()).expect("short").to_le_bytes());
        bytes.extend(value);
    };
    for number in 0..count {
        put(1, format!("SN-{:05}", 40_000 + number).as_bytes());
        put(2, &(1_767_225_600 + number * 60).to_le_bytes());
        put(3, &(230.0 + number as f32 * 0.125).to_le_bytes());
        put(4, if number % 2 == 0 { b"i.O." } else { b"Pr\xfcfung wiederholt" });
        put(0, b"");
    }
    bytes
}
