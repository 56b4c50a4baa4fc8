//! What a started broker says on standard output, once, when clients can connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use storage::config::SyncPolicy;

use crate::lifecycle::Running;
use crate::settings::{BrokerSettings, TopicSettings, Values};

/// The banner.
pub(super) struct Banner {
    cluster_id: String,
    broker_id: i32,
    /// Address, listener name, and what clients are told.
    listeners: Vec<(SocketAddr, String, String)>,
    http: SocketAddr,
    /// Where other nodes connect.
    inter_node: Option<SocketAddr>,
    data_dir: PathBuf,
    free_bytes: u64,
    sync: Option<SyncPolicy>,
    ready_after: Duration,
}

impl Banner {
    /// Says what `running` is.
    pub(super) fn of(running: &Running, settings: &BrokerSettings, ready_after: Duration) -> Self {
        let data_dir = running.data_dir();
        let identity = data_dir.identity();
        let told = running.listeners.iter().map(|(address, listener)| {
            let told = format!("{}:{}", listener.advertised_host, listener.advertised_port);
            (*address, listener.name.clone(), told)
        });
        let sync = TopicSettings::resolve(&Values::new(), &Values::new(), settings);
        Self {
            cluster_id: identity.cluster_id.clone(),
            broker_id: identity.broker_id.get(),
            listeners: told.collect(),
            http: running.http,
            inter_node: running.inter_node(),
            data_dir: data_dir.path().clone(),
            free_bytes: data_dir.free_bytes(),
            sync: sync.ok().map(|settings| settings.log.sync),
            ready_after,
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            f,
            "millpond {version}, broker {} of cluster {}",
            self.broker_id, self.cluster_id
        )?;
        for (address, name, told) in &self.listeners {
            write!(f, "  kafka  {address}  {name}")?;
            if *told != address.to_string() {
                write!(f, ", clients are told {told}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  http   http://{}/", self.http)?;
        if let Some(address) = &self.inter_node {
            writeln!(f, "  nodes  {address}")?;
        }
        let free = binary_size(self.free_bytes);
        writeln!(f, "  data   {}, {free} free", self.data_dir.display())?;
        match &self.sync {
            Some(SyncPolicy::Relaxed { .. }) => {
                writeln!(f, "  fsync  relaxed: acknowledged from the page cache")?;
            }
            Some(SyncPolicy::EveryCommit) | None => {
                writeln!(f, "  fsync  before every acknowledgement")?;
            }
        }
        if let Some((address, ..)) = self.listeners.first() {
            writeln!(f, "  next   kcat -b {} -L", reachable(*address))?;
        }
        writeln!(f, "ready in {} ms", self.ready_after.as_millis())
    }
}

/// The address under which a client on this machine finds a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Bytes in the largest binary unit that leaves at least 1, cut to one decimal.
fn binary_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes >> shift > 0 {
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_say_them() {
        assert_eq!(binary_size(1023), "1023 bytes");
        assert_eq!(binary_size(1536), "1.5 KiB");
        assert_eq!(binary_size((43 << 30) + (1 << 29)), "43.5 GiB");
        assert_eq!(binary_size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn the_banner_names_addresses_and_ends_with_ready() {
        let banner = Banner {
            cluster_id: "c".to_owned(),
            broker_id: 1,
            listeners: vec![(
                "0.0.0.0:9092".parse().unwrap(),
                "PLAINTEXT".to_owned(),
                "broker.example:9092".to_owned(),
            )],
            http: "127.0.0.1:9644".parse().unwrap(),
            inter_node: Some("127.0.0.1:9192".parse().unwrap()),
            data_dir: PathBuf::from("/data"),
            free_bytes: 1 << 30,
            sync: Some(SyncPolicy::EveryCommit),
            ready_after: Duration::from_millis(7),
        };
        let text = banner.to_string();
        assert!(text.contains("0.0.0.0:9092  PLAINTEXT, clients are told broker.example:9092\n"));
        assert!(text.contains("http://127.0.0.1:9644/\n"), "{text}");
        assert!(text.contains("  nodes  127.0.0.1:9192\n"), "{text}");
        assert!(text.contains("/data, 1.0 GiB free\n"), "{text}");
        assert!(text.contains("kcat -b 127.0.0.1:9092 -L\n"), "{text}");
        assert!(text.ends_with("ready in 7 ms\n"), "{text}");
    }
}
