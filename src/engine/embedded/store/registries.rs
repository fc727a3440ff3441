use std::fmt;
use std::sync::Arc;

use crate::registry::Credentials;

/// Tells who asks a registry, by its host (and port).
pub type CredentialsOf = dyn Fn(&str) -> Result<Credentials, String> + Send + Sync;

/// How registries are asked for images.
#[derive(Clone)]
pub struct Registries {
    /// Who asks. Docker's own registry is asked for as `https://index.docker.io/v1/`, as `docker login` writes it. An error is in words.
    pub credentials: Arc<CredentialsOf>,
    /// The certificate of an authority that is trusted beside the system's, PEM.
    pub authority: Option<Vec<u8>>,
    /// Registries that are asked first, each for another: they have the same images under the same names.
    pub mirrors: Vec<Mirror>,
    /// Registries, as `host:port`, that are spoken to without TLS. Those on loopback always are.
    pub plain: Vec<String>,
}

/// A registry that stands in for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The other: `docker.io`.
    pub of: String,
    /// Its own host, and port if it is not the usual one.
    pub host: String,
}

impl Default for Registries {
    fn default() -> Self {
        Self {
            credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
            authority: None,
            mirrors: Vec::new(),
            plain: Vec::new(),
        }
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries")
            .field("mirrors", &self.mirrors)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

impl Registries {
    /// True for a host that is spoken to without TLS.
    pub(super) fn is_plain(&self, host: &str) -> bool {
        self.plain.iter().any(|plain| plain == host) || is_loopback(host)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_itself_is_spoken_to_without_tls_unless_somebody_says_so() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.example.org", "docker.io", "10.0.0.1:5000", "[fe80::1]:5000", "127.0.0.1.nip.io"]
        {
            assert!(!is_loopback(host), "{host}");
        }
        let registries = Registries { plain: vec!["10.0.0.1:5000".to_owned()], ..Registries::default() };
        assert!(registries.is_plain("10.0.0.1:5000") && !registries.is_plain("10.0.0.1"));
    }
}
