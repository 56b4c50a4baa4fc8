//! Compression and decompression of a batch's records, bounded.
