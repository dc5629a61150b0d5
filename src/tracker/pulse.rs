//! Whether the one task that owns the swarms answers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::connection::Inbox;

/// How long it may take, behind all that waits for it already.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks it.
#[derive(Clone, Debug)]
pub struct Pulse(mpsc::Sender<Inbox>);

impl Pulse {
    /// Of the task that takes what is sent here.
    pub(super) fn of(inbox: &mpsc::Sender<Inbox>) -> Self {
        Self(inbox.clone())
    }

    /// Whether it answers in time.
    pub async fn beats(&self) -> bool {
        let asked = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(Inbox::Pulse(reply)).await.is_ok() && answer.await.is_ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_gone_or_does_not_answer_has_none() {
        let (inbox, mut arriving) = mpsc::channel(1);
        let pulse = Pulse::of(&inbox);
        let answering = async {
            let Some(Inbox::Pulse(reply)) = arriving.recv().await else { panic!("another question") };
            reply.send(()).unwrap();
        };
        assert!(tokio::join!(pulse.beats(), answering).0);
        assert!(!pulse.beats().await, "it hangs");
        drop(arriving);
        assert!(!pulse.beats().await, "it is gone");
    }
}
