//! `paceline stats`, `paceline p2p` and `paceline upload`: ask and steer a running daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::address;
use super::exit::Failure;
use super::output::print;
use crate::delivery::policy::Upload;
use crate::model::units::{BitsPerSecond, Size};
use crate::proxy::control::CHANGE;

/// The longest answer, in bytes.
const ANSWER: usize = 4 << 20;
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Said of a budget that a restart would do away with.
const FORGETFUL: &str = "warning: a restart of the daemon forgets this budget and what of it is spent: p2p.state, where they \
                         would be kept, is not set";

/// Arguments of `stats`.
#[derive(Debug, ClapArgs)]
pub struct StatsArgs {
    /// The daemon to ask: where it listens, an IP address with its port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223", value_parser = address::parse)]
    pub via: SocketAddr,
    /// Print the JSON document as it is
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `p2p`.
#[derive(Debug, ClapArgs)]
pub struct P2pArgs {
    /// What it is to be
    pub switch: OnOff,
    /// For this channel of the configuration alone
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// The daemon to steer: where it listens, an IP address with its port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223", value_parser = address::parse)]
    pub via: SocketAddr,
}

/// Arguments of `upload`.
#[derive(Debug, ClapArgs)]
pub struct UploadArgs {
    /// Whether peers are served; left out, only limits are changed or shown
    pub switch: Option<Mode>,
    /// All uploads together, in bits per second, such as 2000000 or 2M; 0 is no limit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<u64>,
    /// What may be uploaded in a day (UTC), such as 2GB; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub daily: Option<u64>,
    /// What may be uploaded in a month (UTC), such as 40GB; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub monthly: Option<u64>,
    /// For this channel of the configuration alone
    #[arg(long, value_name = "NAME", conflicts_with_all = ["limit", "daily", "monthly"], requires = "switch")]
    pub channel: Option<String>,
    /// The daemon to steer: where it listens, an IP address with its port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223", value_parser = address::parse)]
    pub via: SocketAddr,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// From now on.
    On,
    /// Not any more.
    Off,
}

/// When peers are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Always.
    On,
    /// Never.
    Off,
    /// Unless something speaks against it: a low battery, a metered connection, a cellular line (interfaces wwan, wwp,
    /// rmnet, and ppp but over Ethernet), a VPN (tun, tap, wg).
    Auto,
}

/// Prints the statistics of a daemon.
///
/// # Errors
/// When it does not answer.
pub async fn stats(args: StatsArgs) -> Result<(), Failure> {
    let stats = ask(args.via, Method::GET, "/-/stats", None).await?;
    if args.json {
        print(format_args!("{stats:#}\n"))?;
    } else {
        print(format_args!("{}", table(&stats)))?;
    }
    Ok(())
}

/// Turns P2P on or off.
///
/// # Errors
/// When the daemon does not answer.
pub async fn p2p(args: P2pArgs) -> Result<(), Failure> {
    let change = serde_json::json!({"p2p": args.switch == OnOff::On, "channel": args.channel});
    let now = ask(args.via, Method::POST, "/-/p2p", Some(change)).await?;
    print(format_args!("{}\n", of_channel("p2p", &now, args.channel.as_deref())))?;
    Ok(())
}

/// Turns uploads on or off, or limits them.
///
/// # Errors
/// When the daemon does not answer, or knows no such channel; or the channel has no such mode.
pub async fn upload(args: UploadArgs) -> Result<(), Failure> {
    if let (Some(Mode::Auto), Some(name)) = (args.switch, &args.channel) {
        let text = format!(
            "`auto` is for all uploads together; those of a channel are on or off: paceline upload on --channel {name}"
        );
        return Err(Failure::Argument(text));
    }
    let upload = args.switch.map(|mode| match mode {
        Mode::On => Upload::Always,
        Mode::Off => Upload::Never,
        Mode::Auto => Upload::Auto,
    });
    let change = serde_json::json!({
        "upload": upload,
        "upload_limit": args.limit,
        "upload_daily": args.daily,
        "upload_monthly": args.monthly,
        "channel": args.channel,
    });
    let now = ask(args.via, Method::POST, "/-/p2p", Some(change)).await?;
    match args.channel.as_deref() {
        Some(name) => print(format_args!("{}\n", of_channel("upload", &now, Some(name))))?,
        None => print(format_args!("{}\n", uploads(&now)))?,
    }
    if [args.daily, args.monthly].into_iter().flatten().any(|limit| limit > 0) && now["kept"] == false {
        eprintln!("{FORGETFUL}");
    }
    Ok(())
}

