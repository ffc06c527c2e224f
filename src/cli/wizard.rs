//! Asks a person for the answers. Nothing is written before the last question was answered with yes.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use ::update::Policy;
use base::{Exit, Layout, Slug};
use dialoguer::{Confirm, Input, MultiSelect, Select, theme::ColorfulTheme};
use plan::{Answers, UpdateAnswers};

use crate::{
    failure::{Failure, Outcome},
    printer::{Printer, bytes},
    updates,
};

/// How long the search for folders worth proposing, and the count of a typed one, may take.
const SURVEY_BUDGET: Duration = Duration::from_secs(4);
const BACK: &str = "<";
/// What is read today, in words people use.
const READ: &str = "PDF, Word, Excel, PowerPoint, OpenDocument, text, Markdown, HTML, CSV, XML (BMEcat, invoices), mail with attachments, zip";
const NOT_READ: &str = "scans without a text layer, drawings, pictures, encrypted files, links out of the folder (all listed with their reason)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Name,
    License,
    Folders,
    Reach,
    Training,
    Updates,
    Summary,
}

const ORDER: [Question; 7] = [
    Question::Name,
    Question::License,
    Question::Folders,
    Question::Reach,
    Question::Training,
    Question::Updates,
    Question::Summary,
];

enum Move {
    On,
    Back,
    /// There is nothing to ask: on, or back, whichever way the person goes.
    Past,
    Stop,
}

/// Asks every question, with what is already known as its default. Returns `None` when the person stops at the summary.
pub fn ask(printer: Printer, known: Answers, home: Option<&Path>, layout: &Layout) -> Outcome<Option<Answers>> {
    printer.note("0711 asks six questions and then shows a summary; nothing is changed before you confirm it.");
    printer.note(format!("Type {BACK} (or press Esc in a list) to go back, Ctrl-C to stop.\n"));
    let theme = ColorfulTheme::default();
    let mut asking = Asking { printer, theme, answers: known, home, layout, proposals: None };
    let (mut at, mut goes_back) = (0_usize, false);
    loop {
        match asking.ask(ORDER[at]).map_err(interrupted)? {
            Move::On if ORDER[at] == Question::Summary => return Ok(Some(asking.answers)),
            Move::Past if goes_back => at = at.saturating_sub(1),
            Move::On | Move::Past => (at, goes_back) = (at + 1, false),
            Move::Back => (at, goes_back) = (at.saturating_sub(1), true),
            Move::Stop => return Ok(None),
        }
    }
}

pub fn interrupted(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(error) = error;
    if error.kind() == io::ErrorKind::Interrupted {
        return Failure::new(Exit::Interrupted, "stopped; nothing was changed")
            .remedy("run `0711 install` again to start over");
    }
    Failure::from_error("cannot ask in this terminal", &error).remedy("give the answers with flags or `--answers FILE`")
}

struct Asking<'a> {
    printer: Printer,
    theme: ColorfulTheme,
    answers: Answers,
    home: Option<&'a Path>,
    layout: &'a Layout,
    proposals: Option<Vec<host::Proposal>>,
}

type Asked = Result<Move, dialoguer::Error>;

