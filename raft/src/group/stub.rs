//! Stub.
use protocol::types::*;
use storage::error::ReadError;
use storage::log::Log;
use storage::log::entries::EntryId;
#[derive(Debug, Clone)]
pub(crate) struct EvictionState {
    pub(crate) at: EntryId,
    pub(crate) next_offset: Offset,
}
impl EvictionState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
    pub(crate) fn decode(_b: &[u8]) -> Result<Self, String> {
        Err(String::new())
    }
}
pub(crate) trait Stub {
    fn eviction_point(
        &self,
        _upto: LogIndex,
        _now: Timestamp,
    ) -> Result<Option<EntryId>, ReadError> {
        Ok(None)
    }
    fn eviction_state(&self, _at: LogIndex) -> Result<EvictionState, ReadError> {
        Err(ReadError::Closed)
    }
    fn purge_entries(&self, _upto: LogIndex) -> Result<(), ReadError> {
        Ok(())
    }
    fn reset_entries(&self, _state: &EvictionState) -> Result<(), ReadError> {
        Ok(())
    }
}
impl Stub for Log {}
