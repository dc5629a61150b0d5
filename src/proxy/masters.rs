//! Which media playlists were named by a master with more than one variant: their players can switch.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::engine::origin::{Reach, ViewerKey};

/// Playlists remembered; the oldest is forgotten.
const REMEMBERED: usize = 2048;

/// What a manifest said of a URL.
#[derive(Clone, Debug)]
struct Named {
    viewer: ViewerKey,
    url: String,
    alternatives: bool,
    reach: Reach,
}

/// URLs that manifests have named lately, and what that means for them.
#[derive(Debug, Default)]
pub struct Masters {
    named: Mutex<VecDeque<Named>>,
}

impl Masters {
    /// A master named this playlist.
    pub fn name(&self, viewer: ViewerKey, url: &Url, alternatives: bool, reach: Reach) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let url = url.as_str();
        named.retain(|n| n.viewer != viewer || n.url != url);
        if named.len() == REMEMBERED {
            named.pop_front();
        }
        named.push_back(Named { viewer, url: url.to_owned(), alternatives, reach });
    }

    /// What a master said of this playlist: whether it has siblings, and how private its address may be.
    #[must_use]
    pub fn said(&self, viewer: ViewerKey, url: &Url) -> Option<(bool, Reach)> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named
            .iter()
            .rev()
            .find(|n| n.viewer == viewer && n.url == url.as_str())
            .map(|n| (n.alternatives, n.reach))
    }
}
