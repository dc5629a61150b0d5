//! What can go wrong between here and an origin, who is to blame, and whether it may go better next time.

use std::io;

/// Why there is no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The origin, or the way to it: not reached, broken off, or not speaking HTTP.
    #[error("{0}")]
    Unreachable(String),
    /// The origin: no answer, or a pause in it, of this many seconds.
    #[error("{0} did not answer within {1} s")]
    TooSlow(String, u64),
    /// The origin: its certificate is not one to trust.
    #[error("{0}")]
    Certificate(String),
    /// Whoever named the address: it may not be asked from here.
    #[error("{0}")]
    Forbidden(String),
    /// The origin: it redirects where it can't be followed.
    #[error("{0}")]
    Redirect(String),
    /// The player: a request that can't be made.
    #[error("not a request that can be made: {0}")]
    Invalid(String),
    /// The player: it broke off its own request.
    #[error("the request broke off: {0}")]
    Abandoned(String),
}

impl Error {
    /// Whether the same request may succeed later; when to try is not decided here.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TooSlow(..))
    }
}

/// What went wrong, from the innermost cause: that is the one a user can act on.
pub(super) fn explain(host: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = error;
    loop {
        // The player's own body failed, which travels through here as its origin error.
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return ours.clone();
        }
        let Some(inner) = cause.source() else { break };
        cause = inner;
    }
    let Some(io) = cause.downcast_ref::<io::Error>() else {
        return Error::Unreachable(format!("{host}: {cause}"));
    };
    // The system's own "permission denied" (a packet filter) has a number; our refusal has none.
    if io.kind() == io::ErrorKind::PermissionDenied && io.raw_os_error().is_none() {
        return Error::Forbidden(cause.to_string());
    }
    if let Some(rustls::Error::InvalidCertificate(why)) = tls(io) {
        return Error::Certificate(format!("the certificate of {host} can't be trusted: {why}"));
    }
    Error::Unreachable(format!("{host}: {cause}"))
}

/// The TLS error in an I/O error; the layers in between wrap I/O errors in one another.
fn tls(mut error: &io::Error) -> Option<&rustls::Error> {
    loop {
        let inner = error.get_ref()?;
        match inner.downcast_ref::<io::Error>() {
            Some(wrapped) => error = wrapped,
            None => return inner.downcast_ref(),
        }
    }
}

/// Whether `error` says no more than that the connection was gone: what a server's closing of an idle connection
/// looks like when it crosses our next request, and a network that is no more when something is asked over it.
pub(super) fn connection_lost(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<hyper::Error>()
            && (http.is_incomplete_message() || http.is_closed() || http.is_canceled() || http.is_timeout())
        {
            return true;
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{
                BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable,
                NotConnected, TimedOut, UnexpectedEof,
            };
            return matches!(
                io.kind(),
                BrokenPipe
                    | ConnectionAborted
                    | ConnectionReset
                    | HostUnreachable
                    | NetworkUnreachable
                    | NotConnected
                    | TimedOut
                    | UnexpectedEof
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_on_the_way_is_told_from_what_is_said() {
        use io::ErrorKind::{ConnectionReset, HostUnreachable, InvalidData, PermissionDenied, TimedOut};
        for (kind, lost) in [
            (ConnectionReset, true),
            (TimedOut, true),
            (HostUnreachable, true),
            (InvalidData, false),
            (PermissionDenied, false),
        ] {
            assert_eq!(connection_lost(&io::Error::from(kind)), lost, "{kind:?}");
        }
    }
}
