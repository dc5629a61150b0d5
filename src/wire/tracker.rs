//! The tracker protocol: WebTorrent's JSON over WebSocket, and one extra object of ours that others ignore.
//!
//! Ids of 20 bytes travel as strings of 20 code points U+0000 to U+00FF, one for each byte; an offer id is echoed as it
//! came. Both directions are here, since our tracker and our client are tested against others' too.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::MAX_MESSAGE;
use crate::model::ids::{PeerId, SwarmId};

/// The longest session description, in bytes.
pub const MAX_SDP: usize = 16 * 1024;
/// Offers in one announcement.
pub const MAX_OFFERS: usize = 10;
/// Peers that a client may say it has met.
pub const MAX_KNOWN: usize = 32;
/// The longest offer id, in code points; WebTorrent's have 20 or 40.
const MAX_OFFER_ID: usize = 64;
/// Swarms in one scrape.
const MAX_SCRAPE: usize = 64;

/// Names one offer; chosen by who offers, opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(String);

impl OfferId {
    /// An id with one code point for each byte.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().take(MAX_OFFER_ID).map(|&byte| char::from(byte)).collect())
    }
}

/// An offer and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub offer_id: OfferId,
    /// The session description.
    pub sdp: String,
}

/// Why an announcement is made, when not because it is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The first one.
    Started,
    /// The last one.
    Stopped,
    /// Everything has been downloaded; others' clients say so.
    Completed,
}

/// Our additions, in one object named `paceline`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// From a client: it may be asked for pieces.
    pub uploads: bool,
    /// From a tracker: viewers in the swarm, the receiver included.
    pub viewers: u32,
    /// From a client: whom it has met already; its offers are for others. At most [`MAX_KNOWN`] count.
    #[serde(with = "known", skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<PeerId>,
    /// From a client: what the swarm has come to for it so far.
    #[serde(deserialize_with = "account", skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// What one viewer took and gave in one swarm, since it began there. It only grows, so that an announcement which is lost
/// costs nothing, and every tracker of a viewer can be told the same. It names neither stream nor peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// When it began, in microseconds on the viewer's own clock: this names the account, and only trackers are told.
    pub began_us: u64,
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
    /// Payload bytes from the origin.
    pub http: u64,
    /// Payload bytes from peers.
    pub p2p: u64,
    /// Payload bytes to peers.
    pub uploaded: u64,
}

/// An account that makes no sense is none; the rest of the object still counts.
fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Account>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Ids as the protocol writes them.
mod known {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{MAX_KNOWN, PeerId, bytes, text};

