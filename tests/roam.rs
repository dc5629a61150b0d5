//! A machine that changes networks, or has one in which nobody is met, in a network namespace of its own.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use paceline::engine::link::{self, Event};
use paceline::engine::peers::{self, IceOptions};
use paceline::model::ids::{PeerId, SwarmId};
use paceline::tracker;
use paceline::wire::tracker::Account;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

const CHILD: &str = "PACELINE_ROAM_CHILD";
const PATIENCE: Duration = Duration::from_secs(60);
/// In which this test's viewers meet.
const SWARM: SwarmId = SwarmId([7; 20]);

#[test]
fn peers_are_met_after_a_change_of_network() {
    in_a_network_of_its_own("peers_are_met_after_a_change_of_network", roam());
}

#[test]
fn peers_are_met_over_ipv6() {
    in_a_network_of_its_own("peers_are_met_over_ipv6", by_ipv6());
}

#[test]
fn peers_of_both_protocols_meet_those_of_either() {
    in_a_network_of_its_own("peers_of_both_protocols_meet_those_of_either", by_both());
}

#[test]
fn what_keeps_peers_apart_is_said_once() {
    in_a_network_of_its_own("what_keeps_peers_apart_is_said_once", apart());
}

/// Runs the test of this name again, as the child, in a network namespace of its own.
fn in_a_network_of_its_own(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(CHILD).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(test);
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]).arg(std::env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    let status = status.unwrap_or_else(|e| panic!("ip ({e}); install it: apt-get install iproute2"));
    assert!(status.success(), "ip {arguments}");
}

/// The address towards the Internet, for as long as it is there.
fn at_home_in(network: &str) {
    ip(&format!("address add {network}.5/24 dev lo"));
    ip(&format!("route add default dev lo src {network}.5"));
}

struct Viewer {
    commands: mpsc::Sender<link::Command>,
    events: mpsc::Receiver<Event>,
}

impl Viewer {
    fn start(number: u8, tracker: &str, stun: &str) -> Self {
        Self::at(number, tracker, stun, Vec::new())
    }

    fn at(number: u8, tracker: &str, stun: &str, addresses: Vec<IpAddr>) -> Self {
        let (commands, taken) = mpsc::channel(64);
        let (told, events) = mpsc::channel(64);
        let me = PeerId::from_entropy([number; 12]);
        let ice = IceOptions { stun: vec![stun.to_owned()], addresses, ..IceOptions::default() };
        let trackers = vec![tracker.parse().unwrap()];
        let (_, access) = watch::channel(peers::Access::new(&ice, &trackers, String::new()));
        let options = peers::Options::new(me, &ice, trackers, access);
        peers::start(options, taken, told).unwrap();
        Self { commands, events }
    }

    /// Reaches its tracker, with room for peers.
    async fn arrive(&mut self) {
        self.tell(link::Command::Room { connections: 8 }).await;
        // An address that has just been given is not always to be reached at once.
        loop {
            self.tell(link::Command::Connect { tracker: 0 }).await;
            let mut there = false;
            let heard = |event: &Event| match *event {
                Event::Tracker { up, .. } => {
                    there = up;
                    true
                }
                _ => false,
            };
            self.hear("tracker", heard).await;
            if there {
                return;
            }
        }
    }

    async fn tell(&self, command: link::Command) {
        self.commands.send(command).await.unwrap();
    }

    /// Tells the tracker that it watches, with so many offers.
    async fn announce(&mut self, offers: usize) {
        let (account, started, uploads) = (Account::default(), true, true);
        self.tell(link::Command::Announce { swarm: SWARM, offers, started, uploads, account }).await;
        self.hear("the tracker's answer", |event| matches!(event, Event::SwarmSize { .. })).await;
    }

    async fn hear(&mut self, what: &str, mut is_it: impl FnMut(&Event) -> bool) {
        let heard = async {
            loop {
                let event = self.events.recv().await.unwrap_or_else(|| panic!("over before {what}"));
                if is_it(&event) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {what}"));
    }
}

/// A tracker at an address of this machine; where it is.
async fn tracker_at(address: &str) -> String {
    // One of IPv6 can be used at once if nobody is asked whether he has it.
    let (bits, unasked) = if address.contains(':') { (64, " nodad") } else { (24, "") };
    ip("link set lo up");
    ip(&format!("address add {address}/{bits} dev lo{unasked}"));
    let bound = tracker::bind(SocketAddr::new(address.parse().unwrap(), 0), false).await.unwrap();
    let url = format!("ws://{}/", bound.address());
    let options = tracker::Options { stun: false, ..tracker::Options::default() };
    tokio::spawn(tracker::run(bound, options, std::future::pending()));
    url
}

/// A STUN server that answers, or does not.
async fn stun(answers: bool) -> String {
    let socket = UdpSocket::bind("192.168.1.5:0").await.unwrap();
    let url = format!("stun:{}", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut request = [0; 64];
        loop {
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            if let Some(response) = tracker::stun_response(&request[..length], from).filter(|_| answers) {
                socket.send_to(&response, from).await.unwrap();
            }
        }
    });
    url
}

async fn apart() {
    let log = tempfile::NamedTempFile::new().unwrap();
    tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(log.reopen().unwrap())).init();
    let said = |words: &str| std::fs::read_to_string(log.path()).unwrap().matches(words).count();
    let url = tracker_at("fd00:7::1").await;
    let mut viewer = Viewer::start(1, &url, "none");
    viewer.arrive().await;
    for _ in 0..2 {
        viewer.announce(1).await;
        assert_eq!(said("has no address towards the Internet"), 1);
    }
    at_home_in("192.168.1");
    viewer.announce(1).await;
    let unanswered = "did not answer: viewers in other networks can't be met";
    for (number, answers) in [(2, true), (3, false), (4, false)] {
        let stun = stun(answers).await;
        let mut viewer = Viewer::start(number, &url, &stun);
        viewer.arrive().await;
        viewer.announce(1).await;
        assert_eq!(said(unanswered), usize::from(!answers), "{number}");
    }
    assert_eq!(said("has no address towards the Internet"), 1);
}

async fn roam() {
    let url = tracker_at("10.7.0.1").await;
    // They are started on one network, and meet on another.
    at_home_in("192.168.1");
    let viewers = [1, 2].map(|number| Viewer::start(number, &url, "none"));
    ip("address delete 192.168.1.5/24 dev lo");
    at_home_in("172.16.9");
    meet(viewers).await;
}

/// As behind a provider that shares IPv4 addresses and gives IPv6 ones of one's own, with nothing configured.
async fn by_ipv6() {
    let url = tracker_at("fd00:7::1").await;
    ip("-6 route add default dev lo src fd00:7::1");
    meet([1, 2].map(|number| Viewer::start(number, &url, "none"))).await;
}

async fn by_both() {
    let url = tracker_at("fd00:7::1").await;
    at_home_in("192.168.1");
    ip("-6 route add default dev lo src fd00:7::1");
    for (number, one) in [(1, "192.168.1.5"), (3, "fd00:7::1")] {
        let only = Viewer::at(number, &url, "none", vec![one.parse().unwrap()]);
        meet([Viewer::start(number + 1, &url, "none"), only]).await;
    }
}

async fn meet(mut viewers: [Viewer; 2]) {
    for viewer in &mut viewers {
        viewer.arrive().await;
    }
    let [first, second] = &mut viewers;
    first.announce(0).await;
    second.announce(1).await;
    for viewer in [first, second] {
        viewer.hear("peer", |event| matches!(event, Event::Joined { .. })).await;
    }
}
