//! The whole configuration as a struct of the modules' own options: flag, environment, file, default, in this order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod check;
mod credentials;
mod environment;
pub mod level;
mod place;
mod reject;
mod reload;
mod secrets;
mod sources;
#[cfg(test)]
mod tests;

use crate::delivery::policy::{self, Policy};
use crate::engine::budget::Limits;
use crate::engine::origin;
use crate::engine::peers::IceOptions;
use crate::engine::steering::Configured;
use crate::manifest::identity;
use crate::model::units::Size;
use crate::proxy::{self, Channel};
use crate::tracker;

pub use check::{Wrong, tracker_address};
pub use reject::{Error, nearest};
pub use sources::{Flag, Loaded};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where players come in.
    pub proxy: proxy::Options,
    /// Short addresses for streams.
    pub channels: BTreeMap<String, Channel>,
    /// Taking from and giving to other viewers.
    pub p2p: policy::Options,
    /// What may be kept.
    pub memory: Memory,
    /// Where other viewers are found.
    pub tracker: Trackers,
    /// How they are reached.
    pub ice: IceOptions,
    /// What makes two URLs the same.
    pub identity: Vec<identity::Options>,
    /// How origins are asked.
    pub origin: origin::Options,
    /// What is logged.
    pub log: Log,
    /// The service that `paceline tracker` runs.
    pub tracker_server: tracker::Options,
}

/// The `[memory]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Content that may be kept, as bytes or like `256MiB`. More serves others longer; nothing is ever written to disk.
    pub limit: Size,
}

impl Default for Memory {
    fn default() -> Self {
        Self { limit: Size(256 << 20) }
    }
}

/// The `[tracker]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trackers {
    /// `ws://` or `wss://` addresses, any number. Without one there are no peers, and everything is plain HTTP.
    pub urls: Vec<String>,
    /// An admission token, where the trackers want one.
    pub token: String,
}

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter such as `info,paceline::engine=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

impl Config {
    /// What the delivery core goes by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::new(&self.p2p, self.memory.limit.0);
        // Without a tracker there is nobody to meet.
        policy.p2p &= !self.tracker.urls.is_empty();
        policy.upload &= policy.p2p;
        policy
    }

    /// What the engine begins with, and what may be switched over.
    #[must_use]
    pub fn configured(&self) -> Configured {
        let (daily, monthly) = (self.p2p.upload_daily.0, self.p2p.upload_monthly.0);
        Configured {
            policy: self.policy(),
            mode: self.p2p.upload,
            budget: Limits { daily, monthly },
            channels: self.channels.iter().map(|(name, channel)| (name.clone(), channel.terms())).collect(),
            keeps: !self.p2p.state.is_empty(),
        }
    }

    /// The file that would say the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}
