use std::fmt::Write;

use crate::model::{Format, InstalledPackage};
use crate::support::percent::segment;

/// The package URL of an installed package (purl specification, types `deb` and `rpm`). The builder `debian-12` makes the
/// namespace `debian` and the distro `debian-12`.
pub(super) fn of(format: Format, builder: &str, name: &str, version: &str, arch: &str) -> String {
    let vendor = builder.split('-').next().unwrap_or(builder);
    let kind = match format {
        Format::Deb => "deb",
        Format::Rpm => "rpm",
    };
    let mut purl = format!("pkg:{kind}/{}/{}@{}", segment(vendor), segment(name), segment(version));
    let distro = format!("distro={}", segment(builder));
    // Qualifiers are sorted by their names.
    let _ = match arch.is_empty() {
        true => write!(purl, "?{distro}"),
        false => write!(purl, "?arch={}&{distro}", segment(arch)),
    };
    purl
}

pub(super) fn of_installed(format: Format, builder: &str, package: &InstalledPackage) -> String {
    of(format, builder, &package.name, &package.version, &package.arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_escaped_and_say_the_distro() {
        assert_eq!(
            of(Format::Deb, "debian-12", "libstdc++6", "1:12.2.0-14+b1~x", "amd64"),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bb1~x?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            of(Format::Rpm, "rocky-9", "zlib", "1.2-3.el9", ""),
            "pkg:rpm/rocky/zlib@1.2-3.el9?distro=rocky-9"
        );
    }
}
