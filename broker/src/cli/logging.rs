//! Where log lines go and how they look.

use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload::Handle;

use crate::config::LogFormat;
use crate::log_levels::{LogLevels, Reload};

/// What the Raft library tells below errors is of use to its authors only; it warns at each start. Named first, so that a
/// filter of the operator's can ask for more.
const LIBRARIES: &str = "openraft=error";

/// Starts logging to standard error; how its levels are changed.
///
/// # Errors
/// The filter cannot be understood.
pub(super) fn init(filter: &str, format: LogFormat) -> Result<LogLevels, ParseError> {
    let base = format!("{LIBRARIES},{filter}");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&base)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let reload = match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let reload = reload_with(builder.reload_handle());
            builder.init();
            reload
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let reload = reload_with(builder.reload_handle());
            builder.init();
            reload
        }
    };
    Ok(LogLevels::new(&base, reload))
}

fn reload_with<S: 'static>(handle: Handle<EnvFilter, S>) -> Reload {
    Arc::new(move |filter: &str| {
        let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}
