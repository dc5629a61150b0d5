//! What the daemon costs: `cargo bench --bench proxy`, or `cargo bench --bench proxy -- idle` for the first part alone.
//!
//! Prints figures; compare within one run. Some have bars: one that is missed is said, and ends it with 1. That of memory is for
//! what is packaged: `cargo bench --profile dist --bench proxy -- idle`; other builds are larger programs.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use common::{Daemon, Nginx, Process, Tracker, live, player, recording, until};
use serde_json::Value;

/// How long a daemon is looked at while it has nothing to do.
const IDLE: Duration = Duration::from_secs(120);

/// Most of a processor that anything may take while nobody watches, in percent.
const BUSY: f64 = 0.1;
/// Most resident memory then, in MiB. Most of it is the program itself, as much of its file as the kernel maps.
const RESIDENT: f64 = 15.0;
/// The same of one that has played with a neighbour and was left: more of the program has been used by then, and the system may
/// take that back.
const LEFT_RESIDENT: f64 = 26.0;
/// Most of it that is not of a file.
const LEFT_OWN: f64 = 12.0;
/// Wake-ups a second of who has nothing to wait for: none, but for one or two by chance in all that time.
const ASLEEP: f64 = 0.02;
/// A daemon with a tracker looks every ten minutes whether it might upload (battery, line), and where there is no bus of
/// NetworkManager's, every five whether there is one.
const LOOKS: f64 = 0.05;
/// What was played once stays connected to its tracker, and each asks the other now and then whether it is there.
const CONNECTED: f64 = 0.3;

/// Most that the daemon may add to the time to the first byte, in milliseconds.
const ADDED: f64 = 1.0;
/// Most that it may add to the start-up of a viewer, in milliseconds.
const LATER: f64 = 30.0;
/// Most resident memory of a daemon with four neighbours, besides content, in MiB.
const BEYOND: f64 = 50.0;

fn main() -> ExitCode {
    let mut missed = idle();
    if !std::env::args().any(|argument| argument == "idle") {
        missed.extend(busy());
    }
    for bar in &missed {
        println!("MISSED: {bar}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What it costs while somebody watches. The bars that are missed.
fn busy() -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 60, &[]);
    std::fs::write(dir.path().join("small.bin"), vec![7; 16 * 1024]).unwrap();
    let origin = Nginx::serve(dir.path(), "");
    let added = first_byte(&origin);
    let later = start_up(&origin);
    let beyond = memory(&origin);
    let bars = [
        (
            added > ADDED,
            format!("the first byte comes {added:.3} ms later through the daemon, more than {ADDED}"),
        ),
        (later > LATER, format!("a viewer starts {later:.1} ms later through the daemon, more than {LATER}")),
        (
            beyond > BEYOND,
            format!("a daemon that plays holds {beyond:.1} MiB beyond its content, more than {BEYOND}"),
        ),
    ];
    bars.into_iter().filter(|(missed, _)| *missed).map(|(_, bar)| bar).collect()
}

/// One that is looked at while it has nothing to do, and what it may cost.
struct Idle<'a> {
    who: &'a str,
    pid: u32,
    wakes: f64,
    resident: f64,
    own: f64,
}

/// What daemons and a tracker cost while nobody watches: wake-ups, processor time and memory. The bars that are missed.
fn idle() -> Vec<String> {
    let tracker = Tracker::start();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json").display().to_string();
    let alone = Daemon::start(&[], &[("PACELINE_P2P_STATE", &state)]);
    let daemon = Daemon::with_tracker(&tracker.url());
    let left = [(); 2].map(|()| Daemon::with_tracker(&tracker.url()));
    play_and_leave(&left);
    // The connection that asked whether they are ready is closed by now, and nothing else is under way.
    let daemons = [&alone, &daemon, &left[0], &left[1]].map(|daemon| daemon.process.pid());
    until("the daemons to be at rest", || {
        let before = daemons.map(wake_ups);
        std::thread::sleep(Duration::from_secs(2));
        (before == daemons.map(wake_ups)).then_some(())
    });
    let fresh = |who, pid, wakes| Idle { who, pid, wakes, resident: RESIDENT, own: RESIDENT };
    let all = [
        fresh("a daemon without a tracker", daemons[0], ASLEEP),
        fresh("a daemon with one", daemons[1], LOOKS),
        Idle {
            who: "a daemon that has played with a neighbour and was left",
            pid: daemons[2],
            wakes: CONNECTED,
            resident: LEFT_RESIDENT,
            own: LEFT_OWN,
        },
        fresh("a tracker of two viewers", tracker.process.pid(), CONNECTED),
    ];
    let before = all.each_ref().map(|idle| (wake_ups(idle.pid), ticks(idle.pid)));
    std::thread::sleep(IDLE);
    let mut missed = Vec::new();
    for (Idle { who, pid, wakes: most, resident: holds, own: of_it }, (woken, busy)) in
        all.into_iter().zip(before)
    {
        let seconds = IDLE.as_secs_f64();
        let wakes = (wake_ups(pid) - woken) as f64 / seconds;
        // A tick is a hundredth of a second on every Linux there is.
        let share = (ticks(pid) - busy) as f64 / seconds;
        let (memory, own) = (resident(pid), status(pid, "RssAnon:"));
        println!(
            "idle, {who}: {wakes:.2} wake-ups a second, {share:.3} % of a processor, {memory:.1} MiB resident, {own:.1} \
             of them not of a file"
        );
        let bars = [
            (wakes > most, format!("{who} wakes {wakes:.2} times a second, more than {most}")),
            (share >= BUSY, format!("{who} takes {share:.3} % of a processor, not less than {BUSY}")),
            (memory > holds, format!("{who} holds {memory:.1} MiB, more than {holds}")),
            (own > of_it, format!("{who} holds {own:.1} MiB that are not of a file, more than {of_it}")),
        ];
        missed.extend(bars.into_iter().filter(|(missed, _)| *missed).map(|(_, bar)| bar));
    }
    missed
}

