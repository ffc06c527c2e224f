//! The numbers Prometheus collects, in its text format (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use base::{Role, Slug};
use install::control::{CustomerStatus, DiskStage, EventKind, RoleStatus, Status, WorkVerdict};
use stack::RoleState;

use crate::customer::Histogram;

/// What the status does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) events: BTreeMap<EventKind, u64>,
    pub(crate) latencies: Vec<(Slug, Role, Histogram)>,
    /// Judgements of answers since the agent began: good ones and others.
    pub(crate) judgements: BTreeMap<Slug, (u64, u64)>,
    /// Whole seconds until a license ends, negative afterwards.
    pub(crate) license_seconds: BTreeMap<Slug, i64>,
}

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the metrics.
pub(crate) fn render(status: &Status, beside: &Beside) -> String {
    let mut text = Text::default();
    text.family("info", "gauge", "The agent's version");
    text.value("info", &[("version", &status.agent.version)], 1);
    text.family("agent_resident_bytes", "gauge", "Memory of the agent");
    text.value("agent_resident_bytes", &[], status.agent.resident_bytes);
    text.family("agent_started_seconds", "gauge", "When the agent started, seconds since 1970");
    text.value("agent_started_seconds", &[], status.agent.started.millis() / 1000);
    text.family("events_total", "counter", "Events since the agent started, by kind");
    for kind in EventKind::ALL {
        text.value("events_total", &[("kind", kind.name())], beside.events.get(&kind).copied().unwrap_or(0));
    }
    text.family("host_changes", "gauge", "Things that changed on the machine since all was last well");
    text.value("host_changes", &[], status.host.changes.len());
    roles(&mut text, status);
    latencies(&mut text, beside);
    customers(&mut text, status);
    text.family("judgements_total", "counter", "Judgements of answers since the agent started");
    for (slug, (good, bad)) in &beside.judgements {
        text.value("judgements_total", &[("customer", slug.as_str()), ("verdict", "up")], good);
        text.value("judgements_total", &[("customer", slug.as_str()), ("verdict", "down")], bad);
    }
    text.family("license_expires_seconds", "gauge", "Seconds until the license ends, negative afterwards");
    for (slug, seconds) in &beside.license_seconds {
        text.value("license_expires_seconds", &[("customer", slug.as_str())], seconds);
    }
    text.0
}

fn roles(text: &mut Text, status: &Status) {
    let all =
        || status.customers.iter().flat_map(|customer| customer.roles.iter().map(move |role| (&customer.slug, role)));
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&RoleStatus) -> Option<u64>| {
        text.family(name, kind, help);
        for (slug, role) in all() {
            if let Some(value) = value(role) {
                text.value(name, &[("customer", slug.as_str()), ("role", role.role.name())], value);
            }
        }
    };
    each("role_ready", "gauge", "Whether the role answers and does its work", &|role| {
        Some(u64::from(role.state == RoleState::Ready))
    });
    each("role_needs_a_person", "gauge", "Whether the role stays down until somebody starts it", &|role| {
        Some(u64::from(matches!(role.state, RoleState::NeedsAPerson { .. })))
    });
    each("role_held", "gauge", "Whether the agent keeps the role down, for instance because a disk is full", &|role| {
        Some(u64::from(role.held.is_some()))
    });
    each("role_restarts_total", "counter", "Starts after an end nobody asked for", &|role| {
        Some(u64::from(role.restarts))
    });
    each("role_resident_bytes", "gauge", "Memory of the role", &|role| role.resident_bytes);
    each("role_work_failures", "gauge", "Small jobs in a row the role did not do", &|role| {
        role.work.as_ref().map(|work| u64::from(work.failures))
    });
    each("role_busy", "gauge", "Whether the last small job waited behind real work", &|role| {
        role.work.as_ref().map(|work| u64::from(work.verdict == WorkVerdict::Busy))
    });
}