impl Asking<'_> {
    fn ask(&mut self, question: Question) -> Asked {
        match question {
            Question::Name => self.name(),
            Question::License => self.license(),
            Question::Folders => self.folders(),
            Question::Reach => self.reach(),
            Question::Training => self.training(),
            Question::Updates => self.updates(),
            Question::Summary => self.summary(),
        }
    }

    fn line(&self, prompt: &str, default: String) -> Result<Option<String>, dialoguer::Error> {
        let input = Input::<String>::with_theme(&self.theme).with_prompt(prompt).allow_empty(true);
        let input = if default.is_empty() { input } else { input.default(default) };
        let text = input.interact_text()?.trim().to_owned();
        Ok((text != BACK).then_some(text))
    }

    fn name(&mut self) -> Asked {
        loop {
            let Some(name) = self.line("Company name", self.answers.customer.name.clone())? else {
                return Ok(Move::Back);
            };
            match Slug::from_name(&name) {
                Ok(slug) => {
                    self.printer.note(format!("  folders and services will be called `{slug}`"));
                    if name != self.answers.customer.name {
                        self.answers.customer.slug = None;
                    }
                    self.answers.customer.name = name;
                    return Ok(Move::On);
                }
                Err(error) => self.printer.note(format!("  {error}")),
            }
        }
    }

    fn license(&mut self) -> Asked {
        let prompt = "License (an id like ENTERPRISE-EATON-2025, a file, or DEMO)";
        loop {
            let Some(license) = self.line(prompt, self.answers.license.clone())? else { return Ok(Move::Back) };
            if !license.is_empty() {
                self.answers.license = license;
                return Ok(Move::On);
            }
            self.printer.note("  DEMO is enough for a trial");
        }
    }

    fn folders(&mut self) -> Asked {
        self.printer.note(format!("  read:     {READ}\n  not read: {NOT_READ}"));
        let budget = SURVEY_BUDGET;
        let home = self.home;
        let proposals = self.proposals.get_or_insert_with(|| host::propose(home, budget)).clone();
        let mut paths: Vec<PathBuf> = self.answers.folders.clone();
        paths.extend(
            proposals.iter().map(|proposal| proposal.path.clone()).filter(|path| !self.answers.folders.contains(path)),
        );
        let labels: Vec<String> = paths
            .iter()
            .map(|path| match proposals.iter().find(|proposal| &proposal.path == path) {
                Some(proposal) => describe(path, &proposal.survey),
                None => describe(path, &host::survey(path, SURVEY_BUDGET)),
            })
            .collect();
        let mut picked = Vec::new();
        if !paths.is_empty() {
            let chosen: Vec<bool> = paths.iter().map(|path| self.answers.folders.contains(path)).collect();
            let list = MultiSelect::with_theme(&self.theme).with_prompt("Folders to read (space picks, enter goes on)");
            let Some(indices) = list.items(&labels).defaults(&chosen).interact_opt()? else { return Ok(Move::Back) };
            picked.extend(indices.into_iter().map(|index| paths[index].clone()));
        }
        loop {
            let prompt = if picked.is_empty() { "Folder to read" } else { "A further folder (empty: no more)" };
            let Some(text) = self.line(prompt, String::new())? else { return Ok(Move::Back) };
            if text.is_empty() {
                if picked.is_empty() {
                    self.printer.note("  at least one folder is needed");
                    continue;
                }
                break;
            }
            let path = expand(&text, self.home);
            if !path.is_dir() {
                self.printer.note(format!("  `{}` is no folder of this machine", path.display()));
                continue;
            }
            self.printer.note(format!("  {}", describe(&path, &host::survey(&path, SURVEY_BUDGET))));
            if !picked.contains(&path) {
                picked.push(path);
            }
        }
        self.answers.folders = picked;
        Ok(Move::On)
    }

    fn reach(&mut self) -> Asked {
        let items = [
            "only this machine (127.0.0.1)",
            "this machine, and others through a TLS proxy here (name the proxy's host next)",
        ];
        let before = usize::from(!self.answers.console.hosts.is_empty());
        let list =
            Select::with_theme(&self.theme).with_prompt("Who may reach the console").items(items).default(before);
        match list.interact_opt()? {
            None => Ok(Move::Back),
            Some(0) => {
                self.answers.console.hosts.clear();
                Ok(Move::On)
            }
            Some(_) => {
                let known = self.answers.console.hosts.join(" ");
                let Some(text) = self.line("Host names people type (separated by spaces)", known)? else {
                    return Ok(Move::Back);
                };
                self.answers.console.hosts = text.split_whitespace().map(str::to_owned).collect();
                Ok(Move::On)
            }
        }
    }

    fn training(&mut self) -> Asked {
        self.printer.note("  a first adapter learns your language and formats; facts always come from your documents");
        loop {
            let default = self.answers.training_minutes.to_string();
            let Some(text) = self.line("Minutes for the first training (0 trains nothing now)", default)? else {
                return Ok(Move::Back);
            };
            match text.parse() {
                Ok(minutes) => {
                    self.answers.training_minutes = minutes;
                    return Ok(Move::On);
                }
                Err(_) => self.printer.note("  a whole number of minutes, please"),
            }
        }
    }

    /// Asked where the license allows updates and nobody set them up on this machine before.
    fn updates(&mut self) -> Asked {
        let allowed = updates::allowed(self.layout, &self.answers.license);
        let Some(allowed) = allowed.filter(|allowed| !allowed.channels.is_empty() && !updates::are_set_up(self.layout))
        else {
            self.answers.updates = None;
            return Ok(Move::Past);
        };
        let mut items = vec![
            ("nobody looks; a person brings a release (`0711 update --from DIR`)", Policy::Manual),
            ("the agent looks for releases, a person approves each", Policy::Approve),
        ];
        if allowed.is_automatic {
            items.push(("the agent looks for releases and installs them, in a window", Policy::Automatic));
        }
        let known = self.answers.updates.take();
        let is_known = |(_, policy): &(_, Policy)| known.as_ref().is_some_and(|known| known.policy == *policy);
        let before = items.iter().position(is_known).unwrap_or(0);
        let words: Vec<_> = items.iter().map(|(words, _)| *words).collect();
        let list = Select::with_theme(&self.theme).with_prompt("Newer releases of 0711").items(words).default(before);
        let policy = match list.interact_opt()?.and_then(|picked| items.get(picked)) {
            None => {
                self.answers.updates = known;
                return Ok(Move::Back);
            }
            Some((_, Policy::Manual)) => return Ok(Move::On),
            Some((_, policy)) => *policy,
        };
        let (channel, window) = known.map(|known| (known.channel, known.window)).unwrap_or_default();
        let channel = loop {
            let prompt = format!(
                "Where they come from (an https address, or a folder; channel {})",
                allowed.channels.join(", ")
            );
            match self.line(&prompt, channel.clone())? {
                None => return Ok(Move::Back),
                Some(text) if text.starts_with("https://") => break text,
                Some(text) if !text.is_empty() && expand(&text, self.home).is_dir() => {
                    break expand(&text, self.home).display().to_string();
                }
                Some(text) => {
                    self.printer.note(format!("  `{text}` is no https address and no folder of this machine"))
                }
            }
        };
        let window = loop {
            let prompt = "When the services may be stopped (for instance 22:00-04:00; `always` for any time)";
            let default = window.clone().unwrap_or_else(|| "always".to_owned());
            match self.line(prompt, default)? {
                None => return Ok(Move::Back),
                Some(text) if text == "always" || text.is_empty() => break None,
                Some(text) => match text.parse::<::update::Window>() {
                    Ok(_) => break Some(text),
                    Err(error) => self.printer.note(format!("  {error}")),
                },
            }
        };
        self.answers.updates = Some(UpdateAnswers { channel, policy, window });
        Ok(Move::On)
    }

    fn summary(&mut self) -> Asked {
        let answers = &self.answers;
        let folders: Vec<_> = answers.folders.iter().map(|folder| folder.display().to_string()).collect();
        let reach = match answers.console.hosts.is_empty() {
            true => "only this machine".to_owned(),
            false => format!("this machine and {}", answers.console.hosts.join(", ")),
        };
        let updates = match &answers.updates {
            None => "off; `0711 update --from DIR` brings a release".to_owned(),
            Some(updates) => format!("from {}, {}", updates.channel, words_of(updates.policy)),
        };
        self.printer.note(format!(
            "\n  company   {}\n  license   {}\n  folders   {}\n  console   {reach}\n  training  {} minutes\n  updates   {updates}\n",
            answers.customer.name,
            answers.license,
            folders.join("\n            "),
            answers.training_minutes,
        ));
        if let Err(faults) = answers.check() {
            self.printer.note(format!("  this cannot be installed yet: {faults}"));
            return Ok(Move::Back);
        }
        let items = ["install", "go back", "stop; change nothing"];
        match Select::with_theme(&self.theme).with_prompt("Install this").items(items).default(0).interact_opt()? {
            Some(0) => Ok(Move::On),
            Some(2) => Ok(Move::Stop),
            _ => Ok(Move::Back),
        }
    }
}

fn words_of(policy: Policy) -> &'static str {
    match policy {
        Policy::Manual => "when a person types it",
        Policy::Approve => "each approved by a person",
        Policy::Automatic => "installed by the agent",
    }
}

/// Asks one yes-or-no question, `no` by default.
pub fn confirm(question: &str) -> Outcome<bool> {
    let asked = Confirm::with_theme(&ColorfulTheme::default()).with_prompt(question).default(false).interact();
    asked.map_err(interrupted)
}

fn describe(path: &Path, survey: &host::Survey) -> String {
    let types: Vec<_> =
        survey.most_common().into_iter().take(4).map(|(name, count)| format!("{} {name}", count.files)).collect();
    let more = if survey.complete { "" } else { " or more" };
    format!("{}  {} files{more}, {} ({})", path.display(), survey.files, bytes(survey.bytes), types.join(", "))
}

fn expand(text: &str, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ => std::path::absolute(text).unwrap_or_else(|_| PathBuf::from(text)),
    }
}