/// A switch of the daemon, or of one of its channels.
fn of_channel(switch: &str, now: &Value, channel: Option<&str>) -> String {
    let (value, whom) = match channel {
        Some(name) => (&now["channels"][name][switch], format!(" for {name}")),
        None => (&now[switch], String::new()),
    };
    match value.as_bool() == Some(true) {
        true if switch == "p2p" && now["trackers"] == 0 => {
            format!("p2p on{whom}, but no tracker is configured: nobody can be met")
        }
        true => format!("{switch} on{whom}"),
        false => format!("{switch} off{whom}"),
    }
}

/// What holds for uploads, in a line.
fn uploads(now: &Value) -> String {
    let mut text = match now["upload_mode"].as_str() {
        Some("always") => "upload on".to_owned(),
        Some("auto") => "upload auto".to_owned(),
        _ => "upload off".to_owned(),
    };
    if let Some(why) = now["upload_withheld"].as_str() {
        text += &format!(" (not now: {why})");
    }
    match now["upload_limit"].as_u64() {
        Some(limit) if limit > 0 => text += &format!(", at most {:.1} Mbit/s", limit as f64 / 1e6),
        _ => text += ", no limit",
    }
    for (key, period) in [("upload_daily", "day"), ("upload_monthly", "month")] {
        if let Some(bytes) = now[key].as_u64().filter(|&bytes| bytes > 0) {
            text += &format!(", {} a {period}", Size(bytes));
        }
    }
    // The switches are two: this one stays as it is while the other is off.
    if now["p2p"] == false && now["upload_mode"] != "never" {
        text += ", but peers are off";
    }
    text
}

/// `2000000000`, `500MB` or `2GB`.
fn size(text: &str) -> Result<u64, String> {
    Size::parse(text).map(|size| size.0).ok_or_else(|| "write a size, such as 500MB or 2GB".to_owned())
}

/// As in the configuration.
fn rate(text: &str) -> Result<u64, String> {
    let rate = BitsPerSecond::parse(text).map(|rate| rate.0);
    rate.ok_or_else(|| "write bits per second, such as 2000000, 500k or 2M".to_owned())
}

