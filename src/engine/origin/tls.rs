//! TLS outwards.

use std::sync::Arc;

use super::options::BadOptions;

/// TLS towards origins and trackers: the system's certificate authorities, SSL_CERT_FILE honoured. Without any, plain
/// http still plays, and https fails with the reason.
///
/// # Errors
/// When the TLS library can't be set up at all.
pub fn tls_config() -> Result<rustls::ClientConfig, BadOptions> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(
            "no certificate authorities found ({why}): https can't be checked; install ca-certificates"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadOptions::Certificates(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
