//! Long runs of elements that spell out segments one by one (S of a SegmentTimeline, SegmentURL of a SegmentList): there may
//! be very many, and what reads a whole MPD is slow at them. They are lifted out before it is read, each run with one
//! element left in its place that says which it was.
//!
//! Only what is spelled plainly is lifted, so that reading it here leads to what reading it there would have.

use std::borrow::Cow;

use dash_mpd_core as mpd;

/// A shorter run is left where it is.
const LONG: usize = 16;
/// What no S has: the number after it does not exist.
const LIFTED: u64 = u64::MAX;
/// What no SegmentURL has for an index: it is no address.
const INDEX: &str = "\u{1f6b4}";

/// What was lifted out of an MPD.
#[derive(Debug, Default)]
pub(super) struct Runs<'a> {
    times: Vec<Vec<mpd::S>>,
    files: Vec<Vec<File<'a>>>,
}

/// A SegmentURL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct File<'a> {
    pub media: Option<&'a str>,
    /// SegmentURL@mediaRange.
    pub range: Option<&'a str>,
}

/// An MPD without its long runs, which are beside it, and how many elements it is short of.
pub(super) struct Lifted<'a> {
    pub text: String,
    pub runs: Runs<'a>,
    pub elements: usize,
}

/// Lifts what can be lifted out of `text`; `None` if that is nothing, or too odd, or more than `most` elements.
pub(super) fn lift(text: &str, most: usize) -> Option<Lifted<'_>> {
    // Within one, elements are only text.
    if memchr::memmem::find(text.as_bytes(), b"<![CDATA[").is_some() {
        return None;
    }
    let mut lifted = Lifted { text: String::new(), runs: Runs::default(), elements: 0 };
    let (mut copied, mut at) = (0, 0);
    while let Some(next) = memchr::memchr(b'<', &text.as_bytes()[at..]) {
        let begins = at + next;
        let (run, ends) = run(text, begins, most)?;
        let left = match run {
            Run::Times(all) if all.len() >= LONG => {
                lifted.elements += all.len() - 1;
                lifted.runs.times.push(all);
                format!("<S n=\"{LIFTED}\" d=\"{}\"/>", lifted.runs.times.len() - 1)
            }
            Run::Files(all) if all.len() >= LONG => {
                lifted.elements += all.len() - 1;
                lifted.runs.files.push(all);
                format!("<SegmentURL index=\"{INDEX}\" media=\"{}\"/>", lifted.runs.files.len() - 1)
            }
            _ => {
                at = ends.max(begins + 1);
                continue;
            }
        };
        lifted.text.push_str(&text[copied..begins]);
        lifted.text.push_str(&left);
        (copied, at) = (ends, ends);
        if lifted.elements > most {
            return None;
        }
    }
    if copied == 0 {
        return None;
    }
    lifted.text.push_str(&text[copied..]);
    Some(lifted)
}

impl Runs<'_> {
    /// All of a SegmentTimeline; `None` where what was left behind is not ours.
    pub fn times<'s>(&'s self, left: &'s [mpd::S]) -> Option<Cow<'s, [mpd::S]>> {
        let is_lifted = |s: &mpd::S| s.n == Some(LIFTED);
        let run = |s: &mpd::S| usize::try_from(s.d).ok().and_then(|run| self.times.get(run));
        if let [only] = left
            && is_lifted(only)
        {
            return Some(Cow::Borrowed(run(only)?));
        }
        if !left.iter().any(is_lifted) {
            return Some(Cow::Borrowed(left));
        }
        let (mut all, mut last) = (Vec::new(), None);
        for s in left {
            if is_lifted(s) {
                later(&mut last, s.d)?;
                all.extend_from_slice(run(s)?);
            } else {
                all.push(s.clone());
            }
        }
        Some(Cow::Owned(all))
    }

    /// All files of a SegmentList, likewise.
    pub fn files<'s>(&'s self, left: &'s [mpd::SegmentURL]) -> Option<Vec<File<'s>>> {
        let (mut all, mut last) = (Vec::new(), None);
        for one in left {
            let (media, range) = (one.media.as_deref(), one.mediaRange.as_deref());
            if one.index.as_deref() == Some(INDEX) {
                let run = media?.parse::<u64>().ok()?;
                later(&mut last, run)?;
                all.extend_from_slice(self.files.get(usize::try_from(run).ok()?)?);
            } else {
                all.push(File { media, range });
            }
        }
        Some(all)
    }
}

