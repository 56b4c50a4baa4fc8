//! Takes broker settings into force that were changed while the broker runs (KIP-226).
//!
//! Those that are the defaults of topics reach the partitions through the reconciler, those of groups
//! are asked for when a group needs them. Here is the rest: what stands in one place and is told.

use std::sync::Arc;

use protocol::types::BrokerId;
use storage::data_dir::DataDir;
use tokio::sync::watch;

use crate::cluster::image::Image;
use crate::server::{ConnectionLimits, LimitsHandle};
use crate::settings::{BrokerSettings, DynamicSettings};

/// Who is told.
pub(crate) struct Followers {
    /// This broker.
    pub(crate) broker_id: BrokerId,
    /// What was given at start.
    pub(crate) settings: Arc<BrokerSettings>,
    /// Connections that this process has descriptors for.
    pub(crate) connections_possible: usize,
    /// The server's limits.
    pub(crate) limits: LimitsHandle,
    /// Where producers are remembered.
    pub(crate) data_dir: Arc<DataDir>,
}

impl Followers {
    /// Tells everybody what `image` says.
    pub(crate) fn tell(&self, image: &Image) {
        let dynamic = image.dynamic_settings(self.broker_id);
        match DynamicSettings::resolve(&dynamic, &self.settings) {
            Ok(settings) => {
                self.limits.set(ConnectionLimits {
                    connections_max: settings.max_connections.min(self.connections_possible),
                    per_ip_max: settings.max_connections_per_ip,
                });
                self.data_dir.set_producer_expiration(settings.producer_id_expiration);
            }
            // A newer version may have accepted it.
            Err(error) => tracing::warn!(%error, "a changed setting is ignored"),
        }
    }

    /// Follows `images` until nobody makes any more. Safe to drop at every await.
    pub(crate) async fn follow(self, mut images: watch::Receiver<Arc<Image>>) {
        let mut told = images.borrow_and_update().clone();
        self.tell(&told);
        while images.changed().await.is_ok() {
            let image = images.borrow_and_update().clone();
            if !Arc::ptr_eq(&told.broker_settings, &image.broker_settings) {
                self.tell(&image);
            }
            told = image;
        }
    }
}
