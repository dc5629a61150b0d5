//! `paceline demo`: a channel, a tracker, daemons and viewers on this machine, in one process.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::exit::Failure;
use super::interrupt::Interrupt;
use super::output::print;
use super::{logging, serve, watch as watching};
use crate::config::Config;
use crate::engine::steering::Kept;
use crate::model::units::BitsPerSecond;
use crate::tracker;
use crate::viewer::channel::{self, Channel};
use crate::viewer::path::Path;
use crate::viewer::player::{self, Outcome, Watch};
use crate::viewer::relay::Relay;

/// Viewers that one machine can be asked for.
const MOST_VIEWERS: u64 = 64;
/// Viewers join so far apart.
const APART: Duration = Duration::from_secs(1);
/// Steady state begins so long after a viewer joined.
const SETTLED: Duration = Duration::from_secs(20);
/// The longest that all of them watch before the summary, in seconds: a week.
const LONGEST: u64 = 7 * 24 * 3600;
/// Segments of the recording that `--vod` plays: at least so many, and no more than a daemon reads of a playlist.
const RECORDING: (u64, u64) = (75, 20_000);
/// Without a terminal a line is written so often, in seconds.
const LINE_EVERY: u64 = 5;

/// Arguments of `demo`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Viewers, each with a daemon of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MOST_VIEWERS))]
    pub viewers: u64,
    /// How long all of them watch, in seconds; they join one second apart. Ctrl-C ends it early, with a summary
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    pub seconds: u64,
    /// A recording instead of a live channel
    #[arg(long)]
    pub vod: bool,
    /// Put a line like this between any two daemons, each with so much delay one way, in ms; with any of the four given,
    /// the others are those of a home: 25 ms, 0 %, 20 Mbit/s, 256 KiB
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=5000))]
    pub delay_ms: Option<u64>,
    /// Packets that are lost between daemons, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    pub loss: Option<f64>,
    /// How fast each daemon's uplink to the others is, in Mbit/s
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub rate_mbit: Option<u64>,
    /// How much may wait before that uplink, in KiB
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(2..=65_536))]
    pub queue_kib: Option<u64>,
    /// Print one JSON document at the end: efficiency (all, and without each viewer's first 20 s), bytes, start-up,
    /// stalls, mismatches, errors, and each viewer's own
    #[arg(long)]
    pub json: bool,
    /// Go on after the summary until Ctrl-C, so that a real player can join; says how
    #[arg(long)]
    pub keep: bool,
}

fn percentage(text: &str) -> Result<f64, String> {
    let share = text.trim_end_matches('%').parse::<f64>().map_err(|_| format!("{text} is not a number"))?;
    if (0.0..=100.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not between 0 and 100")) }
}

impl Args {
    /// The line between any two daemons, if one was asked for.
    fn path(&self) -> Option<Path> {
        let asked = self.delay_ms.or(self.rate_mbit).or(self.queue_kib).is_some() || self.loss.is_some();
        asked.then(|| Path {
            delay: Duration::from_millis(self.delay_ms.unwrap_or(25)),
            loss: self.loss.unwrap_or(0.0) / 100.0,
            rate: BitsPerSecond(self.rate_mbit.unwrap_or(20) * 1_000_000),
            queue: self.queue_kib.unwrap_or(256) * 1024,
        })
    }
}

/// Bytes of a daemon at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    http: u64,
    p2p: u64,
    wasted: u64,
    uploaded: u64,
}

struct Viewer {
    daemon: serve::Daemon,
    joined: Instant,
    settled: Option<Counted>,
    progress: watch::Receiver<Outcome>,
    stop: watch::Sender<bool>,
    /// `None` once it ended.
    task: Option<JoinHandle<Result<Outcome, player::Error>>>,
    /// Segments up to here were compared with the channel's.
    checked: u64,
    mismatches: u64,
}

struct Stage {
    channel: Channel,
    url: Url,
    tracker: String,
    relay: Option<Arc<Relay>>,
    end_tracker: oneshot::Sender<()>,
    tracker_task: JoinHandle<()>,
    viewers: Vec<Viewer>,
}

/// Runs the demo.
///
/// # Errors
/// When a part can't be started, or a viewer got a byte that the channel did not send.
pub async fn run(args: Args) -> Result<(), Failure> {
    logging::start("warn").map_err(|error| Failure::Argument(error.to_string()))?;
    let mut interrupt = Interrupt::listen().map_err(Failure::running)?;
    let mut stage = Stage::set(&args).await?;
    let result = perform(&mut stage, &args, &mut interrupt).await;
    stage.end().await;
    result
}

