//! What tells users how to add the repository: a page, and the files that apt, dnf and zypper need.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::escape;

use super::client;
use super::place::Place;
use super::{Certificate, Options, PublishError, Result, Site};

/// The longest certificate that is read, bytes.
const MAX_CERTIFICATE: u64 = 1 << 20;

/// What users can add.
pub(super) struct Offers {
    /// Suites and their components.
    pub(super) suites: BTreeMap<String, Vec<String>>,
    /// Trees by channel and distro release, with the fingerprints of keys that have signed packages in them. `$basearch` stands for the architecture.
    pub(super) trees: BTreeMap<Site, BTreeSet<String>>,
}

/// The keys that a `.repo` file names: those that sign, and those that have signed packages.
pub fn keys_of_tree(keys: &[Certificate], signers: &BTreeSet<String>) -> Vec<String> {
    let mut all: Vec<String> = keys.iter().map(|key| key.fingerprint.clone()).collect();
    let others = signers.iter().filter(|signer| !all.contains(signer)).cloned().collect::<Vec<_>>();
    all.extend(others);
    all
}

/// The certificates that the repository offers already: of keys that signed in earlier times, too.
pub(super) async fn known(place: &dyn Place) -> Result<Vec<Certificate>> {
    let mut known = Vec::new();
    for listed in place.list("install").await? {
        let Some(name) = listed.key.strip_prefix("install/").and_then(|name| name.strip_suffix(".asc"))
        else {
            continue;
        };
        // What is no certificate, or one of another key, is nobody's.
        let Some(found) = place.get(&listed.key, MAX_CERTIFICATE).await.ok().flatten() else { continue };
        let certificates = Certificate::parse(&listed.key, &found.bytes).unwrap_or_default();
        known.extend(certificates.into_iter().filter(|certificate| certificate.fingerprint == name));
    }
    Ok(known)
}

/// The files by their keys: `install.html`, `install/SUITE.sources`, `install/CHANNEL-DISTRO.repo`, `install/NAME.gpg` and
/// `install/FINGERPRINT.asc`.
pub(super) fn files(
    options: &Options,
    url: &str,
    offers: &Offers,
    keys: &[Certificate],
) -> Result<BTreeMap<String, Vec<u8>>> {
    let (url, name) = (url.trim_end_matches('/'), slug(&options.label));
    let mut files = self::keys(keys);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<h1>{0}</h1>\n",
        escape(if options.label.is_empty() { "Packages" } else { &options.label })
    );
    let keyring = format!("/etc/apt/keyrings/{name}.gpg");
    if keys.is_empty() {
        page.push_str(
            "<p>These repositories are not signed: add them only if you trust whoever can change them.</p>\n",
        );
    } else {
        page.push_str("<p>What is here is signed with a key of this fingerprint:</p>\n<ul>\n");
        for key in keys {
            page.push_str(&format!("<li><code>{}</code></li>\n", escape(&key.fingerprint)));
        }
        page.push_str("</ul>\n");
        let mut binary = Vec::new();
        for key in keys {
            binary.extend(dearmored(&key.armored).ok_or_else(|| PublishError::Foreign {
                key: format!("install/{name}.gpg"),
                reason: format!("the certificate {} is not armored", key.fingerprint),
            })?);
        }
        files.insert(format!("install/{name}.gpg"), binary);
    }
    for (suite, components) in &offers.suites {
        let file = format!("install/{suite}.sources");
        let text =
            client::sources_of_suite(url, suite, components, (!keys.is_empty()).then_some(keyring.as_str()));
        let fetch = match keys.is_empty() {
            true => String::new(),
            false => format!(
                "install -d -m 755 /etc/apt/keyrings\ncurl -fsSo {keyring} {url}/install/{name}.gpg\n"
            ),
        };
        page.push_str(&format!(
            "<h2>apt: {suite}</h2>\n<pre>{}</pre>\n",
            escape(format!(
                "{fetch}curl -fsSo /etc/apt/sources.list.d/{name}.sources {url}/{file}\napt-get update\n"
            ))
        ));
        files.insert(file, text.into_bytes());
    }
    for (site, signers) in &offers.trees {
        let id = format!("{name}-{}", site.channel);
        let file = repo_file(site);
        let fingerprints = keys_of_tree(keys, signers);
        let label = if options.label.is_empty() { &id } else { &options.label };
        let label = format!("{label} ({})", site.channel);
        let text =
            client::repo(&id, &label, url, &site.channel, &site.distro, &fingerprints, options.sign_rpms);
        page.push_str(&format!(
            "<h2>dnf: {0}, {1}</h2>\n<pre>{2}</pre>\n<h2>zypper: {0}, {1}</h2>\n<pre>{3}</pre>\n",
            site.distro,
            site.channel,
            escape(format!("curl -fsSo /etc/yum.repos.d/{id}.repo {url}/{file}\n")),
            escape(format!("zypper addrepo {url}/{file}\n"))
        ));
        files.insert(file, text.into_bytes());
    }
    page.push_str("</html>\n");
    files.insert("install.html".to_owned(), page.into_bytes());
    Ok(files)
}

