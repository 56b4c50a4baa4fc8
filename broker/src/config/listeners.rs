//! Addresses: where to listen, what clients are told, and who may be let in.
//!
//! As long as nobody has to authenticate, an address that other machines can reach is refused unless
//! the operator says that this is meant.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::error::ConfigError;
use super::layers::Layers;

/// The name of the first listener that is given without one, as in Kafka.
const DEFAULT_NAME: &str = "PLAINTEXT";
/// The security protocol that is served. Kafka's listener names may stand for others.
const PLAINTEXT: &str = "PLAINTEXT";
/// Security protocols that a listener of their name has, unless a map says otherwise.
const OTHER_PROTOCOLS: &[&str] = &["SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// One listener, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerConfig {
    /// Its name.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The host that clients are told.
    pub(crate) advertised_host: String,
    /// The port that clients are told; `None` is the port that it listens on.
    pub(crate) advertised_port: Option<u16>,
}

/// `NAME://HOST:PORT`, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) name: Option<String>,
    /// Empty for every address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// The listeners with what they advertise.
pub(super) fn resolve(layers: &Layers, insecure: bool) -> Result<Vec<ListenerConfig>, ConfigError> {
    let endpoints = named(layers, endpoints(layers, "listen")?)?;
    let advertised = endpoints_advertised(layers)?;
    let mut listeners = Vec::with_capacity(endpoints.len());
    for (index, (name, endpoint)) in endpoints.into_iter().enumerate() {
        let address = address(layers, "listen", &endpoint)?;
        check_reach("listen", &address, insecure)?;
        let told = advertised.iter().enumerate().find(|(place, advertised)| {
            advertised.name.as_ref().map_or(*place == index, |told| *told == name)
        });
        let (advertised_host, advertised_port) = match told {
            Some((_, told)) => (told.host.clone(), Some(told.port).filter(|port| *port != 0)),
            None if address.ip().is_unspecified() => {
                let address = address.to_string();
                return Err(ConfigError::NoAdvertisedAddress { listener: name, address });
            }
            None => (endpoint.host, None),
        };
        listeners.push(ListenerConfig { name, address, advertised_host, advertised_port });
    }
    let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    if let Some(told) = advertised.iter().enumerate().find_map(|(index, told)| {
        let belongs = match &told.name {
            Some(name) => names.contains(&name.as_str()),
            None => index < names.len(),
        };
        (!belongs).then_some(told)
    }) {
        let host = &told.host;
        return Err(layers.invalid("advertise", &format!("no listener belongs to {host}")));
    }
    Ok(listeners)
}

