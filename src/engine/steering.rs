//! What is switched at run time over what is configured, and what speaks against uploads.
//!
//! A switch holds until the configuration is read again, or the daemon ends; what is kept over a restart is [`Kept`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::budget::{Account, Limits, Used};
use crate::delivery::Node;
use crate::delivery::policy::{Policy, Terms, Upload};
use crate::model::units::{BitsPerSecond, Size};

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// What holds; its `upload` is decided by the mode.
    pub policy: Policy,
    /// Whether peers are served.
    pub mode: Upload,
    /// What may be uploaded in a day and in a month.
    pub budget: Limits,
    /// What each channel is kept from.
    pub channels: BTreeMap<String, Terms>,
    /// Whether the driver keeps over a restart what is switched and what of the budgets is used.
    pub keeps: bool,
}

/// A change by `/-/p2p`; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Only this channel: takes `p2p` and `upload`.
    pub channel: Option<String>,
    /// Whether peers are used at all.
    pub p2p: Option<bool>,
    /// Whether anything is sent to peers: `true`, `false`, or `"auto"`.
    #[serde(deserialize_with = "mode", default)]
    pub upload: Option<Upload>,
    /// All uploads together, bits per second; 0 is no limit.
    pub upload_limit: Option<BitsPerSecond>,
    /// What may be uploaded in a day; 0 is no limit.
    pub upload_daily: Option<Size>,
    /// What may be uploaded in a month; 0 is no limit.
    pub upload_monthly: Option<Size>,
}

/// What holds, as `/-/p2p` answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switches {
    /// Whether peers are used at all.
    pub p2p: bool,
    /// Whether anything may be sent to peers; without `p2p` nothing is.
    pub upload: bool,
    /// `auto`, `always` or `never`.
    pub upload_mode: Upload,
    /// Why nothing is sent though it is wanted.
    pub upload_withheld: Option<String>,
    /// All uploads together, bits per second; 0 is no limit.
    pub upload_limit: u64,
    /// Bytes in a day; 0 is no limit.
    pub upload_daily: u64,
    /// Bytes in a month; 0 is no limit.
    pub upload_monthly: u64,
    /// Whether all this, and what of the budgets is used, outlives a restart (`p2p.state`).
    pub kept: bool,
    /// How many trackers are configured: without one nobody is met.
    pub trackers: usize,
    /// The configured channels, and whether each may use peers and be uploaded.
    pub channels: BTreeMap<String, ChannelSwitches>,
}

/// What holds for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSwitches {
    /// Whether peers may be used for it.
    pub p2p: bool,
    /// Whether it may be uploaded.
    pub upload: bool,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of that name.
    #[error("no channel `{0}` is configured")]
    NoChannel(String),
    /// Limits are for all together.
    #[error("a channel has only `p2p` and `upload`; limits and budgets are for all of them together")]
    ForAll,
    /// What pauses uploads by itself looks at the machine, not at a stream.
    #[error("`auto` is for all uploads together; those of a channel are on or off")]
    NoMode,
    /// The engine has ended.
    #[error("the P2P engine is not running")]
    Gone,
}

/// What is kept over a restart: what was switched at run time, and what of the budgets is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// See [`Change`].
    pub p2p: Option<bool>,
    /// See [`Change`].
    pub upload: Option<Upload>,
    /// See [`Change`].
    pub upload_limit: Option<u64>,
    /// See [`Change`].
    pub upload_daily: Option<Size>,
    /// See [`Change`].
    pub upload_monthly: Option<Size>,
    /// Those that were switched; as many as are configured at most.
    pub channels: BTreeMap<String, KeptChannel>,
    /// What of the budgets is used.
    pub used: Used,
}

/// What was switched for a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptChannel {
    /// See [`Change`].
    pub p2p: Option<bool>,
    /// See [`Change`].
    pub upload: Option<bool>,
}

/// What is to be noticed from outside: the mode, and that something was switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// Whether peers are served.
    pub mode: Upload,
    /// How often something was switched.
    pub changes: u64,
}

/// The configuration, what was switched since, and the account of uploads.
#[derive(Clone, Debug)]
pub struct Steering {
    configured: Configured,
    switched: Kept,
    withheld: Option<String>,
    /// What was uploaded in this day and month.
    pub account: Account,
}

