//! What all scenarios have in common: which broker, for how long.

use crate::load::meter::Limits;
use anyhow::{Context as _, Result};
use clap::Args;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

/// Length of a run that nothing else ends.
const DURATION: Duration = Duration::from_secs(10);

/// Flags of every scenario.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The broker, as HOST:PORT
    #[arg(long, global = true, default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The broker's process, for its processor time and memory
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// The run ends after so many seconds [default: 10 where nothing else ends it]
    #[arg(long, global = true)]
    pub seconds: Option<f64>,
    /// Seconds of load before it counts
    #[arg(long, global = true, default_value_t = 0.0)]
    pub warm_up: f64,
}

/// The same, understood.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// How long a run is.
    pub limits: Limits,
}

impl Common {
    /// Looks the broker's address up.
    ///
    /// # Errors
    /// There is no such host, or a time is none.
    pub fn setting(&self) -> Result<Setting> {
        let mut found = self.bootstrap.to_socket_addrs().context("--bootstrap")?;
        // Brokers listen on IPv4 first; "localhost" may name both.
        let broker = found.find(SocketAddr::is_ipv4).context("--bootstrap: no IPv4 address")?;
        let duration = self.seconds.map(Duration::try_from_secs_f64).transpose();
        let limits = Limits {
            warm_up: Duration::try_from_secs_f64(self.warm_up).context("--warm-up")?,
            duration: duration.context("--seconds")?,
            server: self.pid,
        };
        Ok(Setting { broker, limits })
    }
}

impl Setting {
    /// The limits of a run that only time ends.
    pub fn limits_with_time(&self) -> Limits {
        Limits { duration: self.limits.duration.or(Some(DURATION)), ..self.limits }
    }
}
