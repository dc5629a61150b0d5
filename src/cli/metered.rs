//! Does NetworkManager hold this machine's connection for a metered one? Asked over D-Bus, where both are there.
//!
//! It is asked when it says that something has changed and when it comes or goes, and never started by asking.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::message::Type;
use zbus::names::BusName;
use zbus::zvariant::OwnedValue;
use zbus::{Address, Connection, MatchRule, MessageStream, fdo::DBusProxy};

const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";
const OBJECT: &str = "/org/freedesktop/NetworkManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Signals that may wait while the property is read; the bus then waits with more.
const SIGNALS: usize = 16;
/// How long the bus or NetworkManager may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without a bus, or after it went, it is looked for again after this.
const AGAIN: Duration = Duration::from_secs(300);
/// What was said last holds for this long while nobody says anything: far longer than an update of NetworkManager or of the
/// bus takes. Past it there is none any more, as where another program manages the network now.
const HELD: Duration = Duration::from_secs(600);

/// How sure NetworkManager is that the connection is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    /// It has been asked, and has not answered yet.
    Asked,
    /// The user or the network says so.
    Yes,
    /// It looks like it.
    Guessed,
}

/// What is to be believed before anybody has answered: it may be metered, where there is a bus to ask.
pub async fn at_first() -> Option<Metered> {
    let there = match Address::system().map(|address| address.transport().clone()) {
        Ok(Transport::Unix(unix)) => match unix.path() {
            UnixSocket::File(path) => tokio::fs::try_exists(path).await.unwrap_or(false),
            _ => true,
        },
        Ok(_) => true,
        Err(_) => false,
    };
    there.then_some(Metered::Asked)
}

/// Tells `Some` while the connection is metered, `None` while it is not or nobody knows; never ends. What was said last
/// holds for a while when the bus or NetworkManager is away or does not know, as when it starts anew: nobody pays for an
/// update. The first answer is waited for as long as any.
pub async fn follow(tell: watch::Sender<Option<Metered>>) {
    follow_on(None, HELD, tell).await;
}

