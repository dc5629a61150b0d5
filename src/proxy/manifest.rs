//! Ask, read, rewrite, answer: everything that is not a listed segment goes through here, since only the answer tells
//! whether it is a playlist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use url::Url;

use super::addressed::Ours;
use super::answer::{Body, full, mark, no_answer, pass_on, sentence};
use super::coming::{self, Coming, Read};
use super::dash::Prepared;
use super::intake::take_in;
use super::names::{extension, named_format, named_manifest};
use super::recent::{Again, Manifest};
use super::reloads::{self, Told};
use super::request::Way;
use super::{Shared, address, cmcd, dash, headers, repair, segment};
use crate::delivery::policy::LONGEST_HOLD;
use crate::delivery::retry::origin_pause;
use crate::engine::origin::{self, Caller, Reach};
use crate::manifest::dash as mpd;
use crate::manifest::rewrite::{self, Use};
use crate::manifest::{Error, Format, Limits};
use crate::model::address::Address;
use crate::model::shown::shown;

/// A request for a URL of an origin, as it goes through here.
struct Asked<'a> {
    /// As a manifest names it: what is known of it is known by this.
    url: &'a Url,
    /// As the player says it, to the origin.
    full: &'a Url,
    way: Way,
    /// A channel led here somebody who could lead us so far himself; what it names beyond that he may follow.
    of_channel: Option<Reach>,
    /// What URLs of ours begin with for this player.
    ours: Ours,
    caller: Caller,
    began: Instant,
}

/// Answers a request for a URL of an origin.
pub async fn answer(
    asked: Request<Incoming>,
    full: Url,
    (way, of_channel): (Way, Option<Reach>),
    caller: Caller,
    shared: &Arc<Shared>,
) -> Response<Body> {
    let ours = Ours::of(asked.headers());
    let (head, body) = asked.into_parts();
    let url = cmcd::without(&full);
    let asked = Asked { url: &url, full: &full, way, of_channel, ours, caller, began: Instant::now() };
    if head.method == Method::GET
        && let Some(answer) = known(&head.headers, &asked, shared).await
    {
        return answer;
    }
    let body = headers::has_body(&head.method, &head.headers)
        .then(|| body.map_err(|error| origin::Error::Abandoned(error.to_string())).boxed());
    let range = range(&head.headers, &url, way);
    let method = head.method;
    let told = if method == Method::GET && is_of_all(range.as_deref()) {
        reloads::reload(&asked.caller, (&url, &full), range.clone(), asked.began, shared).await
    } else {
        Told::Unknown
    };
    let copy = shared.recent.last_good(&asked.caller, &url).filter(|_| method == Method::GET);
    let last_good =
        || Some(answer_with(&copy.as_ref()?.manifest, &asked, "memory", asked.began.elapsed(), shared));
    let answered = match told {
        Told::New(manifest) => return answer_with(&manifest, &asked, "http", asked.began.elapsed(), shared),
        Told::Copy(copy) => return answer_with(&copy, &asked, "memory", asked.began.elapsed(), shared),
        Told::Origin(answered) => *answered,
        Told::Unknown => ask(&method, range, body, copy.is_some(), &asked, shared).await,
    };
    let response = match answered {
        Ok(response) => response,
        // What it may not be asked for it is not given from memory either.
        Err(error @ origin::Error::Forbidden(_)) => return no_answer(&error),
        Err(error) => return last_good().unwrap_or_else(|| no_answer(&error)),
    };
    if method == Method::GET {
        if coming::may_come(&response) {
            return manifest(response, &asked, &last_good, shared).await;
        }
        if !response.status.is_success()
            && let Some(answer) = last_good()
        {
            return answer;
        }
    }
    passed_on(response, &method, &asked, shared)
}

/// What the origin says of anything that is no manifest, or is asked for in another way than to have it.
fn passed_on(
    response: origin::Response,
    method: &Method,
    asked: &Asked<'_>,
    shared: &Shared,
) -> Response<Body> {
    let ours = asked.way == Way::Ours;
    // What a GET would be answered with is another text, of the name's or the type's format.
    let described = (method == Method::HEAD && ours && coming::may_come(&response))
        .then(|| named_format(&response))
        .flatten();
    let response = repair::resumed(response, method, shared);
    let mut answer = pass_on(response, ours, asked.began.elapsed());
    if let Some(format) = described {
        describe(answer.headers_mut(), format);
        answer.headers_mut().remove(header::CONTENT_ENCODING);
    }
    answer
}

