use super::control;
use super::deb::Deb;
use crate::model::{Digest, Format};
use crate::publish::blocks::Record;
use crate::versions::Candidate;

/// Package, architecture, version: the order of an index.
pub(super) type Key = (String, String, String);

/// What `Packages` says of one package file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::publish) struct Stanza {
    /// The paragraph and the empty line after it.
    pub(super) text: String,
    pub(in crate::publish) package: String,
    pub(in crate::publish) version: String,
    pub(in crate::publish) architecture: String,
    /// The name in Contents: the section and the package.
    pub(super) qualified: String,
    /// The key of the package file.
    pub(in crate::publish) filename: String,
    pub(in crate::publish) digest: Digest,
}

impl Stanza {
    /// The stanza of a package that is kept as `filename`.
    pub(super) fn of(deb: &Deb, filename: &str) -> Self {
        let mut text = String::new();
        for (name, value) in deb.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Description")) {
            control::write(&mut text, name, value);
        }
        control::write(&mut text, "Filename", filename);
        control::write(&mut text, "Size", &deb.size.to_string());
        control::write(&mut text, "SHA256", &deb.digest.hex());
        control::write(&mut text, "Description", deb.field("Description"));
        text.push('\n');
        Self {
            text,
            package: deb.field("Package").to_owned(),
            version: deb.field("Version").to_owned(),
            architecture: deb.field("Architecture").to_owned(),
            qualified: qualified(deb.field("Section"), deb.field("Package")),
            filename: filename.to_owned(),
            digest: deb.digest,
        }
    }

    /// The stanzas of a `Packages` file, which another program may have written.
    pub(super) fn all(packages: &str) -> Result<Vec<Self>, String> {
        paragraphs(packages).map(Self::parse).collect()
    }

    /// Reads one paragraph.
    pub(super) fn parse(paragraph: &str) -> Result<Self, String> {
        let paragraph = paragraph.trim_matches('\n');
        let fields = control::paragraph(paragraph)?;
        let field = |name: &str| {
            control::value(&fields, name).ok_or_else(|| format!("a package in it has no field {name}"))
        };
        let filename = field("Filename")?.trim_start_matches("./").to_owned();
        let safe = crate::support::tar_reader::safe_relative(&filename);
        if safe.as_deref() != Some(filename.as_str()) {
            return Err(format!("a package in it has the file name `{}`", filename.escape_debug()));
        }
        let digest = Digest::from_hex(field("SHA256")?).map_err(|error| error.to_string())?;
        Ok(Self {
            text: format!("{paragraph}\n\n"),
            package: field("Package")?.to_owned(),
            version: field("Version")?.to_owned(),
            architecture: field("Architecture")?.to_owned(),
            qualified: qualified(control::value(&fields, "Section").unwrap_or_default(), field("Package")?),
            filename,
            digest,
        })
    }
}

impl Stanza {
    pub(super) fn key(&self) -> Key {
        (self.package.clone(), self.architecture.clone(), self.version.clone())
    }

    /// Its record in an index.
    pub(super) fn record(&self) -> Record {
        Record::new(&format!("{} {}", self.package, self.version), self.text.clone())
    }

    /// What the guard has to know of it.
    pub(in crate::publish) fn candidate(&self) -> Candidate {
        Candidate {
            format: Format::Deb,
            package: self.package.clone(),
            architecture: self.architecture.clone(),
            version: self.version.clone(),
            digest: self.digest,
        }
    }

    /// Whether it is in the index of an architecture.
    pub(super) fn is_for(&self, architecture: &str) -> bool {
        self.architecture == architecture || self.architecture == "all"
    }
}

fn paragraphs(packages: &str) -> impl Iterator<Item = &str> {
    packages.split("\n\n").filter(|text| !text.trim_matches('\n').is_empty())
}

/// The records of a `Packages` file, at most so many.
pub(super) fn split(packages: &str, most: usize) -> Result<Vec<(Key, Record)>, String> {
    let stanzas = paragraphs(packages).take(most).map(Stanza::parse);
    stanzas.map(|stanza| stanza.map(|stanza| (stanza.key(), stanza.record()))).collect()
}

fn qualified(section: &str, package: &str) -> String {
    match section {
        "" => package.to_owned(),
        section => format!("{section}/{package}"),
    }
}