/// All that is between setting the stage and clearing it.
async fn perform(stage: &mut Stage, args: &Args, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let screen = Screen::new();
    let began = Instant::now();
    let total = Duration::from_secs(args.seconds) + APART * (args.viewers as u32 - 1);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut interrupted = false;
    while began.elapsed() < total && !interrupted {
        tokio::select! {
            _ = tick.tick() => {}
            () = interrupt.heard() => interrupted = true,
        }
        if (stage.viewers.len() as u64) < args.viewers
            && began.elapsed() >= APART * stage.viewers.len() as u32
            && !interrupted
        {
            stage.join().await?;
        }
        stage.observe().await;
        screen.show(stage, began.elapsed(), total).await;
    }
    screen.clear();
    let stays = args.keep && !interrupted;
    if !stays {
        // A player that has ended reports to the millisecond.
        stage.dismiss().await;
    }
    stage.observe().await;
    let summary = stage.summary(args).await;
    if args.json {
        print(format_args!("{summary:#}\n"))?;
    } else {
        print(format_args!("{}", table(&summary)))?;
    }
    if stays {
        // With --json standard output holds one document and nothing else.
        let invitation = stage.invitation();
        if args.json {
            eprint!("{invitation}")
        } else {
            print(format_args!("{invitation}"))?;
        }
        interrupt.heard().await;
    }
    stage.verdict(interrupted)
}

