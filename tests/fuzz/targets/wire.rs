//! Frames of the data channel: what is understood is written the same way again, byte for byte.
#![cfg_attr(fuzzing, no_main)]

use bytes::Bytes;
use paceline::wire::message::Message;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Panics where something does not hold of `bytes`.
pub fn check(bytes: &[u8]) {
    let Ok(Some(message)) = Message::decode(Bytes::copy_from_slice(bytes)) else { return };
    let frame = message.encode();
    assert_eq!(frame, bytes, "{message:?} has two forms");
    assert_eq!(frame.len(), message.encoded_len(), "{message:?} is not as long as it says");
    assert_eq!(Message::decode(frame), Ok(Some(message)));
}
