//! Packages for the tests, made by the tools that make packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a command and gives what it prints; the test fails if it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A deb with the files `paths` and further fields.
pub fn deb(folder: &Path, name: &str, version: &str, arch: &str, paths: &[&str], fields: &str) -> PathBuf {
    let tree = folder.join(format!("tree-{name}-{version}-{arch}"));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    for path in paths {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{name} {version}\n")).unwrap();
    }
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Nobody <nobody@example.org>\n{fields}\
         Description: a package of the tests\n It has more to say:\n .\n  verbatim\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = folder.join(format!("{name}_{version}_{arch}.deb"));
    run(Command::new("dpkg-deb")
        .args(["-Zgzip", "--root-owner-group", "--build"])
        .args([&tree, &file])
        // The same package made again, a second later, is the same file.
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    fs::remove_dir_all(&tree).unwrap();
    file
}

/// An rpm. `more` are further lines of the preamble of its spec file.
pub fn rpm(folder: &Path, name: &str, version: &str, arch: &str, more: &str) -> PathBuf {
    let top = folder.join(format!("rpmbuild-{name}-{version}"));
    fs::create_dir_all(&top).unwrap();
    let spec = top.join("package.spec");
    // Only what is for all architectures says so itself.
    let build_arch = if arch == "noarch" { "BuildArch: noarch\n" } else { "" };
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: a package of the <tests> & more\nLicense: MIT\nURL: https://example.org/?a=1&b=2\n\
         Packager: Nobody <nobody@example.org>\nVendor: Example\nGroup: Tools\n{build_arch}AutoReqProv: no\n{more}\n\
         %description\nIt says \"more\".\nOn two lines.\n\n\
         %install\nmkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/etc/{name} %{{buildroot}}/usr/share/{name}\n\
         echo '#!/bin/sh' > %{{buildroot}}/usr/bin/{name}\necho a > %{{buildroot}}/etc/{name}/a.conf\necho a > '%{{buildroot}}/usr/share/{name}/a & b'\n\n\
         %files\n/usr/bin/{name}\n%dir /etc/{name}\n%config(noreplace) /etc/{name}/a.conf\n\"/usr/share/{name}/a & b\"\n%ghost /etc/{name}/ghost\n\n\
         %changelog\n* Tue Nov 14 2023 A <a@example.org> - 2\n- Two\n\n* Tue Nov 14 2023 B <b@example.org> - 1\n- One & only\n"
    );
    fs::write(&spec, text).unwrap();
    run(Command::new("rpmbuild")
        .args(["-bb", "--target", arch])
        .arg("--define")
        .arg(format!("_topdir {}", top.display()))
        .arg(&spec));
    let made = top.join(format!("RPMS/{arch}/{name}-{version}-1.{arch}.rpm"));
    let file = folder.join(made.file_name().unwrap());
    fs::rename(&made, &file).unwrap();
    fs::remove_dir_all(&top).unwrap();
    file
}
