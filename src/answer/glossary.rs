//! Words that mean the same in a business's papers, German and English, so that a question in one language finds its words in a passage of the other, and `kostet` finds `Preis`.
//!
//! Deliberately short: general words of trade and engineering only. What is not here is left to the embeddings.

/// Groups of parts of stems (see `words::stem`); a word belongs to a group when it contains one of its parts.
const GROUPS: [&[&str]; 31] = [
    &["prei", "pric", "kost", "cost"],
    &["garantie", "gewaehrleist", "warrant", "guarant"],
    &["liefer", "deliver", "shipment"],
    &["rechnung", "invoic"],
    &["betrag", "amount"],
    &["zertifikat", "certificat", "bescheinig"],
    &["gueltig", "valid", "expir", "ablauf"],
    &["mitarbeit", "beschaeftigt", "employe", "personal"],
    &["geschaeftsfuehr", "vorstand", "director", "ceo"],
    &["urlaub", "vacatio", "holida"],
    &["kund", "client"],
    &["vertrag", "contract", "agreement"],
    &["bestell", "order", "auftrag"],
    &["zahlung", "payment", "payabl", "zahlbar"],
    &["reklamation", "complain", "claim"],
    &["pruef", "test", "inspect"],
    &["schraub", "screw"],
    &["klemm", "terminal"],
    &["drehmoment", "torqu"],
    &["spannung", "voltag"],
    &["strom", "curren"],
    &["netzteil", "stromversorg", "power"],
    &["schutz", "protect"],
    &["pegel", "level"],
    &["temperatur", "temper"],
    &["gewicht", "weight", "schwer", "heavy"],
    &["telefon", "telephon", "phon", "rufnumm"],
    &["numm", "numb"],
    &["lager", "stock", "warehous"],
    &["gehaeus", "enclosur"],
    &["bedeut", "mean"],
];

/// Whether two stems share a group.
pub(crate) fn alike(a: &str, b: &str) -> bool {
    GROUPS.iter().any(|group| {
        let within = |stem: &str| group.iter().any(|part| stem.contains(part));
        within(a) && within(b)
    })
}

/// Whether a stem is here at all: then a passage in the other language that is about it has a word for it.
pub(crate) fn is_known(stem: &str) -> bool {
    GROUPS.iter().any(|group| group.iter().any(|part| stem.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translations_and_synonyms_meet() {
        let stem = |word: &str| crate::words::stem(&crate::words::fold(word));
        for (a, b) in [
            ("Anzugsdrehmoment", "torque"),
            ("kostet", "Listenpreis"),
            ("price", "Preise"),
            ("warranties", "Garantiezeit"),
            ("Nummer", "numbers"),
        ] {
            assert!(alike(&stem(a), &stem(b)), "{a} / {b}");
        }
        assert!(!alike(&stem("Garantie"), &stem("Preis")));
        assert!(is_known(&stem("Geschäftsführer")) && !is_known(&stem("Rotrost")));
    }
}
