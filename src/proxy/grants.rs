//! Words in paths by which whoever may watch a channel may follow what its manifests name.
//!
//! A machine of the network, or a page, could not lead us to a private origin itself; a channel does. What the channel's
//! manifests name there is written with such a word: nobody can make one up, and it holds for one origin (scheme, host and
//! port, RFC 6454) and no further than that origin's own manifests may lead. It ends with this process.

use std::fmt;

use crate::engine::origin::Reach;
use crate::model::address::Address;

/// Digits of a word, after its `~`.
const DIGITS: usize = 32;

/// What words are made with.
#[derive(Clone, PartialEq, Eq)]
pub struct Grants([u8; 32]);

impl Grants {
    /// With 32 bytes by chance.
    #[must_use]
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(entropy)
    }

    /// The word for what a manifest of the class `reach` names at the origin of `url`.
    #[must_use]
    pub fn word(&self, reach: Reach, url: &Address) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(format!("{reach:?}\n{}", origin(url.as_str())).as_bytes());
        format!("~{}", &hasher.finalize().to_hex()[..DIGITS])
    }

    /// Whether a word was made for this.
    #[must_use]
    pub fn holds(&self, word: &str, reach: Reach, url: &Address) -> bool {
        // Hashes are compared, which takes as long for a wrong one.
        blake3::hash(word.as_bytes()) == blake3::hash(self.word(reach, url).as_bytes())
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grants")
    }
}

/// The word at the beginning of a path, and what follows its slash.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (word, rest) = path.split_once('/')?;
    let digits = word.strip_prefix('~')?;
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((word, rest))
}

/// Up to the slash that begins the path.
fn origin(url: &str) -> &str {
    let begins = url.find("://").map_or(0, |at| at + 3);
    let path = url[begins..].find(['/', '?', '#']).unwrap_or(url.len() - begins);
    &url[..begins + path]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_for_one_origin_and_reach() {
        let grants = Grants::new([7; 32]);
        let at = Address::of;
        let word = grants.word(Reach::Lan, &at("http://10.0.0.5:8080/live/a.m3u8"));
        assert_eq!(split(&format!("{word}/rest/of")), Some((&word[..], "rest/of")));
        assert!(grants.holds(&word, Reach::Lan, &at("http://10.0.0.5:8080/other?x")));
        for (reach, url) in [
            (Reach::Loopback, "http://10.0.0.5:8080/live/a.m3u8"),
            (Reach::Lan, "http://10.0.0.5:808/0/live/a.m3u8"),
            (Reach::Lan, "http://10.0.0.5/live/a.m3u8"),
            (Reach::Lan, "https://10.0.0.5:8080/live/a.m3u8"),
            (Reach::Lan, "http://10.0.0.50:8080/live/a.m3u8"),
        ] {
            assert!(!grants.holds(&word, reach, &at(url)), "{reach:?} {url}");
        }
        assert!(!Grants::new([8; 32]).holds(&word, Reach::Lan, &at("http://10.0.0.5:8080/")));
        for none in ["~lan/x", "~public/x", &word, &word[1..], "~/x"] {
            assert_eq!(split(none), None, "{none}");
        }
    }
}