/// A live stream is played through them, and they are neighbours; then it is over, and so are they.
fn play_and_leave(daemons: &[Daemon]) {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let url = origin.url("index.m3u8");
    let players: Vec<Process> = daemons.iter().map(|daemon| player(&daemon.prefix(&url), 500, &[])).collect();
    daemons.iter().for_each(|daemon| daemon.await_neighbours(1));
    std::thread::sleep(Duration::from_secs(30));
    let given: u64 = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).sum();
    assert!(given > 0, "they took nothing from each other");
    drop(players);
    for daemon in daemons {
        until("it to be over", || (daemon.stats()["streams"].as_array()?.is_empty()).then_some(()));
    }
    // Peers are kept for half a minute more.
    std::thread::sleep(Duration::from_secs(45));
}

/// How often any thread has begun to wait so far, which is as often as it was woken.
fn wake_ups(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

/// Processor time so far, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Time to the first byte of 16 KiB over kept-alive connections, directly and through, taking turns; the difference.
fn first_byte(origin: &Nginx) -> f64 {
    let daemon = Daemon::start(&[], &[]);
    let url = origin.url("small.bin");
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    let mut to_origin = TcpStream::connect(origin.address).unwrap();
    let mut to_daemon = TcpStream::connect(daemon.address).unwrap();
    for round in 0..2100 {
        let plain = exchange(&mut to_origin, origin.address, "/small.bin");
        let proxied = exchange(&mut to_daemon, daemon.address, &format!("/{url}"));
        // nginx closes a connection after 1,000 requests; the first ones also warm things up.
        if round % 900 == 899 {
            to_origin = TcpStream::connect(origin.address).unwrap();
        }
        if round >= 100 {
            direct.push(plain);
            through.push(proxied);
        }
    }
    let (plain, proxied) = (median(&mut direct), median(&mut through));
    println!(
        "first byte of a pass-through, median of {}: direct {plain:.3} ms, through {proxied:.3} ms, added {:.3} ms",
        direct.len(),
        proxied - plain
    );
    proxied - plain
}

fn exchange(stream: &mut TcpStream, host: SocketAddr, path: &str) -> f64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\n\r\n");
    let began = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = vec![0; 65536];
    let mut have = stream.read(&mut bytes).unwrap();
    let first = began.elapsed();
    let head = loop {
        if let Some(end) = bytes[..have].windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        have += stream.read(&mut bytes[have..]).unwrap();
    };
    while have < head + 16 * 1024 {
        have += stream.read(&mut bytes[have..]).unwrap();
    }
    first.as_secs_f64() * 1e3
}

/// Start-up of 20 viewers that join one after the other, directly and through; the difference.
fn start_up(origin: &Nginx) -> f64 {
    let daemon = Daemon::start(&[], &[]);
    let (url, via) = (origin.url("index.m3u8"), daemon.address.to_string());
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        direct.push(watch(&["--seconds", "1", &url]));
        through.push(watch(&["--seconds", "1", "--via", &via, &url]));
    }
    let (plain, proxied) = (median(&mut direct), median(&mut through));
    println!(
        "start-up, median of 20 joins: direct {plain:.1} ms, through {proxied:.1} ms, added {:.1} ms",
        proxied - plain
    );
    proxied - plain
}

fn watch(args: &[&str]) -> f64 {
    let output =
        Command::new(env!("CARGO_BIN_EXE_paceline")).arg("watch").args(args).arg("--json").output().unwrap();
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    outcome["startup_ms"].as_f64().unwrap()
}

/// Resident memory of a daemon: idle, and playing with four neighbours; of the latter what is not content.
fn memory(origin: &Nginx) -> f64 {
    let tracker = Tracker::start();
    let daemons: Vec<Daemon> = (0..5).map(|_| Daemon::with_tracker(&tracker.url())).collect();
    let idle = resident(daemons[0].process.pid());
    let url = origin.url("index.m3u8");
    let _players: Vec<Process> = daemons
        .iter()
        .map(|daemon| {
            let via = daemon.address.to_string();
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            Process::spawn("viewer", command.args(["watch", "--via", &via, &url]))
        })
        .collect();
    daemons.iter().for_each(|daemon| daemon.await_neighbours(4));
    let began = Instant::now();
    until("half a minute of playing", || (began.elapsed() > Duration::from_secs(30)).then_some(()));
    let playing = daemons.iter().map(|daemon| resident(daemon.process.pid())).fold(0.0, f64::max);
    let content = daemons.iter().map(|d| d.total("http_bytes") + d.total("p2p_bytes")).max().unwrap() as f64
        / 1048576.0;
    println!(
        "resident: idle {idle:.1} MiB; playing with 4 neighbours {playing:.1} MiB, of which content {content:.1} MiB"
    );
    playing - content
}

/// Resident memory in MiB.
fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// What the kernel says of a process's memory, in MiB.
fn status(pid: u32, of: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(of)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
