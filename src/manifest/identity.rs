//! From a URL to the text that names the same thing for every viewer.
//!
//! The text is host (lower case, port only where it is not the scheme's own) and path, exactly as given. Scheme,
//! user, query and fragment are left out: viewers of one stream differ in their tokens, and no token may find its
//! way into a name that others see. The user's rules then act on this text, in their order.

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::model::address::Address;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::Listing;

/// The most rules; more are a mistake in the configuration and refused when it is read.
pub const MAX_RULES: usize = 64;

/// The most memory for one compiled pattern, in bytes; a pattern that needs more is refused.
pub const MAX_PATTERN_SIZE: usize = 1024 * 1024;

/// The longest identity text, in bytes; a rule that would make it longer is skipped.
pub const MAX_TEXT: usize = 64 * 1024;

/// What names a channel's segments (`identity` of a `[channels.NAME]` section).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// Their URLs, and the rules.
    #[default]
    Url,
    /// Their numbers in the playlist, whatever their URLs: see [`by_sequence`].
    Sequence,
}

/// Names a rendition `rendition`, and its segments by their media sequence numbers alone.
///
/// For channels that give each viewer other segment URLs, in which no rule finds what is the same. Two encodes of one
/// programme that number their segments alike get the same names too: their bytes are told apart by their hashes and not
/// shared, which is why nobody gets this without asking for it.
pub fn by_sequence(listing: &mut Listing, rendition: &str) {
    // No identity text begins with a '#', so this is nobody else's name.
    let swarm = SwarmId::of(&format!("#sequence\n{rendition}"));
    let timeline = &mut listing.timeline;
    timeline.swarm = swarm;
    let rename = |segment: &crate::model::timeline::Segment| {
        let mut segment = *segment;
        segment.id = SegmentId::of(swarm, segment.sequence, "");
        segment
    };
    timeline.segments = timeline.segments.iter().map(rename).collect();
}

/// One `[[identity]]` entry: either `pattern` and `replace`, or `hosts` and `alias`.
///
/// An entry that maps different media to one text makes viewers take each other's bytes for their own; one that
/// is missing only costs sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A regular expression that is looked for in host and path, such as `/session-[0-9a-f]+/`. Empty: not used.
    pub pattern: String,
    /// What every match becomes; `$1` or `${name}` stand for a group of the pattern.
    pub replace: String,
    /// Hosts (`name` or `name:port`) that serve the same content. Empty: not used.
    pub hosts: Vec<String>,
    /// The host that stands for all of them.
    pub alias: String,
}

/// Why an `[[identity]]` entry can't be used. `entry` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_RULES`].
    #[error("{count} [[identity]] entries, at most {MAX_RULES} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// It says both or neither.
    #[error("[[identity]] entry {entry} needs either `pattern` (and `replace`) or `hosts` and `alias`")]
    Unclear {
        /// Which entry.
        entry: usize,
    },
    /// The pattern is not a regular expression, or too large a one.
    #[error("[[identity]] entry {entry}: `pattern` is not usable: {why}")]
    Pattern {
        /// Which entry.
        entry: usize,
        /// What the regex engine says.
        why: String,
    },
}

impl Error {
    /// Which entry it is about, from 0; `None` for all together.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        match self {
            Self::TooMany { .. } => None,
            Self::Unclear { entry } | Self::Pattern { entry, .. } => entry.checked_sub(1),
        }
    }
}

#[derive(Clone, Debug)]
enum Rule {
    Replace(Regex, String),
    Alias(Vec<String>, String),
}

/// The rules, ready for use. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Compiles the `[[identity]]` entries of the configuration.
    ///
    /// # Errors
    /// The first entry that can't be used.
    pub fn new(options: &[Options]) -> Result<Self, Error> {
        if options.len() > MAX_RULES {
            return Err(Error::TooMany { count: options.len() });
        }
        let rules = options.iter().enumerate().map(|(index, options)| rule(index + 1, options));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The identity text of `url`.
    #[must_use]
    pub fn identity(&self, url: &Url) -> String {
        let (host, path) = (url.host_str().unwrap_or_default(), url.path());
        let mut text = String::with_capacity(host.len() + path.len() + 6);
        text.push_str(host);
        text.make_ascii_lowercase();
        if let Some(port) = url.port() {
            text.push_str(&format!(":{port}"));
        }
        text.push_str(path);
        self.apply(text)
    }

    /// What the rules make of `text`, which is host and path or what other rules have made of them.
    #[must_use]
    pub fn apply(&self, mut text: String) -> String {
        for rule in &self.rules {
            rule.apply(&mut text);
        }
        text
    }

    /// The identity text of a segment: its URL's, and which bytes of the file it is, where it is not all of them.
    #[must_use]
    pub fn segment_identity<'a>(&self, address: &'a Address, range: Option<&Range<u64>>) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(address.place());
        if !self.rules.is_empty() {
            text = self.apply(text.into_owned()).into();
        }
        if let Some(range) = range {
            // No path holds a '#', so nothing else can read like this.
            text.to_mut().push_str(&format!("#{}-{}", range.start, range.end));
        }
        text
    }
}

