//! The certificate of `wss://`, read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files are looked at this often at most.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// The file can't be read as PEM.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// They do not belong together, or the kind of key is not known.
    #[error("certificate and key can't be used: {0}")]
    Pair(rustls::Error),
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    stamps: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// When they are not a certificate and its key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, BadCertificate> {
        let config = read(certificate, key)?;
        let stamps = [changed(certificate), changed(key)];
        let state = Mutex::new(State { config, stamps, looked: Instant::now() });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), state })
    }

    /// What a new connection is to use; a broken new file leaves the old one in use.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let stamps = [changed(&self.certificate), changed(&self.key)];
            if stamps != state.stamps {
                match read(&self.certificate, &self.key) {
                    Ok(config) => {
                        (state.config, state.stamps) = (config, stamps);
                        tracing::info!("the certificate was read again");
                    }
                    Err(error) => {
                        tracing::warn!("the new certificate is not used, the old one goes on: {error}")
                    }
                }
            }
        }
        Arc::clone(&state.config)
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, BadCertificate> {
    let bad = |file: &Path, why: String| BadCertificate::File { file: file.to_owned(), why };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(bad(certificate, "no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BadCertificate::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(BadCertificate::Pair)?;
    Ok(Arc::new(config))
}
