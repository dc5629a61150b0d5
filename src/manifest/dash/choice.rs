//! What a player of an MPD chooses from: Representations of one AdaptationSet (ISO/IEC 23009-1 §5.3.3.1), and of those that say
//! they may be switched between (§5.3.3.5). Other languages, cameras and pictures for trick play are sets of their own.
//!
//! A set goes on in the next Period as the one of the same kind and language with the same id there; without ids as that in the
//! same order. An id may be another's there: sound and pictures are never one. What is taken for the same that is not so costs
//! nothing: the one is over where the other begins.

use std::collections::BTreeMap;

use dash_mpd_core::{AdaptationSet, Period};

use crate::model::ids::Group;
use crate::model::timeline::Choice;

/// The scheme of sets that name those which may be played in their place.
const SWITCHING: &str = "urn:mpeg:dash:adaptation-set-switching:2016";

/// For each AdaptationSet of each Period of a presentation of this identity.
pub(super) fn choices(periods: &[Period], identity: &str) -> Vec<Vec<Choice>> {
    let groups: Vec<Vec<Option<String>>> = periods.iter().map(|period| groups(&period.adaptations)).collect();
    let adaptive = groups.iter().flatten().any(Option::is_some);
    let choice =
        |group: Option<String>| Choice { group: group.map(|name| Group::of(identity, &name)), adaptive };
    groups.into_iter().map(|period| period.into_iter().map(choice).collect()).collect()
}

/// For each set the name of its group, if there is anything else in that.
fn groups(sets: &[AdaptationSet]) -> Vec<Option<String>> {
    let firsts = together(sets);
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for (first, set) in firsts.iter().zip(sets) {
        *sizes.entry(*first).or_default() += set.representations.len();
    }
    let names = names(sets);
    let of = |first: &usize| (sizes.get(first) > Some(&1)).then(|| names[*first].clone());
    firsts.iter().map(of).collect()
}

/// For each set the first of those which it may be switched with; itself, where that is none before it.
fn together(sets: &[AdaptationSet]) -> Vec<usize> {
    let ids: BTreeMap<&str, usize> =
        sets.iter().enumerate().rev().filter_map(|(at, set)| Some((set.id.as_deref()?, at))).collect();
    let mut firsts: Vec<usize> = (0..sets.len()).collect();
    for (at, set) in sets.iter().enumerate() {
        let said = set.supplemental_property.iter().filter(|property| property.schemeIdUri == SWITCHING);
        let named = said.filter_map(|property| property.value.as_deref()).flat_map(|value| value.split(','));
        for other in named.filter_map(|id| ids.get(id.trim())) {
            let (one, other) = (first(&mut firsts, at), first(&mut firsts, *other));
            firsts[one.max(other)] = one.min(other);
        }
    }
    (0..sets.len()).map(|at| first(&mut firsts, at)).collect()
}

/// Follows what each set is together with to the first of them, and leaves shorter ways behind.
fn first(firsts: &mut [usize], mut at: usize) -> usize {
    while firsts[at] != at {
        firsts[at] = firsts[firsts[at]];
        at = firsts[at];
    }
    at
}

/// What each is known by in all Periods.
fn names(sets: &[AdaptationSet]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(sets.len());
    for set in sets {
        let of = (kind(set), set.lang.as_deref().unwrap_or_default());
        let place = counts.entry(of).or_default();
        names.push(match &set.id {
            Some(id) => format!("set {id} {} {}", of.0, of.1),
            None => format!("{} {} {place}", of.0, of.1),
        });
        *place += 1;
    }
    names
}

/// Sound, pictures or text, as far as it is said.
fn kind(set: &AdaptationSet) -> &str {
    let mime = || {
        set.mimeType.as_deref().or_else(|| set.representations.iter().find_map(|of| of.mimeType.as_deref()))
    };
    let said = set.contentType.as_deref().or_else(mime).unwrap_or_default();
    said.split('/').next().unwrap_or_default()
}
