//! How the process that had the directory before us ended.
//!
//! One line of fixed length in `millpond.state`, overwritten in place, because that works on a full
//! disk too:
//!
//! ```text
//! running 9c0a6b52-6c4f-4c38-9d3c-0b7f4f1f7c5e      7 bytes, space, boot id of 36 bytes, newline
//! stopped 9c0a6b52-6c4f-4c38-9d3c-0b7f4f1f7c5e
//! ```
//! `running` is durable before the first log is opened; `stopped` is written after every log was
//! closed and every checkpoint is durable. A tear in between leaves neither word, and then, as with
//! any other content, the machine is taken to have lost power.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint;
use crate::device::{Device, DeviceFile, OpenMode};
use crate::environment::StopKind;
use crate::error::OpenError;

const STATE_FILE: &str = "millpond.state";
const RUNNING: &str = "running";
const STOPPED: &str = "stopped";
const _: () = assert!(RUNNING.len() == STOPPED.len(), "one overwrites the other");

/// A boot id in its usual form; also what stands in for one that cannot be read.
const BOOT_ID_BYTES: usize = 36;

/// The open state file of this run.
#[derive(Debug)]
pub(super) struct RunState {
    file: Arc<dyn DeviceFile>,
    path: PathBuf,
    boot_id: String,
}

impl RunState {
    /// Reads how the last run ended and marks that this one runs, durably.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn begin(
        device: &dyn Device,
        directory: &Path,
        is_fresh: bool,
    ) -> Result<(Self, StopKind), OpenError> {
        let path = directory.join(STATE_FILE);
        let boot_id = device.boot_id().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot tell a reboot: recovery will assume one");
            uuid::Uuid::new_v4().to_string()
        });
        let boot_id = format!("{boot_id:_<BOOT_ID_BYTES$.BOOT_ID_BYTES$}");
        let text = checkpoint::read_whole(device, &path)?;
        let stop = match &text {
            None if is_fresh => StopKind::Clean,
            None => StopKind::PowerLost,
            Some(text) => stop_kind(text, &boot_id),
        };
        let is_new = text.is_none();
        if is_new {
            checkpoint::write_atomic(device, &path, line(RUNNING, &boot_id).as_bytes())?;
        }
        let file = device.open(&path, OpenMode::Write).map_err(|cause| OpenError::Io {
            path: path.clone(),
            operation: "open for writing",
            cause,
        })?;
        let state = Self { file, path, boot_id };
        if !is_new {
            state.overwrite(RUNNING)?;
        }
        Ok((state, stop))
    }

    /// Marks that everything is closed and durable.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn end(&self) -> Result<(), OpenError> {
        self.overwrite(STOPPED)
    }

    /// This run of the machine.
    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    fn overwrite(&self, word: &str) -> Result<(), OpenError> {
        let failed = |operation| {
            let path = self.path.clone();
            move |cause| OpenError::Io { path, operation, cause }
        };
        let line = line(word, &self.boot_id);
        self.file.write_at(line.as_bytes(), 0).map_err(|error| failed("write")(error.cause))?;
        self.file.sync_data().map_err(failed("sync"))
    }
}

fn line(word: &str, boot_id: &str) -> String {
    format!("{word} {boot_id}\n")
}

fn stop_kind(text: &[u8], boot_id: &str) -> StopKind {
    let words = std::str::from_utf8(text).ok().and_then(|text| text.trim_end().split_once(' '));
    match words {
        Some((STOPPED, _)) => StopKind::Clean,
        Some((RUNNING, earlier)) if earlier == boot_id => StopKind::Killed,
        Some(_) | None => StopKind::PowerLost,
    }
}
