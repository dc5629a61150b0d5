//! `paceline check`: is this stream fit for peers? And without a stream: is this machine ([`doctor`])?
//!
//! Two viewers that know nothing of each other ([`viewer`]) look at the stream side by side ([`look`]); what they saw is
//! judged by `manifest::fitness` and told ([`report`]). Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use url::Url;

mod compare;
mod dash;
mod doctor;
mod look;
mod report;
mod stun;
mod viewer;

use super::exit::Failure;
use super::output::print;
use crate::config::{Config, Loaded, tracker_address};
use crate::manifest::fitness::judge;
use crate::manifest::identity::Rules;
use crate::viewer::player::told;
use viewer::Viewer;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  paceline check --tracker ws://tracker.example:7224/
  paceline check https://origin.example/live/master.m3u8
  paceline check --json https://origin.example/live/stream.mpd
  paceline check --config paceline.toml https://origin.example/live/master.m3u8
Two viewers, each with cookies and connections of its own, load the playlists and a few segments
of up to three renditions; no daemon is needed, and nothing is shared. Where their URLs differ by
a token, an [[identity]] rule is proposed: paste it into the configuration of every viewer, and
check again with --config. Each finding is a line that begins with `ok`, `advice` or `blocker` and
says what to change. Without a URL this machine is examined: can players be served, do the trackers
answer, is UDP open, what does the NAT do, is the clock right.
Exit status: 0 fit for P2P, 1 not fit or not to be looked at, 2 bad arguments.";

/// Arguments of `check`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream's manifest, http or https: a playlist (.m3u8), master or media, or an MPD
    pub url: Option<Url>,
    /// Without a URL: a tracker to try, besides those of the configuration
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    pub tracker: Vec<String>,
    /// Print one JSON document: url, kind, fit, renditions, findings, proposed_rule; without a URL healthy and findings
    #[arg(long)]
    pub json: bool,
    /// Configuration that applies
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Looks, judges and reports.
///
/// # Errors
/// When the stream can't be looked at, or is not fit.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut config = Loaded::read(args.config.as_deref(), std::env::vars_os(), &[])?.config;
    let Some(url) = args.url else {
        for url in args.tracker {
            tracker_address(&url).map_err(|why| Failure::Argument(format!("--tracker: {why}")))?;
            config.tracker.urls.push(url);
        }
        return machine(&config, args.json).await;
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::Argument(format!("{} is not an http:// or https:// address", told(&url))));
    }
    let rules = Rules::new(&config.identity).map_err(|error| Failure::Argument(error.to_string()))?;
    let viewer = |number| {
        Viewer::new(number, config.origin.clone()).map_err(|error| Failure::Argument(error.to_string()))
    };
    let viewers = [viewer(1)?, viewer(2)?];
    let looked = tokio::time::timeout(PATIENCE, look::look(&viewers, &url, &rules)).await;
    let late =
        |_| Failure::Running(format!("{}: looking took more than {} s", told(&url), PATIENCE.as_secs()));
    let facts = looked.map_err(late)?.map_err(Failure::Running)?;
    let report = judge(&facts);
    if args.json {
        print(format_args!("{:#}\n", report::document(&url, &facts, &report)))?;
    } else {
        print(format_args!("{}\n", report::text(&facts, &report)))?;
    }
    if report.fit {
        return Ok(());
    }
    let verdict = report::verdict(&report);
    Err(Failure::Running(format!("{} is {verdict}", told(&url))))
}

/// Examines this machine.
async fn machine(config: &Config, json: bool) -> Result<(), Failure> {
    let findings = doctor::examine(config).await;
    if json {
        print(format_args!("{:#}\n", doctor::document(&findings)))?;
    } else {
        print(format_args!("{}\n", doctor::text(&findings)))?;
    }
    match findings.iter().filter(|of| of.kind == "blocker").count() {
        0 => Ok(()),
        1 => Err(Failure::Running("one thing stands in the way; see above".to_owned())),
        count => Err(Failure::Running(format!("{count} things stand in the way; see above"))),
    }
}
