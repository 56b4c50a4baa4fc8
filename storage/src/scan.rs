//! Walks over the batches of one segment file, header by header.
//!
//! Reads through a window, so that many small batches cost one read and large ones only their
//! headers. Never trusts what it finds: a length is checked against the file before it is followed.

use std::io;

use protocol::batch::{BatchHeader, CRC_START, HEADER_BYTES};

use crate::device::DeviceFile;

/// Bytes read at once where only a few headers are wanted.
pub(crate) const LOOKUP_WINDOW_BYTES: usize = 4 << 10;
/// Bytes read at once where a whole file may be walked.
pub(crate) const SWEEP_WINDOW_BYTES: usize = 256 << 10;

/// Whether a scan may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Read from the disk if need be.
    ForDisk,
    /// Only what is in memory: else [`ScanError::WouldBlock`].
    Never,
}

/// Why a scan stopped.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The bytes are not in memory and the scan must not wait.
    WouldBlock,
    /// The operating system refused.
    Io(io::Error),
    /// What stands there is no batch.
    Damaged {
        /// Where, in bytes from the start of the file.
        position: u64,
        /// What is wrong.
        what: String,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock { Self::WouldBlock } else { Self::Io(error) }
    }
}

/// A window over a file that moves with the reader.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    file: &'a dyn DeviceFile,
    /// Nothing at or behind this byte is looked at.
    end: u64,
    wait: Wait,
    window_bytes_max: usize,
    window: Vec<u8>,
    window_start: u64,
}

/// A batch in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Its first byte.
    pub(crate) position: u64,
    /// Its header.
    pub(crate) header: BatchHeader,
}

impl Found {
    /// The byte after it.
    pub(crate) fn end(&self) -> u64 {
        self.position + as_u64(self.header.batch_bytes())
    }
}

impl<'a> Scan<'a> {
    /// A scan of `file` up to the byte `end`.
    pub(crate) const fn new(
        file: &'a dyn DeviceFile,
        end: u64,
        wait: Wait,
        window_bytes_max: usize,
    ) -> Self {
        Self { file, end, wait, window_bytes_max, window: Vec::new(), window_start: 0 }
    }

    /// The batch that starts at `position`; `None` at the end of what is scanned.
    ///
    /// # Errors
    /// [`ScanError`]; damaged if no whole batch of format 2 stands there.
    pub(crate) fn batch_at(&mut self, position: u64) -> Result<Option<Found>, ScanError> {
        if position >= self.end {
            return Ok(None);
        }
        let header = BatchHeader::parse(self.bytes_at(position, HEADER_BYTES)?)
            .map_err(|error| ScanError::Damaged { position, what: error.to_string() })?;
        let found = Found { position, header };
        if header.last_offset_delta < -1 || header.base_offset.get() < 0 {
            let what = "the batch has impossible offsets".to_owned();
            return Err(ScanError::Damaged { position, what });
        }
        if found.end() > self.end {
            let have = self.end - position;
            let what = format!("only {have} of the batch's {} bytes", header.batch_bytes());
            return Err(ScanError::Damaged { position, what });
        }
        Ok(Some(found))
    }

    /// Checks the CRC of a batch that [`Scan::batch_at`] found.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(crate) fn check_crc(&mut self, found: &Found) -> Result<(), ScanError> {
        let mut at = found.position + as_u64(CRC_START);
        let mut computed = 0;
        while at < found.end() {
            let rest = usize::try_from(found.end() - at).unwrap_or(usize::MAX);
            let piece = self.bytes_at(at, rest.min(self.window_bytes_max))?;
            let piece = &piece[..piece.len().min(rest)];
            computed = crc32c::crc32c_append(computed, piece);
            at += as_u64(piece.len());
        }
        if computed == found.header.crc {
            return Ok(());
        }
        let what = format!("checksum {computed:#010x}, the header says {:#010x}", found.header.crc);
        Err(ScanError::Damaged { position: found.position, what })
    }

    /// The bytes of a whole batch.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(crate) fn whole_batch(&mut self, found: &Found) -> Result<Vec<u8>, ScanError> {
        let mut bytes = vec![0; found.header.batch_bytes()];
        let read = self.read(&mut bytes, found.position)?;
        if read < bytes.len() {
            return Err(short(found.position));
        }
        Ok(bytes)
    }

    /// At least `bytes_min` bytes from `position` on, or what there is up to the end.
    fn bytes_at(&mut self, position: u64, bytes_min: usize) -> Result<&[u8], ScanError> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = bytes_min.min(left);
        let skip = position.checked_sub(self.window_start).and_then(|n| usize::try_from(n).ok());
        let has = skip.is_some_and(|skip| self.window.len().saturating_sub(skip) >= wanted);
        if !has {
            let mut window = std::mem::take(&mut self.window);
            window.resize(self.window_bytes_max.max(bytes_min).min(left), 0);
            let read = self.read(&mut window, position)?;
            window.truncate(read);
            self.window = window;
            self.window_start = position;
            if self.window.len() < wanted {
                // Without waiting, fewer bytes than there are mean that the rest is on the disk.
                return match self.wait {
                    Wait::Never => Err(ScanError::WouldBlock),
                    Wait::ForDisk => Err(short(position)),
                };
            }
        }
        let skip = usize::try_from(position - self.window_start).expect("inside the window");
        Ok(&self.window[skip..])
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> Result<usize, ScanError> {
        Ok(match self.wait {
            Wait::ForDisk => self.file.read_at(buffer, position)?,
            Wait::Never => self.file.read_at_nowait(buffer, position)?,
        })
    }
}

fn short(position: u64) -> ScanError {
    ScanError::Damaged { position, what: "the file ends inside a batch".to_owned() }
}

/// A length in memory as a length in a file.
pub(crate) fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a usize fits 64 bits on every platform that we build for")
}