async fn ask(via: SocketAddr, method: Method, path: &str, change: Option<Value>) -> Result<Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Running(format!("no daemon answers at {via} ({error}); start one with `paceline serve`"))
    };
    let exchange = async {
        let stream = TcpStream::connect(via).await.map_err(|error| failed(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let connection = tokio::spawn(connection);
        let body = change.map(|change| change.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", via.to_string())
            .header("content-type", "application/json")
            .header(CHANGE, "1")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(&error))?;
        let answer = send.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        connection.abort();
        if !status.is_success() {
            return Err(Failure::Running(String::from_utf8_lossy(&body).trim().to_owned()));
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(&"no answer in time")),
    }
}

fn table(stats: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let megabytes = |value: &Value| format!("{:.1} MB", number(value) / 1e6);
    let percent = |value: &Value| format!("{:.1} %", number(value) * 100.0);
    let switch = |value: &Value| if value == &Value::Bool(true) { "on" } else { "off" };
    let totals = &stats["totals"];
    let upload = match stats["upload_withheld"].as_str() {
        Some(why) => format!("{} ({why})", switch(&stats["upload"])),
        None => switch(&stats["upload"]).to_owned(),
    };
    let ceiling = &totals["peer_efficiency_ceiling"];
    // Before anything was shared there is none.
    let most =
        if number(ceiling) > 0.0 { format!(" of at most {}", percent(ceiling)) } else { String::new() };
    let mut text = format!(
        "up {:.0} s, p2p {}, upload {}\n{}from origin {}, from peers {} ({}{most}), to peers {}, wasted {}\n",
        number(&stats["uptime_s"]),
        switch(&stats["p2p"]),
        upload,
        trackers(stats),
        megabytes(&totals["http_bytes"]),
        megabytes(&totals["p2p_bytes"]),
        percent(&totals["peer_efficiency"]),
        megabytes(&totals["uploaded_bytes"]),
        megabytes(&totals["wasted_bytes"]),
    );
    for period in ["daily", "monthly"] {
        let budget = &stats["upload_budget"][period];
        if !budget["limit_bytes"].is_null() {
            text += &format!(
                "{period} upload budget {}: {} left until {}\n",
                megabytes(&budget["limit_bytes"]),
                megabytes(&budget["left_bytes"]),
                budget["ends"].as_str().unwrap_or("?"),
            );
        }
    }
    for stream in stats["streams"].as_array().into_iter().flatten() {
        // How many there are a tracker tells.
        let viewers = match stream["swarm_size"].as_u64() {
            None | Some(0) => String::new(),
            Some(viewers) => format!("{viewers} viewers, "),
        };
        text += &format!(
            "{} ({}): {viewers}{} neighbours, {:.1} s buffered, {} from peers, {} late\n",
            stream["manifest"].as_str().unwrap_or("?"),
            stream["kind"].as_str().unwrap_or("?"),
            stream["neighbours"],
            number(&stream["buffered_s"]),
            percent(&stream["peer_efficiency"]),
            stream["late_segments"],
        );
        text += &reasons(stream);
    }
    text
}

/// Whether peers can be met, in a line; none where nobody is looked for.
fn trackers(stats: &Value) -> String {
    let of = |key: &str| stats["trackers"][key].as_u64();
    let streams = stats["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let playing = !streams.is_empty();
    // A channel may be kept from peers: for it no tracker is asked. Nor is one for what is only looked at.
    let kept = playing && streams.iter().all(|stream| stream["p2p"] == false);
    let asked = stats["trackers"]["asked"].as_bool().unwrap_or(playing);
    match (of("up"), of("configured")) {
        // A daemon of before says nothing of trackers.
        (None, _) | (_, None) => String::new(),
        (_, Some(0)) => "no tracker is configured: nobody can be met\n".to_owned(),
        _ if stats["p2p"] != true => String::new(),
        _ if kept => "p2p is off for all that plays: nobody is looked for\n".to_owned(),
        (Some(0), Some(all)) if asked => {
            format!("tracker not reached (0 of {all}): nobody new is met\n")
        }
        (Some(0), Some(all)) => format!("trackers configured: {all}, asked once something plays\n"),
        (Some(up), Some(all)) => format!("trackers reached: {up} of {all}\n"),
    }
}

/// Why the last segments of a stream came as they did, the most frequent reason first; a line, unless there are none.
fn reasons(stream: &Value) -> String {
    let segments = stream["segments"].as_array().map_or(&[][..], Vec::as_slice);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in segments.iter().filter_map(|segment| segment["reason"].as_str()) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    if counts.is_empty() {
        return String::new();
    }
    let counted: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("  the last {} segments: {}\n", segments.len(), counted.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::conditions::{CELLULAR, PPP, VPN};

    #[test]
    fn what_uploads_stop_for_is_named() {
        let value = Mode::Auto.to_possible_value().unwrap();
        let help = value.get_help().unwrap().to_string();
        let questions = std::fs::read_to_string("docs/faq.md").unwrap();
        for kind in CELLULAR.iter().chain(&VPN).chain(&[PPP]) {
            assert!(help.contains(kind), "{help}");
            assert!(questions.contains(&format!("`{kind}`")), "docs/faq.md: {kind}");
        }
    }

    #[test]
    fn the_table_counts_reasons() {
        let segment = |reason: &str| json!({ "reason": reason });
        let all = ["start-up", "prefetch", "no-peer", "prefetch"].map(segment);
        let text =
            table(&json!({ "streams": [{ "manifest": "http://o/", "segments": all }, { "segments": [] }] }));
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("segments:")).collect();
        assert_eq!(lines, ["  the last 4 segments: 2 prefetch, 1 no-peer, 1 start-up"], "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_a_number() {
        let said = |ceiling: f64, size: u64| {
            let stream =
                json!({ "manifest": "http://o/", "kind": "live", "swarm_size": size, "neighbours": 0 });
            table(&json!({ "totals": { "peer_efficiency_ceiling": ceiling }, "streams": [stream] }))
        };
        let (alone, among) = (said(0.0, 0), said(0.8, 5));
        assert!(alone.contains("from peers 0.0 MB (0.0 %), "), "{alone}");
        assert!(alone.contains("http://o/ (live): 0 neighbours, "), "{alone}");
        assert!(among.contains("from peers 0.0 MB (0.0 % of at most 80.0 %), "), "{among}");
        assert!(among.contains("http://o/ (live): 5 viewers, 0 neighbours, "), "{among}");
    }

    #[test]
    fn whether_trackers_are_there_is_a_line() {
        let said = |p2p: bool, configured: u64, up: u64, streams: Value| {
            let asked = streams.as_array().is_some_and(|all| all.iter().any(|stream| stream["p2p"] == true));
            let trackers = json!({ "configured": configured, "up": up, "asked": asked });
            table(&json!({ "p2p": p2p, "trackers": trackers, "streams": streams }))
                .lines()
                .nth(1)
                .unwrap()
                .to_owned()
        };
        let (nothing, one, looked_at) = (json!([]), json!([{ "p2p": true }]), json!([{}]));
        assert_eq!(said(false, 0, 0, nothing.clone()), "no tracker is configured: nobody can be met");
        assert_eq!(said(true, 1, 0, one.clone()), "tracker not reached (0 of 1): nobody new is met");
        assert_eq!(said(true, 2, 0, nothing.clone()), "trackers configured: 2, asked once something plays");
        assert_eq!(said(true, 2, 0, looked_at), "trackers configured: 2, asked once something plays");
        assert_eq!(said(true, 2, 1, one.clone()), "trackers reached: 1 of 2");
        let (off, on) = (json!({ "p2p": false }), json!({ "p2p": true }));
        assert_eq!(
            said(true, 1, 0, json!([off.clone()])),
            "p2p is off for all that plays: nobody is looked for"
        );
        assert_eq!(said(true, 1, 0, json!([off, on])), "tracker not reached (0 of 1): nobody new is met");
        assert!(said(false, 1, 0, one).starts_with("from origin"), "nobody is looked for");
        assert!(table(&json!({ "streams": nothing })).lines().nth(1).unwrap().starts_with("from origin"));
    }

    #[test]
    fn uploads_without_peers_are_told_apart() {
        let said = |p2p: bool, mode: &str| {
            uploads(&json!({ "p2p": p2p, "upload": mode != "never", "upload_mode": mode, "upload_limit": 0 }))
        };
        assert_eq!(said(true, "always"), "upload on, no limit");
        assert_eq!(said(false, "always"), "upload on, no limit, but peers are off");
        assert_eq!(said(false, "auto"), "upload auto, no limit, but peers are off");
        assert_eq!(said(false, "never"), "upload off, no limit");
    }

    #[test]
    fn p2p_without_a_tracker_is_told_apart() {
        for (p2p, trackers, said) in [
            (true, 0, "p2p on, but no tracker is configured: nobody can be met"),
            (true, 1, "p2p on"),
            (false, 0, "p2p off"),
        ] {
            let now = json!({ "p2p": p2p, "trackers": trackers, "channels": {} });
            assert_eq!(of_channel("p2p", &now, None), said);
        }
        let now =
            json!({ "p2p": true, "trackers": 0, "channels": { "news": { "p2p": true, "upload": true } } });
        let said = "p2p on for news, but no tracker is configured: nobody can be met";
        assert_eq!(of_channel("p2p", &now, Some("news")), said);
        assert_eq!(of_channel("upload", &now, Some("news")), "upload on for news");
        // A daemon of before says nothing of trackers.
        assert_eq!(of_channel("p2p", &json!({ "p2p": true }), None), "p2p on");
    }
}
