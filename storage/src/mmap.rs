//! Read-only mappings of files that no longer change: the indexes of closed segments.
//!
//! One of the two places with `unsafe`. A mapping is sound only while nobody writes or cuts the file
//! under it, and that is this module's invariant: **a mapped file is closed for good**. The log maps
//! an index only after its segment was rolled and the file trimmed; whoever must change such a file
//! afterwards (a truncation that goes back into it, a rebuild) writes a new file and renames it over
//! the old name, or removes it. The lock on the data directory keeps other processes of ours away.
//!
//! Not for records: a page fault on a cold page would stop a thread that serves clients, and
//! `sendfile` is cheaper for warm ones. A sector that the disk cannot read raises `SIGBUS` here
//! instead of an error; indexes are small, read in full when they are mapped, and can be rebuilt by
//! removing them.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The bytes of a closed file. The mapping lives on when the file is renamed or removed.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: memmap2::Mmap,
}

impl Mapping {
    /// Maps the whole file at its present length. `file` must be closed for good, see the header;
    /// the descriptor may be closed afterwards.
    ///
    /// # Errors
    /// The operating system's.
    #[expect(unsafe_code, reason = "a mapping is sound only if the file does not change")]
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes must not change while they are borrowed, and the file must not shrink.
        // Callers map closed files only, which this crate replaces but never writes or cuts (see the
        // header), and the directory lock excludes other brokers.
        let map = unsafe { memmap2::MmapOptions::new().populate().map(file)? };
        Ok(Self { map })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mapping_shows_the_file_and_outlives_it() {
        for content in [&b""[..], b"some bytes", &[7; 10_000]] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("00000000000000000000.index");
            let mut file = File::create_new(&path).unwrap();
            file.write_all(content).unwrap();
            let mapping = Mapping::open(&File::open(&path).unwrap()).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(&*mapping, content);
        }
    }
}
