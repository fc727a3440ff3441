//! Programs of other architectures: what the kernel is told to start them with (binfmt_misc, Documentation/admin-guide/binfmt-misc.rst
//! of the kernel).

use std::path::{Path, PathBuf};

use crate::model::{Architecture, ElfMachine};

/// Where the kernel shows what is registered.
const BINFMT_MISC: &str = "/proc/sys/fs/binfmt_misc";

/// What starts the programs of another architecture on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// The architecture of the programs.
    pub architecture: Architecture,
    /// The emulator, as a path of the host.
    pub interpreter: PathBuf,
    /// Whether the kernel holds it open since it was registered (flag F, "fix binary"). Otherwise it would have to be in the
    /// container, and is not.
    pub fixed: bool,
}

/// The emulators that this machine's kernel knows. None where binfmt_misc is not mounted.
pub fn emulators() -> Vec<Emulator> {
    registered(Path::new(BINFMT_MISC))
}

fn registered(folder: &Path) -> Vec<Emulator> {
    let read = |name: &Path| std::fs::read_to_string(name).unwrap_or_default();
    if read(&folder.join("status")).trim() != "enabled" {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let rules: Vec<Rule> = entries.filter_map(|entry| Rule::parse(&read(&entry.path()))).collect();
    let of = |architecture: Architecture| {
        let header = header(architecture.elf());
        let mut fitting: Vec<&Rule> = rules.iter().filter(|rule| rule.matches(&header)).collect();
        fitting.sort_by_key(|rule| (!rule.fixed, rule.interpreter.clone()));
        let rule = fitting.first()?;
        Some(Emulator { architecture, interpreter: rule.interpreter.clone(), fixed: rule.fixed })
    };
    Architecture::ALL.into_iter().filter_map(of).collect()
}

/// A rule by magic bytes, as the kernel shows it.
#[derive(Debug, Default)]
struct Rule {
    interpreter: PathBuf,
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Option<Vec<u8>>,
}

impl Rule {
    /// `None` for what is disabled, or goes by the file's extension.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut rule = Self::default();
        for line in lines {
            let (word, value) = line.split_once(' ')?;
            match word {
                "interpreter" => rule.interpreter = PathBuf::from(value),
                "flags:" => rule.fixed = value.contains('F'),
                "offset" => rule.offset = value.parse().ok()?,
                "magic" => rule.magic = bytes(value)?,
                "mask" => rule.mask = Some(bytes(value)?),
                _ => {}
            }
        }
        (!rule.magic.is_empty()).then_some(rule)
    }

    fn matches(&self, start: &[u8]) -> bool {
        let Some(start) = start.get(self.offset..self.offset + self.magic.len()) else { return false };
        let mask = |at: usize| self.mask.as_ref().and_then(|mask| mask.get(at)).copied().unwrap_or(0xff);
        self.magic.iter().zip(start).enumerate().all(|(at, (magic, byte))| (magic ^ byte) & mask(at) == 0)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// The first bytes of an executable for the machine (elf(5)), of which a rule looks at 20.
fn header(elf: ElfMachine) -> [u8; 64] {
    /// ET_EXEC.
    const EXECUTABLE: u16 = 2;
    let mut header = [0; 64];
    let numbers: [u8; 4] = match elf.data {
        2 => {
            let ([a, b], [c, d]) = (EXECUTABLE.to_be_bytes(), elf.machine.to_be_bytes());
            [a, b, c, d]
        }
        _ => {
            let ([a, b], [c, d]) = (EXECUTABLE.to_le_bytes(), elf.machine.to_le_bytes());
            [a, b, c, d]
        }
    };
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', elf.class, elf.data, 1]);
    header[16..20].copy_from_slice(&numbers);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: PF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
    const S390X: &str = "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: \noffset 0\n\
        magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";
    const JAR: &str = "enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n";

    fn folder(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in entries {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_registered_is_found_by_the_programs_that_it_starts() {
        let disabled = ARM64.replace("enabled", "disabled").replace("b700", "f300");
        let place = folder(&[
            ("status", "enabled\n"),
            ("anything", ARM64),
            ("qemu-s390x", S390X),
            ("qemu-riscv64", &disabled),
            ("jar", JAR),
            ("python", "enabled\ninterpreter /usr/bin/python\nflags: \nextension .pyc\n"),
        ]);
        let found = registered(place.path());
        let told: Vec<_> = found.iter().map(|own| (own.architecture, own.fixed)).collect();
        assert_eq!(told, [(Architecture::Arm64, true), (Architecture::S390x, false)]);
        assert_eq!(found[0].interpreter, Path::new("/usr/libexec/qemu-binfmt/aarch64-binfmt-P"));
    }

    #[test]
    fn nothing_is_emulated_where_the_kernel_does_not_look() {
        assert_eq!(registered(folder(&[("status", "disabled\n"), ("a", ARM64)]).path()), []);
        assert_eq!(registered(folder(&[("a", ARM64)]).path()), []);
        assert_eq!(registered(Path::new("/nonexistent")), []);
    }
}
