//! Nothing: the manifest beside this file is what is needed.