/// What we leave in one list stands in order. An MPD may hold what reads like it, spelled in some other way: thousands of
/// those would each stand for a whole run.
fn later(last: &mut Option<u64>, run: u64) -> Option<()> {
    last.replace(run).is_none_or(|last| last < run).then_some(())
}

enum Run<'a> {
    Times(Vec<mpd::S>),
    Files(Vec<File<'a>>),
    Nothing,
}

/// The elements of one kind from `begins` on, and where the last of them ends; `None` for more than `most`.
fn run(text: &str, begins: usize, most: usize) -> Option<(Run<'_>, usize)> {
    if let Some((first, ends)) = time(text, begins) {
        let (all, ends) = all_of(text, first, ends, most, time)?;
        return Some((Run::Times(all), ends));
    }
    if let Some((first, ends)) = file(text, begins) {
        let (all, ends) = all_of(text, first, ends, most, file)?;
        return Some((Run::Files(all), ends));
    }
    Some((Run::Nothing, begins))
}

fn all_of<'a, T>(
    text: &'a str,
    first: T,
    mut ends: usize,
    most: usize,
    next: fn(&'a str, usize) -> Option<(T, usize)>,
) -> Option<(Vec<T>, usize)> {
    let mut all = vec![first];
    while let Some((one, after)) = next(text, after_space(text, ends)) {
        all.push(one);
        ends = after;
        if all.len() > most {
            return None;
        }
    }
    Some((all, ends))
}

/// An S that begins at `at`, and where it ends.
fn time(text: &str, at: usize) -> Option<(mpd::S, usize)> {
    let mut s = mpd::S::default();
    let (mut duration, mut more) = (None, None);
    let ends = element(text, at, "S", |name, value| {
        let slot = match name {
            "t" => &mut s.t,
            "n" => &mut s.n,
            "d" => &mut duration,
            "k" => &mut s.k,
            "r" => {
                let (sign, digits) = value.strip_prefix('-').map_or((1, value), |digits| (-1, digits));
                let count = number(digits).and_then(|count| i64::try_from(count).ok())?;
                return more.replace(sign * count).is_none().then_some(());
            }
            _ => return None,
        };
        slot.replace(number(value)?).is_none().then_some(())
    })?;
    (s.d, s.r) = (duration?, more);
    (s.n != Some(LIFTED)).then_some((s, ends))
}

/// A SegmentURL that begins at `at`, and where it ends.
fn file(text: &str, at: usize) -> Option<(File<'_>, usize)> {
    let (mut file, mut index, mut index_range) = (File::default(), None, None);
    let ends = element(text, at, "SegmentURL", |name, value| {
        let slot = match name {
            "media" => &mut file.media,
            "mediaRange" => &mut file.range,
            "index" => &mut index,
            "indexRange" => &mut index_range,
            _ => return None,
        };
        // Not empty, and nothing that stands for something else: references, and white space that is taken for a blank.
        let plain = !value.is_empty() && !value.bytes().any(|byte| matches!(byte, b'&' | b'<' | ..=b' '));
        (plain && slot.replace(value).is_none()).then_some(())
    })?;
    (index != Some(INDEX)).then_some((file, ends))
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The end of `<name a="…" b='…'/>` that begins at `at`; `each` is given its attributes and may refuse them.
fn element<'a>(
    text: &'a str,
    at: usize,
    name: &str,
    mut each: impl FnMut(&'a str, &'a str) -> Option<()>,
) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = at + text.get(at..)?.strip_prefix('<')?.strip_prefix(name).map(|_| name.len() + 1)?;
    loop {
        let begins = after_space(text, at);
        if bytes.get(begins..)?.starts_with(b"/>") {
            return Some(begins + 2);
        }
        // What is not apart is one name.
        if begins == at {
            return None;
        }
        let length = bytes[begins..].iter().position(|byte| !byte.is_ascii_alphabetic())?;
        let equals = begins + length;
        let quote = *bytes.get(equals + 1)?;
        if bytes[equals] != b'=' || !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let value = equals + 2;
        let closes = value + memchr::memchr(quote, &bytes[value..])?;
        each(&text[begins..equals], &text[value..closes])?;
        at = closes + 1;
    }
}