fn rule(entry: usize, options: &Options) -> Result<Rule, Error> {
    let Options { pattern, replace, hosts, alias } = options;
    match (pattern.is_empty(), hosts.is_empty() && alias.is_empty()) {
        (false, true) => {
            let regex = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_SIZE).build();
            let regex = regex.map_err(|why| Error::Pattern { entry, why: why.to_string() })?;
            Ok(Rule::Replace(regex, replace.clone()))
        }
        (true, false) if replace.is_empty() && !hosts.is_empty() && !alias.is_empty() => {
            let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
            Ok(Rule::Alias(hosts, alias.to_ascii_lowercase()))
        }
        _ => Err(Error::Unclear { entry }),
    }
}

impl Rule {
    fn apply(&self, text: &mut String) {
        match self {
            Self::Replace(pattern, replace) => {
                let replaced = pattern.replace_all(text, replace.as_str());
                if replaced.len() <= MAX_TEXT {
                    *text = replaced.into_owned();
                }
            }
            Self::Alias(hosts, alias) => {
                let end = text.find('/').unwrap_or(text.len());
                if hosts.iter().any(|host| *host == text[..end]) {
                    text.replace_range(..end, alias);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(rules: &[Options], url: &str) -> String {
        Rules::new(rules).unwrap().identity(&Url::parse(url).unwrap())
    }

    fn replace(pattern: &str, replace: &str) -> Options {
        Options { pattern: pattern.into(), replace: replace.into(), ..Options::default() }
    }

    fn alias(hosts: &[&str], alias: &str) -> Options {
        let hosts = hosts.iter().map(|&host| host.into()).collect();
        Options { hosts, alias: alias.into(), ..Options::default() }
    }

    #[test]
    fn what_differs_between_viewers_is_left_out() {
        for (url, text) in [
            ("https://CDN.example/live/720p.m3u8", "cdn.example/live/720p.m3u8"),
            ("http://cdn.example:80/live/720p.m3u8?token=CANARY", "cdn.example/live/720p.m3u8"),
            ("https://me:CANARY@cdn.example:443/live/720p.m3u8#CANARY", "cdn.example/live/720p.m3u8"),
            ("https://cdn.example:8443/a//b%2Fc/D.m3u8", "cdn.example:8443/a//b%2Fc/D.m3u8"),
            ("http://[::1]:8080/x", "[::1]:8080/x"),
            ("https://cdn.example", "cdn.example/"),
        ] {
            assert_eq!(identity(&[], url), text);
            let address = Address::from(&Url::parse(url).unwrap());
            assert_eq!(Rules::default().segment_identity(&address, None), text);
        }
    }

    #[test]
    fn rules_act_in_order() {
        let rules = [
            alias(&["edge1.example", "Edge2.example:8080"], "edge.example"),
            replace("^edge", "origin"),
            replace("/session-([0-9a-f]+)/", "/"),
        ];
        for (url, text) in [
            ("https://edge1.example/session-12af/a.ts", "origin.example/a.ts"),
            ("https://edge2.example:8080/a.ts", "origin.example/a.ts"),
            ("https://edge2.example/a.ts", "origin2.example/a.ts"),
            ("https://cdn.example/edge1.example/a.ts", "cdn.example/edge1.example/a.ts"),
        ] {
            assert_eq!(identity(&rules, url), text);
        }
        let grow = vec![replace("a", "aaaaaaaaaaaaaaaa"); MAX_RULES];
        assert!(identity(&grow, "https://x.example/aaaaaaaa").len() <= MAX_TEXT);
    }

    #[test]
    fn a_byte_range_is_a_segment_of_its_own() {
        let rules = Rules::default();
        let url = Address::of("https://cdn.example/all.ts?x");
        assert_eq!(rules.segment_identity(&url, Some(&(0..10))), "cdn.example/all.ts#0-10");
        assert_eq!(rules.segment_identity(&url, None), "cdn.example/all.ts");
    }

    #[test]
    fn entries_that_make_no_sense_are_named() {
        let refused = |options: Options| Rules::new(&[replace("x", ""), options]).map(drop).unwrap_err();
        assert_eq!(refused(Options::default()), Error::Unclear { entry: 2 });
        assert_eq!(refused(alias(&["a"], "")), Error::Unclear { entry: 2 });
        assert_eq!(
            refused(Options { pattern: "x".into(), ..alias(&["a"], "b") }),
            Error::Unclear { entry: 2 }
        );
        assert!(matches!(refused(replace("(", "")), Error::Pattern { entry: 2, .. }));
        assert!(matches!(refused(replace(r"\w{500}{500}", "")), Error::Pattern { entry: 2, .. }));
        let many = vec![replace("x", ""); MAX_RULES + 1];
        assert_eq!(Rules::new(&many).map(drop), Err(Error::TooMany { count: MAX_RULES + 1 }));
    }
}
