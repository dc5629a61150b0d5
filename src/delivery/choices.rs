//! What each player of a rendition has to choose from, as the manifests say by which it came.

use crate::model::time::Time;
use crate::model::timeline::Choice;

/// Players that are told apart; of the one not heard of for longest it is no longer known.
const PLAYERS: usize = 64;

/// The choices of a rendition's players, and when each listed it last; those who listed it last come last.
#[derive(Clone, Debug, Default)]
pub struct Choices(Vec<(u64, Choice, Time)>);

impl Choices {
    /// The player lists it with this choice; those who are not there any more are forgotten.
    pub fn note(&mut self, viewer: u64, choice: Choice, now: Time, is_there: impl Fn(u64, Time) -> bool) {
        self.0.retain(|(other, _, at)| *other != viewer && is_there(*other, *at));
        if self.0.len() == PLAYERS {
            self.0.remove(0);
        }
        self.0.push((viewer, choice, now));
    }

    /// What this player has to choose from, if it listed it.
    #[must_use]
    pub fn of(&self, viewer: u64) -> Option<Choice> {
        self.0.iter().find(|(other, ..)| *other == viewer).map(|(_, choice, _)| *choice)
    }

    /// What there is to choose for any of them.
    #[must_use]
    pub fn all(&self) -> Choice {
        let choices = || self.0.iter().rev().map(|(_, choice, _)| choice);
        Choice { group: choices().find_map(|c| c.group), adaptive: choices().any(|c| c.adaptive) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Group;

    #[test]
    fn what_each_said_last_is_known_while_it_is_there() {
        let mut choices = Choices::default();
        let (nothing, some) = (Choice::default(), Choice { group: Some(Group(1)), adaptive: true });
        let sound = Choice { group: None, adaptive: true };
        choices.note(1, some, Time::ZERO, |_, _| true);
        choices.note(2, nothing, Time::ZERO, |_, _| true);
        choices.note(3, sound, Time::ZERO, |_, _| true);
        assert_eq!((choices.of(1), choices.of(2), choices.of(4)), (Some(some), Some(nothing), None));
        assert_eq!(choices.all(), some);
        choices.note(2, nothing, Time::ZERO, |viewer, _| viewer != 1);
        assert_eq!((choices.of(1), choices.all()), (None, sound));
        choices.note(3, nothing, Time::ZERO, |_, _| true);
        assert_eq!(choices.all(), nothing);
        (10..100).for_each(|viewer| choices.note(viewer, some, Time::ZERO, |_, _| true));
        assert_eq!((choices.of(3), choices.0.len()), (None, PLAYERS));
    }
}
