//! SegmentTemplate@media as a pattern of URLs (ISO/IEC 23009-1 §5.3.9.4.4): filled in for a segment, or matched against
//! what a player asks for.

use url::Url;

use crate::model::address::Address;

/// The widest `%0Nd` that is understood; the standard's own examples stop at 9.
const WIDEST: usize = 20;
/// What stands for a variable while the rest becomes a URL: nothing in it is escaped or resolved away.
const MARK: &str = "paceline-variable-";

/// A URL with variable parts, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Number(usize),
    Time(usize),
}

/// What the variables of a URL say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub number: Option<u64>,
    pub time: Option<u64>,
}

impl Pattern {
    /// `template` of a Representation, resolved against `base`.
    ///
    /// `None` when every segment would have one URL, or a host of its own, or for identifiers that are not understood
    /// (`$SubNumber$`).
    pub fn new(base: &Url, template: &str, id: &str, bandwidth: u64) -> Option<Self> {
        let (mut plain, mut variables) = (String::new(), Vec::new());
        for (index, part) in template.split('$').enumerate() {
            if index % 2 == 0 {
                plain.push_str(part);
                continue;
            }
            let (name, width) = match part.split_once('%') {
                Some((name, format)) => (name, width(format)?),
                None => (part, 0),
            };
            match name {
                "" => plain.push('$'),
                "RepresentationID" => plain.push_str(id),
                "Bandwidth" => plain.push_str(&format!("{bandwidth:0width$}")),
                "Number" | "Time" => {
                    plain.push_str(&format!("{MARK}{}-", variables.len()));
                    variables.push(if name == "Number" { Part::Number(width) } else { Part::Time(width) });
                }
                _ => return None,
            }
        }
        // An odd number of dollars leaves one open.
        if template.matches('$').count() % 2 == 1 || variables.is_empty() {
            return None;
        }
        let url = base.join(&plain).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let mut rest = url.as_str().split('#').next()?;
        let mut parts = Vec::new();
        for (index, variable) in variables.into_iter().enumerate() {
            let (before, after) = rest.split_once(&format!("{MARK}{index}-"))?;
            // Nobody could tell where the one before ends.
            if index > 0 && before.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(variable);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        // Digits in a host's name may be another name for it: the URL that is asked for would not be the one filled in.
        let host_is_fixed =
            matches!(parts.first(), Some(Part::Text(first)) if first.matches('/').count() > 2);
        host_is_fixed.then_some(Self { parts })
    }

    /// Whether the time is in it.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// The URL of a segment.
    pub fn fill(&self, number: u64, time: u64) -> String {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Number(width) => url.push_str(&format!("{number:0width$}")),
                Part::Time(width) => url.push_str(&format!("{time:0width$}")),
            }
        }
        url
    }

    /// The address of a segment.
    pub fn address(&self, number: u64, time: u64) -> Address {
        Address::of(&self.fill(number, time))
    }

    /// The values with which it is `url`, if there are any.
    pub fn matches(&self, url: &str) -> Option<Values> {
        let (mut rest, mut values) = (url, Values::default());
        for (index, part) in self.parts.iter().enumerate() {
            let slot = match part {
                Part::Text(text) => {
                    rest = rest.strip_prefix(text.as_str())?;
                    continue;
                }
                Part::Number(_) => &mut values.number,
                Part::Time(_) => &mut values.time,
            };
            // Digits that follow a variable are not of its value.
            let after = match self.parts.get(index + 1) {
                Some(Part::Text(text)) => digits(text),
                _ => 0,
            };
            let digits = digits(rest).checked_sub(after)?;
            let value = rest[..digits].parse().ok()?;
            if slot.replace(value).is_some_and(|before| before != value) {
                return None;
            }
            rest = &rest[digits..];
        }
        let again = self.fill(values.number.unwrap_or_default(), values.time.unwrap_or_default());
        (rest.is_empty() && again == url).then_some(values)
    }
}

/// How many digits `text` begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The width of `0Nd`.
fn width(format: &str) -> Option<usize> {
    let digits = format.strip_prefix('0')?.strip_suffix(['d', 'u'])?;
    digits.parse().ok().filter(|&width| width <= WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(template: &str) -> Option<Pattern> {
        let base = Url::parse("https://cdn.example/live/a/stream.mpd?token=x").unwrap();
        Pattern::new(&base, template, "v 1", 800_000)
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, url) in [
            ("$RepresentationID$/$Number$.m4s", "https://cdn.example/live/a/v%201/7.m4s"),
            ("../b/seg-$Number%05d$.m4s?x=$Bandwidth$", "https://cdn.example/live/b/seg-00007.m4s?x=800000"),
            ("/t/$Time$_$Number%03d$.mp4", "https://cdn.example/t/900_007.mp4"),
            ("https://other.example/$$$Number$", "https://other.example/$7"),
            ("$Bandwidth%09d$/$Number$", "https://cdn.example/live/a/000800000/7"),
            ("1$Number$23.m4s", "https://cdn.example/live/a/1723.m4s"),
            ("$Number$0$RepresentationID$-$Time$1", "https://cdn.example/live/a/70v%201-9001"),
        ] {
            let pattern = pattern(template).unwrap();
            assert_eq!(pattern.fill(7, 900), url, "{template}");
            assert_eq!(pattern.matches(url).and_then(|v| v.number), Some(7), "{template}");
        }
        for template in [
            "$Number$$Time$",
            "$Number$0$Time$",
            "all.mp4",
            "$SubNumber$.m4s",
            "$Number",
            "$Number%5d$",
            "$Number%099d$",
            "data:,$Number$",
            "//$Number$/a.mp4",
            "https://cdn$Number$.example/a.mp4",
            "https://cdn.example:$Number$/a.mp4",
            "https://$Number$@cdn.example/a.mp4",
        ] {
            assert_eq!(pattern(template), None, "{template}");
        }
    }

    #[test]
    fn what_is_not_of_the_pattern_does_not_match() {
        let pattern = pattern("s-$Number%03d$.m4s").unwrap();
        let url = |name: &str| format!("https://cdn.example/live/a/{name}");
        for (name, number) in [
            ("s-007.m4s", Some(7)),
            ("s-1234.m4s", Some(1234)),
            ("s-7.m4s", None),
            ("s-0007.m4s", None),
            ("s-.m4s", None),
            ("s-007.m4s?x", None),
            ("s-99999999999999999999999.m4s", None),
        ] {
            assert_eq!(pattern.matches(&url(name)).and_then(|v| v.number), number, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_found_again(number: u64, time: u64, width in 1usize..20) {
            let pattern = pattern(&format!("x$Time$-$Number%0{width}d$.m4s")).unwrap();
            let expected = Values { number: Some(number), time: Some(time) };
            prop_assert_eq!(pattern.matches(&pattern.fill(number, time)), Some(expected));
        }

        #[test]
        fn no_template_panics(template in "[$%0-9a-zNumberTime/:.]{0,40}", url in "\\PC{0,60}") {
            if let Some(pattern) = pattern(&template) {
                let _ = pattern.matches(&url);
            }
        }
    }
}
