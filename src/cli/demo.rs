//! `paceline demo`: a channel, a tracker, daemons and viewers on this machine, in one process.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::exit::Failure;
use super::{logging, serve, watch as watching};
use crate::config::Config;
use crate::engine::Handle;
use crate::tracker;
use crate::viewer::channel::{self, Channel};
use crate::viewer::player::{self, Outcome, Watch};

/// Viewers that one machine can be asked for.
const MOST_VIEWERS: u64 = 64;
/// Viewers join so far apart.
const APART: Duration = Duration::from_secs(1);
/// Steady state begins so long after a viewer joined.
const SETTLED: Duration = Duration::from_secs(20);
/// Segments of the recording that `--vod` plays.
const RECORDING: u64 = 75;
/// Without a terminal a line is written so often.
const LINE_EVERY: u64 = 10;

/// Arguments of `demo`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Viewers, each with a daemon of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MOST_VIEWERS))]
    pub viewers: u64,
    /// How long all of them watch, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub seconds: u64,
    /// A recording instead of a live channel
    #[arg(long)]
    pub vod: bool,
    /// Print one JSON document at the end
    #[arg(long)]
    pub json: bool,
    /// Go on until Ctrl-C, so that a real player can join
    #[arg(long)]
    pub keep: bool,
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
    task: JoinHandle<Result<Outcome, player::Error>>,
}

struct Stage {
    channel: Channel,
    url: Url,
    tracker: String,
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
    let mut stage = Stage::set(&args).await?;
    let screen = Screen::new(&args);
    let began = Instant::now();
    let total = Duration::from_secs(args.seconds) + APART * (args.viewers as u32 - 1);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut interrupted = false;
    while began.elapsed() < total && !interrupted {
        tokio::select! {
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => interrupted = true,
        }
        if (stage.viewers.len() as u64) < args.viewers
            && began.elapsed() >= APART * stage.viewers.len() as u32
        {
            stage.join().await?;
        }
        stage.settle().await;
        screen.show(&stage, began.elapsed(), total).await;
    }
    screen.clear();
    let summary = stage.summary(&args).await;
    if args.json {
        println!("{summary:#}");
    } else {
        print!("{}", table(&summary));
    }
    if args.keep && !interrupted {
        stage.invite();
        let _ = tokio::signal::ctrl_c().await;
    }
    stage.end().await;
    match summary["mismatches"].as_u64() {
        Some(0) => Ok(()),
        mismatches => Err(Failure::Running(format!(
            "{} segments differ from what the channel sent; please report this",
            mismatches.unwrap_or(0)
        ))),
    }
}

impl Stage {
    async fn set(args: &Args) -> Result<Self, Failure> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(anywhere).await.map_err(Failure::running)?;
        let recording = args.vod.then_some(RECORDING.max(args.seconds.div_ceil(4) + 8));
        let options = channel::Options { recording, ..channel::Options::default() };
        let channel = Channel::start(listener, options).map_err(Failure::running)?;
        let url = Url::parse(&channel.url()).map_err(Failure::running)?;
        let bound = tracker::bind(anywhere, true).await.map_err(Failure::running)?;
        let tracker = format!("ws://{}/", bound.address());
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
        Ok(Self { channel, url, tracker, end_tracker, tracker_task, viewers: Vec::new() })
    }

    /// One more daemon and its viewer.
    async fn join(&mut self) -> Result<(), Failure> {
        let mut config = Config::default();
        config.proxy.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.tracker.urls = vec![self.tracker.clone()];
        let daemon = serve::start(config).await?;
        let (stop, stopped) = watch::channel(false);
        let (sender, progress) = watch::channel(Outcome::default());
        let agent = format!("paceline-demo/{}", self.viewers.len() + 1);
        let watch = Watch { url: self.url.clone(), via: Some(daemon.address), agent };
        let task = tokio::spawn(player::play(watch, stopped, sender));
        self.viewers.push(Viewer { daemon, joined: Instant::now(), settled: None, progress, stop, task });
        Ok(())
    }

    /// Notes what each daemon had fetched when its steady state began.
    async fn settle(&mut self) {
        for viewer in &mut self.viewers {
            if viewer.settled.is_none() && viewer.joined.elapsed() >= SETTLED {
                viewer.settled = Some(counted(&viewer.daemon.handle).await);
            }
        }
    }

    async fn summary(&self, args: &Args) -> Value {
        let (mut all, mut steady) = (Counted::default(), Counted::default());
        let (mut stalls, mut stalled, mut failures, mut mismatches) = (0, Duration::ZERO, 0, 0u64);
        let (mut startups, mut each) = (Vec::new(), Vec::new());
        for viewer in &self.viewers {
            let now = counted(&viewer.daemon.handle).await;
            let since = viewer.settled.unwrap_or(now);
            all.http += now.http;
            all.p2p += now.p2p;
            all.wasted += now.wasted;
            steady.http += now.http - since.http;
            steady.p2p += now.p2p - since.p2p;
            let outcome = viewer.progress.borrow().clone();
            stalls += outcome.stalls;
            stalled += outcome.stalled;
            failures += outcome.failures;
            mismatches += self.mismatches(&outcome);
            startups.extend(outcome.startup.map(|startup| startup.as_secs_f64() * 1e3));
            let mut document = watching::document(&outcome);
            document["http_bytes"] = json!(now.http);
            document["p2p_bytes"] = json!(now.p2p);
            document["uploaded_bytes"] = json!(now.uploaded);
            document["peer_efficiency"] = json!(efficiency(now.http, now.p2p));
            each.push(document);
        }
        startups.sort_by(f64::total_cmp);
        let served = self.channel.served();
        json!({
            "viewers": self.viewers.len(),
            "seconds": args.seconds,
            "peer_efficiency": efficiency(all.http, all.p2p),
            "peer_efficiency_steady": efficiency(steady.http, steady.p2p),
            "ceiling": 1.0 - 1.0 / self.viewers.len().max(1) as f64,
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
            "per_viewer": each,
        })
    }

    /// Segments whose bytes are not the channel's.
    fn mismatches(&self, outcome: &Outcome) -> u64 {
        outcome.checksums.iter().filter(|(sequence, sum)| self.channel.sha256(**sequence) != **sum).count()
            as u64
    }

    fn invite(&self) {
        println!("\nThe swarm goes on. Join it with a real player, end it with Ctrl-C:");
        for viewer in self.viewers.iter().take(3) {
            println!("  ffplay {}", channel::through(viewer.daemon.address, &self.url));
        }
        if let Some(viewer) = self.viewers.first() {
            println!("  vlc {}", channel::through(viewer.daemon.address, &self.url));
            println!("Statistics: http://{}/-/stats", viewer.daemon.address);
        }
    }

    async fn end(self) {
        for viewer in &self.viewers {
            viewer.stop.send_replace(true);
        }
        let mut ending = tokio::task::JoinSet::new();
        for viewer in self.viewers {
            let _ = viewer.task.await;
            ending.spawn(viewer.daemon.stop());
        }
        while ending.join_next().await.is_some() {}
        let _ = self.end_tracker.send(());
        let _ = self.tracker_task.await;
        self.channel.stop().await;
    }
}

