//! Reloads of live manifests that nobody has to wait for: what takes the origin longer than players like to wait goes on
//! behind an answer with the last good copy, and what comes of it answers the reloads after that.
//!
//! Of one viewer and URL at most one is under way: whoever asks again waits for the same one, no longer than for one of its
//! own, and then has the copy with which it began. So no player waits long, and an origin that is always slow is heard all the
//! same. A copy that is too old for a reload that *fails* does for one that is under way, since that ends: after [`LONGEST`] the
//! player has the origin's own word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use url::Url;

use super::coming::{self, Coming, Read};
use super::recent::{Good, Manifest, Name, name};
use super::turns::LONG;
use super::{Shared, intake, repair};
use crate::delivery::policy::LONGEST_HOLD;
use crate::engine::origin::{Caller, Error, Response};

/// A player is answered after a target duration: later it would miss its next reload. But no sooner than this: an origin that
/// is slow and well is to be heard itself.
const LEAST: Duration = Duration::from_secs(1);
/// A reload that takes longer is given up, and the next request is the player's own again.
const LONGEST: Duration = Duration::from_secs(30);
/// Who waits when this many patiences have passed has the origin asked once more beside it: perhaps this one is stuck, and
/// the next comes at once. After [`LONGEST_HOLD`] in any case, when players would have hung up and tried again.
const STUCK: u32 = 3;
/// Reloads at the same time, all viewers together, each of at most two bodies of [`LONG`] bytes. Who comes to one more
/// waits for the origin, like everybody for whom there is no copy.
const AT_ONCE: usize = 16;

/// All that are under way; they end with this.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: Vec<Known>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Known {
    name: Name,
    reload: Weak<Reload>,
}

/// One reload; kept by its task and by who waits for it.
#[derive(Debug)]
struct Reload {
    /// The copy with which it began.
    copy: Good,
    began: Instant,
    /// Somebody was answered with the copy.
    left: AtomicBool,
    again: Notify,
    outcome: watch::Sender<Option<Outcome>>,
}

/// What came of it.
#[derive(Clone, Debug)]
enum Outcome {
    /// A manifest, which was taken in.
    Manifest(Arc<Manifest>),
    /// An answer that is none, for the first who has a use for it.
    Other(StatusCode, Arc<Mutex<Option<Response>>>),
    /// No answer.
    Failed(Error),
    /// Nothing until now.
    GivenUp,
}

/// What an origin has sent.
#[derive(Debug)]
enum Sent {
    Manifest(Manifest),
    Other(Response),
    Failed(Error),
}

/// What the player is to be told.
#[derive(Debug)]
pub enum Told {
    /// The manifest that has just come.
    New(Arc<Manifest>),
    /// The last good copy of it.
    Copy(Arc<Manifest>),
    /// What the origin says, which is no manifest.
    Origin(Box<Result<Response, Error>>),
    /// Nothing is known here: the origin has to be asked.
    Unknown,
}

/// Reloads a live manifest, which its player says in `full`, for a caller who asked for it at `asked`, with this Range: joins the
/// reload that is under way, or begins one when there is a copy good enough. Of anything else nothing is known here.
pub async fn reload(
    caller: &Caller,
    (url, full): (&Url, &Url),
    range: Option<String>,
    asked: Instant,
    shared: &Arc<Shared>,
) -> Told {
    let good = shared.recent.last_good(caller, url);
    let going_on = {
        let (caller, url, full, shared) = (caller.clone(), url.clone(), full.clone(), Arc::clone(shared));
        move |reload: Arc<Reload>| async move {
            let ask = || ask(&caller, &full, range.clone(), &shared);
            let outcome = match first_manifest(ask, &reload.again, LONGEST).await {
                Some(Sent::Manifest(manifest)) => {
                    let manifest = intake::take_in(manifest, (&url, &caller), &shared).await;
                    let slow =
                        reload.left.load(Ordering::Relaxed) || reload.began.elapsed() >= reload.patience();
                    if slow && reload.outcome.receiver_count() == 0 {
                        shared.recent.is_unseen(&name(&caller, &url));
                    }
                    Outcome::Manifest(manifest)
                }
                Some(Sent::Other(response)) => {
                    Outcome::Other(response.status, Arc::new(Mutex::new(Some(response))))
                }
                Some(Sent::Failed(error)) => Outcome::Failed(error),
                None => Outcome::GivenUp,
            };
            reload.outcome.send_replace(Some(outcome));
        }
    };
    let name = name(caller, url);
    let unseen = shared.recent.take_unseen(&name);
    let known = good.clone().or_else(|| shared.recent.last_known(caller, url));
    match (shared.reloads.join(name.clone(), known, going_on), unseen) {
        // The next one is on its way meanwhile: an origin that is always slow is always asked.
        (_, Some(unseen)) => Told::Copy(unseen),
        (Some((reload, whose)), None) => {
            let told = reload.wait(whose, asked, good.map(|good| good.manifest)).await;
            if matches!(told, Told::New(_)) {
                shared.recent.take_unseen(&name);
            }
            told
        }
        (None, None) => Told::Unknown,
    }
}