/// The keys, where a `.repo` file of any address finds them.
pub(super) fn keys(keys: &[Certificate]) -> BTreeMap<String, Vec<u8>> {
    keys.iter()
        .map(|key| (format!("install/{}.asc", key.fingerprint), key.armored.clone().into_bytes()))
        .collect()
}

/// Makes the `.repo` file of a distro release in a channel name these keys, if there is one.
pub(super) async fn renew(place: &dyn Place, site: &Site, fingerprints: &[String]) -> Result<()> {
    let key = repo_file(site);
    let Some(found) = place.get(&key, MAX_CERTIFICATE).await? else { return Ok(()) };
    let Ok(old) = String::from_utf8(found.bytes) else { return Ok(()) };
    match client::with_keys(&old, fingerprints).filter(|new| *new != old) {
        Some(new) => place.put(&key, new.into_bytes()).await,
        None => Ok(()),
    }
}

fn repo_file(site: &Site) -> String {
    format!("install/{}-{}.repo", site.channel, site.distro)
}

/// Writes those of the files that are not there as they have to be.
pub(super) async fn write(place: &dyn Place, files: BTreeMap<String, Vec<u8>>) -> Result<()> {
    for (key, bytes) in files {
        let old = place.get(&key, bytes.len() as u64).await.ok().flatten();
        if old.is_none_or(|old| old.bytes != bytes) {
            place.put(&key, bytes).await?;
        }
    }
    Ok(())
}

/// A name for files, made of what people call the repository.
fn slug(label: &str) -> String {
    let lower = label.to_ascii_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match words.is_empty() {
        true => "packages".to_owned(),
        false => words.join("-"),
    }
}

/// The bytes of an armored certificate (RFC 4880, 6.2).
fn dearmored(armored: &str) -> Option<Vec<u8>> {
    let lines = armored.lines().skip_while(|line| !line.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK"));
    let body = lines.skip_while(|line| !line.trim().is_empty()).skip(1);
    // A line that begins with `=` is a checksum.
    let text: String = body.take_while(|line| !line.starts_with(['=', '-'])).map(str::trim).collect();
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Channel;

    #[test]
    fn the_page_names_the_key_and_every_suite_and_tree() {
        let options = Options { label: "Example & packages".to_owned(), ..Options::default() };
        let offers = Offers {
            suites: BTreeMap::from([("bookworm".to_owned(), vec!["main".to_owned()])]),
            trees: [(
                Site { channel: Channel::new("stable").unwrap(), distro: "rocky-9".to_owned() },
                BTreeSet::from(["0123".to_owned()]),
            )]
            .into(),
        };
        let key = include_str!("../../tests/fixtures/openpgp/public-key.asc");
        let keys = Certificate::parse("the test's key", key.as_bytes()).unwrap();
        let files = files(&options, "https://example.org/repo/", &offers, &keys).unwrap();
        let text = |key: &str| String::from_utf8(files[key].clone()).unwrap();
        let page = text("install.html");
        assert!(page.contains("<h1>Example &amp; packages</h1>") && page.contains(&keys[0].fingerprint));
        assert!(page.contains("https://example.org/repo/install/bookworm.sources"));
        assert_eq!(
            text("install/bookworm.sources"),
            "Types: deb\nURIs: https://example.org/repo\nSuites: bookworm\nComponents: main\n\
             Signed-By: /etc/apt/keyrings/example-packages.gpg\n"
        );
        let repo = text("install/stable-rocky-9.repo");
        assert!(repo.contains("\nbaseurl=https://example.org/repo/rpm/stable/rocky-9/$basearch\n"), "{repo}");
        assert!(repo.contains("\nrepo_gpgcheck=1\ngpgkey=https://example.org/repo/install/"), "{repo}");
        // Packages that a key of earlier times has signed are accepted by its certificate, which lies there since.
        assert!(repo.ends_with("\n       https://example.org/repo/install/0123.asc\n"), "{repo}");
        // A public-key packet comes first (RFC 4880, 4.2).
        assert!(matches!(files["install/example-packages.gpg"][0], 0x98 | 0x99 | 0xc6));
    }
}
