//! Records inside a batch: structural walk and bounded decode.
