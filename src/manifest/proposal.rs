//! The `[[identity]]` rule that two viewers of one stream need in order to meet.
//!
//! What is proposed was tried: it gives both viewers' URLs the same name, pair by pair, and no two different URLs of
//! one viewer the same. It begins with the host and the folders that were seen, so it leaves other streams alone.

use std::collections::{BTreeMap, BTreeSet};

use regex::escape;
use url::Url;

use super::identity::{Options, Rules};

/// The most folders that a pattern spells out; with more of them nothing is proposed.
const FOLDERS: usize = 8;

/// A kind of characters as a pattern, and whether one is of it.
type Class = (&'static str, fn(char) -> bool);

/// Kinds of characters that tokens are made of, the narrowest first.
const CLASSES: [Class; 6] = [
    ("[0-9]", |c| c.is_ascii_digit()),
    ("[0-9a-f]", |c| c.is_ascii_digit() || matches!(c, 'a'..='f')),
    ("[0-9A-F]", |c| c.is_ascii_digit() || matches!(c, 'A'..='F')),
    ("[0-9A-Za-z]", |c| c.is_ascii_alphanumeric()),
    ("[0-9A-Za-z_-]", |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
    ("[^/]", |c| c != '/'),
];

/// The rule that makes one viewer's URLs `a` and another's `b` the same, acting after `rules`.
///
/// `a[i]` and `b[i]` are to be the same thing, a playlist or a segment, and at least two things are needed. `None`:
/// they are the same already, or no single rule would do: what differs also tells segments apart, or is not in one
/// place of the path, or is in both host and path. At worst quadratic in the number of different folders, which is
/// bounded; linear in everything else.
#[must_use]
pub fn proposed_rule(a: &[Url], b: &[Url], rules: &Rules) -> Option<Options> {
    let text = |url: &Url| rules.identity(url);
    let pairs: Vec<(String, String)> = a.iter().zip(b).map(|(a, b)| (text(a), text(b))).collect();
    if pairs.iter().all(|(a, b)| a == b) {
        return None;
    }
    let candidates = if pairs.iter().any(|(a, b)| split(a).0 != split(b).0) {
        vec![hosts(&pairs)]
    } else {
        let places = places(&pairs)?;
        vec![fixed(&places), moving(&places)]
    };
    candidates.into_iter().flatten().find(|rule| does(rule, &pairs))
}

/// What `rule` makes of the URL, to show what varies: it stands as `*`.
#[must_use]
pub fn shown(rule: &Options, url: &Url, rules: &Rules) -> String {
    let text = rules.identity(url);
    Rules::new(std::slice::from_ref(rule)).map_or_else(|_| text.clone(), |rule| rule.apply(text.clone()))
}

/// Whether `rule` brings each pair together and nothing else.
fn does(rule: &Options, pairs: &[(String, String)]) -> bool {
    let Ok(rule) = Rules::new(std::slice::from_ref(rule)) else { return false };
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let together = pairs.iter().all(|(a, b)| {
        let name = rule.apply(a.clone());
        name == rule.apply(b.clone()) && *names.entry(name).or_insert(a) == a
    });
    together && names.len() > 1
}

/// Host and path of an identity.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

/// For paths that are the same on different hosts.
fn hosts(pairs: &[(String, String)]) -> Option<Options> {
    let differing = pairs.iter().map(|(a, b)| (split(a).0, split(b).0)).filter(|(a, b)| a != b);
    let hosts: BTreeSet<&str> = differing.flat_map(|(a, b)| [a, b]).collect();
    let alias = (*hosts.first()?).to_owned();
    Some(Options { hosts: hosts.into_iter().map(str::to_owned).collect(), alias, ..Options::default() })
}

/// Where in one pair of URLs the differing components are.
struct Place {
    /// What is before them, up to a slash: the same for both viewers.
    folder: String,
    /// The components, for the one viewer and the other.
    parts: [String; 2],
    /// Nothing comes after them.
    last: bool,
}

/// The components in which any pair differs, of every pair that does; `None` when pairs differ in depth.
fn places(pairs: &[(String, String)]) -> Option<Vec<Place>> {
    let (mut first, mut end) = (usize::MAX, 0);
    let differing = || pairs.iter().filter(|(a, b)| a != b);
    for (a, b) in differing() {
        if a.matches('/').count() != b.matches('/').count() {
            return None;
        }
        for (index, _) in a.split('/').zip(b.split('/')).enumerate().filter(|(_, (a, b))| a != b) {
            (first, end) = (first.min(index), end.max(index + 1));
        }
    }
    let place = |(a, b): &(String, String)| {
        let components = |text: &str, skip: usize, take: usize| -> Vec<String> {
            text.split('/').skip(skip).take(take).map(str::to_owned).collect()
        };
        let part = |text: &str| components(text, first, end - first).join("/");
        let folder = components(a, 0, first).join("/") + "/";
        Place { folder, parts: [part(a), part(b)], last: a.split('/').count() <= end }
    };
    Some(differing().map(place).collect())
}

/// For a token that has the same text around it everywhere.
fn fixed(places: &[Place]) -> Option<Options> {
    let all = || places.iter().flat_map(|place| &place.parts).map(String::as_str);
    let (before, behind) = around(all())?;
    let tokens = all().map(|part| inner(part, before, behind)).collect::<Option<Vec<_>>>()?;
    rule(places, &escape(before), &tokens, &escape(behind))
}

/// For a token beside which stands what tells segments apart.
fn moving(places: &[Place]) -> Option<Options> {
    let (mut before, mut behind, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for Place { parts: [a, b], .. } in places {
        let (prefix, suffix) = around([a.as_str(), b.as_str()].into_iter())?;
        before.push(prefix);
        behind.push(suffix);
        tokens.extend([inner(a, prefix, suffix)?, inner(b, prefix, suffix)?]);
    }
    let before = match same(&before) {
        Some(text) => escape(text),
        None => {
            let ends = before.iter().map(|text| text.chars().next_back()).collect::<Option<Vec<_>>>()?;
            format!("[^/]*{}", escape(&same(&ends)?.to_string()))
        }
    };
    let behind = match same(&behind) {
        Some(text) => escape(text),
        None => {
            let starts = behind.iter().map(|text| text.chars().next()).collect::<Option<Vec<_>>>()?;
            format!("{}[^/]*", escape(&same(&starts)?.to_string()))
        }
    };
    rule(places, &before, &tokens, &behind)
}

/// The rule for `tokens` between the patterns `before` and `behind`, in the folders where they were seen.
fn rule(places: &[Place], before: &str, tokens: &[&str], behind: &str) -> Option<Options> {
    let folders: BTreeSet<&str> = places.iter().map(|place| place.folder.as_str()).collect();
    if folders.len() > FOLDERS {
        return None;
    }
    let spelled: Vec<String> = folders.into_iter().map(escape).collect();
    let folder = if let [one] = &spelled[..] { one.clone() } else { format!("(?:{})", spelled.join("|")) };
    let end = match (places.iter().any(|place| place.last), places.iter().all(|place| place.last)) {
        (_, true) => "$",
        (true, false) => "(?:/|$)",
        (false, false) => "/",
    };
    let pattern = format!("^({folder}{before}){}({behind}{end})", token(tokens)?);
    Some(Options { pattern, replace: "${1}*${2}".to_owned(), ..Options::default() })
}

/// A pattern for all of `tokens`, component by component; `None` when they differ in depth.
fn token(tokens: &[&str]) -> Option<String> {
    let split: Vec<Vec<&str>> = tokens.iter().map(|token| token.split('/').collect()).collect();
    let depth = *same(&split.iter().map(Vec::len).collect::<Vec<_>>())?;
    let components = (0..depth).map(|index| {
        let values: Vec<&str> = split.iter().map(|token| token[index]).collect();
        component(&values)
    });
    Some(components.collect::<Vec<_>>().join("/"))
}

/// A pattern for what stands in one component: the narrowest kind of characters, and how many.
fn component(values: &[&str]) -> String {
    if let Some(value) = same(values) {
        return escape(value);
    }
    let fits = |of: fn(char) -> bool| values.iter().all(|value| value.chars().all(of));
    let (class, _) = CLASSES.iter().find(|(_, of)| fits(*of)).unwrap_or(&CLASSES[CLASSES.len() - 1]);
    let lengths: Vec<usize> = values.iter().map(|value| value.chars().count()).collect();
    match (same(&lengths), lengths.iter().min()) {
        (Some(length), _) => format!("{class}{{{length}}}"),
        // Others' tokens may be somewhat shorter than those that were seen.
        (None, shortest) => format!("{class}{{{},}}", (shortest.map_or(1, |length| length * 3 / 4)).max(1)),
    }
}

/// The text that all begin with and the text that all end with, each as far as a character that is no letter or digit:
/// what tokens have in common by chance is left to them. `None` when there are none.
fn around<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let (mut before, mut behind) = all.next().map(|first| (first, first))?;
    for text in all {
        before = &before[..matching(before.chars(), text.chars())];
        behind = &behind[behind.len() - matching(behind.chars().rev(), text.chars().rev())..];
    }
    let limit = |c: char| !c.is_ascii_alphanumeric();
    let end = before.char_indices().rfind(|(_, c)| limit(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    Some((&before[..end], &behind[behind.find(limit).unwrap_or(behind.len())..]))
}

/// How many bytes two texts begin with in common.
fn matching(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// What is between the two, if anything.
fn inner<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(behind).filter(|token| !token.is_empty())
}

/// The one value that all of them have.
fn same<T: PartialEq>(values: &[T]) -> Option<&T> {
    let first = values.first()?;
    values.iter().all(|value| value == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn urls(list: &[&str]) -> Vec<Url> {
        list.iter().map(|url| Url::parse(&format!("https://{url}")).unwrap()).collect()
    }

    fn proposed(a: &[&str], b: &[&str]) -> Option<Options> {
        proposed_rule(&urls(a), &urls(b), &Rules::default())
    }

    #[test]
    fn tokens_are_found_wherever_they_stand() {
        for (a, b, pattern) in [
            // A whole component, at the top and below.
            (["h/01ab/l.m3u8", "h/01ab/1.ts"], ["h/cd2e/l.m3u8", "h/cd2e/1.ts"], "^(h/)[0-9a-f]{4}(/)"),
            (["h/v/77/1.ts", "h/v/77/2.ts"], ["h/v/123/1.ts", "h/v/123/2.ts"], r"^(h/v/)[0-9]{1,}(/)"),
            // With a name before it, and something in common by chance.
            (
                ["h/tok-1a2b/1.ts", "h/tok-1a2b/2.ts"],
                ["h/tok-1af0/1.ts", "h/tok-1af0/2.ts"],
                r"^(h/tok\-)[0-9a-f]{4}(/)",
            ),
            // Beside the number of the segment.
            (
                ["h/1-Zz9.ts", "h/2-Zz9.ts"],
                ["h/1-q8R.ts", "h/2-q8R.ts"],
                r"^(h/[^/]*\-)[0-9A-Za-z]{3}(\.ts$)",
            ),
            (["h/Zz9_1.ts", "h/Zz9_2.ts"], ["h/q8R_1.ts", "h/q8R_2.ts"], r"^(h/)[0-9A-Za-z]{3}(_[^/]*$)"),
            // A signature of each URL.
            (["h/01ab/1.ts", "h/23cd/2.ts"], ["h/45ef/1.ts", "h/67ab/2.ts"], "^(h/)[0-9a-f]{4}(/)"),
            // Two in a row, and two with something between.
            (
                ["h/ab/12/1.ts", "h/ab/12/2.ts"],
                ["h/cd/34/1.ts", "h/cd/34/2.ts"],
                "^(h/)[0-9a-f]{2}/[0-9]{2}(/)",
            ),
            (
                ["h/ab/x/1/1.ts", "h/ab/x/1/2.ts"],
                ["h/cd/x/3/1.ts", "h/cd/x/3/2.ts"],
                "^(h/)[0-9a-f]{2}/x/[0-9]{1}(/)",
            ),
            // In two folders, as the last component and not.
            (["h/p/ab", "h/q/ab/1.ts"], ["h/p/cd", "h/q/cd/1.ts"], "^((?:h/p/|h/q/))[0-9a-f]{2}((?:/|$))"),
            // Next to something that is the same for all.
            (["h/l.m3u8", "h/a~b/1.ts"], ["h/l.m3u8", "h/c~d/1.ts"], ""),
            (["h/k.m3u8", "h/a-b/1.ts"], ["h/k.m3u8", "h/cd-/1.ts"], "^(h/)[0-9A-Za-z_-]{3}(/)"),
        ] {
            let rule = proposed(&a, &b);
            if pattern.is_empty() {
                assert!(rule.is_some_and(|rule| rule.pattern.contains("[^/]{3}")), "{a:?} {b:?}");
                continue;
            }
            assert_eq!(rule.map(|rule| rule.pattern).as_deref(), Some(pattern), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_varying_part_is_shown() {
        let (a, b) = (urls(&["h/tok-1a/1.ts?x", "h/tok-1a/2.ts"]), urls(&["h/tok-2b/1.ts", "h/tok-2b/2.ts"]));
        let rules = Rules::default();
        let rule = proposed_rule(&a, &b, &rules).unwrap();
        assert_eq!(shown(&rule, &a[0], &rules), "h/tok-*/1.ts");
    }

    #[test]
    fn other_hosts_have_an_alias() {
        let rule = proposed(&["e2.h/1.ts", "e2.h/2.ts"], &["e1.h/1.ts", "e1.h/2.ts"]).unwrap();
        assert_eq!((rule.hosts, rule.alias), (vec!["e1.h".to_owned(), "e2.h".to_owned()], "e1.h".to_owned()));
        let apart = proposed(&["e2.h/ab/1.ts", "e2.h/ab/2.ts"], &["e1.h/cd/1.ts", "e1.h/cd/2.ts"]);
        assert_eq!(apart, None, "host and path");
    }

    #[test]
    fn what_was_configured_goes_first() {
        let before = Options { pattern: "^e[0-9]".into(), replace: "e".into(), ..Options::default() };
        let rules = Rules::new(std::slice::from_ref(&before)).unwrap();
        let (a, b) = (urls(&["e1.h/ab/1.ts", "e1.h/ab/2.ts"]), urls(&["e2.h/cd/1.ts", "e2.h/cd/2.ts"]));
        let rule = proposed_rule(&a, &b, &rules).unwrap();
        assert_eq!(rule.pattern, r"^(e\.h/)[0-9a-f]{2}(/)");
        let both = Rules::new(&[before, rule]).unwrap();
        assert_eq!(both.identity(&a[0]), both.identity(&b[0]));
    }

    #[test]
    fn what_no_rule_can_mend_has_none() {
        for (a, b) in [
            // The same already; the query never counts.
            (&["h/1.ts?a", "h/2.ts"][..], &["h/1.ts?b", "h/2.ts"][..]),
            (&[], &[]),
            // What differs tells segments apart.
            (&["h/aa.ts", "h/bb.ts"], &["h/cc.ts", "h/dd.ts"]),
            (&["h/aa/x.ts", "h/bb/x.ts"], &["h/cc/x.ts", "h/dd/x.ts"]),
            // Nothing to try it on.
            (&["h/aa/1.ts"], &["h/bb/1.ts"]),
            // Another depth.
            (&["h/aa/1.ts", "h/aa/2.ts"], &["h/b/b/1.ts", "h/b/b/2.ts"]),
        ] {
            assert_eq!(proposed(a, b), None, "{a:?} {b:?}");
        }
    }

    /// The URLs of one viewer, for a token somewhere among the folders.
    fn viewer(folders: &[String], at: usize, within: bool, token: &str, segments: usize) -> Vec<Url> {
        let mut folders = folders.to_vec();
        folders.insert(at.min(folders.len()), if within { format!("s-{token}_x") } else { token.to_owned() });
        let names = (0..segments).map(|n| format!("seg{n}.ts")).chain(["index.m3u8".to_owned()]);
        names
            .map(|name| Url::parse(&format!("http://h.example/{}/{name}", folders.join("/"))).unwrap())
            .collect()
    }

    proptest! {
        #[test]
        fn a_third_viewer_is_met_too(
            folders in proptest::collection::vec("[a-zA-Z0-9._$()+-]{1,8}x", 0..4),
            (at, within, segments) in (0usize..5, any::<bool>(), 1usize..6),
            tokens in prop_oneof![
                ["[0-9a-f]{24}", "[0-9a-f]{24}", "[0-9a-f]{24}"],
                ["[0-9]{16}", "[0-9]{16}", "[0-9]{16}"],
                ["[0-9A-Za-z]{22}", "[0-9A-Za-z]{22}", "[0-9A-Za-z]{22}"],
            ],
        ) {
            let [a, b, c] = tokens.map(|token| viewer(&folders, at, within, &token, segments));
            prop_assume!(a != b);
            let rule = proposed_rule(&a, &b, &Rules::default());
            prop_assert!(rule.is_some());
            let rules = Rules::new(rule.as_slice()).unwrap();
            let names = |urls: &[Url]| urls.iter().map(|url| rules.identity(url)).collect::<Vec<_>>();
            prop_assert_eq!(names(&a), names(&b));
            prop_assert_eq!(names(&a), names(&c));
            prop_assert_eq!(names(&a).into_iter().collect::<BTreeSet<_>>().len(), segments + 1);
        }

        #[test]
        fn whatever_is_proposed_keeps_different_things_different(
            pairs in proptest::collection::vec(("[ab1/._-]{0,6}", "[ab1/._-]{0,6}"), 0..6),
        ) {
            let url = |path: &String| Url::parse(&format!("http://h/{path}")).unwrap();
            let a: Vec<Url> = pairs.iter().map(|(a, _)| url(a)).collect();
            let b: Vec<Url> = pairs.iter().map(|(_, b)| url(b)).collect();
            if let Some(rule) = proposed_rule(&a, &b, &Rules::default()) {
                let rules = Rules::new(&[rule]).unwrap();
                for (index, one) in a.iter().enumerate() {
                    prop_assert_eq!(rules.identity(one), rules.identity(&b[index]));
                    for other in &a {
                        prop_assert_eq!(one == other, rules.identity(one) == rules.identity(other));
                    }
                }
            }
        }
    }
}
