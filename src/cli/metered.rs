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
/// holds while the bus or NetworkManager is away or does not know, as when it starts anew: nobody pays for an update. The first
/// answer is waited for as long as any.
pub async fn follow(tell: watch::Sender<Option<Metered>>) {
    let waited = async {
        tokio::time::sleep(PATIENCE).await;
        give_up(&tell);
    };
    let listening = async {
        loop {
            if let Err(error) = listen(&tell).await {
                tracing::debug!("NetworkManager can't be asked whether the connection is metered: {error}");
            }
            give_up(&tell);
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::join!(waited, listening);
}

/// Follows one connection to the bus, to its end.
async fn listen(tell: &watch::Sender<Option<Metered>>) -> zbus::Result<()> {
    let bus = within(Connection::system()).await?;
    let changed = MatchRule::builder()
        .msg_type(Type::Signal)
        .path(OBJECT)?
        .interface(PROPERTIES)?
        .member("PropertiesChanged")?
        .arg(0, NETWORK_MANAGER)?
        .build();
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")?
        .interface("org.freedesktop.DBus")?
        .member("NameOwnerChanged")?
        .arg(0, NETWORK_MANAGER)?
        .build();
    let mut changed = within(MessageStream::for_match_rule(changed, &bus, Some(SIGNALS))).await?;
    let mut owner = within(MessageStream::for_match_rule(owner, &bus, Some(SIGNALS))).await?;
    loop {
        match within(ask(&bus)).await {
            Ok(Some(metered)) => set(tell, metered),
            Ok(None) => give_up(tell),
            Err(error) => {
                tracing::debug!("NetworkManager does not say whether the connection is metered: {error}");
                give_up(tell);
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

/// No first answer is waited for any more; one that was given stays.
fn give_up(tell: &watch::Sender<Option<Metered>>) {
    if *tell.borrow() == Some(Metered::Asked) {
        set(tell, None);
    }
}

fn set(tell: &watch::Sender<Option<Metered>>, metered: Option<Metered>) {
    tell.send_if_modified(|told| std::mem::replace(told, metered) != metered);
}
