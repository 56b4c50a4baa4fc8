//! One flusher per disk: writes what logs appended since its last round, syncs, tells listeners.
