//! The file that holds the caller's state machine at one point of the log.
//!
//! ```text
//! all fields big-endian, values as in `codec`
//! ├ 8 bytes "MPSNAPSH" ┼ u32 version ┼ u32 crc32c of the rest ┼ optional log id: last applied ┤
//! ├ optional log id of the membership ┼ membership ┼ state, to the end ┤
//! ```
//! There is one such file, always replaced as a whole, so a crash leaves the old one or the new one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use parking_lot::Mutex;
use storage::checkpoint::{self, CheckpointError};
use storage::device::Device;
use storage::error::OpenError;

use super::codec::{
    CodecError, get_membership, get_optional_log_id, put_membership, put_optional_log_id,
};
use super::types::{Snapshot, SnapshotMeta, StoredMembership};
use crate::metrics;

const MAGIC: [u8; 8] = *b"MPSNAPSH";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
/// How long a full disk is left alone before the next try.
const FULL_DISK_RETRY: Duration = Duration::from_secs(1);

/// The file. One writer at a time; after [`SnapshotFile::close`] none.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    device: Arc<dyn Device>,
    path: PathBuf,
    /// Held during a write.
    open: Mutex<bool>,
}

impl SnapshotFile {
    pub(crate) fn new(device: Arc<dyn Device>, path: PathBuf) -> Self {
        Self { device, path, open: Mutex::new(true) }
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The present snapshot, if there is one. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`], [`OpenError::NewerFormat`] or [`OpenError::Io`].
    pub(crate) fn read(&self) -> Result<Option<Snapshot>, OpenError> {
        let Some(bytes) = checkpoint::read_whole(&*self.device, &self.path)? else {
            return Ok(None);
        };
        let corrupt = |what: &str| OpenError::Corrupt {
            path: self.path.clone(),
            position: 0,
            what: what.to_owned(),
        };
        let mut bytes = Bytes::from(bytes);
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(&MAGIC) {
            return Err(corrupt("this is no snapshot of the metadata group"));
        }
        bytes.advance(MAGIC.len());
        let (found, crc) = (bytes.get_u32(), bytes.get_u32());
        if found > VERSION {
            return Err(OpenError::NewerFormat {
                path: self.path.clone(),
                found,
                supported: VERSION,
            });
        }
        if crc32c::crc32c(&bytes) != crc {
            return Err(corrupt("the snapshot fails its checksum"));
        }
        decode(bytes).map(Some).map_err(|error| corrupt(&error.to_string()))
    }

    /// Replaces the snapshot, durably. Waits while the disk is full.
    ///
    /// # Errors
    /// The device's; the old snapshot is still there, unless the last sync failed.
    pub(crate) async fn write(
        self: &Arc<Self>,
        meta: &SnapshotMeta,
        state: &Bytes,
    ) -> io::Result<()> {
        let content: Bytes = encode(meta, state).into();
        let mut warned = false;
        loop {
            let (file, content) = (Arc::clone(self), content.clone());
            let write = tokio::task::spawn_blocking(move || file.write_once(&content));
            match write.await.map_err(io::Error::other)? {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !warned {
                        tracing::warn!(
                            "the snapshot of the metadata group waits: the disk is full"
                        );
                        warned = true;
                    }
                    // Cancelled here, the old snapshot stays.
                    tokio::time::sleep(FULL_DISK_RETRY).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn write_once(&self, content: &[u8]) -> io::Result<()> {
        let open = self.open.lock();
        if !*open {
            return Err(io::Error::other("the metadata group is closed"));
        }
        match checkpoint::write_atomic(&*self.device, &self.path, content) {
            Ok(()) => {
                metrics::snapshot_written(content.len());
                Ok(())
            }
            Err(CheckpointError::Io { cause, .. }) => Err(cause),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Waits for a write under way and allows no other. Blocks.
    pub(crate) fn close(&self) {
        *self.open.lock() = false;
    }
}

fn encode(meta: &SnapshotMeta, state: &Bytes) -> Vec<u8> {
    let mut body = Vec::with_capacity(state.len() + 128);
    put_optional_log_id(&mut body, meta.last_log_id.as_ref());
    put_optional_log_id(&mut body, meta.last_membership.log_id().as_ref());
    put_membership(&mut body, meta.last_membership.membership());
    body.put_slice(state);
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.put_slice(&MAGIC);
    out.put_u32(VERSION);
    out.put_u32(crc32c::crc32c(&body));
    out.put_slice(&body);
    out
}

fn decode(mut bytes: Bytes) -> Result<Snapshot, CodecError> {
    let last_log_id = get_optional_log_id(&mut bytes)?;
    let membership_log_id = get_optional_log_id(&mut bytes)?;
    let membership = get_membership(&mut bytes)?;
    let last_membership = StoredMembership::new(membership_log_id, membership);
    Ok(Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: bytes })
}
