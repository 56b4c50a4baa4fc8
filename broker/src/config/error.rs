//! Why a configuration is not accepted.

use std::io;
use std::net::SocketAddr;
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
    /// Other machines can reach the nodes' own port, and nothing would tell nodes from strangers.
    #[error(
        "inter-node-listener {address} is reachable from other machines, and nothing would tell nodes \
         from strangers: give all nodes one secret with MILLPOND_CLUSTER_SECRET or \
         --cluster-secret-file FILE, or listen on 127.0.0.1"
    )]
    NoClusterSecret {
        /// The address.
        address: SocketAddr,
    },
    /// Nodes cannot connect to a wildcard address.
    #[error(
        "inter-node-listener {address} is every address, so other nodes must be told one: add \
         --inter-node-advertise HOST:PORT with the name or address that they reach this machine by"
    )]
    NoInterNodeAddress {
        /// The address.
        address: SocketAddr,
    },
    /// A secret that is none; its value is not told.
    #[error("{place}: the cluster's secret {reason}")]
    ClusterSecret {
        /// Where it was given.
        place: Source,
        /// What is wrong.
        reason: String,
    },
    /// A secret where others can read it.
    #[error(
        "{name} must not be given as a flag, since others can read a process's flags: use the \
         environment or a file"
    )]
    SecretInFlag {
        /// The option.
        name: &'static str,
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
