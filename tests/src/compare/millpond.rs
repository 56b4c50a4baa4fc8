//! How Millpond is started for a measurement: its defaults, nothing tuned.

use crate::compare::broker::Settings;
use crate::compare::program::tied;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What the head of a report says of it.
pub const SETTINGS: &str = "defaults: a record is acknowledged after the disk has synced it; \
                            column \"relaxed\": topic config `durability=relaxed`";

/// The command that runs a broker on this directory.
pub fn command(binary: &Path, dir: &Path, address: SocketAddr, settings: &Settings) -> Command {
    let mut command = tied(binary);
    command.arg("--data").arg(dir.join("data"));
    command.args(["--listen", &address.to_string(), "--http", "127.0.0.1:0"]);
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLPOND_") {
            command.env_remove(name);
        }
    }
    command
}
