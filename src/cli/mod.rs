//! The command line: the clap tree, and who does what.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod address;
mod check;
mod conditions;
mod control;
mod demo;
pub mod exit;
mod interrupt;
pub mod logging;
mod manual;
mod metered;
mod output;
pub mod serve;
mod service;
mod simulate;
mod state;
mod tracker;
mod watch;

use exit::Failure;

/// Watch HLS and DASH streams through this machine, and take most of each from other viewers of it.
#[derive(Debug, Parser)]
#[command(name = "paceline", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Start here:
  paceline serve --tracker ws://tracker.example:7224/
  vlc http://127.0.0.1:7223/https://origin.example/live/master.m3u8";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon that players are pointed at
    #[command(after_help = "A player asks for http://127.0.0.1:7223/ followed by the stream's URL:
  vlc http://127.0.0.1:7223/https://origin.example/live/master.m3u8
  ffplay http://127.0.0.1:7223/https://origin.example/live/master.m3u8
Plain http streams also play with http_proxy=http://127.0.0.1:7223 set for the player.
Every key of the configuration is also an environment variable PACELINE_<SECTION>_<KEY>.")]
    Serve(serve::Args),
    /// Run a tracker, through which viewers find each other
    #[command(after_help = "Viewers are started with its address:
  paceline serve --tracker ws://tracker.example:7224/
GET /health says whether it runs, GET /stats what it does. It answers STUN on the same UDP port.")]
    Tracker(tracker::Args),
    /// See it work: a channel, a tracker, daemons and viewers, all on this machine
    #[command(after_help = "Needs nothing installed. With --keep the swarm stays, for a real player to join:
  paceline demo --viewers 5 --keep")]
    Demo(demo::Args),
    /// Play a stream without a screen and report start-up, stalls and bytes
    #[command(after_help = "Through a daemon, or directly to compare:
  paceline watch --via 127.0.0.1:7223 --seconds 60 https://origin.example/live/master.m3u8")]
    Watch(watch::Args),
    /// Tell whether a stream is fit for peers, and what to change
    #[command(after_help = check::EXAMPLES)]
    Check(check::Args),
    /// See what the delivery does with thousands of viewers, in a virtual network
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::Args),
    /// Show what a running daemon does
    Stats(control::StatsArgs),
    /// Turn peers on or off in a running daemon
    #[command(
        after_help = "Until the daemon reads its configuration again; over a restart only with p2p.state set:
  paceline p2p off
  paceline p2p off --channel news"
    )]
    P2p(control::P2pArgs),
    /// Turn uploads on or off in a running daemon, or limit them
    #[command(
        after_help = "Until the daemon reads its configuration again; over a restart only with p2p.state set:
  paceline upload off
  paceline upload on --limit 2M
  paceline upload auto --daily 2GB --monthly 40GB
  paceline upload off --channel news
Without any it shows what holds."
    )]
    Upload(control::UploadArgs),
    /// Print a completion script for a shell
    #[command(after_help = "For bash, as an ordinary user:
  paceline completions bash > ~/.local/share/bash-completion/completions/paceline")]
    Completions(manual::CompletionsArgs),
    /// Write man pages into a folder
    #[command(after_help = "Read them with man -l:
  paceline man target/man && man -l target/man/paceline.1")]
    Man(manual::ManArgs),
}

/// Runs the command that was typed.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve(_) | Command::Tracker(_) | Command::Demo(_)) {
        forbid_huge_pages();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::status(Err(Failure::Running(format!("no thread can be started: {error}"))));
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Tracker(args) => tracker::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Watch(args) => watch::run(args).await,
            Command::Check(args) => check::run(args).await,
            Command::Simulate(args) => simulate::run(&args),
            Command::Stats(args) => control::stats(args).await,
            Command::P2p(args) => control::p2p(args).await,
            Command::Upload(args) => control::upload(args).await,
            Command::Completions(args) => manual::completions(&args, Cli::command()),
            Command::Man(args) => manual::pages(&args, Cli::command()),
        }
    });
    runtime.shutdown_background();
    exit::status(result)
}

/// For what runs for long and gives back what it held: where the kernel gives huge pages to everybody, as Debian's does, what is
/// let go of in pieces would stay for the rest of each. A simulation fills gigabytes once, and is faster with them.
fn forbid_huge_pages() {
    // Where there are none there is nothing to forbid.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
