//! First bytes of files.

use super::Kind;

/// First bytes that settle the matter.
pub(super) const SIGNATURES: [(&[u8], Kind); 16] = [
    (b"{\\rtf", Kind::Office("rtf", "application/rtf")),
    (b"\x1f\x8b", Kind::Gzip),
    (b"7z\xbc\xaf\x27\x1c", Kind::Office("7z", "application/x-7z-compressed")),
    (b"\x89PNG", Kind::Image("PNG")),
    (b"\xff\xd8\xff", Kind::Image("JPEG")),
    (b"GIF8", Kind::Image("GIF")),
    (b"II*\0", Kind::Image("TIFF")),
    (b"MM\0*", Kind::Image("TIFF")),
    (b"BM", Kind::Image("BMP")),
    (b"\0\0\x01\0", Kind::Image("ICO")),
    (b"8BPS", Kind::Image("PSD")),
    (b"\x09\0\x04\0", Kind::Sheet("xls")),
    (b"\x09\x02\x06\0", Kind::Sheet("xls")),
    (b"\x09\x04\x06\0", Kind::Sheet("xls")),
    (b"\x09\x08\x08\0", Kind::Sheet("xls")),
    (b"\x09\x08\x10\0", Kind::Sheet("xls")),
];

/// Formats we can name and not read.
pub(super) const KNOWN: [(&[u8], &str); 27] = [
    (b"\xd7\xcd\xc6\x9a", "WMF drawing"),
    (b"\x01\0\0\0\x58\0\0\0", "EMF drawing"),
    (b"\x01\0\0\0\x6c\0\0\0", "EMF drawing"),
    (b"\x01\0\x09\0", "WMF drawing"),
    (b"AC10", "DWG drawing"),
    (b"(DWF V", "DWF drawing"),
    (b"\x08\x09\xfe\x02", "DGN drawing"),
    (b"Rar!", "RAR archive"),
    (b"BZh", "bzip2 archive"),
    (b"\x1f\x9d", "compress (.Z) archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"\0\x01\0\0Standard Jet DB", "Access database"),
    (b"\0\x01\0\0Standard ACE DB", "Access database"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "OneNote section"),
    (b"\x7fELF", "program (ELF)"),
    (b"MZ", "program (Windows)"),
    (b"\0\0\x02\0", "Lotus 1-2-3 sheet"),
    (b"\0\0\x1a\0", "Lotus 1-2-3 sheet"),
    (b"\xff\0\x02\0\x04\x04", "Works sheet"),
    (b"\0\0\0\x01Bud1", "Finder settings (.DS_Store)"),
    (b"ID3", "sound (MP3)"),
    (b"OggS", "sound (Ogg)"),
    (b"\x31\xbe\0\0", "Microsoft Write document"),
    (b"\x85\x01", "PGP message"),
    (b"!BDN", "Outlook mailbox (PST)"),
    (b"\xffWPC", "WordPerfect document"),
    (b"SQLite format 3\0", "SQLite database"),
];
