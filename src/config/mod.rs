//! The whole configuration as a struct of the modules' own options: flag, environment, file, default, in this order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod environment;
mod reject;
mod reload;
mod secrets;

use crate::delivery::policy::{self, Policy};
use crate::engine::budget::Limits;
use crate::engine::origin;
use crate::engine::peers::IceOptions;
use crate::engine::steering::Configured;
use crate::manifest::identity;
use crate::model::units::Size;
use crate::proxy::{self, Channel};
use crate::tracker;

pub use reject::{Error, nearest};

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
    /// Reads the file, if one is given, and the environment over it.
    ///
    /// # Errors
    /// Which file, line and key is wrong, and what would be right.
    pub fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::Unreadable { file: path.to_owned(), error: error.to_string() })?;
                Self::parse(&text, path)?
            }
        };
        config = environment::apply(config, variables)?;
        config.check(file)?;
        Ok(config)
    }

    fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| reject::explain(&error, text, file))
    }

    /// What the types can't say.
    fn check(&self, file: Option<&Path>) -> Result<(), Error> {
        let wrong = |key: &str, why: String| {
            let file = file.map(PathBuf::from);
            Err(Error::Value { file, key: key.to_owned(), why })
        };
        for (name, channel) in &self.channels {
            if name == "-" || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            {
                return wrong(
                    &format!("channels.{name}"),
                    "a name has letters, digits, `-`, `_` and `.` only".into(),
                );
            }
            if !matches!(channel.url.scheme(), "http" | "https") {
                return wrong(&format!("channels.{name}.url"), "only http:// and https:// are played".into());
            }
        }
        for url in &self.tracker.urls {
            let parsed = url::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "ws" | "wss"));
            if parsed.is_none_or(|u| u.host_str().is_none()) {
                return wrong("tracker.urls", format!("`{url}` is not a ws:// or wss:// address"));
            }
        }
        if !self.proxy.listen.ip().is_loopback() && self.proxy.allowed_hosts.is_empty() {
            let why = format!(
                "{} is reachable from other machines: name the hosts players will use in proxy.allowed_hosts too",
                self.proxy.listen
            );
            return wrong("proxy.listen", why);
        }
        if !(1..=15).contains(&self.p2p.max_neighbours) {
            return wrong("p2p.max_neighbours", "1 to 15 make a mesh".into());
        }
        let of_channels = self.channels.iter().filter_map(|(name, channel)| {
            channel.prefetch_s.map(|seconds| (format!("channels.{name}.prefetch_s"), seconds))
        });
        let general = [("critical_s", self.p2p.critical_s), ("prefetch_s", self.p2p.prefetch_s)];
        let general = general.map(|(key, seconds)| (format!("p2p.{key}"), seconds));
        for (key, seconds) in general.into_iter().chain(of_channels) {
            if !seconds.is_finite() || seconds < 0.0 {
                return wrong(&key, format!("{seconds} is no number of seconds"));
            }
        }
        if let Err(error) = self.ice.check() {
            return wrong(error.key(), error.to_string());
        }
        if let Err(error) = identity::Rules::new(&self.identity) {
            return wrong("identity", error.to_string());
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Error> {
        let config = Config::parse(text, Path::new("c.toml"))?;
        config.check(Some(Path::new("c.toml")))?;
        Ok(config)
    }

    fn error(text: &str) -> String {
        load(text).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_a_configuration_and_what_is_written_is_read_back() {
        assert_eq!(load("").unwrap(), Config::default());
        let config =
            load("[channels.news]\nurl = \"https://o.example/live.m3u8\"\n[memory]\nlimit = \"64MiB\"")
                .unwrap();
        assert_eq!(config.memory.limit, Size(64 << 20));
        assert_eq!(load(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn a_limit_is_written_as_the_command_takes_it() {
        for (text, limit) in [("2000000", 2_000_000), ("\"2M\"", 2_000_000), ("\"500k\"", 500_000), ("0", 0)]
        {
            let config = load(&format!("[p2p]\nupload_limit = {text}")).unwrap();
            assert_eq!(config.p2p.upload_limit.0, limit, "{text}");
            assert_eq!(load(&config.to_toml()).unwrap(), config);
        }
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_what_would_be_right() {
        for (text, parts) in [
            ("[p2p]\nmax_neighbors = 3", &["c.toml", "line 2", "`max_neighbors`", "`max_neighbours`"][..]),
            ("[p2pp]\n", &["line 1", "`p2pp`", "`p2p`"]),
            ("[p2p]\n\nenabled = \"yes\"", &["line 3", "boolean"]),
            ("[memory]\nlimit = \"lots\"", &["line 2", "256MiB"]),
            ("[p2p]\nupload = \"maybe\"", &["line 2", "auto"]),
            ("[proxy\n", &["line 1"]),
            ("[channels.news]\nurl = \"ftp://x/\"", &["channels.news.url", "http"]),
            (
                "[channels.news]\nurl = \"http://x/\"\nidentity = \"sequense\"",
                &["line 3", "`sequense`", "`sequence`"],
            ),
            ("[channels.\"a/b\"]\nurl = \"http://x/\"", &["channels.a/b"]),
            ("[tracker]\nurls = [\"http://x\"]", &["tracker.urls", "ws://"]),
            ("[proxy]\nlisten = \"0.0.0.0:7223\"", &["proxy.listen", "allowed_hosts"]),
            ("[[identity]]\npattern = \"(\"", &["identity"]),
            ("[tracker_server]\nnetworks = [\"berlin\"]", &["line 2", "berlin=10.1.0.0/16"]),
            ("[tracker_server]\nstats_from = [\"10/8\"]", &["line 2", "10.1.0.0/16"]),
            (
                "[ice]\nturn = [\"turn:a:b@t.example\", \"bogus\"]",
                &["ice.turn", "number 2", "turn:user:secret@"],
            ),
            ("[ice]\nstun = [\"stun.example\"]", &["ice.stun", "number 1", "stun:stun.example:3478"]),
            ("[p2p]\nmax_neighbours = 16", &["p2p.max_neighbours"]),
            ("[p2p]\nupload_daily = \"much\"", &["line 2", "`upload_daily`", "2GB"]),
            ("[p2p]\nupload_limit = \"fast\"", &["line 2", "`upload_limit`", "`fast`", "2M"]),
            ("[p2p]\nupload_limit = -1", &["line 2", "`upload_limit`"]),
            ("[channels.news]\nurl = \"http://x/\"\nprefetch_s = -1.0", &["channels.news.prefetch_s"]),
            ("[channels.news]\nurl = \"http://x/\"\nuplod = false", &["line 3", "`upload`"]),
        ] {
            let message = error(text);
            for part in parts {
                assert!(message.contains(part), "{message:?} does not say {part:?}");
            }
        }
    }
}
