//! One viewer that looks at a stream: a client with cookies and connections of its own. Every answer is bounded, in
//! bytes and in time.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use url::Url;

use crate::engine::fetch::{content_range, may_share};
use crate::engine::origin::{
    BadOptions, Caller, Options, Origin, OwnListeners, Reach, Request, Response, ViewerKey,
};
use crate::model::timeline::{PieceGrid, Place};
use crate::viewer::player::told;

/// How long one request may take, from its beginning to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest segment that is loaded, in bytes: one more than can be shared, to tell that it is longer.
const LONGEST: u64 = PieceGrid::MAX_LENGTH as u64 + 1;

/// A viewer.
#[derive(Debug)]
pub struct Viewer {
    origin: Origin,
    key: ViewerKey,
}

/// A whole answer.
#[derive(Debug)]
pub struct Got {
    /// Where it came from in the end, after redirects.
    pub url: Url,
    /// How private what it names may be.
    pub reach: Reach,
    /// Its content type, where it has one.
    pub content_type: Option<String>,
    /// Its body.
    pub bytes: Bytes,
}

/// What one byte of a segment tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The segment's length, where the origin said.
    pub bytes: Option<u64>,
    /// Whether only that byte was sent.
    pub ranges: bool,
}

/// What a whole segment tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its length in bytes; longer ones count as [`LONGEST`].
    pub bytes: u64,
    /// Of its bytes, as far as they were read.
    pub hash: blake3::Hash,
    /// Whether the origin forbids sharing it.
    pub private: bool,
}

impl Viewer {
    /// Viewer `number`, who asks origins as `options` say.
    ///
    /// # Errors
    /// When an option is not what it should be.
    pub fn new(number: u64, options: Options) -> Result<Self, BadOptions> {
        Ok(Self { origin: Origin::new(options, OwnListeners::default())?, key: ViewerKey(number) })
    }

    /// What is behind `url`, at most `longest` bytes.
    ///
    /// # Errors
    /// One sentence that names the URL, without its query.
    pub async fn get(&self, url: &Url, reach: Reach, longest: usize) -> Result<Got, String> {
        let asking = async {
            let mut answer = self.ask(url, reach, None).await?;
            let mut bytes = BytesMut::new();
            while let Some(data) = next(&mut answer).await? {
                if bytes.len() + data.len() > longest {
                    return Err(format!("longer than {longest} bytes"));
                }
                bytes.extend_from_slice(&data);
            }
            let content_type = answer.headers.get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|of| of.to_str().ok()).map(str::to_owned);
            Ok(Got { url: answer.url, reach: answer.reach, content_type, bytes: bytes.freeze() })
        };
        patiently(url, asking).await
    }

    /// These bytes of what is behind `url`.
    ///
    /// # Errors
    /// One sentence that names the URL, without its query.
    pub async fn part(&self, url: &Url, reach: Reach, range: Range<u64>) -> Result<Bytes, String> {
        let asking = async {
            let mut answer = self.ask(url, reach, Some(range.clone())).await?;
            let sent = answer.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let sent = sent.and_then(content_range).map(|(sent, _)| sent);
            if answer.status != StatusCode::PARTIAL_CONTENT || sent.as_ref() != Some(&range) {
                return Err("the origin does not answer Range requests".to_owned());
            }
            let mut bytes = BytesMut::new();
            while let Some(data) = next(&mut answer).await? {
                if (bytes.len() + data.len()) as u64 > range.end - range.start {
                    return Err("the origin sent more than was asked for".to_owned());
                }
                bytes.extend_from_slice(&data);
            }
            Ok(bytes.freeze())
        };
        patiently(url, asking).await
    }

    /// Asks for the first byte of a segment.
    ///
    /// # Errors
    /// One sentence that names the URL, without its query.
    pub async fn probe(&self, place: &Place, reach: Reach) -> Result<Probe, String> {
        let first = place.range.as_ref().map_or(0, |range| range.start);
        let url = url_of(place)?;
        let asking = async {
            let answer = self.ask(&url, reach, Some(first..first + 1)).await?;
            let field = |name| answer.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            let sent = field(header::CONTENT_RANGE).and_then(content_range);
            let partial = sent.filter(|_| answer.status == StatusCode::PARTIAL_CONTENT);
            let ranges = partial.as_ref().is_some_and(|(sent, _)| *sent == (first..first + 1));
            let file = match partial {
                Some((_, length)) => length,
                None => field(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            };
            let bytes = place.range.as_ref().map(|range| range.end - range.start).or(file);
            Ok(Probe { bytes, ranges })
        };
        patiently(&url, asking).await
    }

    /// Loads a segment, and keeps no more of it than its hash.
    ///
    /// # Errors
    /// One sentence that names the URL, without its query.
    pub async fn load(&self, place: &Place, reach: Reach) -> Result<Whole, String> {
        let url = url_of(place)?;
        let asking = async {
            let mut answer = self.ask(&url, reach, place.range.clone()).await?;
            let (mut bytes, mut hasher) = (0, blake3::Hasher::new());
            while let Some(data) = next(&mut answer).await? {
                hasher.update(&data);
                bytes += data.len() as u64;
                if bytes >= LONGEST {
                    bytes = LONGEST;
                    break;
                }
            }
            Ok(Whole { bytes, hash: hasher.finalize(), private: !may_share(&answer.headers) })
        };
        patiently(&url, asking).await
    }

    async fn ask(&self, url: &Url, reach: Reach, range: Option<Range<u64>>) -> Result<Response, String> {
        let mut headers = HeaderMap::new();
        let agent = concat!("paceline-check/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        let caller = Caller { viewer: self.key, headers, own_browser: true, downgrades: true, reach };
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = Request { caller, method: Method::GET, url: url.clone(), range, body: None };
        let answer = self.origin.send(request).await.map_err(|error| error.to_string())?;
        match answer.status {
            status if status.is_success() => Ok(answer),
            status => Err(format!("the origin answered {status}")),
        }
    }
}

async fn next(answer: &mut Response) -> Result<Option<Bytes>, String> {
    while let Some(frame) = answer.body.frame().await {
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn url_of(place: &Place) -> Result<Url, String> {
    place.url.url().ok_or_else(|| format!("{} is no URL", place.url))
}

async fn patiently<T>(url: &Url, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let done = tokio::time::timeout(PATIENCE, what).await;
    let done = done.unwrap_or_else(|_| Err(format!("no whole answer within {} s", PATIENCE.as_secs())));
    done.map_err(|why| format!("{}: {why}", told(url)))
}
