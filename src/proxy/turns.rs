//! Long manifests are read one or two at a time. Few streams have any, and each takes some times its own length until it is
//! answered with: read by every player at once, and kept as others are, they would fill the memory of a small machine.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A manifest of more bytes is long: it takes turns with others, and no copy of it is kept.
pub const LONG: usize = 4 * 1024 * 1024;
/// Long manifests at the same time; who asks for one more waits, and is told so as of a slow origin.
const AT_ONCE: usize = 2;

/// Whose turn it is.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// Room for one long manifest; free again when dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Waits for one, in the order of asking. May be dropped while it waits.
    pub async fn take(&self) -> Turn {
        // It is never closed.
        Turn { _permit: Arc::clone(&self.0).acquire_owned().await.ok() }
    }
}
