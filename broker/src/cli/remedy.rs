//! For each reason not to start: its exit code, and what can be done about it.

use std::io::{self, ErrorKind};

use raft::replicated_state;
use storage::error::OpenError;

use super::exit::Exit;
use super::port_holder;
use crate::cluster::error::ClusterStartError;
use crate::cluster::formation::FormationError;
use crate::lifecycle::StartError;

/// Exit code and remedy of `error`.
pub(super) fn of(error: &StartError) -> (Exit, Option<String>) {
    match error {
        StartError::DataDir(error) => of_data_dir(error),
        StartError::OtherBroker { found, .. } => {
            let remedy = format!("set node.id={found}, or name another directory with --data DIR");
            (Exit::Config, Some(remedy))
        }
        StartError::Bind { name, address, cause } => {
            (Exit::Bind, of_bind(name, address.port(), cause))
        }
        StartError::Peers(_) => (Exit::Config, None),
        StartError::Formation(error) => of_formation(error),
        StartError::NeverJoined { .. } => {
            let remedy =
                "name a member with --join HOST:PORT, or an empty directory with --data DIR";
            (Exit::Config, Some(remedy.to_owned()))
        }
        StartError::Metadata(error) => of_metadata(error),
        StartError::Thread(_) => (Exit::Failed, None),
    }
}

fn of_bind(name: &str, port: u16, cause: &io::Error) -> Option<String> {
    let flag = match name {
        "http" => "--http",
        "inter-node" => "--inter-node-listener",
        _ => "--listen",
    };
    let elsewhere = format!("choose another address with {flag} HOST:PORT");
    match cause.kind() {
        ErrorKind::AddrInUse => Some(match port_holder::find(port) {
            Some((pid, name)) => {
                format!("process {pid} ({name}) listens there: stop it, or {elsewhere}")
            }
            None => format!("stop the process that listens there, or {elsewhere}"),
        }),
        ErrorKind::PermissionDenied => {
            Some(format!("ports below 1024 need a privilege: {elsewhere}"))
        }
        ErrorKind::AddrNotAvailable => {
            Some(format!("this machine does not have that address: {elsewhere}"))
        }
        _ => Some(elsewhere),
    }
}

fn of_data_dir(error: &OpenError) -> (Exit, Option<String>) {
    match error {
        OpenError::Locked { .. } => {
            let remedy = "stop that process, or name another directory with --data DIR";
            (Exit::Locked, Some(remedy.to_owned()))
        }
        OpenError::NotOurs { .. } => {
            let remedy = "name an empty or a new directory with --data DIR";
            (Exit::Unusable, Some(remedy.to_owned()))
        }
        OpenError::NewerFormat { .. } => {
            let remedy = "start the version that wrote it, or a newer one";
            (Exit::NewerFormat, Some(remedy.to_owned()))
        }
        OpenError::Corrupt { .. } => {
            let remedy =
                "check the disk; restore the file, or move the directory away and start anew";
            (Exit::Corrupt, Some(remedy.to_owned()))
        }
        OpenError::Io { cause, .. } => (Exit::Unusable, of_io(cause)),
    }
}

fn of_formation(error: &FormationError) -> (Exit, Option<String>) {
    let remedy = match error {
        FormationError::TwoClusters(_) => "name nodes of one cluster with --join",
        FormationError::OtherCluster { .. } => {
            "name nodes of the data's own cluster with --join, or an empty directory with --data DIR"
        }
        FormationError::Refused { .. } => return (Exit::Failed, None),
    };
    (Exit::Config, Some(remedy.to_owned()))
}

fn of_io(cause: &io::Error) -> Option<String> {
    let remedy = match cause.kind() {
        ErrorKind::PermissionDenied => {
            "let this user write there, or name another directory with --data DIR"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or name another directory with --data DIR"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there, or name another directory with --data DIR"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "it is not a directory: name another one with --data DIR"
        }
        _ => return None,
    };
    Some(remedy.to_owned())
}

fn of_metadata(error: &ClusterStartError) -> (Exit, Option<String>) {
    match error {
        ClusterStartError::Group(replicated_state::StartError::Storage(error))
        | ClusterStartError::Disk(error) => of_data_dir(error),
        ClusterStartError::Group(replicated_state::StartError::Snapshot { .. }) => {
            (Exit::Corrupt, None)
        }
        ClusterStartError::NewerLevel { .. } | ClusterStartError::Unreadable(_) => {
            let remedy = "start the version that wrote it, or a newer one";
            (Exit::NewerFormat, Some(remedy.to_owned()))
        }
        ClusterStartError::Formation(error) => of_formation(error),
        ClusterStartError::Group(replicated_state::StartError::Raft(_))
        | ClusterStartError::Register(_) => (Exit::Failed, None),
    }
}
