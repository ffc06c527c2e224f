//! The words of the page, German and English.

use axum::http::{HeaderMap, header};
use serde::Serialize;
use serde_json::{Value, json};

/// The page's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locale {
    German,
    English,
}

impl Locale {
    /// Chooses by `Accept-Language`: the first of the two that the reader names, by weight; English otherwise.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut best = (0.0_f32, Self::English);
        for range in accepted.split(',').take(20) {
            let mut parts = range.trim().split(';');
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight =
                parts.find_map(|p| p.trim().strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok()).unwrap_or(0.0);
            let locale = match tag.split('-').next() {
                Some("de") => Self::German,
                Some("en") => Self::English,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, locale);
            }
        }
        best.1
    }

    /// The tag for `lang` attributes.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }

    /// The table of this language.
    pub(crate) const fn words(self) -> &'static Words {
        match self {
            Self::German => &GERMAN,
            Self::English => &ENGLISH,
        }
    }
}

/// Every text of the page that Rust writes; the script's texts are in [`Script`].
pub(crate) struct Words {
    pub(crate) skip: &'static str,
    pub(crate) log_out: &'static str,
    pub(crate) checking: &'static str,
    pub(crate) documents: &'static str,
    pub(crate) passages: &'static str,
    pub(crate) version: &'static str,
    pub(crate) welcome: &'static str,
    pub(crate) welcome_text: &'static str,
    pub(crate) question: &'static str,
    pub(crate) placeholder: &'static str,
    pub(crate) ask: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) thread: &'static str,
    pub(crate) passage: &'static str,
    pub(crate) close: &'static str,
    pub(crate) needs_script: &'static str,
    pub(crate) log_in: &'static str,
    pub(crate) log_in_text: &'static str,
    pub(crate) name: &'static str,
    pub(crate) name_hint: &'static str,
    pub(crate) password: &'static str,
    pub(crate) password_hint: &'static str,
    pub(crate) wrong_password: &'static str,
    pub(crate) wait: &'static str,
    pub(crate) stale_form: &'static str,
    pub(crate) no_password: &'static str,
    pub(crate) withheld: &'static str,
    pub(crate) script: Script,
}

/// The script's texts; `{name}` is filled in there.
#[derive(Serialize)]
pub(crate) struct Script {
    searching: &'static str,
    reading: &'static str,
    sources: &'static str,
    closest: &'static str,
    source_n: &'static str,
    quoted: &'static str,
    phrased: &'static str,
    seconds: &'static str,
    helpful: &'static str,
    not_helpful: &'static str,
    thanks: &'static str,
    correction: &'static str,
    correction_hint: &'static str,
    send_correction: &'static str,
    cancel: &'static str,
    loading: &'static str,
    failed: &'static str,
    broken_off: &'static str,
    session_ended: &'static str,
    release_waits: &'static str,
    release_approved: &'static str,
    release_approve: &'static str,
    services_ok: &'static str,
    services_down: &'static str,
    unreachable: &'static str,
    documents_n: &'static str,
    welcome_documents: &'static str,
}

impl Words {
    /// The script's table as JSON that is safe inside a `script` element.
    pub(crate) fn for_script(&self, locale: Locale) -> String {
        let mut table = json!(self.script);
        let (roles, states, notices) = match locale {
            Locale::German => (
                json!({"embed": "Einbettung", "llm": "Sprachmodell", "lake": "Wissensspeicher", "ingest": "Einlesen", "trainer": "Training"}),
                json!({"ok": "läuft", "busy": "läuft, viel zu tun", "starting": "startet", "resting": "ruht", "down": "antwortet nicht"}),
                json!({
                    "diskshort": "Auf dem Server wird der Platz knapp.",
                    "resting": "Auf dem Server fehlt Platz: Es wird nichts Neues gelesen oder gelernt, bis wieder Platz ist.",
                    "protected": "Auf dem Server ist kaum noch Platz: Fragen werden beantwortet, sonst wird nichts geschrieben.",
                    "license": "Die Lizenz muss erneuert werden.",
                }),
            ),
            Locale::English => (
                json!({"embed": "Embedding", "llm": "Language model", "lake": "Knowledge store", "ingest": "Ingestion", "trainer": "Training"}),
                json!({"ok": "running", "busy": "running, much to do", "starting": "starting", "resting": "resting", "down": "not answering"}),
                json!({
                    "diskshort": "The server's disk is filling up.",
                    "resting": "The server is short of disk space: nothing new is read or learned until there is room.",
                    "protected": "The server has hardly any disk space left: questions are answered, nothing else is written.",
                    "license": "The license needs to be renewed.",
                }),
            ),
        };
        if let Value::Object(table) = &mut table {
            table.insert("roles".into(), roles);
            table.insert("states".into(), states);
            table.insert("notices".into(), notices);
        }
        table.to_string().replace('<', "\\u003c")
    }
}

