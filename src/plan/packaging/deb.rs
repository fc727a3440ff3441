//! `debian/`: debhelper 13 (debhelper(7)), source format 3.0 (quilt) (dpkg-source(1)).

use std::collections::BTreeMap;

use super::copyright::{Licence, copyright};
use super::install::{install, octal};
use super::maintainer_scripts::maintainer_scripts;
use super::{BadDescription, GeneratedFile, MADE};
use crate::config::{FileSource, PackageSection, PackageUnit, RelationKind, is_for};
use crate::model::{Format, TargetName};

/// The version of Debian Policy that it keeps to.
const STANDARDS: &str = "4.6.2";

/// What every debian/rules begins with.
const RULES: &str = "\
DPKG_EXPORT_BUILDFLAGS = 1
export DEB_BUILD_MAINT_OPTIONS = hardening=+all
include /usr/share/dpkg/default.mk
export VERSION = $(DEB_VERSION_UPSTREAM)

%:
	dh $@

override_dh_auto_configure override_dh_auto_clean:
";

pub(super) fn packaging(
    package: &PackageSection,
    target: &TargetName,
    files: &BTreeMap<String, Vec<u8>>,
    licences: &[Licence<'_>],
) -> Result<Vec<GeneratedFile>, BadDescription> {
    let folder = package.folder(target);
    let at = |name: &str| format!("{folder}{name}");
    let mut made = vec![
        GeneratedFile::text(at("control"), control(package, target)),
        GeneratedFile::text(at("copyright"), copyright(package, licences)),
        GeneratedFile::program(at("rules"), rules(package)),
        GeneratedFile::text(at("source/format"), "3.0 (quilt)\n".to_owned()),
    ];
    if !package.docs.is_empty() {
        made.push(GeneratedFile::text(at("docs"), package.docs.join("\n") + "\n"));
    }
    let conffiles = conffiles(package);
    if !conffiles.is_empty() {
        made.push(GeneratedFile::text(at("conffiles"), conffiles));
    }
    for (name, script) in maintainer_scripts(package, target, files)? {
        made.push(GeneratedFile::text(at(&format!("{}.{name}", package.name)), script));
    }
    Ok(made)
}

/// What dh_installdeb does not know by itself to be configuration: what is not below /etc.
fn conffiles(package: &PackageSection) -> String {
    let files = package.files.iter().filter(|file| file.config && is_for(file.only, Format::Deb));
    files.filter(|file| !file.to.starts_with("/etc/")).map(|file| format!("{}\n", file.to)).collect()
}

fn control(package: &PackageSection, target: &TargetName) -> String {
    let list = |first: &[&str], kind| {
        let said = package.relations(target, kind).iter().map(|relation| relation.text(Format::Deb));
        first.iter().map(|word| (*word).to_owned()).chain(said).collect::<Vec<_>>().join(",\n ")
    };
    let mut fields = vec![
        ("Source", package.name.clone()),
        ("Section", package.section.clone()),
        ("Priority", "optional".to_owned()),
        ("Maintainer", format!("{} <{}>", package.maintainer.name, package.maintainer.email)),
        ("Build-Depends", list(&["debhelper-compat (= 13)"], RelationKind::BuildDepends)),
        ("Standards-Version", STANDARDS.to_owned()),
        ("Homepage", package.homepage.clone().unwrap_or_default()),
        ("Rules-Requires-Root", "no".to_owned()),
    ];
    let source = paragraph(&fields);
    let mut needs = vec!["${misc:Depends}"];
    if !package.independent {
        needs.push("${shlibs:Depends}");
    }
    if !package.users.is_empty() {
        needs.push("adduser");
    }
    let replaces = list(&[], RelationKind::Replaces);
    fields = vec![
        ("Package", package.name.clone()),
        ("Architecture", if package.independent { "all" } else { "any" }.to_owned()),
        ("Pre-Depends", "${misc:Pre-Depends}".to_owned()),
        ("Depends", list(&needs, RelationKind::Depends)),
        ("Recommends", list(&[], RelationKind::Recommends)),
        ("Suggests", list(&[], RelationKind::Suggests)),
        ("Conflicts", list(&[], RelationKind::Conflicts)),
        ("Breaks", replaces.clone()),
        ("Replaces", replaces),
        ("Provides", list(&[], RelationKind::Provides)),
        ("Description", unsubstituted(&package.summary)),
    ];
    let mut binary = paragraph(&fields);
    for line in super::spec::filled(&package.description) {
        binary += &match line.as_str() {
            "" => " .\n".to_owned(),
            line => format!(" {}\n", unsubstituted(line)),
        };
    }
    format!("{MADE}\n{source}\n{binary}")
}

/// Text in which dpkg-gencontrol finds no variable (deb-substvars(5)): `${Newline}` would be more than text.
fn unsubstituted(text: &str) -> String {
    text.replace('$', "${}")
}

/// A paragraph without its empty fields.
fn paragraph(fields: &[(&str, String)]) -> String {
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    fields.map(|(name, value)| format!("{name}: {value}\n")).collect()
}

fn rules(package: &PackageSection) -> String {
    let name = &package.name;
    let root = format!("debian/{name}");
    let mut text = format!("#!/usr/bin/make -f\n{MADE}\n\n{RULES}");
    let mut recipe = |target: &str, lines: &[String]| {
        text += &format!("\n{target}:\n");
        lines.iter().for_each(|line| text += &format!("\t{line}\n"));
    };
    let run = |script: &Option<String>, file: &str| match script {
        Some(_) => vec![["/bin/sh", file].join(" ")],
        None => Vec::new(),
    };
    recipe("override_dh_auto_build", &run(&package.build, "debian/build.sh"));
    // dh leaves the target out where DEB_BUILD_OPTIONS has nocheck.
    recipe("override_dh_auto_test", &run(&package.check, "debian/check.sh"));
    let mut lines = install(package, Format::Deb, &root, str::to_owned);
    if !package.users.is_empty() {
        let to = format!("{root}/usr/lib/sysusers.d/{name}.conf");
        lines.push(["install", "-D", "-p", "-m", "0644", "--", "debian/sysusers.conf", &to].join(" "));
    }
    recipe("override_dh_auto_install", &lines);
    let modes = modes(package, &root);
    if !modes.is_empty() {
        recipe("execute_after_dh_fixperms", &modes);
    }
    if !package.units.is_empty() {
        recipe("override_dh_installsystemd", &units(package));
    }
    text
}

/// dh_fixperms makes every mode a usual one; these are meant.
fn modes(package: &PackageSection, root: &str) -> Vec<String> {
    let chmod = |mode: u32, path: &str| ["chmod", &octal(mode), "--", &format!("{root}{path}")].join(" ");
    let directories = package.directories.iter().filter(|directory| is_for(directory.only, Format::Deb));
    let mut lines: Vec<String> = directories
        .filter(|directory| directory.mode != 0o755)
        .map(|directory| chmod(directory.mode, &directory.path))
        .collect();
    // Manual pages have another name by then.
    let files = package
        .files
        .iter()
        .filter(|file| is_for(file.only, Format::Deb) && !file.to.starts_with("/usr/share/man/"));
    lines.extend(
        files
            .filter(|file| !matches!(file.source, FileSource::Tree(_)) && file.mode.is_some())
            .map(|file| chmod(file.mode(), &file.installed())),
    );
    lines
}

/// The folder of units differs between releases; debhelper knows it (dh_installsystemd(1)).
fn units(package: &PackageSection) -> Vec<String> {
    let mut lines = Vec::new();
    for unit in &package.units {
        let to = format!("debian/{}.{}", package.name, unit.name);
        lines.push(["cp", "--", &unit.source, &to].join(" "));
    }
    for unit in &package.units {
        lines.push(installed_unit(unit));
    }
    lines
}

fn installed_unit(unit: &PackageUnit) -> String {
    let stem = unit.name.rsplit_once('.').map_or(&*unit.name, |(stem, _)| stem).trim_end_matches('@');
    let name = format!("--name={stem}");
    let mut words = vec!["dh_installsystemd", &name];
    if !unit.enable {
        words.push("--no-enable");
    }
    if !unit.start {
        words.push("--no-start");
    }
    if !unit.restart {
        words.push("--no-stop-on-upgrade");
    }
    words.push(&unit.name);
    words.join(" ")
}
