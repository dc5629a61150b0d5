//! Durations (XML Schema Part 2 §3.2.6) that no clock can count: what reads an MPD adds up their parts unchecked.

use super::xml::{self, Element};

/// Digits of one part. With eleven in each, seconds up to years, the sum still fits 64 bits of seconds.
const DIGITS: usize = 11;

/// What ends a part.
const UNITS: [char; 6] = ['Y', 'M', 'W', 'D', 'H', 'S'];

/// The attribute of `element` that is such a duration.
pub(super) fn uncountable<'e>(element: &'e Element<'_>) -> Option<&'e str> {
    element.attributes.iter().find(|one| is_uncountable(one.value)).map(|one| one.name)
}

/// Which attributes are durations is not asked: the value of hardly any other begins like one, but for some names of files.
fn is_uncountable(raw: &str) -> bool {
    // Nearly all there are end here, unread.
    let begins = raw.trim_start().trim_start_matches(['+', '-']);
    if begins.len() <= DIGITS + 2 || !begins.starts_with(['P', '&']) {
        return false;
    }
    let Some(value) = xml::value(raw) else { return false };
    let Some(parts) = value.trim_start_matches(['+', '-']).strip_prefix('P') else { return false };
    // What reads it stops there, too: behind it stands nothing that is counted, and it may be a name.
    let is_of_one = |c: char| c.is_numeric() || UNITS.contains(&c) || matches!(c, 'T' | '.' | ',');
    let mut rest = &parts[..parts.find(|c| !is_of_one(c)).unwrap_or(parts.len())];
    while let Some(at) = rest.find(|c: char| c.is_numeric()) {
        let digits = &rest[at..];
        let ends = digits.find(|c: char| !c.is_numeric()).unwrap_or(digits.len());
        // What follows a point is cut off where it gets too fine.
        let whole = !rest[..at].ends_with(['.', ',']);
        let after = &digits[ends..];
        let fine = after.strip_prefix(['.', ',']).is_some_and(|fine| fine.starts_with(char::is_numeric));
        if whole && digits[..ends].chars().count() > DIGITS && (fine || after.starts_with(UNITS)) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_of_too_many_digits_is_told_from_all_else() {
        for uncountable in [
            "P999999999999Y",
            "-P1Y999999999999W",
            "PT1H0000000000001M",
            "PT99999999999999.9S",
            "P&#57;99999999999W and more",
            "&#80;T999999999999999S",
            "P999999999999Y_",
        ] {
            assert!(is_uncountable(uncountable), "{uncountable}");
        }
        for other in [
            "P99999999999Y",
            "PT0.123456789012345S",
            "999999999999999S",
            "P999999999999",
            "Period 1234567890123",
            "PT1H2M3.040S",
            "PLAY_20261120123456.m4s",
            "P20261120123456.m4s",
            "P20261120123456T/",
            "P-20261120123456Y",
            "",
        ] {
            assert!(!is_uncountable(other), "{other}");
        }
    }
}
