use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use serde::{Deserialize, Serialize};

/// What the processor can do, as far as 0711 cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// The model name the kernel prints, when it prints one.
    pub model: Option<String>,
    /// Logical processors this process may use.
    pub cores: u32,
    /// Features of x86-64-v3 the processor or the operating system lacks; empty means the binary can run.
    pub missing_v3: Vec<String>,
}

pub(crate) fn cpu() -> Cpu {
    Cpu {
        model: model_name(),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        missing_v3: missing_v3().into_iter().map(str::to_owned).collect(),
    }
}

fn model_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[allow(unused_unsafe)] // `__cpuid` became a safe function only recently
fn leaf(number: u32, sub: u32) -> CpuidResult {
    // SAFETY: every x86-64 processor has the instruction; it touches no memory.
    unsafe { if sub == 0 { __cpuid(number) } else { __cpuid_count(number, sub) } }
}

/// Returns the names of the x86-64-v3 features (x86-64 psABI, "Micro-Architecture Levels") this machine lacks.
///
/// `is_x86_feature_detected!` is of no use here: in a binary that is itself compiled for v3 it folds to `true`.
/// The instruction is asked instead, and `main` must ask before anything else runs.
pub fn missing_v3() -> Vec<&'static str> {
    let highest = leaf(0, 0).eax;
    let highest_extended = leaf(0x8000_0000, 0).eax;
    let basic = leaf(1, 0);
    let extended = if highest >= 7 { leaf(7, 0).ebx } else { 0 };
    let amd = if highest_extended >= 0x8000_0001 { leaf(0x8000_0001, 0).ecx } else { 0 };
    let xsave_is_on = bit(basic.ecx, 27);
    missing(Words {
        basic_ecx: basic.ecx,
        leaf7_ebx: extended,
        amd_ecx: amd,
        xcr0: if xsave_is_on { xcr0() } else { 0 },
    })
}

/// The register words the verdict is made from.
#[derive(Clone, Copy)]
struct Words {
    basic_ecx: u32,
    leaf7_ebx: u32,
    amd_ecx: u32,
    xcr0: u64,
}

fn missing(words: Words) -> Vec<&'static str> {
    let needed = [
        ("sse3", bit(words.basic_ecx, 0)),
        ("ssse3", bit(words.basic_ecx, 9)),
        ("fma", bit(words.basic_ecx, 12)),
        ("cmpxchg16b", bit(words.basic_ecx, 13)),
        ("sse4.1", bit(words.basic_ecx, 19)),
        ("sse4.2", bit(words.basic_ecx, 20)),
        ("movbe", bit(words.basic_ecx, 22)),
        ("popcnt", bit(words.basic_ecx, 23)),
        ("osxsave", bit(words.basic_ecx, 27)),
        ("avx", bit(words.basic_ecx, 28)),
        ("f16c", bit(words.basic_ecx, 29)),
        ("bmi1", bit(words.leaf7_ebx, 3)),
        ("avx2", bit(words.leaf7_ebx, 5)),
        ("bmi2", bit(words.leaf7_ebx, 8)),
        ("lahf", bit(words.amd_ecx, 0)),
        ("lzcnt", bit(words.amd_ecx, 5)),
        // The processor may have AVX while the operating system does not save its registers (XMM and YMM state).
        ("avx enabled by the operating system", words.xcr0 & 0b110 == 0b110),
    ];
    needed.into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
}

fn bit(word: u32, number: u32) -> bool {
    word >> number & 1 == 1
}

fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: called only when CPUID says that the operating system has enabled XSAVE, which makes `xgetbv` valid.
    unsafe {
        asm!("xgetbv", in("ecx") 0_u32, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Words = Words { basic_ecx: u32::MAX, leaf7_ebx: u32::MAX, amd_ecx: u32::MAX, xcr0: 7 };

    #[test]
    fn this_machine_runs_the_binary_it_was_built_for() {
        assert_eq!(missing_v3(), Vec::<&str>::new());
    }

    #[test]
    fn names_what_an_older_processor_lacks() {
        assert_eq!(missing(Words { leaf7_ebx: !(1 << 5), ..ALL }), ["avx2"]);
        assert_eq!(missing(Words { amd_ecx: !(1 << 5), ..ALL }), ["lzcnt"]);
        assert_eq!(missing(Words { xcr0: 0b011, ..ALL }), ["avx enabled by the operating system"]);
        assert_eq!(missing(Words { basic_ecx: !(1 << 12 | 1 << 29), ..ALL }), ["fma", "f16c"]);
    }
}