async fn counted(handle: &Handle) -> Counted {
    let stats = handle.stats().await;
    let of = |key: &str| stats["totals"][key].as_u64().unwrap_or(0);
    Counted {
        http: of("http_bytes"),
        p2p: of("p2p_bytes"),
        wasted: of("wasted_bytes"),
        uploaded: of("uploaded_bytes"),
    }
}

fn efficiency(http: u64, p2p: u64) -> f64 {
    if http + p2p == 0 { 0.0 } else { (p2p as f64 / (http + p2p) as f64 * 1e4).round() / 1e4 }
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
    fn new(args: &Args) -> Self {
        let drawn = std::io::stderr().is_terminal();
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(args.seconds), target);
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
            let now = counted(&viewer.daemon.handle).await;
            let outcome = viewer.progress.borrow().clone();
            sum.http += now.http;
            sum.p2p += now.p2p;
            lines.push(format!(
                "{:>6} {:>6.0} s {:>7} {:>7.2} MB {:>7.2} MB {:>5.1} % {:>7}",
                number + 1,
                outcome.played.as_secs_f64(),
                outcome.segments,
                now.http as f64 / 1e6,
                now.p2p as f64 / 1e6,
                efficiency(now.http, now.p2p) * 100.0,
                outcome.stalls
            ));
        }
        let share = format!(
            "{} viewers: {:.2} MB from the origin, {:.2} MB from peers ({:.1} %)",
            stage.viewers.len(),
            sum.http as f64 / 1e6,
            sum.p2p as f64 / 1e6,
            efficiency(sum.http, sum.p2p) * 100.0
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
    let percent = |key: &str| format!("{:.1} %", summary[key].as_f64().unwrap_or(0.0) * 100.0);
    let megabytes = |key: &str| format!("{:.2} MB", summary[key].as_f64().unwrap_or(0.0) / 1e6);
    let mut text = format!(
        "{} viewers watched for {} s\n\n  share from peers    {}; {} once settled (at most {})\n  \
         from the origin     {} in {} requests\n  from peers          {}\n  fetched twice       {}\n  \
         start-up            {} ms median, {} ms worst\n  stalls              {} ({} ms)\n  \
         wrong segments      {}\n  failed requests     {}\n\n",
        summary["viewers"],
        summary["seconds"],
        percent("peer_efficiency"),
        percent("peer_efficiency_steady"),
        percent("ceiling"),
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
            "  {:>6} {:>7.0} s {:>9} {:>6.2} MB {:>6.2} MB {:>5.1} % {:>7}\n",
            number + 1,
            viewer["played_s"].as_f64().unwrap_or(0.0),
            viewer["segments"],
            viewer["http_bytes"].as_f64().unwrap_or(0.0) / 1e6,
            viewer["p2p_bytes"].as_f64().unwrap_or(0.0) / 1e6,
            viewer["peer_efficiency"].as_f64().unwrap_or(0.0) * 100.0,
            viewer["stalls"],
        );
    }
    text
}
