//! Why a configuration is not accepted.

use std::io;
use std::path::PathBuf;

use super::layers::Source;

/// Why a configuration is not accepted. Each sentence names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// A line that is neither TOML nor a property.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Source,
        /// What is wrong.
        reason: String,
    },
    /// A name that nothing has.
    #[error("{place}: unknown setting {name}{}", meant(suggestion.as_deref()))]
    UnknownName {
        /// Where.
        place: Source,
        /// The name.
        name: String,
        /// A known one that is close to it.
        suggestion: Option<String>,
    },
    /// A value that its setting does not accept.
    #[error("{place}: {name} = {value:?}: {reason}")]
    Value {
        /// Where.
        place: Source,
        /// Which setting.
        name: String,
        /// What was given.
        value: String,
        /// What would be accepted.
        reason: String,
    },
    /// Anybody who reaches the machine could use the broker.
    #[error(
        "{name} {address} is reachable from other machines, and nobody would have to authenticate: \
         listen on 127.0.0.1, or add --insecure if the network is trusted"
    )]
    Insecure {
        /// `listen` or `http`.
        name: &'static str,
        /// The address.
        address: String,
    },
    /// Clients cannot connect to a wildcard address.
    #[error(
        "listener {listener} listens on every address ({address}), so clients must be told one: \
         add --advertise HOST:PORT with the name or address that they reach this machine by"
    )]
    NoAdvertisedAddress {
        /// Name of the listener.
        listener: String,
        /// The address.
        address: String,
    },
    /// There is no home directory, or it would not survive a restart of the machine.
    #[error("there is no lasting place for data ({reason}): name a directory with --data DIR")]
    NoDataDir {
        /// Why the default does not do.
        reason: String,
    },
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
