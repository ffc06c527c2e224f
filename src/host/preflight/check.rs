use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was looked at and will do.
    Ok,
    /// It will do, and somebody should know something.
    Warning,
    /// It will not do.
    Failed,
    /// It was not asked for, could not be looked at, or the tool that knows is not there. Never a reason to go on, and
    /// never one to stop.
    Unknown,
}

impl Verdict {
    /// Returns the word used in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// One question about the machine, with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Never changes its meaning: scripts and support look for it. `area.thing`, for instance `disk.data`.
    pub id: String,
    /// The answer.
    pub verdict: Verdict,
    /// What was found, for people.
    pub seen: String,
    /// What mends it: an imperative, with commands in backquotes. Present unless the verdict is `ok`, or nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The numbers behind a verdict about disk space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
}

/// Room on a file system: now, at the worst moment of what is to come, and when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Size of the file system.
    pub total_bytes: u64,
    /// Free for this user.
    pub free_now_bytes: u64,
    /// Free when most is taken, by everything that will be written to this file system; 0 when it does not fit.
    pub free_peak_bytes: u64,
    /// Free in the end.
    pub free_final_bytes: u64,
    /// Still to be written to this file system at most.
    pub needed_bytes: u64,
}

impl Check {
    fn new(id: impl Into<String>, verdict: Verdict, seen: impl Into<String>, remedy: Option<String>) -> Self {
        Self { id: id.into(), verdict, seen: seen.into(), remedy, space: None }
    }

    pub(super) fn ok(id: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(id, Verdict::Ok, seen, None)
    }

    pub(super) fn warning(id: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(id, Verdict::Warning, seen, Some(remedy.into()))
    }

    pub(super) fn failed(id: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(id, Verdict::Failed, seen, Some(remedy.into()))
    }

    pub(super) fn unknown(id: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(id, Verdict::Unknown, seen, Some(remedy.into()))
    }

    /// Nobody asked; `flag` is how to.
    pub(super) fn not_asked(id: impl Into<String>, flag: &str) -> Self {
        Self::new(id, Verdict::Unknown, format!("not asked for; `{flag}` does"), None)
    }

    pub(super) fn with_space(mut self, space: Space) -> Self {
        self.space = Some(space);
        self
    }

    /// Returns whether this was left out because nobody asked for it.
    pub fn is_not_asked(&self) -> bool {
        self.verdict == Verdict::Unknown && self.remedy.is_none()
    }
}

/// Every check of one preflight, in the order they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this format: 1. Written by `0711 preflight --json`, read by scripts; new checks may be added to it.
    pub format: u32,
    /// Failed when one check failed, else warning when one warns, else ok. Unknown ones do not count.
    pub verdict: Verdict,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let has = |verdict| checks.iter().any(|check| check.verdict == verdict);
        let worst = [Verdict::Failed, Verdict::Warning].into_iter().find(|verdict| has(*verdict));
        Self { format: 1, verdict: worst.unwrap_or(Verdict::Ok), checks }
    }

    /// Returns the checks that came to `verdict`.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.verdict == verdict)
    }
}

/// Returns a size as people read it: decimal units, one digit after the point.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_is_the_report_and_unknown_counts_for_nothing() {
        let ok = || Check::ok("a", "fine");
        let unknown = || Check::unknown("b", "no tool", "install it");
        let warning = || Check::warning("c", "slow", "wait");
        let failed = || Check::failed("d", "full", "free space");
        assert_eq!(Report::new(vec![ok(), unknown()]).verdict, Verdict::Ok);
        assert_eq!(Report::new(vec![unknown(), warning(), ok()]).verdict, Verdict::Warning);
        assert_eq!(Report::new(vec![warning(), failed()]).verdict, Verdict::Failed);
    }

    #[test]
    fn what_nobody_asked_is_told_from_what_nobody_knows() {
        assert!(Check::not_asked("docker.engine", "--docker").is_not_asked());
        assert!(!Check::unknown("docker.engine", "no socket", "start it").is_not_asked());
        assert!(!Check::ok("docker.engine", "26.1").is_not_asked());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!([size(0), size(71_622_400), size(999_960_000)], ["0 B", "71.6 MB", "1.0 GB"]);
    }
}