impl Stage {
    async fn set(args: &Args) -> Result<Self, Failure> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(anywhere).await.map_err(Failure::running)?;
        // Nobody reaches its end.
        let recording = (args.seconds.div_ceil(4) + 8).clamp(RECORDING.0, RECORDING.1);
        let recording = args.vod.then_some(recording);
        let options = channel::Options { recording, ..channel::Options::default() };
        let channel = Channel::start(listener, options).map_err(Failure::running)?;
        let url = Url::parse(&channel.url()).map_err(Failure::running)?;
        let bound = tracker::bind(anywhere, true).await.map_err(Failure::running)?;
        let tracker = format!("ws://{}/", bound.address());
        let relay = args.path().map(|path| Relay::new(bound.address(), path));
        let (end_tracker, ended) = oneshot::channel();
        let options = tracker::Options::default();
        let tracker_task = tokio::spawn(async move {
            let shutdown = async {
                let _ = ended.await;
            };
            if let Err(error) = tracker::run(bound, options, shutdown).await {
                tracing::error!("the tracker ended: {error}");
            }
        });
        Ok(Self { channel, url, tracker, relay, end_tracker, tracker_task, viewers: Vec::new() })
    }

    /// One more daemon and its viewer.
    async fn join(&mut self) -> Result<(), Failure> {
        let mut config = Config::default();
        config.proxy.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tracker = match &self.relay {
            Some(relay) => relay.door(self.viewers.len() as u64).await.map_err(Failure::running)?,
            None => self.tracker.clone(),
        };
        config.tracker.urls = vec![tracker];
        let daemon = serve::start(config, Kept::default()).await?;
        let (stop, stopped) = watch::channel(false);
        let (sender, progress) = watch::channel(Outcome::default());
        let agent = format!("paceline-demo/{}", self.viewers.len() + 1);
        let watch = Watch { url: self.url.clone(), via: Some(daemon.address), agent };
        let task = Some(tokio::spawn(player::play(watch, stopped, sender)));
        let joined = Instant::now();
        let viewer =
            Viewer { daemon, joined, settled: None, progress, stop, task, checked: 0, mismatches: 0 };
        self.viewers.push(viewer);
        Ok(())
    }

    /// Compares what each viewer got with what the channel has, and notes what its daemon had fetched when its steady
    /// state began. To be called every second: only so the bounds of what is remembered never matter.
    async fn observe(&mut self) {
        for viewer in &mut self.viewers {
            if viewer.settled.is_none() && viewer.joined.elapsed() >= SETTLED {
                viewer.settled = Some(counted(&viewer.daemon.handle.stats().await));
            }
            let outcome = viewer.progress.borrow();
            for (&sequence, sum) in outcome.checksums.range(viewer.checked..) {
                viewer.mismatches += u64::from(self.channel.sha256(sequence) != *sum);
                viewer.checked = sequence + 1;
            }
        }
    }

    /// Ends the players; their daemons stay.
    async fn dismiss(&mut self) {
        for viewer in &self.viewers {
            viewer.stop.send_replace(true);
        }
        for (number, viewer) in self.viewers.iter_mut().enumerate() {
            let Some(task) = viewer.task.take() else { continue };
            let ended = task.await.map_err(|error| error.to_string());
            if let Err(error) = ended.and_then(|ended| ended.map_err(|error| error.to_string())) {
                tracing::error!("viewer {} could not play: {error}", number + 1);
            }
        }
    }

    /// Whether it went as it should.
    fn verdict(&self, interrupted: bool) -> Result<(), Failure> {
        let mismatches: u64 = self.viewers.iter().map(|viewer| viewer.mismatches).sum();
        if mismatches > 0 {
            return Err(Failure::Running(format!(
                "{mismatches} segments differ from what the channel sent; please report this"
            )));
        }
        if !interrupted && self.viewers.iter().all(|viewer| viewer.progress.borrow().segments == 0) {
            return Err(Failure::Running("nobody could play anything; the errors above say why".to_owned()));
        }
        Ok(())
    }

    async fn summary(&self, args: &Args) -> Value {
        let (mut all, mut steady) = (Counted::default(), Counted::default());
        let (mut stalls, mut stalled, mut failures, mut mismatches) = (0, Duration::ZERO, 0, 0);
        let (mut startups, mut each) = (Vec::new(), Vec::new());
        for viewer in &self.viewers {
            let stats = viewer.daemon.handle.stats().await;
            let now = counted(&stats);
            let since = viewer.settled.unwrap_or(now);
            all.http += now.http;
            all.p2p += now.p2p;
            all.wasted += now.wasted;
            steady.http += now.http.saturating_sub(since.http);
            steady.p2p += now.p2p.saturating_sub(since.p2p);
            let outcome = viewer.progress.borrow().clone();
            stalls += outcome.stalls;
            stalled += outcome.stalled;
            failures += outcome.failures;
            mismatches += viewer.mismatches;
            startups.extend(outcome.startup.map(|startup| startup.as_secs_f64() * 1e3));
            let mut document = watching::document(&outcome);
            document["http_bytes"] = json!(now.http);
            document["p2p_bytes"] = json!(now.p2p);
            document["uploaded_bytes"] = json!(now.uploaded);
            document["peer_efficiency"] = json!(efficiency(now.http, now.p2p));
            document["neighbours"] = stats["streams"][0]["neighbours"].clone();
            document["reasons"] = stats["totals"]["segments"].clone();
            each.push(document);
        }
        startups.sort_by(f64::total_cmp);
        let served = self.channel.served();
        json!({
            "viewers": self.viewers.len(),
            "seconds": args.seconds,
            "kind": if args.vod { "vod" } else { "live" },
            "peer_efficiency": efficiency(all.http, all.p2p),
            "peer_efficiency_steady": efficiency(steady.http, steady.p2p),
            "ceiling": efficiency(1, self.viewers.len().saturating_sub(1) as u64),
            "origin_bytes": served.bytes,
            "origin_requests": served.requests,
            "http_bytes": all.http,
            "p2p_bytes": all.p2p,
            "wasted_bytes": all.wasted,
            "stalls": stalls,
            "stall_ms": stalled.as_millis() as u64,
            "startup_ms_p50": quantile(&startups, 0.5),
            "startup_ms_p99": quantile(&startups, 0.99),
            "errors": failures,
            "mismatches": mismatches,
            "path": args.path().zip(self.relay.as_ref()).map(|(path, relay)| json!({
                "delay_ms": path.delay.as_millis() as u64,
                "loss": path.loss,
                "rate_bps": path.rate.0,
                "queue_bytes": path.queue,
                "relayed": relay.counted().relayed,
                "lost": relay.counted().lost,
            })),
            "per_viewer": each,
        })
    }

    fn invitation(&self) -> String {
        let mut text = "\nThe swarm goes on. Join it with a real player, end it with Ctrl-C:\n".to_owned();
        for viewer in self.viewers.iter().take(3) {
            text += &format!("  ffplay {}\n", player::through(viewer.daemon.address, &self.url));
        }
        if let Some(viewer) = self.viewers.first() {
            text += &format!("  vlc {}\n", player::through(viewer.daemon.address, &self.url));
            text += &format!("What it does, in a browser: http://{}/-/\n", viewer.daemon.address);
            let page = self.tracker.replacen("ws", "http", 1);
            text += &format!("What the tracker knows of the swarm: {page}\n");
            text += &format!("Or a daemon of your own: paceline serve --tracker {}\n", self.tracker);
            text += &format!("and the stream {}\n", self.url);
        }
        text
    }

    async fn end(mut self) {
        self.dismiss().await;
        let mut ending = tokio::task::JoinSet::new();
        for viewer in self.viewers {
            ending.spawn(viewer.daemon.stop());
        }
        while ending.join_next().await.is_some() {}
        if let Some(relay) = self.relay {
            relay.stop();
        }
        let _ = self.end_tracker.send(());
        let _ = self.tracker_task.await;
        self.channel.stop().await;
    }
}