impl Steering {
    /// As configured and kept, at this moment in Unix time.
    #[must_use]
    pub fn new(configured: Configured, mut kept: Kept, unix: i64) -> Self {
        kept.channels.retain(|name, _| configured.channels.contains_key(name));
        let account = Account::new(kept.used, unix);
        Self { configured, switched: kept, withheld: None, account }
    }

    /// The configuration was read again: it says what holds, and nothing is switched.
    pub fn configure(&mut self, configured: Configured) {
        (self.configured, self.switched) = (configured, Kept::default());
    }

    /// Something speaks against uploads, or nothing does any more.
    pub fn withhold(&mut self, why: Option<String>) {
        self.withheld = why;
    }

    /// Makes a change, all of it or nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn change(&mut self, change: Change) -> Result<(), Refused> {
        let Change { channel, p2p, upload, upload_limit, upload_daily, upload_monthly } = change;
        if let Some(name) = channel {
            if !self.configured.channels.contains_key(&name) {
                return Err(Refused::NoChannel(name));
            }
            if upload_limit.is_some() || upload_daily.is_some() || upload_monthly.is_some() {
                return Err(Refused::ForAll);
            }
            if upload == Some(Upload::Auto) {
                return Err(Refused::NoMode);
            }
            let of = self.switched.channels.entry(name).or_default();
            of.p2p = p2p.or(of.p2p);
            of.upload = upload.map(|mode| mode != Upload::Never).or(of.upload);
            return Ok(());
        }
        let of = &mut self.switched;
        of.p2p = p2p.or(of.p2p);
        of.upload = upload.or(of.upload);
        of.upload_limit = upload_limit.map(|limit| limit.0).or(of.upload_limit);
        of.upload_daily = upload_daily.or(of.upload_daily);
        of.upload_monthly = upload_monthly.or(of.upload_monthly);
        Ok(())
    }

    /// Whether peers are served.
    #[must_use]
    pub fn mode(&self) -> Upload {
        self.switched.upload.unwrap_or(self.configured.mode)
    }

    /// What the Node is to go by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = self.configured.policy;
        policy.p2p = self.switched.p2p.unwrap_or(policy.p2p);
        policy.upload = self.mode() != Upload::Never && self.condition().is_none();
        if let Some(limit) = self.switched.upload_limit {
            policy.upload_limit = (limit > 0).then_some(BitsPerSecond(limit));
        }
        policy
    }

    /// What may be uploaded in a day and in a month.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Limits { daily, monthly } = self.configured.budget;
        Limits {
            daily: self.switched.upload_daily.map_or(daily, |size| size.0),
            monthly: self.switched.upload_monthly.map_or(monthly, |size| size.0),
        }
    }

    /// What a stream of this channel is kept from.
    #[must_use]
    pub fn terms(&self, channel: Option<&str>) -> Terms {
        let Some(name) = channel else { return Terms::default() };
        let mut terms = self.configured.channels.get(name).copied().unwrap_or_default();
        if let Some(switched) = self.switched.channels.get(name) {
            terms.p2p = switched.p2p.unwrap_or(terms.p2p);
            terms.upload = switched.upload.unwrap_or(terms.upload);
        }
        terms
    }

    fn condition(&self) -> Option<&str> {
        self.withheld.as_deref().filter(|_| self.mode() == Upload::Auto)
    }

    /// Why nothing is uploaded though it is wanted; whether the budget is `spent`, the Node knows.
    #[must_use]
    pub fn reason(&self, spent: bool) -> Option<String> {
        if self.mode() == Upload::Never {
            return None;
        }
        let budget = || spent.then(|| self.account.reason(self.limits()));
        self.condition().map(str::to_owned).or_else(budget)
    }

    /// What holds for this Node.
    #[must_use]
    pub fn switches(&self, node: &Node) -> Switches {
        let policy = node.policy();
        let Limits { daily, monthly } = self.limits();
        let channel = |name: &String| {
            let Terms { p2p, upload, .. } = self.terms(Some(name));
            (name.clone(), ChannelSwitches { p2p, upload })
        };
        Switches {
            p2p: policy.p2p,
            upload: policy.upload,
            upload_mode: self.mode(),
            upload_withheld: self.reason(node.is_spent()),
            upload_limit: policy.upload_limit.map_or(0, |limit| limit.0),
            upload_daily: daily,
            upload_monthly: monthly,
            kept: self.configured.keeps,
            trackers: node.trackers(),
            channels: self.configured.channels.keys().map(channel).collect(),
        }
    }

    /// What is to be kept over a restart.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept { used: self.account.used(), ..self.switched.clone() }
    }
}