/// The listeners as Kafka's settings say them: name of the setting and its text.
pub(super) fn kafka_texts(listeners: &[ListenerConfig]) -> [(&'static str, String); 2] {
    let join = |text: fn(&ListenerConfig) -> String| {
        listeners.iter().map(text).collect::<Vec<_>>().join(",")
    };
    let listens = join(|listener| format!("{}://{}", listener.name, listener.address));
    let told = join(|ListenerConfig { name, address, advertised_host, advertised_port }| {
        let port = advertised_port.unwrap_or_else(|| address.port());
        format!("{name}://{advertised_host}:{port}")
    });
    [("listeners", listens), ("advertised.listeners", told)]
}

/// The HTTP port's address.
pub(super) fn resolve_http(layers: &Layers, insecure: bool) -> Result<SocketAddr, ConfigError> {
    let endpoint = parse(&layers.text("http")).filter(|endpoint| endpoint.name.is_none());
    let endpoint = endpoint.ok_or_else(|| layers.invalid("http", "must be HOST:PORT"))?;
    let address = address(layers, "http", &endpoint)?;
    check_reach("http", &address, insecure)?;
    Ok(address)
}

fn endpoints(layers: &Layers, name: &str) -> Result<Vec<Endpoint>, ConfigError> {
    let texts = layers.option(name).texts;
    let not_controller = |endpoint: &Endpoint| !is_controller(layers, endpoint.name.as_deref());
    let endpoints: Option<Vec<Endpoint>> = texts.iter().map(|text| parse(text)).collect();
    let endpoints =
        endpoints.ok_or_else(|| layers.invalid(name, "must be HOST:PORT or NAME://HOST:PORT"))?;
    Ok(endpoints.into_iter().filter(not_controller).collect())
}

fn endpoints_advertised(layers: &Layers) -> Result<Vec<Endpoint>, ConfigError> {
    let endpoints = endpoints(layers, "advertise")?;
    let wildcard = |host: &str| {
        host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    };
    if endpoints.iter().any(|endpoint| wildcard(&endpoint.host)) {
        return Err(layers.invalid("advertise", "must be an address that clients can connect to"));
    }
    Ok(endpoints)
}

/// A server.properties of a Kafka that is broker and controller in one has a listener for its
/// controller, which nobody needs here.
fn is_controller(layers: &Layers, name: Option<&str>) -> bool {
    let names = layers.kafka("controller.listener.names").unwrap_or_default();
    name.is_some_and(|name| names.split(',').any(|controller| controller.trim() == name))
}

/// Gives a name to each listener and refuses what cannot be served.
fn named(
    layers: &Layers,
    endpoints: Vec<Endpoint>,
) -> Result<Vec<(String, Endpoint)>, ConfigError> {
    if endpoints.is_empty() {
        return Err(layers.invalid("listen", "must name at least one address"));
    }
    let mut named: Vec<(String, Endpoint)> = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let name = endpoint.name.clone().unwrap_or_else(|| match index {
            0 => DEFAULT_NAME.to_owned(),
            index => format!("{DEFAULT_NAME}_{}", index + 1),
        });
        if named.iter().any(|(other, _)| *other == name) {
            return Err(layers.invalid("listen", &format!("has two listeners named {name}")));
        }
        let protocol = security_protocol(layers, &name);
        if protocol != PLAINTEXT {
            let reason = format!("listener {name} wants {protocol}; only {PLAINTEXT} is served");
            return Err(layers.invalid("listen", &reason));
        }
        named.push((name, endpoint));
    }
    Ok(named)
}

fn security_protocol(layers: &Layers, name: &str) -> String {
    let map = layers.kafka("listener.security.protocol.map").unwrap_or_default();
    let mapped = map.split(',').filter_map(|pair| pair.split_once(':'));
    mapped
        .map(|(listener, protocol)| (listener.trim(), protocol.trim()))
        .find(|(listener, _)| *listener == name)
        .map(|(_, protocol)| protocol)
        .or_else(|| OTHER_PROTOCOLS.iter().copied().find(|protocol| *protocol == name))
        .unwrap_or(PLAINTEXT)
        .to_owned()
}

/// `[NAME://]HOST:PORT`, with an IPv6 host in brackets.
pub(super) fn parse(text: &str) -> Option<Endpoint> {
    let text = text.trim();
    let (name, rest) = match text.split_once("://") {
        Some((name, rest)) if !name.is_empty() => (Some(name.to_owned()), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains([':', '/']) => return None,
        None => host,
    };
    Some(Endpoint { name, host: host.to_owned(), port: port.parse().ok()? })
}

/// Resolves a host; IPv4 is preferred where it has both, since that is what clients try first.
pub(super) fn address(
    layers: &Layers,
    option: &str,
    endpoint: &Endpoint,
) -> Result<SocketAddr, ConfigError> {
    let host = if endpoint.host.is_empty() { "0.0.0.0" } else { &endpoint.host };
    let resolved: Vec<SocketAddr> = (host, endpoint.port)
        .to_socket_addrs()
        .map_err(|cause| layers.invalid(option, &format!("cannot resolve {host}: {cause}")))?
        .collect();
    let chosen = resolved.iter().find(|address| address.is_ipv4()).or_else(|| resolved.first());
    chosen.copied().ok_or_else(|| layers.invalid(option, &format!("{host} has no address")))
}

fn check_reach(
    name: &'static str,
    address: &SocketAddr,
    insecure: bool,
) -> Result<(), ConfigError> {
    if insecure || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ConfigError::Insecure { name, address: address.to_string() })
}
