//! What an HLS media playlist says besides its segments and bears on sharing them: encryption, and low-latency parts.
//!
//! Nothing here fails: what can't be read is not remarked. It is for people to read, so whatever it holds is printable.

use url::Url;

use super::lines::{What, attributes, lines};

/// The most kinds of encryption and places of keys that are told apart.
const MOST: usize = 16;

/// What was remarked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// How segments are encrypted (EXT-X-KEY), without repetitions and without `NONE`; empty: they are not.
    pub encryption: Vec<Encryption>,
    /// Whether it lists parts of segments (EXT-X-PART), or says that it may.
    pub low_latency: bool,
}

/// One kind of encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Its name in the manifest, such as `AES-128` or `cenc`.
    pub method: String,
    /// Where its keys are: scheme and host, or the scheme alone where there is no host; `None`: not said.
    pub keys: Option<String>,
}

/// Reads the media playlist `text`, found at `base` (after redirects).
#[must_use]
pub fn remarks(base: &Url, text: &[u8]) -> Remarks {
    let mut remarks = Remarks::default();
    for line in lines(text) {
        let What::Tag(tag) = line.what() else { continue };
        if tag.is("#EXT-X-PART") || tag.is("#EXT-X-PART-INF") {
            remarks.low_latency = true;
        }
        if !tag.is("#EXT-X-KEY") {
            continue;
        }
        let value =
            |name: &str| attributes(&tag).find(|attribute| attribute.is(name)).map(|found| found.value);
        let method = value("METHOD").and_then(word).unwrap_or("of an unknown method");
        let keys =
            value("URI").and_then(|uri| std::str::from_utf8(uri).ok()).and_then(|uri| place(base, uri));
        let encryption = Encryption { method: method.to_owned(), keys };
        let new = method != "NONE" && !remarks.encryption.contains(&encryption);
        if new && remarks.encryption.len() < MOST {
            remarks.encryption.push(encryption);
        }
    }
    remarks
}

pub(super) fn word(bytes: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    std::str::from_utf8(bytes)
        .ok()
        .filter(|word| (1..=32).contains(&word.len()) && word.as_bytes().iter().all(plain))
}

pub(super) fn place(base: &Url, uri: &str) -> Option<String> {
    let url = base.join(uri).ok()?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    Some(match (host, url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Remarks {
        remarks(&Url::parse("https://h.example:8443/live/a.m3u8?token=CANARY").unwrap(), text.as_bytes())
    }

    #[test]
    fn keys_are_named_by_method_and_place() {
        for (tag, expected) in [
            ("METHOD=NONE", None),
            ("METHOD=AES-128,URI=\"k?t=CANARY\",IV=0x1", Some(("AES-128", Some("https://h.example:8443")))),
            ("METHOD=SAMPLE-AES,URI=\"skd://CANARY\"", Some(("SAMPLE-AES", Some("skd:")))),
            (
                "METHOD=SAMPLE-AES-CTR,URI=\"data:text/plain;base64,AA\"",
                Some(("SAMPLE-AES-CTR", Some("data:"))),
            ),
            ("METHOD=\x1b[31m", Some(("of an unknown method", None))),
            ("URI=\"http://[::1]/k\"", Some(("of an unknown method", Some("http://[::1]")))),
        ] {
            let found = of(&format!("#EXTM3U\n#EXT-X-KEY:{tag}\n#EXT-X-KEY:{tag}\n#EXTINF:4,\na.ts\n"));
            let found: Vec<_> =
                found.encryption.iter().map(|e| (e.method.as_str(), e.keys.as_deref())).collect();
            assert_eq!(found, Vec::from_iter(expected), "{tag}");
        }
        let many: String = (0..100).map(|n| format!("#EXT-X-KEY:METHOD=M{n}\n")).collect();
        assert_eq!(of(&many).encryption.len(), MOST);
    }

    #[test]
    fn parts_are_low_latency() {
        assert!(!of("#EXTM3U\n#EXTINF:4,\na.ts\n").low_latency);
        assert!(of("#EXTM3U\n#EXT-X-PART:DURATION=0.3,URI=\"p.ts\"\n").low_latency);
    }
}