fn latencies(text: &mut Text, beside: &Beside) {
    text.family("probe_seconds", "histogram", "How long the small jobs took");
    for (slug, role, latency) in &beside.latencies {
        let labels = [("customer", slug.as_str()), ("role", role.name())];
        for (bound_ms, count) in Histogram::BOUNDS_MS.iter().zip(latency.counts) {
            let bound = (*bound_ms as f64 / 1000.0).to_string();
            text.value("probe_seconds_bucket", &[labels[0], labels[1], ("le", &bound)], count);
        }
        text.value("probe_seconds_bucket", &[labels[0], labels[1], ("le", "+Inf")], latency.all);
        text.value("probe_seconds_sum", &labels, latency.sum_ms as f64 / 1000.0);
        text.value("probe_seconds_count", &labels, latency.all);
    }
}

fn customers(text: &mut Text, status: &Status) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&CustomerStatus) -> Option<u64>| {
        text.family(name, "gauge", help);
        for customer in &status.customers {
            if let Some(value) = value(customer) {
                text.value(name, &[("customer", customer.slug.as_str())], value);
            }
        }
    };
    each("documents", "Documents in the lake", &|customer| customer.documents);
    each("drift", "Things that are not as they were installed", &|customer| Some(customer.drift.len() as u64));
    each("license_allows_change", "Whether updates and training are allowed", &|customer| {
        Some(u64::from(customer.license.allows_change))
    });
    each("disk_stage", "0 room, 1 warning, 2 training and ingestion rest, 3 tables protected", &|customer| {
        customer.disk.as_ref().map(|disk| match disk.stage {
            DiskStage::Room => 0,
            DiskStage::Warn => 1,
            DiskStage::Hold => 2,
            DiskStage::Protect => 3,
        })
    });
    text.family("disk_free_bytes", "gauge", "Bytes that can still be written");
    for customer in &status.customers {
        for room in customer.disk.iter().flat_map(|disk| &disk.disks) {
            let labels = [("customer", customer.slug.as_str()), ("purpose", room.purpose.as_str())];
            text.value("disk_free_bytes", &labels, room.free_bytes);
        }
    }
}

/// The text as it grows. Writing to a string cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP zero711_{name} {help}\n# TYPE zero711_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "zero711_{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_values_stand_alone() {
        let mut text = Text::default();
        text.family("x", "gauge", "An x");
        text.value("x", &[], 1);
        text.value("x", &[("a", "b\"c\\d"), ("e", "f")], 2.5);
        let expect =
            "# HELP zero711_x An x\n# TYPE zero711_x gauge\nzero711_x 1\nzero711_x{a=\"b\\\"c\\\\d\",e=\"f\"} 2.5\n";
        assert_eq!(text.0, expect);
    }

    #[test]
    fn a_histogram_ends_with_all_and_its_sum() {
        let latency = Histogram { counts: [0, 1, 1, 2, 2, 2, 2, 2, 2], all: 3, sum_ms: 70_115 };
        let beside =
            Beside { latencies: vec![(Slug::parse("eaton").unwrap(), Role::Llm, latency)], ..Beside::default() };
        let mut text = Text::default();
        latencies(&mut text, &beside);
        for line in [
            "zero711_probe_seconds_bucket{customer=\"eaton\",role=\"llm\",le=\"0.02\"} 1",
            "zero711_probe_seconds_bucket{customer=\"eaton\",role=\"llm\",le=\"60\"} 2",
            "zero711_probe_seconds_bucket{customer=\"eaton\",role=\"llm\",le=\"+Inf\"} 3",
            "zero711_probe_seconds_sum{customer=\"eaton\",role=\"llm\"} 70.115",
            "zero711_probe_seconds_count{customer=\"eaton\",role=\"llm\"} 3",
        ] {
            assert!(text.0.lines().any(|found| found == line), "{line} is not in\n{}", text.0);
        }
    }
}
