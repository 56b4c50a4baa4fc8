//! Where the nodes of this cluster are: told to the transport, and remembered in `millpond.nodes` in
//! the data directory.
//!
//! ```text
//! version=1
//! 1 9192 node-one.example       id, port and host of each node, this one among them
//! ```
//! A node that starts needs it before it has read any metadata: who leads the metadata group is found
//! out from the others. That the file exists says that this node belongs to a cluster of several. It
//! is a memory, not the truth: the metadata corrects it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use protocol::types::BrokerId;
use raft::peers::{PeerAddress, Peers};
use storage::checkpoint;
use storage::data_dir::DataDir;
use storage::device::Device;
use storage::error::OpenError;
use tokio::sync::watch;

use super::image::Image;
use crate::config::HostPort;

const NAME: &str = "millpond.nodes";
const VERSION_LINE: &str = "version=1";

/// Where each node is.
pub(crate) type Nodes = BTreeMap<BrokerId, HostPort>;

/// As `image` knows them.
pub(super) fn of(image: &Image) -> Nodes {
    let nodes = image.brokers.iter().filter_map(|(id, broker)| {
        let node = broker.node.as_ref()?;
        Some((*id, HostPort { host: node.host.clone(), port: node.port }))
    });
    nodes.collect()
}

/// Lets calls reach these nodes.
pub(super) fn tell(peers: &Peers, nodes: &Nodes) {
    let address = |(id, address): (&BrokerId, &HostPort)| {
        (*id, PeerAddress { host: address.host.clone(), port: address.port })
    };
    peers.set_addresses(nodes.iter().map(address).collect());
}

/// Follows the images of a node that has just started, until it is dropped: they may be older than
/// what it `remembered`, which counts more.
pub(super) async fn follow_old(
    mut images: watch::Receiver<Arc<Image>>,
    peers: Peers,
    remembered: Nodes,
) {
    loop {
        let mut nodes = of(&images.borrow_and_update());
        nodes.extend(remembered.clone());
        tell(&peers, &nodes);
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Follows the images until nobody publishes any more, and remembers what they say.
pub(super) async fn follow(
    mut images: watch::Receiver<Arc<Image>>,
    peers: Peers,
    data_dir: Arc<DataDir>,
) {
    let mut known = None;
    loop {
        let nodes = of(&images.borrow_and_update());
        if known.as_ref() != Some(&nodes) {
            tell(&peers, &nodes);
            remember(&data_dir, nodes.clone()).await;
            known = Some(nodes);
        }
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Writes the file. If that fails, the next start knows the nodes of before.
async fn remember(data_dir: &Arc<DataDir>, nodes: Nodes) {
    let dir = Arc::clone(data_dir);
    let writing = tokio::task::spawn_blocking(move || write(&**dir.device(), dir.path(), &nodes));
    match writing.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the nodes' addresses were not kept"),
        Err(error) => tracing::error!(%error, "keeping the nodes' addresses panicked"),
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Whether the directory, which need not be open, belongs to a node of several.
pub(crate) fn exist_in(data_dir: &Path) -> bool {
    path(data_dir).exists()
}

/// What was written last; `None` if nothing ever was.
///
/// # Errors
/// [`OpenError::Corrupt`] if it is not what this or an older version writes, [`OpenError::Io`].
pub(super) fn read(device: &dyn Device, data_dir: &Path) -> Result<Option<Nodes>, OpenError> {
    let path = path(data_dir);
    let Some(bytes) = checkpoint::read_whole(device, &path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let what = |what: String| OpenError::Corrupt { path: path.clone(), position: 0, what };
    if lines.next() != Some(VERSION_LINE) {
        return Err(what(format!("it does not begin with {VERSION_LINE}")));
    }
    let nodes = lines.map(|line| parse(line).ok_or_else(|| what(format!("{line:?} is no node"))));
    nodes.collect::<Result<Nodes, _>>().map(Some)
}

fn parse(line: &str) -> Option<(BrokerId, HostPort)> {
    let mut fields = line.splitn(3, ' ');
    let id = BrokerId::new(fields.next()?.parse().ok()?);
    let port = fields.next()?.parse().ok()?;
    let host = fields.next().filter(|host| !host.is_empty())?.to_owned();
    Some((id, HostPort { host, port }))
}

/// Replaces it, durably.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn write(device: &dyn Device, data_dir: &Path, nodes: &Nodes) -> Result<(), OpenError> {
    let mut text = format!("{VERSION_LINE}\n");
    for (id, HostPort { host, port }) in nodes {
        text.push_str(&format!("{id} {port} {host}\n"));
    }
    Ok(checkpoint::write_atomic(device, &path(data_dir), text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use storage::device::os::OsDevice;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(read(&OsDevice, path).unwrap(), None);
        let address = |host: &str, port| HostPort { host: host.to_owned(), port };
        let nodes = Nodes::from([
            (BrokerId::new(1), address("::1", 9)),
            (BrokerId::new(20), address("node-two", 65_535)),
        ]);
        for nodes in [nodes, Nodes::new()] {
            write(&OsDevice, path, &nodes).unwrap();
            assert_eq!(read(&OsDevice, path).unwrap(), Some(nodes));
        }
        for text in ["", "version=2\n", "version=1\n1 9192\n", "version=1\n1 99999 h\n"] {
            checkpoint::write_atomic(&OsDevice, &path.join(NAME), text.as_bytes()).unwrap();
            let error = read(&OsDevice, path).unwrap_err();
            assert!(matches!(error, OpenError::Corrupt { .. }), "{text:?}: {error}");
        }
    }
}