/// As [`follow`], on the bus at an address, or else on that of the system; what was said last is `held` for so long.
async fn follow_on(address: Option<Address>, held: Duration, tell: watch::Sender<Option<Metered>>) {
    let word = Word { tell, knows: watch::Sender::new(false) };
    let waited = async {
        tokio::time::sleep(PATIENCE).await;
        word.wait_no_longer();
    };
    let listening = async {
        loop {
            if let Err(error) = listen(address.clone(), &word).await {
                tracing::debug!("NetworkManager can't be asked whether the connection is metered: {error}");
            }
            word.hold();
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::join!(waited, listening, word.forget(held));
}

/// What is told, and whether somebody is there who knows.
struct Word {
    tell: watch::Sender<Option<Metered>>,
    knows: watch::Sender<bool>,
}

impl Word {
    /// NetworkManager has said it.
    fn say(&self, metered: Option<Metered>) {
        self.knows.send_if_modified(|knows| !std::mem::replace(knows, true));
        self.tell.send_if_modified(|told| std::mem::replace(told, metered) != metered);
    }

    /// Nobody knows at the moment: what was said stays for now.
    fn hold(&self) {
        self.knows.send_if_modified(|knows| std::mem::replace(knows, false));
        self.wait_no_longer();
    }

    /// No first answer is waited for any more; one that was given stays.
    fn wait_no_longer(&self) {
        self.tell.send_if_modified(|told| told.take_if(|told| *told == Metered::Asked).is_some());
    }

    /// Takes back what was said once nobody has known for so long; never ends.
    async fn forget(&self, held: Duration) {
        let mut knows = self.knows.subscribe();
        // The sender is ours: there is always one.
        while knows.wait_for(|knows| *knows).await.is_ok() && knows.wait_for(|knows| !*knows).await.is_ok() {
            tokio::select! {
                () = tokio::time::sleep(held) => {
                    self.tell.send_if_modified(|told| told.take().is_some());
                }
                _ = knows.wait_for(|knows| *knows) => {}
            }
        }
    }
}

/// Follows one connection to the bus, to its end.
async fn listen(address: Option<Address>, word: &Word) -> zbus::Result<()> {
    let connecting = async {
        match address {
            Some(address) => zbus::connection::Builder::address(address)?.build().await,
            None => Connection::system().await,
        }
    };
    let bus = within(connecting).await?;
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    let changed = signal().path(OBJECT)?.interface(PROPERTIES)?.member("PropertiesChanged")?;
    let changed = changed.arg(0, NETWORK_MANAGER)?.build();
    let owner = signal().sender("org.freedesktop.DBus")?.interface("org.freedesktop.DBus")?;
    let owner = owner.member("NameOwnerChanged")?.arg(0, NETWORK_MANAGER)?.build();
    let mut changed = within(MessageStream::for_match_rule(changed, &bus, Some(SIGNALS))).await?;
    let mut owner = within(MessageStream::for_match_rule(owner, &bus, Some(SIGNALS))).await?;
    loop {
        match within(ask(&bus)).await {
            Ok(Some(metered)) => word.say(metered),
            Ok(None) => word.hold(),
            Err(error) => {
                tracing::debug!("NetworkManager does not say whether the connection is metered: {error}");
                word.hold();
            }
        }
        let signal = tokio::select! {
            signal = changed.next() => signal,
            signal = owner.next() => signal,
        };
        match signal {
            Some(signal) => signal?,
            None => return Ok(()),
        };
    }
}

/// What NetworkManager says; `None` where there is none, or it does not know.
async fn ask(bus: &Connection) -> zbus::Result<Option<Option<Metered>>> {
    let name = BusName::try_from(NETWORK_MANAGER)?;
    // A call would start it, where the system can.
    if !DBusProxy::new(bus).await?.name_has_owner(name).await? {
        return Ok(None);
    }
    let asked = (NETWORK_MANAGER, "Metered");
    let answer = bus.call_method(Some(NETWORK_MANAGER), OBJECT, Some(PROPERTIES), "Get", &asked).await?;
    let value: OwnedValue = answer.body().deserialize()?;
    // NMMetered: 0 unknown, 1 yes, 2 no, 3 guessed yes, 4 guessed no.
    Ok(match u32::try_from(value)? {
        1 => Some(Some(Metered::Yes)),
        2 | 4 => Some(None),
        3 => Some(Some(Metered::Guessed)),
        _ => None,
    })
}

async fn within<T>(doing: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(done) => done,
        Err(_) => Err(zbus::Error::Failure("no answer in time".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A message bus that nobody else uses; ends when dropped.
    struct Bus(Child);

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// The bus, once it says where it is.
    fn bus(dir: &Path) -> (Bus, Address) {
        let config = dir.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            dir.join("bus").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--print-address"]).arg(format!("--config-file={}", config.display()));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut { output }, &mut said).unwrap();
        (Bus(child), said.trim().parse().unwrap())
    }

    struct Manager(u32);

    #[zbus::interface(name = "org.freedesktop.NetworkManager")]
    impl Manager {
        #[zbus(property)]
        fn metered(&self) -> u32 {
            self.0
        }
    }

    async fn manages(address: &Address, metered: u32) -> Connection {
        let builder = zbus::connection::Builder::address(address.clone()).unwrap();
        let builder = builder.serve_at(OBJECT, Manager(metered)).unwrap().name(NETWORK_MANAGER).unwrap();
        builder.build().await.unwrap()
    }

    #[tokio::test]
    async fn what_was_said_is_forgotten_when_nobody_says_anything_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let (bus, address) = bus(dir.path());
        let (tell, mut told) = watch::channel(Some(Metered::Asked));
        let held = Duration::from_secs(1);
        let following = tokio::spawn(follow_on(Some(address.clone()), held, tell));
        let mut is = async |metered: Option<Metered>| {
            let waited =
                tokio::time::timeout(Duration::from_secs(60), told.wait_for(|told| *told == metered));
            waited.await.expect("it is told").unwrap();
        };
        // One that comes back knows; one that goes for good is forgotten, and so is a bus.
        is(None).await;
        for _ in 0..2 {
            let manager = manages(&address, 1).await;
            is(Some(Metered::Yes)).await;
            manager.close().await.unwrap();
            is(None).await;
        }
        let _manager = manages(&address, 3).await;
        is(Some(Metered::Guessed)).await;
        drop(bus);
        is(None).await;
        following.abort();
    }
}
