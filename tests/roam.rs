//! A machine that changes networks, in a network namespace: peers are met from the address that it has by then.

use std::process::Command;
use std::time::Duration;

use paceline::engine::link::{self, Event};
use paceline::engine::peers::{self, IceOptions};
use paceline::model::ids::{PeerId, SwarmId};
use paceline::tracker;
use paceline::wire::tracker::Account;
use tokio::sync::{mpsc, watch};

const CHILD: &str = "PACELINE_ROAM_CHILD";
const PATIENCE: Duration = Duration::from_secs(60);
/// In which this test's viewers meet.
const SWARM: SwarmId = SwarmId([7; 20]);

#[test]
fn peers_are_met_after_a_change_of_network() {
    const NAME: &str = "peers_are_met_after_a_change_of_network";
    if std::env::var_os(CHILD).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(roam());
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]).arg(std::env::current_exe().unwrap());
    let output = command.args([NAME, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
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
    fn start(number: u8, tracker: &str) -> Self {
        let (commands, taken) = mpsc::channel(64);
        let (told, events) = mpsc::channel(64);
        let me = PeerId::from_entropy([number; 12]);
        let ice = IceOptions { stun: vec!["none".to_owned()], ..IceOptions::default() };
        let (_, access) = watch::channel(peers::Access::default());
        let options = peers::Options::new(me, &ice, vec![tracker.parse().unwrap()], access);
        peers::start(options, taken, told).unwrap();
        Self { commands, events }
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

    async fn hear(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) {
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

async fn roam() {
    ip("link set lo up");
    ip("address add 10.7.0.1/24 dev lo");
    let bound = tracker::bind("10.7.0.1:0".parse().unwrap(), false).await.unwrap();
    let url = format!("ws://{}/", bound.address());
    let options = tracker::Options { stun: false, ..tracker::Options::default() };
    tokio::spawn(tracker::run(bound, options, std::future::pending()));
    // They are started on one network, and meet on another.
    at_home_in("192.168.1");
    let mut viewers = [1, 2].map(|number| Viewer::start(number, &url));
    ip("address delete 192.168.1.5/24 dev lo");
    at_home_in("172.16.9");
    for viewer in &mut viewers {
        viewer.tell(link::Command::Room { connections: 8 }).await;
        viewer.tell(link::Command::Connect { tracker: 0 }).await;
        viewer.hear("tracker", |event| matches!(event, Event::Tracker { up: true, .. })).await;
    }
    let [first, second] = &mut viewers;
    first.announce(0).await;
    second.announce(1).await;
    for viewer in [first, second] {
        viewer.hear("peer", |event| matches!(event, Event::Joined { .. })).await;
    }
}