/// The answer to a GET for which the origin need not be asked as if we were not there.
async fn known(head: &HeaderMap, asked: &Asked<'_>, shared: &Arc<Shared>) -> Option<Response<Body>> {
    let Asked { url, full, way, caller, began, .. } = asked;
    // While there is a copy, that is better than no answer, whoever has been told so before.
    if shared.absent.is_known(caller.viewer, url) && shared.recent.last_good(caller, url).is_none() {
        return Some(sentence(
            StatusCode::NOT_FOUND,
            "the origin has just said twice that this is not there",
        ));
    }
    let prepared = dash::prepare(head, (url, full), *way, caller, shared).await;
    if let Prepared::Answered(answer) = prepared {
        return Some(answer);
    }
    if let Some(answer) = segment::answer(head, url, *way, caller, shared).await {
        return Some(answer);
    }
    if let Prepared::Due { until } = prepared {
        return Some(dash::due(head, (url, full), *way, caller, shared, until).await);
    }
    if !is_of_all(range(head, url, *way).as_deref()) {
        return None;
    }
    match shared.recent.again(caller, url) {
        Again::With(manifest) => Some(answer_with(&manifest, asked, "memory", began.elapsed(), shared)),
        Again::After(wait) => {
            tokio::time::sleep(wait).await;
            None
        }
        Again::Fetch => None,
    }
}

/// The Range to ask for. Players ask for playlists with `bytes=0-`; an answer without a range is as good (RFC 9110
/// §14.2), and can be rewritten.
fn range(asked: &HeaderMap, url: &Url, way: Way) -> Option<String> {
    let range = asked.get(header::RANGE)?.to_str().ok()?;
    let ignored = named_manifest(url) && (way == Way::Ours || range.trim() == "bytes=0-");
    (!ignored).then(|| range.to_owned())
}

/// Whether a request with this Range is for the whole file.
fn is_of_all(range: Option<&str>) -> bool {
    range.is_none_or(|range| range.trim() == "bytes=0-")
}

/// Asks the origin on behalf of this player alone. One that has a copy waits no longer than players do: several give up a
/// reload that takes 10 s, and with it the stream. What is the first in its folder that is not there is asked for once more: players
/// end with a playlist, a key or an init segment that was missing for a moment.
async fn ask(
    method: &Method,
    range: Option<String>,
    body: Option<origin::Body>,
    has_copy: bool,
    asked: &Asked<'_>,
    shared: &Shared,
) -> Result<origin::Response, origin::Error> {
    let Asked { url, full, caller, began, .. } = asked;
    let is_get = *method == Method::GET;
    let strays = || shared.absent.strays(caller.viewer, url).filter(|_| is_get);
    let asking = async {
        tokio::time::sleep(strays().unwrap_or_default()).await;
        let answered = repair::ask(caller, method, full, range.clone(), body, shared).await;
        if !is_get
            || has_copy
            || strays().is_some()
            || !answered.as_ref().is_ok_and(|one| dash::is_absent(one.status))
        {
            return answered;
        }
        tokio::time::sleep(origin_pause(1)).await;
        repair::ask(caller, method, full, range, None, shared).await
    };
    let answered = if has_copy {
        tokio::time::timeout_at((*began + LONGEST_HOLD).into(), asking).await.unwrap_or_else(|_| {
            let host = url.host_str().unwrap_or_default().to_owned();
            Err(origin::Error::TooSlow(host, LONGEST_HOLD.as_secs()))
        })
    } else {
        asking.await
    };
    if let (true, Ok(response)) = (is_get, &answered) {
        shared.absent.note(caller.viewer, url, response.status);
    }
    answered
}

async fn manifest(
    response: origin::Response,
    asked: &Asked<'_>,
    last_good: &(dyn Fn() -> Option<Response<Body>> + Sync),
    shared: &Arc<Shared>,
) -> Response<Body> {
    let most = Limits::default().bytes;
    let ours = asked.way == Way::Ours;
    let named = named_format(&response);
    let mut coming = Coming::new(response, most, &shared.turns);
    let late = tokio::time::Instant::from_std(asked.began + LONGEST_HOLD);
    let mut read = tokio::time::timeout_at(late, coming.read()).await;
    if matches!(read, Ok(Read::Broken))
        && last_good().is_none()
        && let Some(again) = once_more(asked, late, shared).await
    {
        coming = Coming::new(again, most, &shared.turns);
        read = tokio::time::timeout_at(late, coming.read()).await;
    }
    match read {
        Ok(Read::Whole(format, text)) => {
            let manifest =
                take_in(coming.into_manifest(format, text), (asked.url, &asked.caller), shared).await;
            answer_with(&manifest, asked, "http", asked.began.elapsed(), shared)
        }
        Ok(Read::Broken) => last_good().unwrap_or_else(|| match coming.failure() {
            Some(error) => no_answer(error),
            None => pass_on(coming.into_response(), ours, asked.began.elapsed()),
        }),
        Ok(Read::TooLong) if ours => refused(coming.url(), most),
        Ok(Read::TooLong | Read::Other) => pass_on_whole(coming, asked, shared),
        Err(_) => {
            if let Some(copy) = last_good() {
                return copy;
            }
            match coming.format(named).filter(|_| ours) {
                Some(format) => slowly(coming, format, asked, shared),
                None => pass_on_whole(coming, asked, shared),
            }
        }
    }
}

