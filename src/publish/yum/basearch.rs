/// What dnf puts in the place of `$basearch` on machines of an architecture of rpm (dnf, `dnf/rpm/__init__.py`, `_BASEARCH_MAP`), where that is another word.
const TABLE: [(&str, &[&str]); 8] = [
    (
        "alpha",
        &[
            "alphaev4",
            "alphaev45",
            "alphaev5",
            "alphaev56",
            "alphaev6",
            "alphaev67",
            "alphaev68",
            "alphaev7",
            "alphapca56",
        ],
    ),
    ("arm", &["armv5tejl", "armv5tel", "armv5tl", "armv6l", "armv7l", "armv8l"]),
    ("armhfp", &["armv6hl", "armv7hl", "armv7hnl", "armv8hl"]),
    ("i386", &["athlon", "geode", "i486", "i586", "i686"]),
    ("ppc64", &["ppc64iseries", "ppc64p7", "ppc64pseries"]),
    ("sh4", &["sh4a"]),
    ("sparc", &["sparc64", "sparc64v", "sparcv8", "sparcv9", "sparcv9v"]),
    ("x86_64", &["amd64", "ia32e"]),
];

/// The folder of the tree that has packages of an architecture of rpm: what dnf puts in the place of `$basearch` on such machines. zypper does
/// the same but for 32 bit Arm, which it calls by rpm's name.
pub(in crate::publish) fn basearch(arch: &str) -> &str {
    TABLE.iter().find(|(_, others)| others.contains(&arch)).map_or(arch, |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_folder_of_an_architecture_is_what_dnf_looks_for() {
        for (arch, base) in [
            ("armv7hl", "armhfp"),
            ("i686", "i386"),
            ("i386", "i386"),
            ("x86_64", "x86_64"),
            ("aarch64", "aarch64"),
            ("ppc64le", "ppc64le"),
            ("riscv64", "riscv64"),
            ("s390x", "s390x"),
            ("src", "src"),
        ] {
            assert_eq!(basearch(arch), base);
        }
        let text = "import dnf.rpm\nfor arch, base in dnf.rpm._BASEARCH_MAP.items(): print(arch, base)";
        let output = Command::new("/usr/bin/python3").args(["-c", text]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let pairs: Vec<(&str, &str)> = told.lines().filter_map(|line| line.split_once(' ')).collect();
        assert!(pairs.len() > 40, "{told}{}", String::from_utf8_lossy(&output.stderr));
        for (arch, base) in pairs {
            assert_eq!(basearch(arch), base, "{arch}");
        }
    }
}
