//! Speaking with OCI registries: who asks, whom to trust, and what an error means.

use std::time::Duration;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;

/// Who asks. Neither is ever printed.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// Name and password (RFC 7617); a registry may give a token for them.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token (RFC 6750).
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl From<Credentials> for RegistryAuth {
    fn from(credentials: Credentials) -> Self {
        match credentials {
            Credentials::Anonymous => Self::Anonymous,
            Credentials::Basic { user, password } => Self::Basic(user, password),
            Credentials::Bearer(token) => Self::Bearer(token),
        }
    }
}

/// How a client speaks with registries. `authority` is the certificate of an authority that is trusted beside the system's, PEM.
pub(crate) fn client_config(protocol: ClientProtocol, authority: Option<&[u8]>) -> ClientConfig {
    install_tls();
    let extra = authority.map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.to_vec() });
    ClientConfig {
        protocol,
        extra_root_certificates: extra.into_iter().collect(),
        use_monolithic_push: true,
        connect_timeout: Some(Duration::from_secs(20)),
        read_timeout: Some(Duration::from_secs(60)),
        user_agent: concat!("packhold/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}

/// Says once which cryptography TLS uses; somebody may have said so before.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// True when the registry refuses whoever asks.
pub(crate) fn is_denied(error: &OciDistributionError) -> bool {
    use OciDistributionError as E;
    match error {
        E::AuthenticationFailure(_) | E::UnauthorizedError { .. } => true,
        E::ServerError { code, .. } => *code == 401 || *code == 403,
        E::RequestError(error) => error.status().is_some_and(|status| [401, 403].contains(&status.as_u16())),
        _ => false,
    }
}

/// True when the registry has no such thing.
pub(crate) fn is_missing(error: &OciDistributionError) -> bool {
    use OciDistributionError as E;
    match error {
        E::ImageManifestNotFoundError(_) => true,
        E::ServerError { code, .. } => *code == 404,
        E::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            use oci_client::errors::OciErrorCode as C;
            matches!(error.code, C::ManifestUnknown | C::NameUnknown | C::NotFound)
        }),
        _ => false,
    }
}
