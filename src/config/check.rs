//! What the types can't say: values that are of the right kind and can't be used.

use std::ops::RangeInclusive;

use url::Url;

use super::{Config, level};
use crate::manifest::identity;
use crate::model::shown::shown_text;

/// Seconds that `p2p.critical_s` may have; the policy knows no others.
const CRITICAL_S: RangeInclusive<f64> = 0.0..=60.0;
/// Seconds that `prefetch_s` may have; the policy knows no others.
const PREFETCH_S: RangeInclusive<f64> = 0.0..=600.0;

/// A value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The names that lead to it, such as `tracker` and `urls`.
    pub path: Vec<String>,
    /// Which one of a list, from 0, where that is known.
    pub entry: Option<usize>,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Wrong {
    /// Of a key, written `section.key`.
    #[must_use]
    pub fn at(key: &str, why: impl ToString) -> Self {
        Self { path: key.split('.').map(str::to_owned).collect(), entry: None, why: why.to_string() }
    }

    fn in_list(key: &str, entry: usize, why: impl ToString) -> Self {
        Self { entry: Some(entry), ..Self::at(key, why) }
    }

    fn of_channel(name: &str, key: Option<&str>, why: impl ToString) -> Self {
        let path = ["channels", name].into_iter().chain(key).map(str::to_owned).collect();
        Self { path, entry: None, why: why.to_string() }
    }

    /// The key as people write it.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

/// Each key by itself.
///
/// # Errors
/// The first that can't be used.
pub fn each(config: &Config) -> Result<(), Wrong> {
    channels(config)?;
    for (entry, url) in config.tracker.urls.iter().enumerate() {
        tracker_address(url).map_err(|why| Wrong::in_list("tracker.urls", entry, why))?;
    }
    if !(1..=15).contains(&config.p2p.max_neighbours) {
        return Err(Wrong::at("p2p.max_neighbours", "1 to 15 make a mesh"));
    }
    let seconds = [
        ("critical_s", config.p2p.critical_s, CRITICAL_S),
        ("prefetch_s", config.p2p.prefetch_s, PREFETCH_S),
    ];
    for (key, value, range) in seconds {
        within(value, &range).map_err(|why| Wrong::at(&format!("p2p.{key}"), why))?;
    }
    config.ice.check().map_err(|error| Wrong {
        entry: error.entry(),
        ..Wrong::at(&format!("ice.{}", error.key()), error)
    })?;
    if let Err(error) = identity::Rules::new(&config.identity) {
        return Err(Wrong { entry: error.entry(), ..Wrong::at("identity", error) });
    }
    config.origin.check().map_err(|error| Wrong {
        entry: error.entry(),
        ..Wrong::at(&format!("origin.{}", error.key()), &error)
    })?;
    level::check(&config.log.level).map_err(|error| Wrong::at("log.level", error))?;
    let tracker = config.tracker_server.check();
    tracker.map_err(|error| Wrong {
        entry: error.entry(),
        ..Wrong::at(&format!("tracker_server.{}", error.key()), &error)
    })
}

/// Keys that can only be judged together, which file and environment may have one each of.
///
/// # Errors
/// The first that can't be used.
pub fn together(config: &Config) -> Result<(), Wrong> {
    let listen = config.proxy.listen;
    if !listen.ip().is_loopback() && config.proxy.allowed_hosts.is_empty() {
        let why = format!(
            "{listen} is reachable from other machines: name the hosts players will use in proxy.allowed_hosts too"
        );
        return Err(Wrong::at("proxy.listen", why));
    }
    Ok(())
}

fn channels(config: &Config) -> Result<(), Wrong> {
    for (name, channel) in &config.channels {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if matches!(name.as_str(), "" | "-") || !name.chars().all(plain) {
            return Err(Wrong::of_channel(
                name,
                None,
                "a name has letters, digits, `-`, `_` and `.`, and is not `-`",
            ));
        }
        let wrong = |key: &str, why: &str| Wrong::of_channel(name, Some(key), why);
        if !matches!(channel.url.scheme(), "http" | "https") {
            return Err(wrong("url", "only http:// and https:// are played"));
        }
        if has_user(&channel.url) {
            return Err(wrong(
                "url",
                "it carries a user name; have the player send an Authorization header instead",
            ));
        }
        if let Some(seconds) = channel.prefetch_s {
            within(seconds, &PREFETCH_S).map_err(|why| wrong("prefetch_s", &why))?;
        }
    }
    Ok(())
}

/// Whether a text is the address of a tracker.
///
/// # Errors
/// Why not.
pub fn tracker_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "ws" | "wss") && url.has_host());
    let url = url.ok_or_else(|| format!("`{}` is not a ws:// or wss:// address", shown_text(text)))?;
    if has_user(&url) {
        return Err("it carries a user name, which no tracker is told; see tracker.token".to_owned());
    }
    Ok(url)
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn within(seconds: f64, range: &RangeInclusive<f64>) -> Result<(), String> {
    if range.contains(&seconds) {
        return Ok(());
    }
    Err(format!("{seconds} is out of range; write {} to {} seconds", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::policy::{Options, Policy, prefetch};

    #[test]
    fn what_may_be_written_is_what_the_policy_knows() {
        let critical = |critical_s| Policy::new(&Options { critical_s, ..Options::default() }, 0).critical;
        for (most, known) in
            [(*CRITICAL_S.end(), critical as fn(f64) -> Duration), (*PREFETCH_S.end(), prefetch)]
        {
            assert_eq!(known(most), Duration::from_secs_f64(most));
            assert_eq!(known(most + 1.0), known(most));
        }
        assert!(within(f64::NAN, &CRITICAL_S).is_err() && within(-0.5, &CRITICAL_S).is_err());
    }
}
