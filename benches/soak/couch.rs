//! Somebody who opens one stream after the other.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use paceline::viewer::channel::{self, Channel as OnAir};
use paceline::viewer::player::{self, Outcome, Watch};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use url::Url;

use crate::House;
use crate::common::get;

/// A channel on a port of its own, and what keeps it on the air.
pub struct Channel {
    runtime: Runtime,
    channel: OnAir,
}

/// A new channel; never the same stream again.
pub fn channel(seed: u64, recording: bool) -> Channel {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let channel = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let recording = recording.then_some(20);
        let options = channel::Options { segment_s: 2, recording, seed, ..channel::Options::default() };
        OnAir::start(listener, options).unwrap()
    });
    Channel { runtime, channel }
}

impl Channel {
    pub fn url(&self) -> String {
        self.channel.url()
    }

    pub fn stop(self) {
        self.runtime.block_on(self.channel.stop());
    }
}

/// One of them.
pub struct Couch {
    number: u64,
    streams: u64,
}

impl Couch {
    pub fn new(number: u64) -> Self {
        Self { number, streams: 0 }
    }

    /// Opens a stream at all daemons, watches for a while, and leaves it.
    pub fn sit(&mut self, house: &House) {
        self.streams += 1;
        let turn = self.number + self.streams;
        let channel = channel(self.number << 32 | self.streams, turn.is_multiple_of(3));
        house.opened.fetch_add(1, Ordering::Relaxed);
        let url = Url::parse(&channel.url()).unwrap();
        // Not a whole number of segments: most leave in the middle of one.
        let stay = Duration::from_millis(8_300 + 700 * (turn % 7));
        let played = channel.runtime.block_on(async {
            let (stop, stopped) = watch::channel(false);
            let players: Vec<_> = house
                .daemons
                .iter()
                .map(|daemon| {
                    let agent = format!("soak/{}", self.number);
                    let watch = Watch { url: url.clone(), via: Some(daemon.address), agent };
                    let progress = watch::Sender::new(Outcome::default());
                    tokio::spawn(player::play(watch, stopped.clone(), progress))
                })
                .collect();
            tokio::time::sleep(stay).await;
            stop.send_replace(true);
            let mut played = 0;
            for player in players {
                played += player.await.unwrap().unwrap().segments;
            }
            played
        });
        house.played.fetch_add(played, Ordering::Relaxed);
        for daemon in &house.daemons {
            look_on(daemon.address);
            break_off(daemon.address, &url);
        }
        channel.stop();
    }
}

/// Somebody has the dashboard open, Prometheus asks, and a player asks for what isn't there.
fn look_on(daemon: SocketAddr) {
    for path in ["/-/stats", "/-/metrics", "/http://127.0.0.1:9/absent.m3u8", "/nothing"] {
        let answer = get(daemon, path).expect("the daemon answers");
        assert!(matches!(answer.status, 200 | 400..=599), "{path}: {}", answer.status);
    }
}

/// A player that opens a playlist and a segment that isn't listed, and hangs up after the first bytes.
fn break_off(daemon: SocketAddr, url: &Url) {
    for file in ["index.m3u8", "seg1.ts", "seg999999.ts"] {
        let asked = url.join(file).unwrap();
        let mut stream = TcpStream::connect(daemon).unwrap();
        let request = format!("GET /{asked} HTTP/1.1\r\nHost: {daemon}\r\nUser-Agent: zapper\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
    }
}
