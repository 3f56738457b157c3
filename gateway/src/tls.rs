//! TLS 1.3 at the gateway's own door: the files that it needs, and the handshake.
//!
//! Nothing older is spoken: every client is ours, or as new as rustls. Nothing is taken before the handshake is
//! over (no 0-RTT), so no request can be sent twice by who recorded it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::Error;
use crate::settings::Tls;

/// How long a certificate with its chain, or a key, may be, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The one protocol above TLS (RFC 7301): the listener speaks nothing else.
const PROTOCOL: &[u8] = b"http/1.1";

/// Reads certificate and key, once: a renewed certificate is that of the next start.
///
/// # Errors
/// [`Error::Tls`] when one of them is missing, is not PEM, may be read by others (the key), or is not the other's.
pub(crate) fn configure(tls: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let refused = |path: &Path, reason: &dyn ToString| Error::Tls { path: path.to_owned(), reason: reason.to_string() };

    let bytes = genesis::file::read(&tls.certificate, MAX_FILE).map_err(|error| refused(&tls.certificate, &error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(refused(&tls.certificate, &"no certificate in PEM form"));
    }
    let bytes = genesis::file::read_secret(&tls.key, MAX_FILE).map_err(|error| refused(&tls.key, &error))?;
    // The parser's own words could repeat a line of the key.
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| refused(&tls.key, &"no private key in PEM form, unencrypted"))?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("ring has cipher suites for TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => refused(&tls.certificate, &error),
            rustls::Error::InconsistentKeys(_) => refused(&tls.key, &"not the key of the certificate"),
            _ => refused(&tls.key, &error),
        })?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// The handshake, within `bound`; nothing where the other end does not do its part, after which the
/// stream is closed.
pub(crate) async fn shake_hands<S>(stream: S, config: Arc<ServerConfig>, bound: Duration) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(bound, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

#[cfg(test)]
mod tests;
