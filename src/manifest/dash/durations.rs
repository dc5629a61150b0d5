//! Durations (XML Schema Part 2 §3.2.6) that no clock can count: what reads an MPD adds up their parts unchecked.

use super::xml::{self, Element};

/// Digits of one part. With eleven in each, seconds up to years, the sum still fits 64 bits of seconds.
const DIGITS: usize = 11;

/// The attribute of `element` that is such a duration.
pub(super) fn uncountable<'e>(element: &'e Element<'_>) -> Option<&'e str> {
    element.attributes.iter().find(|one| is_uncountable(one.value)).map(|one| one.name)
}

/// Which attributes are durations is not asked: of no other does the value begin like one.
fn is_uncountable(raw: &str) -> bool {
    // Nearly all there are end here, unread.
    let begins = raw.trim_start().trim_start_matches(['+', '-']);
    if begins.len() <= DIGITS + 2 || !begins.starts_with(['P', '&']) {
        return false;
    }
    let Some(value) = xml::value(raw).filter(|value| value.trim_start_matches(['+', '-']).starts_with('P'))
    else {
        return false;
    };
    let mut rest = value.as_str();
    while let Some(at) = rest.find(|c: char| c.is_numeric()) {
        let digits = &rest[at..];
        let ends = digits.find(|c: char| !c.is_numeric()).unwrap_or(digits.len());
        // What follows a point is cut off where it gets too fine.
        let whole = !rest[..at].ends_with(['.', ',']);
        if whole
            && digits[..ends].chars().count() > DIGITS
            && digits[ends..].starts_with(['Y', 'M', 'W', 'D', 'H', 'S', '.', ','])
        {
            return true;
        }
        rest = &digits[ends..];
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
            "",
        ] {
            assert!(!is_uncountable(other), "{other}");
        }
    }
}
