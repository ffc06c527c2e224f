//! Processor and memory.

use super::check::{Check, size};
use super::wanted::Memory;
use crate::Cpu;

/// `cpu.v3` and `cpu.cores`.
pub(super) fn processor(cpu: &Cpu) -> Vec<Check> {
    let model = cpu.model.as_deref().unwrap_or("a processor the kernel does not name");
    let level = if cpu.missing_v3.is_empty() {
        Check::ok("cpu.v3", format!("{model}: has every feature of x86-64-v3"))
    } else {
        Check::failed(
            "cpu.v3",
            format!("{model}: lacks {}", cpu.missing_v3.join(", ")),
            "use a processor of the x86-64-v3 level (Intel Haswell, AMD Excavator or newer); a virtual machine may hide \
             it: set its processor type to `host`",
        )
    };
    let cores = match cpu.cores {
        0 | 1 => Check::warning(
            "cpu.cores",
            "one core",
            "give the machine two cores or more: on one, answers wait while it reads or trains",
        ),
        cores => Check::ok("cpu.cores", format!("{cores} cores")),
    };
    vec![level, cores]
}

/// `ram.total` and `ram.available`, from bytes in all and bytes that new work can have; 0 says that nobody knows.
pub(super) fn memory(total_bytes: u64, available_bytes: u64, wanted: &Memory) -> Vec<Check> {
    let Memory { rest_bytes, peak_bytes, held_bytes } = *wanted;
    if total_bytes == 0 {
        let unknown = |id| Check::unknown(id, "`/proc/meminfo` does not say", "mount `/proc`");
        return vec![unknown("ram.total"), unknown("ram.available")];
    }
    let needs = format!(
        "{}; the services need {} at rest and {} while training",
        size(total_bytes),
        size(rest_bytes),
        size(peak_bytes)
    );
    let total = if total_bytes < rest_bytes {
        Check::failed("ram.total", needs, "use a machine with more memory")
    } else if total_bytes < peak_bytes {
        Check::warning("ram.total", needs, "add memory, or leave training out with `--training-minutes 0`")
    } else {
        Check::ok("ram.total", needs)
    };
    let still = rest_bytes.saturating_sub(held_bytes);
    let seen = match held_bytes {
        0 => format!("{} can be had without swapping", size(available_bytes)),
        _ => format!("{} can be had without swapping; the services run already", size(available_bytes)),
    };
    let available = if available_bytes < still {
        Check::warning("ram.available", seen, "stop what else runs on this machine: the services would make it swap")
    } else {
        Check::ok("ram.available", seen)
    };
    vec![total, available]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Failed, Ok, Unknown, Warning};
    use super::*;

    fn verdicts(checks: Vec<Check>) -> Vec<Verdict> {
        checks.into_iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn an_old_processor_fails_and_one_core_is_worth_a_word() {
        let cpu = |missing: &[&str], cores| Cpu {
            model: Some("X".into()),
            cores,
            missing_v3: missing.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(verdicts(processor(&cpu(&[], 4))), [Ok, Ok]);
        assert_eq!(verdicts(processor(&cpu(&[], 1))), [Ok, Warning]);
        let old = processor(&cpu(&["avx2", "fma"], 4));
        assert_eq!((old[0].verdict, old[0].seen.as_str()), (Failed, "X: lacks avx2, fma"));
    }

    #[test]
    fn memory_is_judged_at_rest_and_while_training() {
        const GB: u64 = 1_000_000_000;
        let wanted = Memory { rest_bytes: 2 * GB, peak_bytes: 4 * GB, held_bytes: 0 };
        assert_eq!(verdicts(memory(8 * GB, 6 * GB, &wanted)), [Ok, Ok]);
        assert_eq!(verdicts(memory(3 * GB, 2 * GB, &wanted)), [Warning, Ok]);
        assert_eq!(verdicts(memory(8 * GB, GB, &wanted)), [Ok, Warning]);
        assert_eq!(verdicts(memory(GB, GB, &wanted)), [Failed, Warning]);
        assert_eq!(verdicts(memory(0, 0, &wanted)), [Unknown, Unknown], "no number is not little memory");
        let running = Memory { held_bytes: 2 * GB, ..wanted };
        assert_eq!(verdicts(memory(8 * GB, GB, &running)), [Ok, Ok], "what runs already needs nothing more");
    }
}