/// Another answer to who has been told a part of a manifest, or of what is too short to tell. It may not be one that says less.
async fn once_more(
    asked: &Asked<'_>,
    late: tokio::time::Instant,
    shared: &Shared,
) -> Option<origin::Response> {
    let again = async {
        tokio::time::sleep(origin_pause(1)).await;
        repair::ask(&asked.caller, &Method::GET, asked.full, None, None, shared).await
    };
    let response = tokio::time::timeout_at(late, again).await.ok()?.ok()?;
    coming::may_come(&response).then_some(response)
}

fn pass_on_whole(coming: Coming, asked: &Asked<'_>, shared: &Shared) -> Response<Body> {
    let response = repair::resumed(coming.into_response(), &Method::GET, shared);
    pass_on(response, asked.way == Way::Ours, asked.began.elapsed())
}

/// Begins the answer with a manifest that is still on its way.
fn slowly(coming: Coming, format: Format, asked: &Asked<'_>, shared: &Arc<Shared>) -> Response<Body> {
    let mut fields = headers::to_player(coming.headers(), true);
    describe(&mut fields, format);
    fields.remove(header::CONTENT_ENCODING);
    let (url, way, ours) = (asked.url.clone(), asked.way, asked.ours.clone());
    let of_channel = asked.of_channel;
    let (caller, began, shared) = (asked.caller.clone(), asked.began, Arc::clone(shared));
    let finish = move |manifest| async move {
        let manifest = take_in(manifest, (&url, &caller), &shared).await;
        let asked = Asked { url: &url, full: &url, way, of_channel, ours, caller, began };
        rewritten(&manifest, &asked, &shared)
    };
    let mut answer = Response::new(coming::slowly(coming, format, finish));
    *answer.headers_mut() = fields;
    mark(&mut answer, "http", began.elapsed());
    answer
}

fn refused(url: &Url, most: usize) -> Response<Body> {
    let url = shown(url);
    let text =
        format!("the manifest at {url} is larger than {most} bytes: it can't be rewritten for this address");
    sentence(StatusCode::BAD_GATEWAY, &text)
}

fn bomb(url: &Url, error: &Error) -> Response<Body> {
    let text = format!("the manifest at {} is not passed on: {error}", shown(url));
    sentence(StatusCode::BAD_GATEWAY, &text)
}

fn answer_with(
    manifest: &Manifest,
    asked: &Asked<'_>,
    source: &'static str,
    waited: Duration,
    shared: &Shared,
) -> Response<Body> {
    let ours = asked.way == Way::Ours;
    let text = match ours.then(|| rewritten(manifest, asked, shared)) {
        None => manifest.text.clone(),
        Some(Ok(text)) => text,
        Some(Err(error)) => return bomb(&manifest.url, &error),
    };
    let length = text.len();
    let mut answer = Response::new(full(text));
    *answer.headers_mut() = headers::to_player(&manifest.headers, ours);
    let fields = answer.headers_mut();
    if ours {
        describe(fields, manifest.format);
    }
    fields.remove(header::CONTENT_RANGE);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    mark(&mut answer, source, waited);
    answer
}

/// What can't be rewritten is sent as it is: a player may still make something of it. What is only made to do harm is not.
fn rewritten(manifest: &Manifest, asked: &Asked<'_>, shared: &Shared) -> Result<Bytes, Error> {
    let Manifest { url, reach, text, .. } = manifest;
    let grants = shared.names.grants.as_ref().filter(|_| asked.of_channel.is_some_and(|most| *reach > most));
    let path = |url: &Address, extension: Option<&str>| {
        let path = address::path_for(url, *reach, extension)?;
        Some(grants.map_or_else(|| path.clone(), |grants| format!("/{}{path}", grants.word(*reach, url))))
    };
    let rewritten = match manifest.format {
        Format::Hls => {
            let fragments = text.windows(11).any(|window| window.eq_ignore_ascii_case(b"#EXT-X-MAP:"));
            let mut map = |url: &Address, what: Use| path(url, extension(url, what, fragments));
            let imported = shared.masters.variables(asked.caller.viewer, asked.url);
            rewrite::hls_importing(url, text, &imported, &mut map)
        }
        Format::Dash => {
            let mut map = |url: &Url, what: Use| {
                Some(format!("{}{}", asked.ours.begin(what), path(&url.into(), None)?))
            };
            let delay = shared.presentations.delay(asked.caller.viewer, asked.url);
            mpd::rewrite::mpd(url, text, delay, &mut map)
        }
    };
    rewritten.or_else(|error| if error.is_bomb() { Err(error) } else { Ok(text.clone()) })
}

/// Headers of a rewritten manifest. Nothing by which a copy of it could be asked for anew: the origin's manifest may be the same as
/// before, and what is written here another, since that depends on more; and only what is loaded is listed.
fn describe(fields: &mut HeaderMap, format: Format) {
    for name in headers::OF_THE_BYTES.iter().chain([&header::LAST_MODIFIED]) {
        fields.remove(name);
    }
    let kind = match format {
        Format::Hls => "application/vnd.apple.mpegurl",
        Format::Dash => "application/dash+xml",
    };
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
}
