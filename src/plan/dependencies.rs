use crate::model::Format;

/// What the packaging declares as build dependencies, as text in a canonical form: the key of a deps image. It never
/// misses a change of the dependencies; it may see one where there is none (a macro that has nothing to do with them).
///
/// `text` is a debian/control (Debian Policy 7.7: the Build-Depends family of the source paragraph), or a spec file or
/// a template of one (BuildRequires tags, and the conditions and macros that may decide about them).
pub fn declared_dependencies(format: Format, text: &str) -> Vec<String> {
    match format {
        Format::Deb => control_fields(text),
        Format::Rpm => spec_lines(text),
    }
}

/// The Build-* fields of the first paragraph (deb822(5)): names in lower case, continuation lines joined, comments out.
fn control_fields(text: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let mut inside = false;
    let paragraph = text.lines().skip_while(|l| l.trim().is_empty() || l.starts_with('#'));
    for line in paragraph.take_while(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(field) = fields.last_mut().filter(|_| inside) {
                field.push(' ');
                field.push_str(line.trim());
            }
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        inside = name.starts_with("build-depends") || name.starts_with("build-conflicts");
        if inside {
            let value = line.split_once(':').map_or("", |(_, value)| value).trim();
            fields.push(format!("{name}: {value}"));
        }
    }
    for field in &mut fields {
        *field = field.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",");
    }
    fields.sort();
    fields
}

fn spec_lines(text: &str) -> Vec<String> {
    let matters = |line: &str| {
        let lower = line.to_ascii_lowercase();
        lower.starts_with("buildrequires")
            || lower.starts_with("buildconflicts")
            || ["%if", "%el", "%endif", "%define", "%global", "%bcond", "%include", "%{?", "%undefine"]
                .iter()
                .any(|start| lower.starts_with(start))
    };
    let mut lines = Vec::new();
    let mut continued = false;
    for line in text.lines().map(str::trim) {
        // The changelog ends a spec file by convention and says nothing about dependencies.
        if line.eq_ignore_ascii_case("%changelog") {
            break;
        }
        if continued || matters(line) {
            continued = line.ends_with('\\');
            lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Source: a\nMaintainer: x\nBuild-Depends: debhelper-compat (= 13),\n zlib1g-dev ,\n\
                           # a comment\n pkg-config\nStandards-Version: 4.6.2\n\nPackage: a\nDepends: b\n";

    #[test]
    fn the_build_dependencies_of_a_control_file_are_one_canonical_line() {
        assert_eq!(
            declared_dependencies(Format::Deb, CONTROL),
            ["build-depends: debhelper-compat (= 13), zlib1g-dev, pkg-config"]
        );
    }

    #[test]
    fn other_fields_do_not_change_the_dependencies() {
        let other = CONTROL.replace("Maintainer: x", "Maintainer: y").replace("Depends: b", "Depends: c");
        let other = other.replace("Build-Depends: c", "Build-Depends: b");
        assert_eq!(declared_dependencies(Format::Deb, CONTROL), declared_dependencies(Format::Deb, &other));
    }

    #[test]
    fn a_new_build_dependency_changes_them() {
        let more = CONTROL.replace("pkg-config", "pkg-config, libcap-dev");
        assert_ne!(declared_dependencies(Format::Deb, CONTROL), declared_dependencies(Format::Deb, &more));
    }

    #[test]
    fn a_spec_files_dependencies_are_its_tags_and_what_may_decide_about_them() {
        let spec = "Name: a\nBuildRequires: gcc, make\n%if 0%{?fedora}\nBuildrequires:  zlib-devel\n%endif\n\
                    %changelog\n* Mon\n- BuildRequires: none\n";
        assert_eq!(
            declared_dependencies(Format::Rpm, spec),
            ["BuildRequires: gcc, make", "%if 0%{?fedora}", "Buildrequires: zlib-devel", "%endif"]
        );
    }
}
