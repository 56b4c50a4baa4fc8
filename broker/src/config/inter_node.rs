//! How a node meets the others of its cluster: whom it joins, where it listens for them, what it
//! tells them to connect to, and the secret that they share.
//!
//! The secret is never shown: neither by `config show` nor in an error nor in a log.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::error::ConfigError;
use super::layers::{Layers, Source};
use super::listeners::{self, Endpoint};
use super::read_file;

/// A shorter secret can be guessed.
const SECRET_CHARACTERS_MIN: usize = 16;
/// Addresses that a node may be told to join.
const JOIN_MAX: usize = 100;

/// An address that need not be resolved yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

/// A host has no more characters: names in the DNS are not longer.
const HOST_CHARACTERS_MAX: usize = 255;

impl HostPort {
    /// Whether somebody could connect there, as far as its form tells.
    pub(crate) fn is_plausible(&self) -> bool {
        let host = &self.host;
        let is_name = !host.is_empty() && host.len() <= HOST_CHARACTERS_MAX;
        is_name && host.chars().all(|c| c.is_ascii_graphic()) && self.port != 0
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What the nodes of a cluster know and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Its bytes, for what proves that this node knows them.
    pub(crate) const fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// How a node meets the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterNodeConfig {
    /// Members, or nodes that will be.
    pub(crate) join: Vec<HostPort>,
    /// Whether a listener was asked for.
    pub(crate) listener_given: bool,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The host that other nodes are told.
    pub(crate) advertised_host: String,
    /// The port that they are told; `None` is the port that it listens on.
    pub(crate) advertised_port: Option<u16>,
    /// What they share.
    pub(crate) secret: Option<Secret>,
}

/// What was asked for, checked.
pub(super) fn resolve(layers: &Layers) -> Result<InterNodeConfig, ConfigError> {
    let name = "inter-node-listener";
    let endpoint = endpoint(layers, name, &layers.text(name))?;
    let address = listeners::address(layers, name, &endpoint)?;
    let secret = secret(layers)?;
    if secret.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(ConfigError::NoClusterSecret { address });
    }
    let (advertised_host, advertised_port) = match advertised(layers)? {
        Some(told) => (told.host, Some(told.port).filter(|port| *port != 0)),
        None if address.ip().is_unspecified() => {
            return Err(ConfigError::NoInterNodeAddress { address });
        }
        None => (endpoint.host, None),
    };
    let listener_given = layers.option(name).source != Source::Default;
    let join = join(layers)?;
    Ok(InterNodeConfig { join, listener_given, address, advertised_host, advertised_port, secret })
}

fn join(layers: &Layers) -> Result<Vec<HostPort>, ConfigError> {
    let mut join: Vec<HostPort> = Vec::new();
    let given = layers.option("join").texts;
    for text in given.iter().flat_map(|text| text.split(',')).map(str::trim) {
        if text.is_empty() {
            continue;
        }
        let Endpoint { host, port, .. } = endpoint(layers, "join", text)?;
        let address = HostPort { host, port };
        if !address.is_plausible() {
            return Err(layers.invalid("join", "must be addresses that can be connected to"));
        }
        if !join.contains(&address) {
            join.push(address);
        }
    }
    if join.len() > JOIN_MAX {
        return Err(layers.invalid("join", &format!("must be at most {JOIN_MAX} addresses")));
    }
    Ok(join)
}

fn advertised(layers: &Layers) -> Result<Option<Endpoint>, ConfigError> {
    let name = "inter-node-advertise";
    let text = layers.text(name);
    if text.is_empty() {
        return Ok(None);
    }
    let endpoint = endpoint(layers, name, &text)?;
    let Endpoint { host, port, .. } = endpoint.clone();
    // Port 0 is the one that it listens on.
    let address = HostPort { host, port: port.max(1) };
    let is_any = address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if is_any || !address.is_plausible() {
        return Err(layers.invalid(name, "must be an address that other nodes can connect to"));
    }
    Ok(Some(endpoint))
}

fn endpoint(layers: &Layers, name: &str, text: &str) -> Result<Endpoint, ConfigError> {
    let endpoint = listeners::parse(text).filter(|endpoint| endpoint.name.is_none());
    endpoint.ok_or_else(|| layers.invalid(name, "must be HOST:PORT"))
}

/// From the option, or from the file that another one names.
fn secret(layers: &Layers) -> Result<Option<Secret>, ConfigError> {
    let (own, file) = (layers.option("cluster-secret"), layers.option("cluster-secret-file"));
    let wrong = |place: &Source, reason: &str| ConfigError::ClusterSecret {
        place: place.clone(),
        reason: reason.to_owned(),
    };
    let given = |texts: Vec<String>| texts.into_iter().next().filter(|text| !text.is_empty());
    let (text, place) = match (given(own.texts), given(file.texts)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(wrong(&file.source, "is given twice: as cluster-secret and as a file"));
        }
        (Some(text), None) => (text, own.source),
        (None, Some(path)) => (read_file(&PathBuf::from(path))?.trim().to_owned(), file.source),
    };
    if text.chars().count() < SECRET_CHARACTERS_MIN {
        let reason = format!("must have at least {SECRET_CHARACTERS_MIN} characters");
        return Err(wrong(&place, &reason));
    }
    Ok(Some(Secret(text)))
}
