//! What has to happen before a request for a part of a DASH presentation can be answered: its Representation is listed as
//! it is by now, its index is read, or the segment is waited for.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use url::Url;

use super::answer::{Body, no_answer, pass_on, sentence};
use super::files::File;
use super::intake::told_at;
use super::presentations::Kept;
use super::request::Way;
use super::{Shared, range, repair, segment};
use crate::delivery::policy::LONGEST_HOLD;
use crate::delivery::retry::origin_pause;
use crate::engine::origin::{Caller, fields};
use crate::manifest::Limits;
use crate::manifest::dash::sidx::{Subsegment, subsegments};
use crate::manifest::dash::{Found, When};

/// What is to be done after the preparation.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing more.
    Answered(Response<Body>),
    /// As with anything else.
    Go,
    /// It is due. Encoders and clocks are late at times: until then that it is not there is not the origin's last word.
    Due {
        /// A segment's duration later, and no later than players bear.
        until: Instant,
    },
}

/// Prepares for a GET of `url`, which the player says in `full`.
pub async fn prepare(
    asked: &HeaderMap,
    (url, full): (&Url, &Url),
    way: Way,
    caller: &Caller,
    shared: &Arc<Shared>,
) -> Prepared {
    let asked_at = Instant::now();
    let Some((kept, found)) = shared.presentations.find(caller, url) else { return Prepared::Go };
    let mut prepared = Prepared::Go;
    match &found.when {
        When::Now => {}
        When::In(wait) => {
            // What is due now is asked for as it is: refused twice it would count as absent.
            if kept.is_doubtful()
                && !wait.is_zero()
                && let Some(answer) = probe(asked, full, way, caller, shared, (&kept, *wait)).await
            {
                return Prepared::Answered(answer);
            }
            tokio::time::sleep((*wait).min(LONGEST_HOLD)).await;
            let until = (Instant::now() + kept.presentation.target).min(asked_at + LONGEST_HOLD);
            prepared = Prepared::Due { until };
        }
        When::Later => {
            let refused = |why| sentence(StatusCode::NOT_FOUND, why);
            if !kept.is_doubtful() {
                return Prepared::Answered(refused("by its MPD that segment is not there yet"));
            }
            let wait = kept.presentation.target;
            let answer = probe(asked, full, way, caller, shared, (&kept, wait)).await;
            let why = "by its MPD and its origin that segment is not there yet";
            return Prepared::Answered(answer.unwrap_or_else(|| refused(why)));
        }
        When::Unindexed(head) => {
            let of = found.representation;
            if kept.wants_index(of) {
                kept.index(of, index(url, head.clone(), caller, shared).await);
            }
            if !kept.is_indexed(of) {
                return Prepared::Go;
            }
        }
    }
    list(&kept, &found, (url, caller), shared).await;
    prepared
}

/// What the origin says of a segment that is due and that no MPD lists yet. ffmpeg and mpv leave out what they are told once is
/// not there.
pub async fn due(
    asked: &HeaderMap,
    (url, full): (&Url, &Url),
    way: Way,
    caller: &Caller,
    shared: &Arc<Shared>,
    until: Instant,
) -> Response<Body> {
    let began = Instant::now();
    let range = asked.get(header::RANGE).and_then(|range| Some(range.to_str().ok()?.to_owned()));
    let mut answered = repair::ask(caller, &Method::GET, full, range.clone(), None, shared).await;
    for times in 1.. {
        let pause = origin_pause(times);
        if !answered.as_ref().is_ok_and(|response| is_absent(response.status))
            || Instant::now() + pause > until
        {
            break;
        }
        tokio::time::sleep(pause).await;
        // Another player's MPD may list it by now.
        if let Some(answer) = segment::answer(asked, url, way, caller, shared).await {
            return answer;
        }
        answered = repair::ask(caller, &Method::GET, full, range.clone(), None, shared).await;
    }
    match answered {
        Ok(response) => {
            shared.absent.note(caller.viewer, url, response.status);
            let response = repair::resumed(response, &Method::GET, shared);
            pass_on(response, way == Way::Ours, began.elapsed())
        }
        Err(error) => no_answer(&error),
    }
}

/// Whether that says that something is not there.
pub fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

async fn list(kept: &Kept, found: &Found, (url, caller): (&Url, &Caller), shared: &Shared) {
    if let Some(listing) = kept.due(found, &shared.setup.rules) {
        if !matches!(found.when, When::Unindexed(_)) {
            shared.files.list(caller.viewer, &listing);
        }
        // As far as the MPD leads, and not whoever asks for one of its segments: others play it, too.
        let named = Caller { reach: kept.reach, ..told_at(&listing.manifest, (url, caller)) };
        shared.engine.listed(listing, &named, kept.channel.clone()).await;
    }
}

/// Asks for a segment that should come only `early` later; its answer, if it is there all the same.
async fn probe(
    asked: &HeaderMap,
    url: &Url,
    way: Way,
    caller: &Caller,
    shared: &Shared,
    (kept, early): (&Kept, Duration),
) -> Option<Response<Body>> {
    let began = Instant::now();
    let range = asked.get(header::RANGE).and_then(|range| Some(range.to_str().ok()?.to_owned()));
    match repair::ask(caller, &Method::GET, url, range, None, shared).await {
        Ok(response) if is_absent(response.status) => {
            kept.confirm();
            None
        }
        Ok(response) => {
            if response.status.is_success() {
                kept.correct(early);
            }
            let response = repair::resumed(response, &Method::GET, shared);
            Some(pass_on(response, way == Way::Ours, began.elapsed()))
        }
        Err(error) => Some(no_answer(&error)),
    }
}

/// Reads the beginning of a file up to the end of its index, and keeps it for those who ask for it. Empty where the origin
/// sends no such part, or no index is in it; `None` where it failed, which says nothing of the file.
async fn index(url: &Url, head: Range<u64>, caller: &Caller, shared: &Shared) -> Option<Vec<Subsegment>> {
    let limits = Limits::default();
    let range = Some(format!("bytes={}-{}", head.start, head.end - 1));
    // Of the index we have no copy, whatever the player has of the file.
    let caller = &Caller { headers: fields::for_any_file(&caller.headers), ..caller.clone() };
    let response = repair::ask(caller, &Method::GET, url, range, None, shared).await.ok()?;
    if !response.status.is_success() {
        return None;
    }
    let is_part = response.status == StatusCode::PARTIAL_CONTENT
        && !response.headers.contains_key(header::CONTENT_ENCODING);
    let sent = range::content_range(&response.headers).filter(|(span, _)| is_part && *span == head);
    let Some((_, total)) = sent else { return Some(Vec::new()) };
    let response = repair::resumed(response, &Method::GET, shared);
    let bytes = Limited::new(response.body, limits.index).collect().await.ok()?.to_bytes();
    if bytes.len() as u64 != head.end - head.start {
        return None;
    }
    // The index itself may begin after what only precedes it.
    let Some(found) = subsegments(&bytes, head.start, limits.segments) else { return Some(Vec::new()) };
    let ranges = found.iter().map(|of| of.range.clone()).collect();
    let (head, headers) = (Some((head.start, bytes)), response.headers);
    let file = File { head, headers, ranges, total, grows: false };
    shared.files.keep(caller.viewer, url, file);
    Some(found)
}
