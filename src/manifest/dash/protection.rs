//! How a Representation is encrypted, as ContentProtection says (ISO/IEC 23009-1 §5.8.4.1): for people to read.

use dash_mpd_core::ContentProtection;
use url::Url;

use crate::manifest::remarks::{Encryption, place, word};

/// The most that are told apart.
const MOST: usize = 16;
/// The scheme of ISO/IEC 23001-7, whose value names the cipher.
const COMMON: &str = "urn:mpeg:dash:mp4protection:2011";
/// Key systems that are known by name.
const SYSTEMS: [(&str, &str); 4] = [
    ("urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", "Widevine"),
    ("urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95", "PlayReady"),
    ("urn:uuid:94ce86fb-07ff-4f43-adb8-93d2fa968ca2", "FairPlay"),
    ("urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e", "ClearKey"),
];

/// What is said at every level; `base` is the MPD's own URL.
pub(super) fn encryption<'a>(
    said: impl Iterator<Item = &'a ContentProtection>,
    base: &Url,
) -> Vec<Encryption> {
    let mut found: Vec<Encryption> = Vec::new();
    for said in said {
        let scheme = said.schemeIdUri.to_ascii_lowercase();
        let system = SYSTEMS.iter().find(|(uuid, _)| *uuid == scheme).map(|&(_, name)| name);
        let method = match &said.value {
            Some(value) if scheme == COMMON => word(value.as_bytes()),
            _ => system,
        };
        let licence =
            said.laurl.as_ref().or(said.clearkey_laurl.as_ref()).and_then(|url| url.content.as_ref());
        let keys = licence.and_then(|url| place(base, url.trim()));
        let method = method.unwrap_or("of an unknown method").to_owned();
        let encryption = Encryption { method, keys };
        if found.len() < MOST && !found.contains(&encryption) {
            found.push(encryption);
        }
    }
    found
}
