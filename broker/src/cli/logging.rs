//! Where log lines go and how they look.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// What the Raft library tells below errors is of use to its authors only; it warns at each start. Named first, so that a
/// filter of the operator's can ask for more.
const LIBRARIES: &str = "openraft=error";

/// Starts logging to standard error.
///
/// # Errors
/// The filter cannot be understood.
pub(super) fn init(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(format!("{LIBRARIES},{filter}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
