//! Who is refused. A peer id is only what somebody calls itself, and everybody hears those of others: whoever did wrong is known
//! by the certificate that it proved to hold, and by its id only where no connection with it has been open.

use std::collections::VecDeque;

use crate::engine::sdp::Fingerprint;
use crate::model::ids::PeerId;

/// Peers that are refused; the oldest are forgiven.
const SHUNNED: usize = 512;
/// Peers whose certificates are remembered, so that one can be refused that is gone by now; the oldest are forgotten.
const MET: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Certificate(Fingerprint),
    Id(PeerId),
}

/// Those that are refused, and by what those are known that may come to be.
#[derive(Debug, Default)]
pub(super) struct Shunned {
    refused: VecDeque<Who>,
    met: VecDeque<(PeerId, Fingerprint)>,
}

impl Shunned {
    /// A connection is open: whoever is called so at this time has that certificate.
    pub(super) fn met(&mut self, peer: PeerId, certificate: Fingerprint) {
        self.met.retain(|(known, _)| *known != peer);
        if self.met.len() == MET {
            self.met.pop_front();
        }
        self.met.push_back((peer, certificate));
    }

    /// Refuses from now on whoever was met last by this id; its certificate, where that is known.
    pub(super) fn shun(&mut self, peer: PeerId) -> Option<Fingerprint> {
        let certificate =
            self.met.iter().find(|(known, _)| *known == peer).map(|(_, certificate)| *certificate);
        let who = certificate.map_or(Who::Id(peer), Who::Certificate);
        if !self.refused.contains(&who) {
            if self.refused.len() == SHUNNED {
                self.refused.pop_front();
            }
            self.refused.push_back(who);
        }
        certificate
    }

    /// Whether it is refused that calls itself so and has to prove that it holds this certificate.
    pub(super) fn refuses(&self, peer: PeerId, certificate: Fingerprint) -> bool {
        self.refused.contains(&Who::Certificate(certificate)) || self.refused.contains(&Who::Id(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_le_bytes());
        PeerId(id)
    }

    #[test]
    fn an_impostor_does_not_make_its_victim_refused() {
        let (honest, impostor) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let mut shunned = Shunned::default();
        shunned.met(peer(7), honest);
        shunned.met(peer(7), impostor);
        assert_eq!(shunned.shun(peer(7)), Some(impostor));
        assert!(!shunned.refuses(peer(7), honest));
        assert!(shunned.refuses(peer(7), impostor) && shunned.refuses(peer(8), impostor), "by whatever id");
    }

    #[test]
    fn whoever_was_never_met_is_refused_by_its_id() {
        let mut shunned = Shunned::default();
        assert_eq!(shunned.shun(peer(7)), None);
        assert!(
            shunned.refuses(peer(7), Fingerprint([1; 32])) && !shunned.refuses(peer(8), Fingerprint([1; 32]))
        );
    }

    #[test]
    fn little_is_remembered() {
        let mut shunned = Shunned::default();
        for n in 0..2000 {
            shunned.met(peer(n), Fingerprint([n as u8; 32]));
            shunned.shun(peer(n));
            shunned.shun(peer(n + 5000));
        }
        assert!(shunned.met.len() <= MET && shunned.refused.len() <= SHUNNED);
    }
}
