//! Messages between tracker and client, both directions: what is understood is understood again as we write it.
#![cfg_attr(fuzzing, no_main)]

use paceline::wire::MAX_MESSAGE;
use paceline::wire::tracker::{FromTracker, ToTracker};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Panics where something does not hold of `bytes`.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(message) = ToTracker::decode(text) {
        let again = message.encode();
        // What others leave out is spelt out here, so a message may grow past what is read.
        if again.len() <= MAX_MESSAGE {
            assert_eq!(ToTracker::decode(&again), Ok(message));
        }
    }
    if let Ok(message) = FromTracker::decode(text) {
        let again = message.encode();
        if again.len() <= MAX_MESSAGE {
            assert_eq!(FromTracker::decode(&again), Ok(message));
        }
    }
}
