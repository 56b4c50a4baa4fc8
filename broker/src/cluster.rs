//! The cluster's metadata: an image that every handler reads, commands that change it, and the
//! reconciler that makes local partitions match it.

pub(crate) mod image;

use std::sync::Arc;

use image::Image;

/// Handle to the metadata group and its current image.
pub(crate) struct Cluster {}

impl Cluster {
    /// The newest image. Cheap.
    pub(crate) fn image(&self) -> Arc<Image> {
        todo!()
    }
}
