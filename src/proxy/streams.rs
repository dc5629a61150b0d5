//! Which manifests belong to a channel, by whichever way a player asks for them.
//!
//! A channel whose URL has a query is known by all of it, another by host and path, as streams are. What its master names
//! belongs to it too, for everybody: what is shared is one stream, and a switch of the channel is for all who play it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::{Channel, directives};
use crate::manifest::identity::Rules;

/// Playlists of channels that are remembered; what the oldest one lists no longer heeds its channel until the master is
/// loaded again.
const REMEMBERED: usize = 2048;

/// The channels and what they consist of.
#[derive(Debug, Default)]
pub struct Streams {
    /// By identity or by URL; of two channels with the same URL the first by name.
    channels: BTreeMap<String, String>,
    named: Mutex<VecDeque<(String, String)>>,
}

impl Streams {
    /// Those of these channels.
    #[must_use]
    pub fn new(channels: &BTreeMap<String, Channel>, rules: &Rules) -> Self {
        let mut known = BTreeMap::new();
        for (name, channel) in channels {
            known.entry(key(&channel.url, rules)).or_insert_with(|| name.clone());
        }
        Self { channels: known, named: Mutex::default() }
    }

    /// The channel that a manifest belongs to.
    #[must_use]
    pub fn channel(&self, url: &Url, rules: &Rules) -> Option<String> {
        if self.channels.is_empty() {
            return None;
        }
        let identity = rules.identity(url);
        if let Some(name) = self.channels.get(&key(url, rules)).or_else(|| self.channels.get(&identity)) {
            return Some(name.clone());
        }
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.iter().rev().find(|(of, _)| *of == identity).map(|(_, name)| name.clone())
    }

    /// A master of this channel names a playlist.
    pub fn name(&self, url: &Url, channel: &str, rules: &Rules) {
        let identity = rules.identity(url);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.retain(|(of, _)| *of != identity);
        if named.len() == REMEMBERED {
            named.pop_front();
        }
        named.push_back((identity, channel.to_owned()));
    }
}

/// What a channel's URL is known by. No identity has a query.
fn key(url: &Url, rules: &Rules) -> String {
    match directives::without(url).split_once('?') {
        None => rules.identity(url),
        Some((_, query)) => format!("{}?{query}", rules.identity(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::identity::Naming;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_manifest_belongs_to_a_channel_whichever_way_it_is_asked_for() {
        let rules = Rules::new(&[]).unwrap();
        let channels = [("news", "https://o.example/news.m3u8"), ("one", "http://o.example/play?id=1")];
        let channel = |(name, of): (&str, &str)| (name.to_owned(), Channel::new(url(of), Naming::Url));
        let streams = Streams::new(&channels.into_iter().map(channel).collect(), &rules);
        let of = |text: &str| streams.channel(&url(text), &rules);
        for (text, expected) in [
            ("https://o.example/news.m3u8", Some("news")),
            ("https://o.example/news.m3u8?token=7", Some("news")),
            ("http://o.example/play?id=1", Some("one")),
            ("http://o.example/play?id=2", None),
            ("http://o.example/play", None),
            ("https://o.example/other.m3u8", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text}");
        }
        assert_eq!(of("https://o.example/news/720p.m3u8"), None);
        streams.name(&url("https://o.example/news/720p.m3u8"), "news", &rules);
        assert_eq!(of("https://o.example/news/720p.m3u8?viewer=2").as_deref(), Some("news"));
        (0..REMEMBERED).for_each(|n| streams.name(&url(&format!("http://o.example/{n}")), "one", &rules));
        assert_eq!(of("https://o.example/news/720p.m3u8"), None, "pushed out");
    }
}
