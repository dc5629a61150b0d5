//! Variables of a playlist (EXT-X-DEFINE, RFC 8216bis §4.4.2.3): what stands for `{$name}` in its URIs.
//!
//! Few players know them. Here they are filled in wherever the value is known, so that what holds them is shared like
//! anything else and leads through us. What is not known is left to the player.

use std::collections::BTreeMap;

use url::Url;

use super::lines::{self, Tag, What, attributes, lines};

/// Bytes of all names and values of a playlist together; what is defined beyond them stays unknown.
const MOST: usize = 4096;
/// The longest reference that is made of variables, in bytes. A short line may name a long value many times.
const LONGEST: usize = 1024;

/// The variables of one playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    known: BTreeMap<String, String>,
}

impl Variables {
    /// Those that the playlist `text`, found at `base`, defines; `imported` are those of its master playlist.
    #[must_use]
    pub fn of(base: &Url, text: &[u8], imported: &Self) -> Self {
        let mut variables = Self::default();
        // Hardly any playlist has them.
        let finds = |part: &[u8]| memchr::memmem::find(text, part).is_some();
        if !finds(b"EFINE") && !finds(b"efine") {
            return variables;
        }
        for line in lines(text) {
            if let What::Tag(tag) = line.what()
                && tag.is("#EXT-X-DEFINE")
                && let Some((name, value)) = defined(&tag, base, imported)
            {
                variables.define(name, value);
            }
        }
        variables
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The first definition of a name holds.
    fn define(&mut self, name: String, value: String) {
        let length: usize = self.known.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length + name.len() + value.len() <= MOST {
            self.known.entry(name).or_insert(value);
        }
    }

    /// The http or https URL that `reference` means on a page at `base`, as [`lines::resolve`] has it.
    pub(super) fn resolve(&self, base: &Url, reference: &[u8]) -> Option<Url> {
        match self.fill(reference) {
            Some(filled) => lines::resolve(base, filled.as_bytes()),
            None => lines::resolve(base, reference),
        }
    }

    /// The text with its variables filled in; `None` where there is nothing to fill in, or nothing to do it with.
    fn fill(&self, reference: &[u8]) -> Option<String> {
        if self.is_empty() || memchr::memmem::find(reference, b"{$").is_none() {
            return None;
        }
        let mut rest = std::str::from_utf8(reference).ok()?;
        let mut filled = String::new();
        while let Some((before, after)) = rest.split_once("{$") {
            let (name, behind) = after.split_once('}')?;
            filled.push_str(before);
            filled.push_str(self.known.get(name)?);
            if filled.len() > LONGEST {
                return None;
            }
            rest = behind;
        }
        filled.push_str(rest);
        (filled.len() <= LONGEST).then_some(filled)
    }
}

/// Name and value, if it is a definition whose value is known here.
pub(super) fn defined(tag: &Tag<'_>, base: &Url, imported: &Variables) -> Option<(String, String)> {
    let quoted = |name: &str| {
        let attribute = attributes(tag).find(|attribute| attribute.quoted && attribute.is(name))?;
        std::str::from_utf8(attribute.value).ok().map(str::to_owned)
    };
    let (name, value) = if let Some(name) = quoted("NAME") {
        (name, quoted("VALUE")?)
    } else if let Some(name) = quoted("IMPORT") {
        let value = imported.known.get(&name)?.clone();
        (name, value)
    } else {
        let name = quoted("QUERYPARAM")?;
        let value = base.query_pairs().find(|(key, _)| *key == name)?.1.into_owned();
        (name, value)
    };
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let plain = !value.contains(['"', '\0']) && !value.contains(char::is_control);
    (named && plain).then_some((name, value))
}
