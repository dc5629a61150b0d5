//! Where in a file a key stands.

use toml::de::{DeTable, DeValue};

/// The line, from 1, of the key that the names of `path` lead to, or of one `entry` (from 0) of its list. `None` where the
/// file does not have it.
pub fn line(text: &str, path: &[String], entry: Option<usize>) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let (last, sections) = path.split_last()?;
    let mut table = document.get_ref();
    for name in sections {
        table = table.iter().find(|(key, _)| key.get_ref() == name)?.1.get_ref().as_table()?;
    }
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == last)?;
    let item = entry.and_then(|entry| value.get_ref().as_array()?.get(entry));
    // A table of a list has no key of its own; what it spans begins at its head or at its first key.
    Some(line_at(text, item.map_or_else(|| key.span(), |item| begin(item.get_ref(), item.span())).start))
}

fn begin(value: &DeValue<'_>, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    match value {
        DeValue::Table(table) if span.is_empty() => {
            table.iter().map(|(key, _)| key.span()).min_by_key(|span| span.start).unwrap_or(span)
        }
        _ => span,
    }
}

/// The line, from 1, of a byte of the text.
pub fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let text = "\
tracker.urls = [\n  \"ws://a/\",\n  \"http://b/\",\n]\n[channels.\"a.b\"]\nurl = \"x\"\n[p2p]\ncritical_s = 1\n\
[[identity]]\npattern = \"a\"\n[[identity]]\nhosts = []\n[channels]\nc = { url = \"y\" }\n";
        let at = |path: &[&str], entry| {
            line(text, &path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), entry)
        };
        assert_eq!(at(&["tracker", "urls"], None), Some(1));
        assert_eq!(at(&["tracker", "urls"], Some(1)), Some(3));
        assert_eq!(at(&["tracker", "urls"], Some(9)), Some(1), "no such entry");
        assert_eq!(at(&["channels", "a.b", "url"], None), Some(6));
        assert_eq!(at(&["channels", "a.b"], None), Some(5));
        assert_eq!(at(&["channels", "c", "url"], None), Some(14));
        assert_eq!(at(&["p2p", "critical_s"], None), Some(8));
        assert_eq!(at(&["identity"], Some(1)), Some(11));
        assert_eq!(at(&["p2p", "prefetch_s"], None), None);
        assert_eq!(at(&["memory", "limit"], None), None);
        assert_eq!(line("[", &["p2p".to_owned()], None), None);
    }
}