/// Whose request it is that a reload sends, to somebody who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    /// Its Range and conditions may be others.
    Anothers,
}

impl Reloads {
    /// The reload of this name that is under way, or else one that begins with this copy, as `going_on`. `None`: there is no
    /// copy, or no room.
    fn join<F>(
        &self,
        name: Name,
        good: Option<Good>,
        going_on: impl FnOnce(Arc<Reload>) -> F,
    ) -> Option<(Arc<Reload>, Whose)>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut table = self.lock();
        table.known.retain(|known| known.under_way().is_some());
        while table.tasks.try_join_next().is_some() {}
        if let Some(reload) = table.known.iter().find(|known| known.name == name).and_then(Known::under_way) {
            return Some((reload, Whose::Anothers));
        }
        if table.tasks.len() >= AT_ONCE {
            return None;
        }
        let reload = Arc::new(Reload {
            copy: good?,
            began: Instant::now(),
            left: AtomicBool::new(false),
            again: Notify::new(),
            outcome: watch::Sender::new(None),
        });
        table.tasks.spawn(going_on(Arc::clone(&reload)));
        table.known.push(Known { name, reload: Arc::downgrade(&reload) });
        Some((reload, Whose::Own))
    }

    /// Ends them all, and waits until they have.
    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut self.lock().tasks);
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn under_way(&self) -> Option<Arc<Reload>> {
        self.reload.upgrade().filter(|reload| reload.outcome.borrow().is_none())
    }
}

impl Reload {
    /// How long a player waits for it.
    fn patience(&self) -> Duration {
        self.copy.target.clamp(LEAST, LONGEST_HOLD)
    }

    /// Waits for it on behalf of who asked at `asked`, when `good` was good enough for a reload that fails.
    async fn wait(&self, whose: Whose, asked: Instant, good: Option<Arc<Manifest>>) -> Told {
        let mut outcome = self.outcome.subscribe();
        let outcome = outcome.wait_for(Option::is_some);
        // What it was made to wait before does not count against an origin that is slow and well.
        let until = (asked + self.patience()).max(Instant::now() + LEAST);
        let stuck = async {
            tokio::time::sleep_until((self.began + (self.patience() * STUCK).min(LONGEST_HOLD)).into()).await;
            self.again.notify_one();
            std::future::pending().await
        };
        let outcome = tokio::select! {
            biased;
            // Its sender is kept here, too: it can't have gone.
            outcome = outcome => outcome.ok().and_then(|outcome| outcome.clone()),
            () = tokio::time::sleep_until(until.into()) => {
                self.left.store(true, Ordering::Relaxed);
                return Told::Copy(good.unwrap_or_else(|| Arc::clone(&self.copy.manifest)));
            }
            () = stuck => None,
        };
        match (outcome, good) {
            (Some(Outcome::Manifest(manifest)), _) => Told::New(manifest),
            // What it may not ask for it is not given either.
            (Some(Outcome::Failed(Error::Forbidden(why))), _) => {
                Told::Origin(Box::new(Err(Error::Forbidden(why))))
            }
            (Some(Outcome::Failed(_)), Some(good)) => Told::Copy(good),
            (Some(Outcome::Other(status, _)), Some(good)) if !status.is_success() => Told::Copy(good),
            (Some(Outcome::Failed(error)), None) => Told::Origin(Box::new(Err(error))),
            (Some(Outcome::Other(status, response)), _)
                if whose == Whose::Own || status.is_client_error() || status.is_server_error() =>
            {
                let response = response.lock().unwrap_or_else(PoisonError::into_inner).take();
                response.map_or(Told::Unknown, |response| Told::Origin(Box::new(Ok(response))))
            }
            (Some(Outcome::Other(..) | Outcome::GivenUp) | None, _) => Told::Unknown,
        }
    }
}

/// The first manifest that comes of asking once, and once more when that is wanted; without one, the word that came last.
/// `None` when `longest` is over.
async fn first_manifest<F>(ask: impl Fn() -> F, again: &Notify, longest: Duration) -> Option<Sent>
where
    F: Future<Output = Sent>,
{
    let mut tries = FuturesUnordered::from_iter([ask()]);
    let (mut once, mut word) = (true, None);
    let manifest = async {
        loop {
            tokio::select! {
                sent = tries.next() => match sent {
                    Some(manifest @ Sent::Manifest(_)) => return Some(manifest),
                    Some(other) => word = Some(other),
                    None => return None,
                },
                () = again.notified(), if once => {
                    once = false;
                    tries.push(ask());
                }
            }
        }
    };
    tokio::time::timeout(longest, manifest).await.ok().flatten().or(word)
}

