//! `NAME.spec` (rpm's reference manual, "Spec file format").

use std::collections::BTreeMap;

use super::copyright::Licence;
use super::install::{install, octal};
use super::maintainer_scripts::{joins, shell_script, users};
use super::shared_folders::owned_folders;
use super::{BadDescription, GeneratedFile, MADE};
use crate::config::{FileSource, Owner, PackageSection, PackageUnit, RelationKind, is_for};
use crate::model::{Format, TargetName};
use crate::plan::changelog::wrapped;

const MAKE_USER: &str = include_str!("scripts/rpm-user.sh");
const JOIN_GROUP: &str = include_str!("scripts/rpm-group.sh");

/// How long a line of a description may be (rpmlint, description-line-too-long).
const WIDTH: usize = 79;

/// What builds and tests find in their environment.
const ENVIRONMENT: &str = "\
export VERSION=%{version}
export CFLAGS=\"${CFLAGS:-%{optflags}}\" CXXFLAGS=\"${CXXFLAGS:-%{optflags}}\" LDFLAGS=\"${LDFLAGS:-%{?build_ldflags}}\"
";

pub(super) fn packaging(
    package: &PackageSection,
    target: &TargetName,
    files: &BTreeMap<String, Vec<u8>>,
    licences: &[Licence<'_>],
) -> Result<Vec<GeneratedFile>, BadDescription> {
    let folder = package.folder(target);
    let at = |name: &str| format!("{folder}{name}");
    let mut text = format!("{MADE} Version and Release are set when a commit is built.\n");
    if !package.independent {
        // A package whose programs have no debugging information has no such files either.
        text += "%global _empty_manifest_terminate_build 0\n";
    }
    text += "\n";
    text += &tags(package, target);
    text += &format!("\n%description\n{}\n", escaped(&filled(&package.description).join("\n")));
    text += "\n%prep\n%setup -q\n\n%build\n";
    if package.build.is_some() {
        text += &format!("{ENVIRONMENT}{}\n", ["/bin/sh", &at("build.sh")].join(" "));
    }
    text += "\n%install\n";
    for line in installed(package, &folder) {
        text += &format!("{line}\n");
    }
    if package.check.is_some() {
        text += &format!("\n%check\n{ENVIRONMENT}{}\n", ["/bin/sh", &at("check.sh")].join(" "));
    }
    text += &scriptlets(package, target, files)?;
    text += &format!("\n%files\n{}\n%changelog\n", listed(package, licences));

    Ok(vec![GeneratedFile::text(at(&format!("{}.spec", package.name)), text)])
}

/// Text that rpm does not expand (rpm's manual, "Macro syntax").
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// Lines of a description that are not too long; those that are indented stay as they are.
pub(super) fn filled(lines: &[String]) -> Vec<String> {
    let fill = |line: &String| match line.chars().count() > WIDTH && !line.starts_with(' ') {
        true => wrapped(line, WIDTH),
        false => vec![line.clone()],
    };
    // A word at the beginning of a line may be a section of the spec file, or what deb822(5) reserves.
    let safe = |line: String| if line.starts_with(['%', '.']) { format!(" {line}") } else { line };
    lines.iter().flat_map(fill).map(safe).collect()
}

fn tags(package: &PackageSection, target: &TargetName) -> String {
    let mut tags: Vec<(&str, String)> = vec![
        ("Name", package.name.clone()),
        ("Version", "0".to_owned()),
        ("Release", "1%{?dist}".to_owned()),
        ("Summary", escaped(&capitalised(&package.summary))),
        ("License", package.license.clone()),
    ];
    tags.extend(package.homepage.iter().map(|url| ("URL", escaped(url))));
    tags.push(("Source0", "%{name}-%{version}.tar.gz".to_owned()));
    if package.independent {
        tags.push(("BuildArch", "noarch".to_owned()));
    }
    let serves = !package.units.is_empty() || !package.users.is_empty();
    if serves {
        tags.push(("BuildRequires", "systemd-rpm-macros".to_owned()));
    }
    for (tag, kind) in [
        ("BuildRequires", RelationKind::BuildDepends),
        ("Requires", RelationKind::Depends),
        ("Recommends", RelationKind::Recommends),
        ("Suggests", RelationKind::Suggests),
        ("Conflicts", RelationKind::Conflicts),
        ("Obsoletes", RelationKind::Replaces),
        ("Provides", RelationKind::Provides),
    ] {
        tags.extend(package.relations(target, kind).iter().map(|relation| (tag, relation.text(Format::Rpm))));
    }
    if !package.users.is_empty() {
        let mut programs = vec!["/usr/bin/getent", "/usr/sbin/groupadd", "/usr/sbin/useradd"];
        programs.extend(joins(package).then_some("/usr/sbin/usermod"));
        tags.extend(programs.into_iter().map(|program| ("Requires(pre)", program.to_owned())));
    }
    let mut text: String =
        tags.iter().map(|(tag, value)| format!("{:<16}{value}\n", format!("{tag}:"))).collect();
    if !package.units.is_empty() {
        text += "%{?systemd_ordering}\n";
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// rpmlint wants no folder of libraries spelled out, which may be another on another architecture; this one is not.
fn place(path: &str) -> String {
    match path.strip_prefix("/usr/lib/") {
        Some(rest) => format!("%{{_exec_prefix}}/lib/{rest}"),
        None => path.to_owned(),
    }
}

fn installed(package: &PackageSection, folder: &str) -> Vec<String> {
    let mut lines = install(package, Format::Rpm, "%{buildroot}", place);
    let mut put = |from: &str, to: &str| {
        let to = format!("%{{buildroot}}{to}");
        lines.push(["install", "-D", "-p", "-m", "0644", "--", from, &to].join(" "));
    };
    for unit in &package.units {
        put(&unit.source, &format!("%{{_unitdir}}/{}", unit.name));
    }
    if !package.users.is_empty() {
        put(&format!("{folder}sysusers.conf"), &format!("%{{_sysusersdir}}/{}.conf", package.name));
    }
    lines
}

/// The scriptlets (rpm's manual, "Runtime scriptlets"; systemd's daemon(7), "Installing systemd service files").
fn scriptlets(
    package: &PackageSection,
    target: &TargetName,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<String, BadDescription> {
    let units: Vec<&PackageUnit> = package.units.iter().filter(|unit| !unit.name.contains('@')).collect();
    let named = |wanted: &dyn Fn(&PackageUnit) -> bool| {
        let names = units.iter().filter(|unit| wanted(unit)).map(|unit| unit.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let (all, enabled) = (named(&|_| true), named(&|unit| unit.enable));
    let (restarted, kept) = (named(&|unit| unit.restart), named(&|unit| !unit.restart));
    let mut pre = Vec::new();
    if !package.users.is_empty() {
        pre.push(MAKE_USER.trim_end().to_owned());
        if joins(package) {
            pre.push(JOIN_GROUP.trim_end().to_owned());
        }
        pre.extend(users(package));
    }
    pre.extend(with_macro("service_add_pre", None, &all));
    let post = with_macro("service_add_post", Some("systemd_post"), &enabled);
    let preun = with_macro("service_del_preun", Some("systemd_preun"), &all);
    let mut postun = with_macro("service_del_postun", Some("systemd_postun_with_restart"), &restarted);
    postun.extend(with_macro("service_del_postun_without_restart", Some("systemd_postun"), &kept));

    let scripts = package.scripts(target);
    let mut text = String::new();
    for (section, name, body) in [
        ("%pre", "preinst", pre),
        ("%post", "postinst", post),
        ("%preun", "prerm", preun),
        ("%postun", "postrm", postun),
    ] {
        let path = scripts.get(name);
        let mut head = section.to_owned();
        if let Some(path) = path {
            let (shell, _) = shell_script(path, files.get(path).map(Vec::as_slice).unwrap_or_default())?;
            if shell != "/bin/sh" {
                head += &format!(" -p {shell}");
            }
            // rpm puts the file after the lines here, and expands nothing in it.
            head += &format!(" -f {path}");
        }
        if path.is_some() || !body.is_empty() {
            text += &format!("\n{head}\n");
            body.iter().for_each(|line| text += &format!("{line}\n"));
        }
    }
    Ok(text)
}

/// A line that calls a macro of openSUSE where there is one, and else that of all others.
fn with_macro(own: &str, other: Option<&str>, units: &str) -> Vec<String> {
    if units.is_empty() {
        return Vec::new();
    }
    let other = other.map(|other| format!("%{{!?{own}:%{other} {units}}}")).unwrap_or_default();
    vec![format!("%{{?{own}:%{own} {units}}}{other}")]
}

/// `%files`: the folders that are the package's own, and everything that is installed.
fn listed(package: &PackageSection, licences: &[Licence<'_>]) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(licences.iter().map(|licence| format!("%license {}", licence.path)));
    lines.extend(package.docs.iter().map(|path| format!("%doc {path}")));
    let files: Vec<_> = package.files.iter().filter(|file| is_for(file.only, Format::Rpm)).collect();
    let links: Vec<_> = package.symlinks.iter().filter(|link| is_for(link.only, Format::Rpm)).collect();
    let directories: Vec<_> =
        package.directories.iter().filter(|directory| is_for(directory.only, Format::Rpm)).collect();
    let ghosts: Vec<_> = package.ghosts.iter().filter(|ghost| is_for(ghost.only, Format::Rpm)).collect();
    let paths: Vec<String> = files
        .iter()
        .map(|file| file.installed())
        .chain(links.iter().map(|link| link.path.clone()))
        .chain(directories.iter().map(|directory| directory.path.clone()))
        .chain(ghosts.iter().map(|ghost| ghost.path.clone()))
        .collect();
    for folder in owned_folders(paths.iter().map(String::as_str)) {
        let tree = files.iter().any(|file| matches!(file.source, FileSource::Tree(_)) && file.to == folder);
        if !tree && !directories.iter().any(|directory| directory.path == folder) {
            lines.push(format!("%dir {}", place(&folder)));
        }
    }
    for directory in directories {
        lines.push(format!(
            "%dir {} {}",
            attributes(directory.mode, &directory.owner),
            place(&directory.path)
        ));
    }
    for file in files {
        if let FileSource::Tree(_) = file.source {
            lines.push(place(&file.to));
            continue;
        }
        let config = if file.config { "%config(noreplace) " } else { "" };
        // rpm compresses manual pages, in a way that the distro chooses.
        let rest = if file.to.starts_with("/usr/share/man/") { "*" } else { "" };
        let path = place(&file.installed());
        lines.push(format!("{config}{} {path}{rest}", attributes(file.mode(), &file.owner)));
    }
    lines.extend(links.iter().map(|link| place(&link.path)));
    for ghost in ghosts {
        lines.push(format!("%ghost {} {}", attributes(ghost.mode, &ghost.owner), place(&ghost.path)));
    }
    lines.extend(package.units.iter().map(|unit| format!("%{{_unitdir}}/{}", unit.name)));
    if !package.users.is_empty() {
        lines.push(format!("%{{_sysusersdir}}/{}.conf", package.name));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn attributes(mode: u32, owner: &Owner) -> String {
    format!("%attr({},{},{})", octal(mode), owner.user, owner.group)
}
