//! URL to identity: what makes two viewers' renditions and segments the same.
//!
//! Scheme, query and fragment do not count; host and path do. Rules bring together what a publisher spreads over hosts
//! or decorates with a token in the path.

use std::ops::Range;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use url::Url;

/// The most memory a compiled pattern may take, in bytes.
const PATTERN_SIZE: usize = 256 * 1024;
/// The longest identity text; a longer path is cut after it was rewritten, so it never takes more memory than this.
const TEXT: usize = 4096;

/// One `[[identity]]` rule: what `pattern` matches in `host/path` is replaced, before names are made from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// A regular expression over `host/path`, such as `^cdn[0-9]+\.example/` or `/token-[^/]+/`.
    pub pattern: String,
    /// What takes its place; `$1` is the first group. Empty removes it.
    pub replace: String,
}

/// A rule that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("identity rule {number}: {error}")]
pub struct BadRule {
    /// Counting from 1, as in the file.
    pub number: usize,
    /// What is wrong with its pattern.
    pub error: regex::Error,
}

/// The rules, ready for use. None at all is the default.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(Regex, String)>,
}

impl Rules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// When a pattern is not a regular expression, or too large a one.
    pub fn new(rules: &[Rule]) -> Result<Self, BadRule> {
        let compile = |(number, rule): (usize, &Rule)| {
            let pattern = RegexBuilder::new(&rule.pattern).size_limit(PATTERN_SIZE).build();
            let pattern = pattern.map_err(|error| BadRule { number: number + 1, error })?;
            Ok((pattern, rule.replace.clone()))
        };
        Ok(Self { rules: rules.iter().enumerate().map(compile).collect::<Result<_, _>>()? })
    }

    /// The identity text of a URL.
    #[must_use]
    pub fn identity(&self, url: &Url) -> String {
        let mut text = url.host_str().unwrap_or_default().to_ascii_lowercase();
        if let Some(port) = url.port() {
            text.push_str(&format!(":{port}"));
        }
        text.push_str(url.path());
        for (pattern, replace) in &self.rules {
            text = pattern.replace_all(&text, replace).into_owned();
            if text.len() > TEXT {
                let cut = (0..=TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                text.truncate(cut);
            }
        }
        text
    }

    /// The identity text of a segment: that of its file, and the bytes of it that are meant.
    #[must_use]
    pub fn segment(&self, url: &Url, range: Option<&Range<u64>>) -> String {
        let file = self.identity(url);
        match range {
            Some(range) => format!("{file}\n{}-{}", range.start, range.end),
            None => file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(rules: &[(&str, &str)], url: &str) -> String {
        let rules: Vec<Rule> =
            rules.iter().map(|(p, r)| Rule { pattern: (*p).into(), replace: (*r).into() }).collect();
        Rules::new(&rules).unwrap().identity(&Url::parse(url).unwrap())
    }

    #[test]
    fn what_differs_between_viewers_does_not_count() {
        for url in [
            "https://CDN.example/live/a%2Fb/seg1.ts",
            "http://cdn.example/live/a%2Fb/seg1.ts?token=x",
            "https://user:secret@cdn.example:443/live/a%2Fb/seg1.ts#t=1",
        ] {
            assert_eq!(identity(&[], url), "cdn.example/live/a%2Fb/seg1.ts");
        }
        assert_eq!(identity(&[], "http://cdn.example:8080/x"), "cdn.example:8080/x");
    }

    #[test]
    fn rules_bring_hosts_and_tokens_together() {
        let rules = [(r"^cdn[0-9]+\.example/", "cdn.example/"), (r"/token-[^/]+/", "/")];
        assert_eq!(identity(&rules, "https://cdn7.example/token-ab12/live/1.ts"), "cdn.example/live/1.ts");
    }

    #[test]
    fn a_bad_rule_is_named() {
        let rules = [Rule::default(), Rule { pattern: "(".into(), replace: String::new() }];
        let error = Rules::new(&rules).unwrap_err().to_string();
        assert!(error.starts_with("identity rule 2: "), "{error}");
        let bomb = [Rule { pattern: "(a{1000}){1000}".into(), replace: String::new() }];
        assert!(Rules::new(&bomb).is_err());
    }
}