/// Asks the origin and reads what it sends.
async fn ask(caller: &Caller, url: &Url, range: Option<String>, shared: &Shared) -> Sent {
    let response = match repair::ask_alone(caller, url, range, shared).await {
        Ok(response) => response,
        Err(error) => return Sent::Failed(error),
    };
    // Its failure is nobody's answer while the copy does: it must not count when that is too old.
    if response.status.is_success() {
        shared.absent.note(caller.viewer, url, response.status);
    }
    if !coming::may_come(&response) {
        return Sent::Other(response);
    }
    // There was a copy, so it was not long before; one that is by now is the player's to read on.
    let mut coming = Coming::new(response, LONG, &shared.turns);
    match (coming.read().await, coming.failure()) {
        (Read::Whole(format, text), _) => Sent::Manifest(coming.into_manifest(format, text)),
        (Read::Broken, Some(error)) => Sent::Failed(error.clone()),
        (Read::Broken | Read::TooLong | Read::Other, _) => Sent::Other(coming.into_response()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::origin::Reach;
    use crate::manifest::Format;
    use std::sync::atomic::AtomicUsize;

    const SOON: Duration = Duration::from_secs(60);

    fn manifest() -> Manifest {
        Manifest {
            url: Url::parse("http://o.example/live.m3u8").unwrap(),
            reach: Reach::Public,
            headers: http::HeaderMap::new(),
            text: bytes::Bytes::new(),
            format: Format::Hls,
            turn: None,
        }
    }

    fn good() -> Good {
        Good { manifest: Arc::new(manifest()), target: Duration::from_secs(4) }
    }

    fn failed(why: &str) -> Sent {
        Sent::Failed(Error::Unreachable(why.to_owned()))
    }

    /// Asks once, and once more if that is wanted; each try sends what is said of it, or nothing ever.
    async fn of(again: bool, sent: [Option<fn() -> Sent>; 2], longest: Duration) -> (Option<Sent>, usize) {
        let (asked, wanted) = (AtomicUsize::new(0), Notify::new());
        if again {
            wanted.notify_one();
        }
        let ask = || {
            let sent = sent[asked.fetch_add(1, Ordering::SeqCst)];
            async move {
                // After what was wanted before it was asked.
                tokio::task::yield_now().await;
                match sent {
                    Some(sent) => sent(),
                    None => std::future::pending().await,
                }
            }
        };
        let came = first_manifest(ask, &wanted, longest).await;
        (came, asked.into_inner())
    }

    #[tokio::test]
    async fn whichever_try_brings_a_manifest_first_is_the_one() {
        let new: fn() -> Sent = || Sent::Manifest(manifest());
        let lost: fn() -> Sent = || failed("lost");
        for (again, sent) in
            [(false, [Some(new), None]), (true, [None, Some(new)]), (true, [Some(new), None])]
        {
            assert!(matches!(of(again, sent, SOON).await.0, Some(Sent::Manifest(_))), "{again} {sent:?}");
        }
        assert!(matches!(of(true, [Some(lost), Some(new)], SOON).await, (Some(_), 1 | 2)));
        let (came, asked) = of(false, [Some(lost), Some(new)], SOON).await;
        assert!(matches!(came, Some(Sent::Failed(_))) && asked == 1, "once, unless more is wanted: {asked}");
        let (came, asked) = of(true, [None, None], Duration::from_millis(50)).await;
        assert!(came.is_none() && asked == 2, "{asked}");
    }

    #[tokio::test]
    async fn one_for_each_name_and_so_many_in_all() {
        let reloads = Reloads::default();
        let name = |n: u64| (n, Reach::Public, None, "http://o.example/live.m3u8".to_owned());
        let going_on = |reload: Arc<Reload>| async move {
            let _kept = reload;
            std::future::pending().await
        };
        let join = |n, good| reloads.join(name(n), good, going_on);
        assert!(join(0, None).is_none(), "without a copy the player waits");
        for n in 0..AT_ONCE as u64 {
            assert_eq!(join(n, Some(good())).unwrap().1, Whose::Own);
            assert_eq!(join(n, None).unwrap().1, Whose::Anothers);
        }
        assert!(join(99, Some(good())).is_none(), "no room");
        let (reload, _) = join(0, None).unwrap();
        reload.outcome.send_replace(Some(Outcome::GivenUp));
        assert!(join(0, None).is_none(), "it is over");
        assert_eq!(reloads.lock().tasks.len(), AT_ONCE);
        reloads.close().await;
        assert_eq!(Arc::strong_count(&reload), 1, "its task has ended");
    }
}