    pub fn serialize<S: Serializer>(known: &[PeerId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(known.iter().map(|peer| text(&peer.0)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PeerId>, D::Error> {
        let known = Vec::<String>::deserialize(deserializer)?;
        Ok(known.iter().take(MAX_KNOWN).filter_map(|id| bytes(id)).map(PeerId).collect())
    }
}

/// What a client tells a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToTracker {
    /// I am in this swarm.
    Announce {
        /// The swarm.
        info_hash: SwarmId,
        /// Who I am.
        peer_id: PeerId,
        /// Why now.
        event: Option<Event>,
        /// To how many others offers may go.
        numwant: u32,
        /// The offers.
        offers: Vec<Offer>,
        /// Our additions.
        extra: Option<Extra>,
    },
    /// My answer to an offer that was relayed to me.
    Answer {
        /// The swarm.
        info_hash: SwarmId,
        /// Who I am.
        peer_id: PeerId,
        /// Who offered.
        to_peer_id: PeerId,
        /// Which offer.
        offer_id: OfferId,
        /// The session description.
        sdp: String,
    },
    /// How large are these swarms?
    Scrape {
        /// Which.
        info_hashes: Vec<SwarmId>,
    },
}

/// What a tracker tells a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromTracker {
    /// The answer to an announcement.
    Interval {
        /// The swarm.
        info_hash: SwarmId,
        /// When to announce again, in seconds.
        interval_s: u32,
        /// Peers that have everything.
        complete: u32,
        /// Peers that do not.
        incomplete: u32,
        /// Our additions.
        extra: Option<Extra>,
    },
    /// Somebody's offer.
    Offer {
        /// The swarm.
        info_hash: SwarmId,
        /// Who offers.
        peer_id: PeerId,
        /// Its name.
        offer_id: OfferId,
        /// The session description.
        sdp: String,
    },
    /// Somebody's answer to an offer of ours.
    Answer {
        /// The swarm.
        info_hash: SwarmId,
        /// Who answers.
        peer_id: PeerId,
        /// To which offer.
        offer_id: OfferId,
        /// The session description.
        sdp: String,
    },
    /// Sizes of swarms: members, for each.
    Scrape {
        /// Which, and how large.
        files: Vec<(SwarmId, u32)>,
    },
    /// The last message was refused.
    Failure(String),
    /// It was taken, but.
    Warning(String),
}

/// Why a tracker message is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("message of {0} bytes")]
    Oversized(usize),
    /// Not JSON.
    #[error("not JSON")]
    NotJson,
    /// A field is missing, or not what it should be.
    #[error("`{0}` is missing or malformed")]
    Field(&'static str),
    /// Nothing that is spoken here.
    #[error("unknown action")]
    Action,
    /// More than [`MAX_OFFERS`] offers.
    #[error("{0} offers")]
    Offers(usize),
}

fn text(bytes: &[u8; 20]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn id(value: &Value, field: &'static str) -> Result<[u8; 20], Malformed> {
    let text = value.get(field).and_then(Value::as_str).ok_or(Malformed::Field(field))?;
    bytes(text).ok_or(Malformed::Field(field))
}

fn bytes(text: &str) -> Option<[u8; 20]> {
    let mut id = [0; 20];
    let mut points = text.chars();
    for byte in &mut id {
        *byte = u8::try_from(u32::from(points.next()?)).ok()?;
    }
    points.next().is_none().then_some(id)
}

fn offer_id(value: &Value) -> Result<OfferId, Malformed> {
    let id = value.get("offer_id").and_then(Value::as_str).filter(|id| id.chars().count() <= MAX_OFFER_ID);
    id.map(|id| OfferId(id.to_owned())).ok_or(Malformed::Field("offer_id"))
}

fn sdp(value: &Value, field: &'static str) -> Result<String, Malformed> {
    let sdp = value.get(field).and_then(|description| description.get("sdp")).and_then(Value::as_str);
    sdp.filter(|sdp| sdp.len() <= MAX_SDP).map(str::to_owned).ok_or(Malformed::Field(field))
}

fn number(value: &Value, field: &str) -> Option<u32> {
    let number = value.get(field)?;
    let whole =
        number.as_u64().or_else(|| number.as_f64().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n as u64));
    whole.map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn extra(value: &Value) -> Option<Extra> {
    serde_json::from_value(value.get("paceline")?.clone()).ok()
}

fn parse(message: &str) -> Result<Value, Malformed> {
    if message.len() > MAX_MESSAGE {
        return Err(Malformed::Oversized(message.len()));
    }
    serde_json::from_str(message).map_err(|_| Malformed::NotJson)
}

fn with_extra(mut message: Value, extra: Option<&Extra>) -> String {
    if let (Some(extra), Some(object)) = (extra, message.as_object_mut()) {
        object.insert("paceline".to_owned(), json!(extra));
    }
    message.to_string()
}

impl ToTracker {
    /// The text frame.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Announce { info_hash, peer_id, event, numwant, offers, extra } => {
                let offers: Vec<Value> = offers
                    .iter()
                    .map(|offer| json!({"offer_id": offer.offer_id.0, "offer": {"type": "offer", "sdp": offer.sdp}}))
                    .collect();
                let mut message = json!({
                    "action": "announce", "info_hash": text(&info_hash.0), "peer_id": text(&peer_id.0),
                    "numwant": numwant, "uploaded": 0, "downloaded": 0, "left": 1, "offers": offers,
                });
                if let (Some(event), Some(object)) = (event, message.as_object_mut()) {
                    object.insert("event".to_owned(), json!(event));
                }
                with_extra(message, extra.as_ref())
            }
            Self::Answer { info_hash, peer_id, to_peer_id, offer_id, sdp } => json!({
                "action": "announce", "info_hash": text(&info_hash.0), "peer_id": text(&peer_id.0),
                "to_peer_id": text(&to_peer_id.0), "offer_id": offer_id.0,
                "answer": {"type": "answer", "sdp": sdp},
            })
            .to_string(),
            Self::Scrape { info_hashes } => {
                let hashes: Vec<String> = info_hashes.iter().map(|hash| text(&hash.0)).collect();
                json!({"action": "scrape", "info_hash": hashes}).to_string()
            }
        }
    }

