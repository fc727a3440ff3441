use std::fmt;

use super::Format;

/// A processor architecture that packages can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64 bit Arm.
    Arm64,
    /// 32 bit Arm (version 7, hardware floating point).
    Armhf,
    /// 64 bit POWER, little-endian.
    Ppc64el,
    /// 64 bit RISC-V.
    Riscv64,
    /// IBM Z.
    S390x,
}

/// The beginning of a program's file (elf(5)): its class and byte order as in `e_ident`, and `e_machine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElfMachine {
    /// ELFCLASS32 (1) or ELFCLASS64 (2).
    pub class: u8,
    /// ELFDATA2LSB (1) or ELFDATA2MSB (2).
    pub data: u8,
    /// EM_X86_64 and the like.
    pub machine: u16,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Amd64, Self::Arm64, Self::Armhf, Self::Ppc64el, Self::Riscv64, Self::S390x];

    /// Debian's name (`dpkg-architecture -L`).
    pub fn deb(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Ppc64el => "ppc64el",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }

    /// RPM's name (`rpm --eval %_arch`).
    pub fn rpm(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Armhf => "armv7hl",
            Self::Ppc64el => "ppc64le",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }

    /// OCI's name, which is Go's GOARCH (OCI image specification, "Image Configuration", `architecture`).
    pub fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Armhf => "arm",
            Self::Ppc64el => "ppc64le",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }

    /// OCI's variant, where images tell variants apart (OCI image specification, "Platform Variants").
    pub fn variant(self) -> Option<&'static str> {
        match self {
            Self::Arm64 => Some("v8"),
            Self::Armhf => Some("v7"),
            _ => None,
        }
    }

    /// The platform as registries and `docker run --platform` name it: `linux/arm64`, `linux/arm/v7`.
    pub fn platform(self) -> String {
        match self {
            Self::Armhf => "linux/arm/v7".to_owned(),
            other => format!("linux/{}", other.oci()),
        }
    }

    /// What its programs begin with.
    pub fn elf(self) -> ElfMachine {
        let (class, data, machine) = match self {
            Self::Amd64 => (2, 1, 62),
            Self::Arm64 => (2, 1, 183),
            Self::Armhf => (1, 1, 40),
            Self::Ppc64el => (2, 1, 21),
            Self::Riscv64 => (2, 1, 243),
            Self::S390x => (2, 2, 22),
        };
        ElfMachine { class, data, machine }
    }

    /// The name that packages of a format have for it.
    pub fn name(self, format: Format) -> &'static str {
        match format {
            Format::Deb => self.deb(),
            Format::Rpm => self.rpm(),
        }
    }

    /// The architecture that packages of a format call so.
    pub fn named(text: &str, format: Format) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name(format) == text)
    }

    /// The architecture that OCI, or an engine, calls so.
    pub fn of_oci(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.oci() == text)
    }

    /// The one that Debian, RPM or OCI calls so.
    pub fn of_any(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| [own.deb(), own.rpm(), own.oci()].contains(&text))
    }
}

/// Debian's name.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.deb())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_one_architecture() {
        for architecture in Architecture::ALL {
            for format in [Format::Deb, Format::Rpm] {
                assert_eq!(Architecture::named(architecture.name(format), format), Some(architecture));
            }
            assert_eq!(Architecture::of_oci(architecture.oci()), Some(architecture));
            assert!(architecture.platform().starts_with("linux/"));
        }
        assert_eq!(Architecture::named("aarch64", Format::Deb), None);
        assert_eq!(Architecture::of_any("aarch64"), Some(Architecture::Arm64));
    }
}
