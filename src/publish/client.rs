//! What users' package managers are told of a repository.

use super::Channel;

/// A deb822 `.sources` file (sources.list(5)) for the suite of a distro release in a channel; `keyring` is where the client has the keys,
/// `None` means that it trusts whoever answers at `url`.
pub fn sources(
    url: &str,
    channel: &Channel,
    distro: &str,
    components: &[String],
    keyring: Option<&str>,
) -> String {
    sources_of_suite(url, &channel.suite(distro), components, keyring)
}

pub(super) fn sources_of_suite(
    url: &str,
    suite: &str,
    components: &[String],
    keyring: Option<&str>,
) -> String {
    let trust = keyring.map_or_else(|| "Trusted: yes".to_owned(), |keyring| format!("Signed-By: {keyring}"));
    format!("Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: {}\n{trust}\n", components.join(" "))
}

/// A `.repo` file (dnf.conf(5), zypper(8)), in which `id` and `label` name it, for the trees of a distro release in a channel. `fingerprints` are those of the keys, which
/// the repository offers as `install/FINGERPRINT.asc`.
pub fn repo(
    id: &str,
    label: &str,
    url: &str,
    channel: &Channel,
    distro: &str,
    fingerprints: &[String],
    sign_rpms: bool,
) -> String {
    let url = url.trim_end_matches('/');
    let trust = match fingerprints.is_empty() {
        true => "gpgcheck=0\nrepo_gpgcheck=0".to_owned(),
        // The packages are named by digest in metadata that is signed.
        false => {
            format!("gpgcheck={}\nrepo_gpgcheck=1\n{}", u8::from(sign_rpms), gpgkey(url, fingerprints))
        }
    };
    format!("[{id}]\nname={label}\nbaseurl={url}/rpm/{channel}/{distro}/$basearch\nenabled=1\n{trust}\n")
}

/// The lines of a `.repo` file that name the keys.
fn gpgkey(url: &str, fingerprints: &[String]) -> String {
    let keys: Vec<String> =
        fingerprints.iter().map(|fingerprint| format!("{url}/install/{fingerprint}.asc")).collect();
    format!("gpgkey={}", keys.join("\n       "))
}

/// A `.repo` file that [`repo`] made, with other keys; `None` if it names none, or was not made by it.
pub(super) fn with_keys(file: &str, fingerprints: &[String]) -> Option<String> {
    let url = file.lines().find_map(|line| line.strip_prefix("baseurl="))?.split_once("/rpm/")?.0;
    let (before, after) = file.split_once("\ngpgkey=")?;
    // Further keys are on lines that begin with spaces.
    let rest: String = after
        .lines()
        .skip(1)
        .skip_while(|line| line.starts_with(' '))
        .map(|line| format!("{line}\n"))
        .collect();
    (!fingerprints.is_empty()).then(|| format!("{before}\n{}\n{rest}", gpgkey(url, fingerprints)))
}
