//! `paceline stats`, `paceline p2p` and `paceline upload`: ask and steer a running daemon.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::exit::Failure;
use crate::proxy::control::CHANGE;

/// The longest answer, in bytes.
const ANSWER: usize = 4 << 20;
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `stats`.
#[derive(Debug, ClapArgs)]
pub struct StatsArgs {
    /// The daemon to ask
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223")]
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
    /// The daemon to steer
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223")]
    pub via: SocketAddr,
}

/// Arguments of `upload`.
#[derive(Debug, ClapArgs)]
pub struct UploadArgs {
    /// Whether peers are served; left out, only the limit is changed or shown
    pub switch: Option<OnOff>,
    /// All uploads together, in bits per second, such as 2000000 or 2M; 0 is no limit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<u64>,
    /// The daemon to steer
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7223")]
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

/// Prints the statistics of a daemon.
///
/// # Errors
/// When it does not answer.
pub async fn stats(args: StatsArgs) -> Result<(), Failure> {
    let stats = ask(args.via, Method::GET, "/-/stats", None).await?;
    if args.json {
        println!("{stats:#}");
    } else {
        print!("{}", table(&stats));
    }
    Ok(())
}

/// Turns P2P on or off.
///
/// # Errors
/// When the daemon does not answer.
pub async fn p2p(args: P2pArgs) -> Result<(), Failure> {
    let change = serde_json::json!({"p2p": args.switch == OnOff::On});
    let now = ask(args.via, Method::POST, "/-/p2p", Some(change)).await?;
    println!("p2p {}", if now["p2p"] == Value::Bool(true) { "on" } else { "off" });
    Ok(())
}

/// Turns uploads on or off, or limits them, until the daemon ends or reads its configuration again.
///
/// # Errors
/// When the daemon does not answer.
pub async fn upload(args: UploadArgs) -> Result<(), Failure> {
    let mut change = serde_json::Map::new();
    if let Some(switch) = args.switch {
        change.insert("upload".to_owned(), Value::Bool(switch == OnOff::On));
    }
    if let Some(limit) = args.limit {
        change.insert("upload_limit".to_owned(), Value::from(limit));
    }
    let now = ask(args.via, Method::POST, "/-/p2p", Some(Value::Object(change))).await?;
    let limit = match now["upload_limit"].as_u64() {
        Some(limit) if limit > 0 => format!("at most {:.1} Mbit/s", limit as f64 / 1e6),
        _ => "no limit".to_owned(),
    };
    println!("upload {}, {limit}", if now["upload"] == Value::Bool(true) { "on" } else { "off" });
    Ok(())
}

/// `2000000`, `500k`, `2M`, `1.5M` or `1G`.
fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'M')) => (&text[..at], 1e6),
        Some((at, 'G')) => (&text[..at], 1e9),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..1e9).contains(&number) => Ok((number * unit) as u64),
        _ => Err("write bits per second, such as 2000000, 500k or 2M".to_owned()),
    }
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
    let mut text = format!(
        "up {:.0} s, p2p {}, upload {}\nfrom origin {}, from peers {} ({} of at most {}), to peers {}, wasted {}\n",
        number(&stats["uptime_s"]),
        switch(&stats["p2p"]),
        switch(&stats["upload"]),
        megabytes(&totals["http_bytes"]),
        megabytes(&totals["p2p_bytes"]),
        percent(&totals["peer_efficiency"]),
        percent(&totals["peer_efficiency_ceiling"]),
        megabytes(&totals["uploaded_bytes"]),
        megabytes(&totals["wasted_bytes"]),
    );
    for stream in stats["streams"].as_array().into_iter().flatten() {
        text += &format!(
            "{} ({}): {} viewers, {} neighbours, {:.1} s buffered, {} from peers, {} late\n",
            stream["manifest"].as_str().unwrap_or("?"),
            stream["kind"].as_str().unwrap_or("?"),
            stream["swarm_size"],
            stream["neighbours"],
            number(&stream["buffered_s"]),
            percent(&stream["peer_efficiency"]),
            stream["late_segments"],
        );
    }
    text
}

#[cfg(test)]
mod rates {
    use super::rate;

    #[test]
    fn rates_are_read() {
        for (text, bits) in
            [("0", 0), ("2000000", 2_000_000), ("500k", 500_000), ("1.5M", 1_500_000), ("1G", 1_000_000_000)]
        {
            assert_eq!(rate(text), Ok(bits), "{text}");
        }
        for text in ["", "M", "fast", "-1", "1e99", "2 M", "2MB"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