const ENGLISH: Words = Words {
    skip: "Skip to the question",
    log_out: "Log out",
    checking: "Checking services …",
    documents: "Documents",
    passages: "Passages",
    version: "Adapter version",
    welcome: "What would you like to know?",
    welcome_text: "Answers come from your own documents and name the passage they rest on. What the documents do not support is not answered.",
    question: "Your question",
    placeholder: "Ask about your documents …",
    ask: "Ask",
    hint: "to ask",
    thread: "Questions and answers",
    passage: "Passage",
    close: "Close",
    needs_script: "This page needs JavaScript. Nothing is loaded from other servers.",
    log_in: "Log in",
    log_in_text: "Your company's own brain. Nothing leaves this server.",
    name: "Name",
    name_hint: "Leave it empty if you are the administrator.",
    password: "Password",
    password_hint: "It was shown once, at the end of the installation.",
    wrong_password: "That is not the password.",
    wait: "Too many attempts. Try again in {seconds} seconds.",
    stale_form: "This form was too old. Please try again.",
    no_password: "No password is set up on this server. Ask the administrator to run the installation again.",
    withheld: "This answer rests on a document that you may not read any more, or that is gone. It is not shown.",
    script: Script {
        searching: "Searching your documents …",
        reading: "Reading {count} passages …",
        sources: "Sources",
        closest: "What came closest",
        source_n: "Source {n}: {where}",
        quoted: "quoted",
        phrased: "phrased by {version}",
        seconds: "{seconds} s",
        helpful: "Helpful",
        not_helpful: "Not helpful",
        thanks: "Thank you, noted.",
        correction: "What would have been right?",
        correction_hint: "Optional. The brain learns from it at night.",
        send_correction: "Send correction",
        cancel: "Cancel",
        loading: "Loading …",
        failed: "The server refused (status {status}).",
        broken_off: "The connection broke off. Please ask again.",
        session_ended: "Your session has ended.",
        release_waits: "Release {version} is there. It is installed once somebody agrees.",
        release_approved: "Release {version} will be installed.",
        release_approve: "Agree",
        services_ok: "All services running",
        services_down: "Services not ready: {count}",
        unreachable: "Server not reachable",
        documents_n: "{count} documents",
        welcome_documents: "{count} documents have been read.",
    },
};

const GERMAN: Words = Words {
    skip: "Zur Frage springen",
    log_out: "Abmelden",
    checking: "Dienste werden geprüft …",
    documents: "Dokumente",
    passages: "Textstellen",
    version: "Adapter-Version",
    welcome: "Was möchten Sie wissen?",
    welcome_text: "Antworten kommen aus Ihren eigenen Dokumenten und nennen die Stelle, auf der sie beruhen. Was die Dokumente nicht belegen, wird nicht beantwortet.",
    question: "Ihre Frage",
    placeholder: "Fragen Sie Ihre Dokumente …",
    ask: "Fragen",
    hint: "zum Fragen",
    thread: "Fragen und Antworten",
    passage: "Textstelle",
    close: "Schließen",
    needs_script: "Diese Seite braucht JavaScript. Von anderen Servern wird nichts geladen.",
    log_in: "Anmelden",
    log_in_text: "Das eigene Gedächtnis Ihrer Firma. Nichts verlässt diesen Server.",
    name: "Name",
    name_hint: "Leer lassen für die Administration.",
    password: "Passwort",
    password_hint: "Es wurde am Ende der Installation einmal angezeigt.",
    wrong_password: "Das ist nicht das Passwort.",
    wait: "Zu viele Versuche. Bitte in {seconds} Sekunden erneut versuchen.",
    stale_form: "Das Formular war zu alt. Bitte noch einmal versuchen.",
    no_password: "Auf diesem Server ist kein Passwort eingerichtet. Bitte die Installation erneut ausführen lassen.",
    withheld: "Diese Antwort stützt sich auf ein Dokument, das Sie nicht mehr lesen dürfen oder das es nicht mehr gibt. Sie wird nicht gezeigt.",
    script: Script {
        searching: "Ihre Dokumente werden durchsucht …",
        reading: "{count} Textstellen werden gelesen …",
        sources: "Quellen",
        closest: "Am nächsten kamen",
        source_n: "Quelle {n}: {where}",
        quoted: "zitiert",
        phrased: "formuliert von {version}",
        seconds: "{seconds} s",
        helpful: "Hilfreich",
        not_helpful: "Nicht hilfreich",
        thanks: "Danke, notiert.",
        correction: "Was wäre richtig gewesen?",
        correction_hint: "Freiwillig. Nachts wird daraus gelernt.",
        send_correction: "Korrektur senden",
        cancel: "Abbrechen",
        loading: "Wird geladen …",
        failed: "Der Server hat abgelehnt (Status {status}).",
        broken_off: "Die Verbindung brach ab. Bitte fragen Sie noch einmal.",
        session_ended: "Ihre Sitzung ist beendet.",
        release_waits: "Version {version} liegt bereit. Sie wird eingespielt, sobald jemand zustimmt.",
        release_approved: "Version {version} wird eingespielt.",
        release_approve: "Zustimmen",
        services_ok: "Alle Dienste laufen",
        services_down: "Dienste nicht bereit: {count}",
        unreachable: "Server nicht erreichbar",
        documents_n: "{count} Dokumente",
        welcome_documents: "{count} Dokumente wurden gelesen.",
    },
};

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use base::Notice;

    use super::*;

    #[test]
    fn the_reader_chooses_the_language() {
        for (accepted, expect) in [
            ("de-DE,de;q=0.9,en;q=0.8", Locale::German),
            ("en-GB,en;q=0.9,de;q=0.8", Locale::English),
            ("fr-FR,de;q=0.5", Locale::German),
            ("en;q=0.2, de;q=0.7", Locale::German),
            ("fr", Locale::English),
            ("", Locale::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(accepted).unwrap());
            assert_eq!(Locale::of(&headers), expect, "{accepted}");
        }
    }

    #[test]
    fn the_scripts_words_cannot_end_their_element() {
        for locale in [Locale::German, Locale::English] {
            let table = locale.words().for_script(locale);
            assert!(!table.contains('<'));
            let table = serde_json::from_str::<Value>(&table).unwrap();
            assert!(table["roles"]["llm"].is_string());
            for notice in [Notice::DiskShort, Notice::Resting, Notice::Protected, Notice::License] {
                let word = serde_json::to_value(notice).unwrap();
                assert!(table["notices"][word.as_str().unwrap()].is_string(), "{notice:?}");
            }
        }
    }
}
