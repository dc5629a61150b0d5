//! A listed segment: ask the engine, stream, account.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use url::Url;

use super::answer::{Body, mark, no_answer, refusal, sentence};
use super::range::{Wanted, wanted};
use super::request::Way;
use super::{Shared, files, headers};
use crate::engine::origin::Caller;
use crate::engine::{Answer, NoAnswer, SegmentAsk, Source, Span, of_segment};

/// Answers a GET if the engine can; `None`: the origin is to be asked as if we were not there.
pub async fn answer(
    asked: &HeaderMap,
    url: &Url,
    way: Way,
    caller: &Caller,
    shared: &Arc<Shared>,
) -> Option<Response<Body>> {
    let Wanted::Span(span) = wanted(asked) else { return None };
    let began = std::time::Instant::now();
    let ask = SegmentAsk { url: url.clone(), span, caller: caller.clone() };
    match shared.engine.segment(ask).await {
        // No status says "from here to an end that nobody knows yet" (RFC 9110 §14.4).
        Ok(found) if found.from > 0 && found.to.is_none() => None,
        Ok(mut found) => {
            // Of a file of several segments the engine knows each, and not how long all of it is.
            found.total = found.total.or_else(|| shared.files.get(caller.viewer, url)?.total);
            Some(stream(found, span, way))
        }
        Err(NoAnswer::NotListed) => several(url, span, way, caller, shared).await,
        Err(NoAnswer::PassThrough) => None,
        Err(NoAnswer::Refused(words)) => Some(refusal(words, way == Way::Ours, began.elapsed())),
        Err(NoAnswer::Failed(error)) => Some(no_answer(&error)),
    }
}

/// Answers for bytes that reach over several segments of one file.
async fn several(
    url: &Url,
    span: Span,
    way: Way,
    caller: &Caller,
    shared: &Arc<Shared>,
) -> Option<Response<Body>> {
    let began = std::time::Instant::now();
    // Where parts are appended, what comes next is the origin's to say.
    let file = shared.files.get(caller.viewer, url).filter(|_| !shared.parts.are_at(caller.viewer, url))?;
    // So is where a file ends that still grows.
    if file.grows && matches!(span, Span::Whole | Span::Part { to: None, .. }) {
        return None;
    }
    let file = files::known(file, url, caller, shared).await?;
    let total = file.total?;
    let (from, to) = match span {
        Span::Whole => (0, total),
        // It may have grown since.
        Span::Part { from, to } if from >= total || to.is_some_and(|to| to > total) => return None,
        Span::Part { from, to } => (from, to.unwrap_or(total)),
    };
    if from >= to {
        return Some(unsatisfiable(Some(total)));
    }
    let kept = headers::to_player(&of_segment(&file.headers), way == Way::Ours);
    let body = files::body(file, from..to, url.clone(), caller.clone(), Arc::clone(shared));
    let mut answer = Response::new(body);
    *answer.headers_mut() = kept;
    describe(&mut answer, span, (from, to), Some(total));
    mark(&mut answer, Source::Mixed.as_str(), began.elapsed());
    Some(answer)
}

/// Length and range of an answer whose bytes are known.
fn describe(answer: &mut Response<Body>, span: Span, (from, to): (u64, u64), total: Option<u64>) {
    let fields = answer.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    if matches!(span, Span::Part { .. }) {
        let total = total.map_or("*".to_owned(), |total| total.to_string());
        if let Ok(range) = HeaderValue::from_str(&format!("bytes {from}-{}/{total}", to.saturating_sub(1))) {
            fields.insert(header::CONTENT_RANGE, range);
        }
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

fn stream(found: Answer, span: Span, way: Way) -> Response<Body> {
    let Answer { total, from, to, headers: fields, source, waited, body } = found;
    if to.is_some_and(|to| to < from || (to == from && span != Span::Whole)) {
        return unsatisfiable(total);
    }
    let mut answer = Response::new(body.map_err(Into::into).boxed());
    *answer.headers_mut() = headers::to_player(&fields, way == Way::Ours);
    match to {
        Some(to) => describe(&mut answer, span, (from, to), total),
        // A range of a file of unknown length is answered whole if it is the whole, as RFC 9110 §14.2 allows.
        None => {
            let fields = answer.headers_mut();
            fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            fields
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/octet-stream"));
        }
    }
    mark(&mut answer, source.as_str(), waited);
    answer
}

/// Nothing of the file is in the range (RFC 9110 §15.5.17).
fn unsatisfiable(total: Option<u64>) -> Response<Body> {
    let mut answer = sentence(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that range");
    let range = total.map_or("bytes */*".to_owned(), |total| format!("bytes */{total}"));
    if let Ok(range) = HeaderValue::from_str(&range) {
        answer.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    answer
}
