//! The TLS acceptor, from the settings.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::config::{ClientAuth, ClientCertificates, Http2, TlsSettings};
use super::verify::{AnyCertificate, ChainCertificate, NamedCertificate};
use crate::problem::Problem;

/// The acceptor of TLS connections.
pub(super) struct TlsServer {
    pub(super) acceptor: TlsAcceptor,
    /// Client certificates are verified, so that they prove who the client is.
    pub(super) verifies: bool,
}

impl TlsServer {
    /// # Errors
    /// A key that does not belong to the certificate, or anything else that rustls refuses.
    pub(super) fn new(tls: TlsSettings, http2: Http2) -> Result<Self, Problem> {
        let verifies = tls.client.auth.verifies();
        let config =
            config(tls, http2).map_err(|message| Problem::new("tls_server_config", message))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), verifies })
    }
}

fn config(tls: TlsSettings, http2: Http2) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(&tls));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&tls.versions)
        .map_err(|_| "no cipher suite is left for these versions".to_owned())?;
    let builder = match verifier(tls.client, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(tls.chain, tls.key).map_err(certificate_problem)?;
    config.ignore_client_order = tls.prefer_server_suites;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 == Http2::Offered {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(config)
}

fn certificate_problem(error: rustls::Error) -> String {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        "the key does not belong to the certificate".to_owned()
    } else {
        format!("certificate and key cannot be used: {error}")
    }
}

/// The algorithms. As in Go, a list of suites concerns TLS 1.2: those of 1.3 are always offered.
fn provider(tls: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.suites.is_empty() {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(tls.suites.iter().filter(|suite| suite.tls13().is_none()));
    }
    if !tls.curves.is_empty() {
        provider.kx_groups.clone_from(&tls.curves);
    }
    provider
}

fn verifier(
    client: ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ClientCertVerifier> = match client.auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request => Arc::new(AnyCertificate::optional(algorithms)),
        ClientAuth::RequireAny => Arc::new(AnyCertificate::required(algorithms)),
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            chain_verifier(&client, provider)?
        }
    };
    Ok(Some(match client.allowed_names {
        Some(names) => Arc::new(NamedCertificate::new(verifier, names)),
        None => verifier,
    }))
}

fn chain_verifier(
    client: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in &client.authorities {
        roots.add(authority.clone()).map_err(|e| format!("client_ca cannot be used: {e}"))?;
    }
    let roots = Arc::new(roots);
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
    let builder = match client.auth {
        ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
        ClientAuth::None
        | ClientAuth::Request
        | ClientAuth::RequireAny
        | ClientAuth::RequireAndVerify => builder,
    };
    let verifier = builder.build().map_err(|e| format!("client_ca cannot be used: {e}"))?;
    let algorithms = provider.signature_verification_algorithms;
    Ok(Arc::new(ChainCertificate::new(verifier, client.authorities.clone(), roots, algorithms)))
}