    /// Reads a text frame; fields that are not ours are ignored, those that others leave out have defaults.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn decode(message: &str) -> Result<Self, Malformed> {
        let value = parse(message)?;
        match value.get("action").and_then(Value::as_str) {
            Some("announce") if value.get("answer").is_some_and(|answer| !answer.is_null()) => {
                Ok(Self::Answer {
                    info_hash: SwarmId(id(&value, "info_hash")?),
                    peer_id: PeerId(id(&value, "peer_id")?),
                    to_peer_id: PeerId(id(&value, "to_peer_id")?),
                    offer_id: offer_id(&value)?,
                    sdp: sdp(&value, "answer")?,
                })
            }
            Some("announce") => Self::announce(&value),
            Some("scrape") => Ok(Self::Scrape { info_hashes: scraped(&value)? }),
            _ => Err(Malformed::Action),
        }
    }

    fn announce(value: &Value) -> Result<Self, Malformed> {
        let listed = value.get("offers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if listed.len() > MAX_OFFERS {
            return Err(Malformed::Offers(listed.len()));
        }
        let offer = |offer: &Value| Ok(Offer { offer_id: offer_id(offer)?, sdp: sdp(offer, "offer")? });
        let offers = listed.iter().map(offer).collect::<Result<Vec<_>, Malformed>>()?;
        let event = match value.get("event") {
            None | Some(Value::Null) => None,
            Some(event) if event == "" || event == "update" => None,
            Some(event) => {
                Some(serde_json::from_value(event.clone()).map_err(|_| Malformed::Field("event"))?)
            }
        };
        Ok(Self::Announce {
            info_hash: SwarmId(id(value, "info_hash")?),
            peer_id: PeerId(id(value, "peer_id")?),
            event,
            numwant: number(value, "numwant").unwrap_or(offers.len() as u32),
            offers,
            extra: extra(value),
        })
    }
}

fn scraped(value: &Value) -> Result<Vec<SwarmId>, Malformed> {
    let field = "info_hash";
    let one = |value: &Value| value.as_str().and_then(bytes).map(SwarmId).ok_or(Malformed::Field(field));
    match value.get(field) {
        Some(Value::Array(hashes)) if hashes.len() <= MAX_SCRAPE => hashes.iter().map(one).collect(),
        Some(hash @ Value::String(_)) => Ok(vec![one(hash)?]),
        _ => Err(Malformed::Field(field)),
    }
}