/// `true`, `false`, or one of the words of the configuration.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Upload>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`upload` is true, false or \"auto\"")]
    enum Written {
        Switch(bool),
        Word(Upload),
    }
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| match written {
        Written::Switch(true) => Upload::Always,
        Written::Switch(false) => Upload::Never,
        Written::Word(mode) => mode,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::policy::Options;

    fn steering() -> Steering {
        let off = Terms { upload: false, ..Terms::default() };
        let configured = Configured {
            policy: Policy::new(&Options::default(), 1 << 20),
            mode: Upload::Auto,
            budget: Limits { daily: 1000, monthly: 0 },
            channels: [("news".to_owned(), Terms::default()), ("sport".to_owned(), off)].into(),
            keeps: false,
        };
        Steering::new(configured, Kept::default(), 0)
    }

    fn change(text: &str) -> Change {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_reason_counts_in_auto_alone() {
        let mut steering = steering();
        steering.withhold(Some("on battery".into()));
        assert_eq!((steering.policy().upload, steering.reason(false)), (false, Some("on battery".into())));
        for (text, upload, reason) in [
            ("{\"upload\": true}", true, None),
            ("{\"upload\": false}", false, None),
            ("{\"upload\": \"auto\"}", false, Some("on battery".to_owned())),
        ] {
            steering.change(change(text)).unwrap();
            assert_eq!((steering.policy().upload, steering.reason(false)), (upload, reason), "{text}");
        }
        steering.withhold(None);
        assert!(steering.policy().upload);
        assert!(steering.reason(true).unwrap().contains("daily upload budget"));
    }

    #[test]
    fn what_is_switched_holds_until_the_configuration_is_read_again_and_is_kept() {
        let mut steering = steering();
        let configured = steering.configured.clone();
        for text in [
            "{\"p2p\": false, \"upload_limit\": 8, \"upload_daily\": \"2GB\", \"upload_monthly\": 5}",
            "{\"channel\": \"news\", \"p2p\": false}",
            "{\"channel\": \"sport\", \"upload\": true}",
        ] {
            steering.change(change(text)).unwrap();
        }
        let kept = serde_json::to_string(&steering.kept()).unwrap();
        let again = Steering::new(configured.clone(), serde_json::from_str(&kept).unwrap(), 0);
        for of in [&steering, &again] {
            let policy = of.policy();
            assert_eq!((policy.p2p, policy.upload_limit), (false, Some(BitsPerSecond(8))));
            assert_eq!(of.limits(), Limits { daily: 2_000_000_000, monthly: 5 });
            assert_eq!((of.terms(Some("news")).p2p, of.terms(Some("sport")).upload), (false, true));
        }
        steering.configure(configured);
        assert!(steering.policy().p2p && steering.terms(Some("news")).p2p);
        assert_eq!((steering.limits().daily, steering.terms(Some("sport")).upload), (1000, false));
    }

    #[test]
    fn what_can_not_be_changed_is_refused_whole() {
        let mut steering = steering();
        let refused = steering.change(change("{\"channel\": \"films\", \"p2p\": false}"));
        assert_eq!(refused, Err(Refused::NoChannel("films".into())));
        let refused = steering.change(change("{\"channel\": \"news\", \"p2p\": false, \"upload_limit\": 1}"));
        assert_eq!(refused, Err(Refused::ForAll));
        let refused =
            steering.change(change("{\"channel\": \"news\", \"p2p\": false, \"upload\": \"auto\"}"));
        assert_eq!(refused, Err(Refused::NoMode));
        assert!(steering.terms(Some("news")).p2p);
        for text in [
            "{\"upload\": \"sometimes\"}",
            "{\"upload\": 1}",
            "{\"uplaod\": true}",
            "{\"upload_daily\": \"lots\"}",
        ] {
            assert!(serde_json::from_str::<Change>(text).is_err(), "{text}");
        }
        assert_eq!(change("{\"upload\": null}").upload, None);
    }

    #[test]
    fn channels_that_are_no_longer_configured_are_not_kept() {
        let kept = Kept { channels: [("old".to_owned(), KeptChannel::default())].into(), ..Kept::default() };
        let steering = Steering::new(steering().configured, kept, 0);
        assert!(steering.kept().channels.is_empty());
    }
}
