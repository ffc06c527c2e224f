//! AMX: tiles of sixteen rows of 64 bytes, and products of whole tiles (Intel's Software Developer's Manual, volume 1, chapter 18).
//!
//! Two tiles of activations times two of weights make four tiles of sums, 32 rows by 32 outputs. The instructions are written out, because
//! the compiler has none of its own for them yet.

use std::{
    arch::{asm, x86_64::*},
    mem::{MaybeUninit, transmute},
    sync::LazyLock,
};

use super::{
    super::linear::{End, Quad, Rounded},
    Tile, vnni,
};

/// Reports whether the processor has tiles of bytes and the system lets this process use them: their registers are large, and a program must
/// ask before it has them (Linux, `Documentation/arch/x86/xstate.rst`).
pub(super) fn is_here() -> bool {
    static HERE: LazyLock<bool> = LazyLock::new(|| {
        const TILES: u32 = 1 << 24;
        const BYTES: u32 = 1 << 25;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (TILES | BYTES) == TILES | BYTES && ask()
    });
    *HERE
}

/// Asks the system for the tiles' registers.
fn ask() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let answer: i64;
    // SAFETY: the call takes two numbers, gives one, and touches no memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// The shapes of the tiles, in the processor's own layout.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

/// This thread's tiles, ready as long as this lives.
pub(in super::super) struct Tiles(());

impl Tiles {
    /// Gives all eight tiles sixteen rows of 64 bytes.
    ///
    /// # Safety
    /// [`is_here`] has said so.
    pub unsafe fn configure() -> Self {
        let (mut columns, mut rows) = ([0; 16], [0; 16]);
        columns[..8].fill(64);
        rows[..8].fill(16);
        let shapes = Shapes { palette: 1, start: 0, reserved: [0; 14], columns, rows };
        // SAFETY: the processor has the instruction, and reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Tiles {
    /// Frees the tiles: a thread that holds some is more work to switch.
    fn drop(&mut self) {
        // SAFETY: tiles were configured.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// # Safety
/// The processor has the instructions, and the thread holds [`Tiles`].
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn multiply(weights: &[Quad], end: &End, x: &Rounded, mut y: Tile<'_>) {
    let (upper, lower) = (x.sixteen(y.first), x.sixteen(y.first + 16));
    assert!(!upper.is_empty() && weights.len() == 16 * upper.len(), "tiles must be whole");
    // Tile by tile: two of rows, of each two of outputs.
    let mut sums = MaybeUninit::<[[[[i32; 16]; 16]; 2]; 2]>::uninit();
    // SAFETY: what is read lies in the slices: a tile of each sixteen rows for each 64 inputs, and for those inputs two halves of sixteen
    // quads, which lie 128 bytes apart. What is written is `sums`: four tiles of sixteen rows of 64 bytes.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{weights} + {quad}]",
            "tileloadd tmm4, [{upper} + {row}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {quad} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {row}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {upper}, 1024",
            "add {lower}, 1024",
            "add {weights}, 2048",
            "dec {left}",
            "jnz 2b",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 1024], tmm1",
            "tilestored [{sums} + {row} + 2048], tmm2",
            "tilestored [{sums} + {row} + 3072], tmm3",
            upper = inout(reg) upper.as_ptr() => _,
            lower = inout(reg) lower.as_ptr() => _,
            row = in(reg) 64_usize,
            weights = inout(reg) weights.as_ptr() => _,
            quad = in(reg) size_of::<Quad>(),
            left = inout(reg) upper.len() => _,
            sums = in(reg) sums.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    // SAFETY: four tiles were stored.
    let sums = unsafe { sums.assume_init_ref() };
    for row in 0..y.rows() {
        let halves = &sums[row / 16];
        // SAFETY: plain values of the same size.
        let sums = [0, 1].map(|half| unsafe { transmute::<[i32; 16], __m512i>(halves[half][row % 16]) });
        vnni::finish(sums, end, x.end(y.first + row), y.row(row));
    }
}