fn after_space(text: &str, at: usize) -> usize {
    let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    at + text.as_bytes()[at..].iter().take_while(|byte| space(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(text: &str) -> Option<String> {
        lift(text, 1000).map(|lifted| lifted.text)
    }

    #[test]
    fn long_runs_are_lifted_and_short_ones_stay() {
        let times = |count: usize| "<S t='7' d=\"2\" r=\"-1\"/>\n ".repeat(count);
        let files = |count: usize| "<SegmentURL media=\"a.ts?b=1\" mediaRange='0-9' />".repeat(count);
        let text = format!("<MPD><!-- <S --><X>{}</X>{}<Y/>{}</MPD>", times(20), times(3), files(16));
        let lifted = lift(&text, 100).unwrap();
        let short = "<MPD><!-- <S --><X><S n=\"18446744073709551615\" d=\"0\"/>\n </X><S t='7' d=\"2\" r=\"-1\"/>\n \
             <S t='7' d=\"2\" r=\"-1\"/>\n <S t='7' d=\"2\" r=\"-1\"/>\n <Y/><SegmentURL index=\"\u{1f6b4}\" media=\"0\"/></MPD>";
        assert_eq!((lifted.text.as_str(), lifted.elements), (short, 19 + 15));
        let s = mpd::S { t: Some(7), d: 2, r: Some(-1), ..mpd::S::default() };
        let left = [mpd::S { n: Some(LIFTED), ..mpd::S::default() }, s.clone()];
        assert_eq!(lifted.runs.times(&left[..1]).unwrap(), vec![s.clone(); 20]);
        assert_eq!(lifted.runs.times(&left).unwrap(), vec![s.clone(); 21]);
        assert_eq!(lifted.runs.times(&left[1..]).unwrap(), vec![s]);
        let unknown = mpd::S { n: Some(LIFTED), d: 1, ..mpd::S::default() };
        assert_eq!(lifted.runs.times(&[unknown]), None);
        let file = File { media: Some("a.ts?b=1"), range: Some("0-9") };
        let url = |media: &str| mpd::SegmentURL { media: Some(media.into()), ..mpd::SegmentURL::default() };
        let left = mpd::SegmentURL { index: Some(INDEX.into()), ..url("0") };
        let other = File { media: Some("b"), range: None };
        assert_eq!(lifted.runs.files(&[left, url("b")]).unwrap(), [vec![file; 16], vec![other]].concat());
    }

    #[test]
    fn what_only_reads_like_ours_stands_for_a_run_once() {
        let text = format!("{}<X/>{}", "<S d=\"1\"/>".repeat(20), "<SegmentURL media=\"a\"/>".repeat(20));
        let runs = lift(&text, 1000).unwrap().runs;
        let s = mpd::S { n: Some(LIFTED), ..mpd::S::default() };
        assert_eq!(runs.times(&[s.clone(), s]), None);
        let url = mpd::SegmentURL {
            index: Some(INDEX.into()),
            media: Some("0".into()),
            ..mpd::SegmentURL::default()
        };
        assert_eq!(runs.files(&[url.clone(), url]), None);
    }

    #[test]
    fn what_is_odd_stays() {
        let good = "<S d=\"1\"/>".repeat(LONG);
        assert!(shortened(&good).is_some());
        for odd in [
            "<S d=\"1\">",
            "<S d=\"x\"/>",
            "<S d=\"1\" d=\"1\"/>",
            "<S d=\"1\"t=\"1\"/>",
            "<S t=\"1\"/>",
            "<S d=1/>",
            "<Sd=\"1\"/>",
            "<x:S d=\"1\"/>",
            "<S d=\"99999999999999999999\"/>",
            "<S d=\"1\" q=\"1\"/>",
            "<S d=\" 1\"/>",
            "<S d=\"1\"",
            "<S d=\"1",
            "<S n=\"18446744073709551615\" d=\"1\"/>",
            "<SegmentURL media=\"a&amp;b\"/>",
            "<SegmentURL media=\"a\nb\"/>",
            "<SegmentURL media=\"\"/>",
            "<SegmentURL index=\"\u{1f6b4}\"/>",
            "<SegmentURL other=\"a\"/>",
        ] {
            assert_eq!(shortened(&odd.repeat(LONG)), None, "{odd}");
        }
        assert_eq!(shortened(&format!("<![CDATA[x]]>{good}")), None);
        assert!(lift(&good, LONG).is_some() && lift(&good, LONG - 1).is_none());
    }
}
