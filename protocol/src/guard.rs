//! Checks every length in a request against what is left of the frame, before the codec allocates.
