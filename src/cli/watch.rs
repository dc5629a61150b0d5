//! `paceline watch`: a headless viewer that reports how it went.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;
use url::Url;

use super::exit::Failure;
use super::interrupt::Interrupt;
use super::output::print;
use crate::viewer::player::{self, Outcome, Watch};

/// The longest that can be asked for, in seconds: a year.
const LONGEST: u64 = 366 * 24 * 3600;

/// Arguments of `watch`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream's playlist (.m3u8), http or https. Of a master playlist the variant with the highest bit rate is
    /// played, without alternative sound or subtitles
    pub url: Url,
    /// End after so many seconds; without it at the end of the stream, or with Ctrl-C
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    pub seconds: Option<u64>,
    /// Print one JSON document: startup_ms, stalls, stall_ms, played_s, segments, missed, bytes, sha256 (of all
    /// segment bytes in order), failures, errors, ended
    #[arg(long)]
    pub json: bool,
    /// Play through the daemon at this address, such as 127.0.0.1:7223
    #[arg(long, value_name = "ADDR", value_parser = super::address::parse)]
    pub via: Option<SocketAddr>,
}

/// Plays and reports.
///
/// # Errors
/// When nothing could be played at all.
pub async fn run(args: Args) -> Result<(), Failure> {
    if !matches!(args.url.scheme(), "http" | "https") {
        return Err(Failure::Argument(format!(
            "{} is not an http:// or https:// address",
            player::told(&args.url)
        )));
    }
    let mut interrupt = Interrupt::listen().map_err(Failure::running)?;
    let (stop, stopped) = watch::channel(false);
    let (progress, seen) = watch::channel(Outcome::default());
    let agent = format!("paceline-watch/{}", env!("CARGO_PKG_VERSION"));
    let play = player::play(Watch { url: args.url.clone(), via: args.via, agent }, stopped, progress);
    let ending = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let ticker = tokio::spawn(show(seen));
    // The end only asks the player to stop; its answer is the outcome.
    let end = async {
        tokio::select! {
            () = ending => {}
            () = interrupt.heard() => {}
        }
        stop.send_replace(true);
    };
    tokio::pin!(play, end);
    let outcome = tokio::select! {
        outcome = &mut play => outcome,
        () = &mut end => play.await,
    };
    let outcome = outcome.map_err(Failure::running)?;
    // The player has let go of its progress, so this ends by itself, and clears its line.
    let _ = ticker.await;
    report(&outcome, args.json)?;
    if outcome.segments == 0 {
        let why = outcome.errors.first().map_or("nothing was listed", String::as_str);
        return Err(Failure::Running(format!("nothing could be played: {why}")));
    }
    Ok(())
}

async fn show(mut seen: watch::Receiver<Outcome>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let line = ProgressBar::new_spinner();
    line.set_style(
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    line.enable_steady_tick(Duration::from_millis(200));
    while seen.changed().await.is_ok() {
        let outcome = seen.borrow().clone();
        line.set_message(format!(
            "{:.0} s played, {} segments, {} stalls",
            outcome.played.as_secs_f64(),
            outcome.segments,
            outcome.stalls
        ));
    }
    line.finish_and_clear();
}

fn report(outcome: &Outcome, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(format_args!("{:#}\n", document(outcome)));
    }
    let startup =
        outcome.startup.map_or("never".to_owned(), |s| format!("after {:.0} ms", s.as_secs_f64() * 1e3));
    print(format_args!(
        "started   {startup}\nplayed    {:.1} s\nstalls    {} ({:.1} s)\nsegments  {} ({:.2} MB), {} missed\n\
         failures  {}\nsha256    {}\n",
        outcome.played.as_secs_f64(),
        outcome.stalls,
        outcome.stalled.as_secs_f64(),
        outcome.segments,
        outcome.bytes as f64 / 1e6,
        outcome.missed,
        outcome.failures,
        hex(&outcome.sha256),
    ))?;
    for error in &outcome.errors {
        print(format_args!("  {error}\n"))?;
    }
    let untold = outcome.failures - outcome.errors.len() as u64;
    if untold > 0 {
        print(format_args!("  and {untold} more\n"))?;
    }
    Ok(())
}

/// An outcome as the contract's JSON document.
#[must_use]
pub fn document(outcome: &Outcome) -> serde_json::Value {
    json!({
        "startup_ms": outcome.startup.map(|startup| startup.as_micros() as f64 / 1e3),
        "stalls": outcome.stalls,
        "stall_ms": outcome.stalled.as_millis() as u64,
        "played_s": (outcome.played.as_secs_f64() * 10.0).round() / 10.0,
        "segments": outcome.segments,
        "missed": outcome.missed,
        "bytes": outcome.bytes,
        "sha256": hex(&outcome.sha256),
        "failures": outcome.failures,
        "errors": outcome.errors,
        "ended": outcome.ended,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