impl FromTracker {
    /// The text frame.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Interval { info_hash, interval_s, complete, incomplete, extra } => with_extra(
                json!({
                    "action": "announce", "info_hash": text(&info_hash.0), "interval": interval_s,
                    "complete": complete, "incomplete": incomplete,
                }),
                extra.as_ref(),
            ),
            Self::Offer { info_hash, peer_id, offer_id, sdp } => json!({
                "action": "announce", "info_hash": text(&info_hash.0), "peer_id": text(&peer_id.0),
                "offer_id": offer_id.0, "offer": {"type": "offer", "sdp": sdp},
            })
            .to_string(),
            Self::Answer { info_hash, peer_id, offer_id, sdp } => json!({
                "action": "announce", "info_hash": text(&info_hash.0), "peer_id": text(&peer_id.0),
                "offer_id": offer_id.0, "answer": {"type": "answer", "sdp": sdp},
            })
            .to_string(),
            Self::Scrape { files } => {
                let files: serde_json::Map<String, Value> = files
                    .iter()
                    .map(|(hash, n)| {
                        (text(&hash.0), json!({"complete": 0, "incomplete": n, "downloaded": 0}))
                    })
                    .collect();
                json!({"action": "scrape", "files": files}).to_string()
            }
            Self::Failure(why) => json!({"failure reason": why}).to_string(),
            Self::Warning(why) => json!({"warning message": why}).to_string(),
        }
    }

    /// Reads a text frame.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn decode(message: &str) -> Result<Self, Malformed> {
        let value = parse(message)?;
        if let Some(why) = value.get("failure reason").and_then(Value::as_str) {
            return Ok(Self::Failure(why.to_owned()));
        }
        if let Some(why) = value.get("warning message").and_then(Value::as_str) {
            return Ok(Self::Warning(why.to_owned()));
        }
        match value.get("action").and_then(Value::as_str) {
            Some("announce") => {}
            Some("scrape") => return Ok(Self::Scrape { files: files(&value)? }),
            _ => return Err(Malformed::Action),
        }
        let info_hash = SwarmId(id(&value, "info_hash")?);
        let present = |field: &str| value.get(field).is_some_and(|field| !field.is_null());
        if present("offer") || present("answer") {
            let (peer_id, offer_id) = (PeerId(id(&value, "peer_id")?), offer_id(&value)?);
            return Ok(if present("offer") {
                Self::Offer { info_hash, peer_id, offer_id, sdp: sdp(&value, "offer")? }
            } else {
                Self::Answer { info_hash, peer_id, offer_id, sdp: sdp(&value, "answer")? }
            });
        }
        Ok(Self::Interval {
            info_hash,
            interval_s: number(&value, "interval").unwrap_or(120),
            complete: number(&value, "complete").unwrap_or(0),
            incomplete: number(&value, "incomplete").unwrap_or(0),
            extra: extra(&value),
        })
    }
}