fn counted(stats: &Value) -> Counted {
    let of = |key: &str| stats["totals"][key].as_u64().unwrap_or(0);
    Counted {
        http: of("http_bytes"),
        p2p: of("p2p_bytes"),
        wasted: of("wasted_bytes"),
        uploaded: of("uploaded_bytes"),
    }
}

/// The share of peers; `None` of nothing at all.
fn efficiency(http: u64, p2p: u64) -> Option<f64> {
    (http + p2p > 0).then(|| (p2p as f64 / (http + p2p) as f64 * 1e4).round() / 1e4)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * q).round() as usize).map(|ms| (ms * 10.0).round() / 10.0)
}

/// The live table: a bar and a line for each viewer on a terminal, a line now and then elsewhere.
struct Screen {
    bar: ProgressBar,
    drawn: bool,
    quiet_line: std::cell::Cell<u64>,
}

impl Screen {
    fn new() -> Self {
        let drawn = std::io::stderr().is_terminal();
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {elapsed_precise}\n{msg}") {
            bar.set_style(style);
        }
        Self { bar, drawn, quiet_line: std::cell::Cell::new(0) }
    }

    async fn show(&self, stage: &Stage, elapsed: Duration, total: Duration) {
        let mut lines = vec![format!(
            "{:>6} {:>8} {:>9} {:>10} {:>10} {:>7} {:>7}",
            "viewer", "played", "segments", "origin", "peers", "share", "stalls"
        )];
        let mut sum = Counted::default();
        for (number, viewer) in stage.viewers.iter().enumerate() {
            let now = counted(&viewer.daemon.handle.stats().await);
            let outcome = viewer.progress.borrow().clone();
            sum.http += now.http;
            sum.p2p += now.p2p;
            lines.push(format!(
                "{:>6} {:>6.0} s {:>9} {:>7.2} MB {:>7.2} MB {:>7} {:>7}",
                number + 1,
                outcome.played.as_secs_f64(),
                outcome.segments,
                now.http as f64 / 1e6,
                now.p2p as f64 / 1e6,
                percent(efficiency(now.http, now.p2p)),
                outcome.stalls
            ));
        }
        let share = format!(
            "{} viewers: {:.2} MB from the origin, {:.2} MB from peers ({})",
            stage.viewers.len(),
            sum.http as f64 / 1e6,
            sum.p2p as f64 / 1e6,
            percent(efficiency(sum.http, sum.p2p))
        );
        lines.push(share.clone());
        if self.drawn {
            self.bar.set_length(total.as_secs());
            self.bar.set_position(elapsed.as_secs());
            self.bar.set_message(lines.join("\n"));
        } else if elapsed.as_secs() / LINE_EVERY > self.quiet_line.get() {
            self.quiet_line.set(elapsed.as_secs() / LINE_EVERY);
            eprintln!("{:>4} s  {share}", elapsed.as_secs());
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn table(summary: &Value) -> String {
    let share = |key: &str| percent(summary[key].as_f64());
    let megabytes = |key: &str| format!("{:.2} MB", summary[key].as_f64().unwrap_or(0.0) / 1e6);
    let mut text = format!(
        "{} viewers watched for {} s\n\n  share from peers    {}; {} once settled ({} at most for long)\n  \
         from the origin     {} in {} requests\n  from peers          {}\n  fetched twice       {}\n  \
         start-up            {} ms median, {} ms worst\n  stalls              {} ({} ms)\n  \
         wrong segments      {}\n  failed requests     {}\n\n",
        summary["viewers"],
        summary["seconds"],
        share("peer_efficiency"),
        share("peer_efficiency_steady"),
        share("ceiling"),
        megabytes("origin_bytes"),
        summary["origin_requests"],
        megabytes("p2p_bytes"),
        megabytes("wasted_bytes"),
        summary["startup_ms_p50"],
        summary["startup_ms_p99"],
        summary["stalls"],
        summary["stall_ms"],
        summary["mismatches"],
        summary["errors"],
    );
    text += "  viewer    played  segments    origin     peers   share  stalls\n";
    for (number, viewer) in summary["per_viewer"].as_array().into_iter().flatten().enumerate() {
        text += &format!(
            "  {:>6} {:>7.0} s {:>9} {:>6.2} MB {:>6.2} MB {:>7} {:>7}\n",
            number + 1,
            viewer["played_s"].as_f64().unwrap_or(0.0),
            viewer["segments"].to_string(),
            viewer["http_bytes"].as_f64().unwrap_or(0.0) / 1e6,
            viewer["p2p_bytes"].as_f64().unwrap_or(0.0) / 1e6,
            percent(viewer["peer_efficiency"].as_f64()),
            viewer["stalls"].to_string(),
        );
    }
    text
}
