//! Gives back the pages of the program's own file that only its start needed.
//!
//! The agent is the whole product's binary and uses a small part of it. Starting reads tens of megabytes of it (arguments, tables of
//! relocations), and the kernel maps what lies around each page that is read. They stay resident although nobody will look at them
//! again. Let go, they cost nothing: what is needed once more is mapped again from the page cache.

/// A mapping of the program's file that was never written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
}

/// Lets go of the clean pages of the program's file. Returns how many bytes of address space that concerned.
pub(crate) fn trim() -> usize {
    let (Ok(maps), Ok(program)) = (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe"))
    else {
        return 0;
    };
    let program = program.to_string_lossy();
    let clean = maps.lines().filter_map(|row| clean(row, &program));
    clean.map(|mapping| if let_go(mapping) { mapping.length } else { 0 }).sum()
}

/// Reads a row of `/proc/self/maps` (proc_pid_maps(5)): a mapping of `program` that holds exactly what stands in its file.
///
/// Code is such a mapping, and so is the head of the file with its constants. What the start has relocated is not: it is read-only
/// afterwards and was written before, and begins behind the code.
fn clean(row: &str, program: &str) -> Option<Mapping> {
    let mut fields = row.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (rights, offset) = (fields.next()?, fields.next()?);
    // The path may have blanks: it is all that follows device and inode.
    let path = row.split_once('/').map(|(_, path)| format!("/{path}"))?;
    let is_head = rights == "r--p" && usize::from_str_radix(offset, 16) == Ok(0);
    if path != program || !(rights == "r-xp" || is_head) {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some(Mapping { start, length: end.checked_sub(start)? })
}

fn let_go(mapping: Mapping) -> bool {
    // SAFETY: the range is one mapping of this process, private, of a file, not writable and never written to: `MADV_DONTNEED` makes the
    // next access read the same bytes from the file again (madvise(2)). The file of a running program cannot be written (ETXTBSY).
    let outcome = unsafe { libc::madvise(mapping.start as *mut libc::c_void, mapping.length, libc::MADV_DONTNEED) };
    outcome == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_the_file_is_let_go() {
        let program = "/opt/0711/my bin/0711";
        let of = |row: &str| clean(row, program);
        let code = "7f00-8f00 r-xp 00055000 fe:00 12 /opt/0711/my bin/0711";
        assert_eq!(of(code), Some(Mapping { start: 0x7f00, length: 0x1000 }));
        assert!(of("1000-2000 r--p 00000000 fe:00 12 /opt/0711/my bin/0711").is_some());
        for row in [
            "1000-2000 r--p 14e12000 fe:00 12 /opt/0711/my bin/0711",
            "1000-2000 rw-p 15baa000 fe:00 12 /opt/0711/my bin/0711",
            "1000-2000 r-xp 00000000 fe:00 13 /lib/ld.so",
            "1000-2000 rw-p 00000000 00:00 0 [heap]",
            "1000-2000 r-xp 00000000 00:00 0 [vdso]",
            "",
        ] {
            assert_eq!(of(row), None, "{row}");
        }
    }

    #[test]
    fn a_trimmed_program_goes_on() {
        let resident = || stack::resident_bytes(std::process::id()).unwrap();
        let before = resident();
        assert!(trim() > 0);
        let after = resident();
        assert!(after < before, "{before} bytes before, {after} after");
        assert_eq!(format!("{:?}", [1, 2, 3].map(|number| number * 2)), "[2, 4, 6]");
    }
}