fn files(value: &Value) -> Result<Vec<(SwarmId, u32)>, Malformed> {
    let files = value.get("files").and_then(Value::as_object).ok_or(Malformed::Field("files"))?;
    let members = |of: &Value| {
        number(of, "complete").unwrap_or(0).saturating_add(number(of, "incomplete").unwrap_or(0))
    };
    let one = |(hash, of): (&String, &Value)| {
        bytes(hash).map(|hash| (SwarmId(hash), members(of))).ok_or(Malformed::Field("files"))
    };
    files.iter().take(MAX_SCRAPE).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_offer_id() -> impl Strategy<Value = OfferId> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| OfferId::from_bytes(&bytes))
    }

    fn any_extra() -> impl Strategy<Value = Option<Extra>> {
        proptest::option::of(
            (
                any::<bool>(),
                any::<u32>(),
                proptest::collection::vec(any::<[u8; 20]>(), 0..MAX_KNOWN),
                proptest::option::of(any_account()),
            )
                .prop_map(|(uploads, viewers, known, account)| Extra {
                    uploads,
                    viewers,
                    known: known.into_iter().map(PeerId).collect(),
                    account,
                }),
        )
    }

    fn any_account() -> impl Strategy<Value = Account> {
        any::<[u64; 5]>().prop_map(|[began_us, age_ms, http, p2p, uploaded]| Account {
            began_us,
            age_ms,
            http,
            p2p,
            uploaded,
        })
    }

    fn to_tracker() -> impl Strategy<Value = ToTracker> {
        let swarm = || any::<[u8; 20]>().prop_map(SwarmId);
        let peer = || any::<[u8; 20]>().prop_map(PeerId);
        let event = prop_oneof![Just(None), Just(Some(Event::Started)), Just(Some(Event::Stopped))];
        let offers = proptest::collection::vec(
            (any_offer_id(), ".{0,50}").prop_map(|(offer_id, sdp)| Offer { offer_id, sdp }),
            0..MAX_OFFERS,
        );
        prop_oneof![
            (swarm(), peer(), event, any::<u32>(), offers, any_extra()).prop_map(
                |(info_hash, peer_id, event, numwant, offers, extra)| ToTracker::Announce {
                    info_hash,
                    peer_id,
                    event,
                    numwant,
                    offers,
                    extra
                }
            ),
            (swarm(), peer(), peer(), any_offer_id(), ".{0,50}").prop_map(
                |(info_hash, peer_id, to_peer_id, offer_id, sdp)| ToTracker::Answer {
                    info_hash,
                    peer_id,
                    to_peer_id,
                    offer_id,
                    sdp
                }
            ),
            proptest::collection::vec(swarm(), 0..5)
                .prop_map(|info_hashes| ToTracker::Scrape { info_hashes }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_client_says_is_understood(message in to_tracker()) {
            prop_assert_eq!(ToTracker::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn what_a_tracker_relays_is_understood(
            hash in any::<[u8; 20]>(), peer in any::<[u8; 20]>(), offer_id in any_offer_id(), sdp in ".{0,50}",
            n in any::<(u32, u32, u32)>(), extra in any_extra(), which in 0u8..5,
        ) {
            let (info_hash, peer_id) = (SwarmId(hash), PeerId(peer));
            let message = match which {
                0 => FromTracker::Interval { info_hash, interval_s: n.0, complete: n.1, incomplete: n.2, extra },
                1 => FromTracker::Offer { info_hash, peer_id, offer_id, sdp },
                2 => FromTracker::Answer { info_hash, peer_id, offer_id, sdp },
                3 => FromTracker::Failure(sdp),
                _ => FromTracker::Scrape { files: vec![(info_hash, n.1)] },
            };
            prop_assert_eq!(FromTracker::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = (ToTracker::decode(&text), FromTracker::decode(&text));
        }
    }

    #[test]
    fn an_account_that_makes_no_sense_is_none() {
        let id = "aaaaaaaaaaaaaaaaaaaa";
        for account in [
            "7",
            r#"{"http":1}"#,
            r#"{"began_us":1,"age_ms":1,"http":-1,"p2p":1,"uploaded":1}"#,
            "null",
            "[]",
        ] {
            let text = format!(
                r#"{{"action":"announce","info_hash":"{id}","peer_id":"{id}","paceline":{{"uploads":true,"account":{account}}}}}"#
            );
            let Ok(ToTracker::Announce { extra, .. }) = ToTracker::decode(&text) else { panic!("{text}") };
            assert_eq!(extra, Some(Extra { uploads: true, ..Extra::default() }), "{account}");
        }
    }

    #[test]
    fn what_others_leave_out_or_add_is_forgiven() {
        let id = "aaaaaaaaaaaaaaaaaaaa";
        let text = format!(
            r#"{{"action":"announce","info_hash":"{id}","peer_id":"{id}","event":"","left":null,"offers":null,"x":1}}"#
        );
        assert!(matches!(ToTracker::decode(&text), Ok(ToTracker::Announce { numwant: 0, event: None, .. })));
        let long = format!(r#"{{"action":"announce","info_hash":"{id}a","peer_id":"{id}"}}"#);
        assert_eq!(ToTracker::decode(&long), Err(Malformed::Field("info_hash")));
        let wide =
            format!(r#"{{"action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaa\u0100","peer_id":"{id}"}}"#);
        assert_eq!(ToTracker::decode(&wide), Err(Malformed::Field("info_hash")));
        let many = format!(
            r#"{{"action":"announce","info_hash":"{id}","peer_id":"{id}","offers":[{}]}}"#,
            [r#"{"offer_id":"o","offer":{"sdp":"s"}}"#; 11].join(",")
        );
        assert_eq!(ToTracker::decode(&many), Err(Malformed::Offers(11)));
        assert_eq!(ToTracker::decode("{}"), Err(Malformed::Action));
        assert_eq!(ToTracker::decode("["), Err(Malformed::NotJson));
    }
}
