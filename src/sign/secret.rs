use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use pgp::types::Password;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use zeroize::Zeroizing;

use super::{Result, SignError};
use crate::support::fs::{PathContext, open_regular};

/// No passphrase and no key file is longer, in bytes.
const MOST_PASSPHRASE: u64 = 4096;
const MOST_KEY: u64 = 1 << 20;

/// What opens a locked secret key. It is never printed, and overwritten when it is dropped.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl Passphrase {
    /// Reads a passphrase from an open descriptor to its end, at most 4096 bytes; one newline at the end is not part of it.
    pub fn from_descriptor(fd: u32) -> Result<Self> {
        let wrong = |source| SignError::Passphrase { fd, source };
        let mut file = File::open(format!("/proc/self/fd/{fd}")).map_err(wrong)?;
        let mut bytes = read_bounded(&mut file, MOST_PASSPHRASE).map_err(wrong)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        match bytes.is_empty() {
            true => Err(wrong(io::Error::new(io::ErrorKind::InvalidData, "it is empty"))),
            false => Ok(Self(bytes)),
        }
    }

    /// A copy that overwrites itself as well.
    pub(super) fn password(&self) -> Password {
        Password::Static(self.0.clone())
    }
}

/// Reads into memory that never moves, so that nothing is left behind by a buffer that grew.
fn read_bounded(file: &mut impl Read, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(most).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut length = 0;
    while length <= size {
        match file.read(&mut bytes[length..]) {
            Ok(0) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {most} bytes")))
}

/// Reads a file that belongs to the user and that nobody else can read.
pub(crate) fn read_key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = open_regular(path).at("read", path)?;
    let metadata = file.metadata().at("read", path)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(SignError::Foreign { path: path.to_owned(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SignError::Exposed { path: path.to_owned(), mode });
    }
    Ok(read_bounded(&mut file, MOST_KEY).at("read", path)?)
}

/// How many secret keys are open, and what the process was like before the first.
static GUARDED: Mutex<(usize, Option<Before>)> = Mutex::new((0, None));

struct Before {
    dumpable: Option<DumpableBehavior>,
    core: Rlimit,
}

/// While one of these exists the process leaves no core dump, and other processes of the user can neither trace it nor read its memory
/// (prctl(2), PR_SET_DUMPABLE; getrlimit(2), RLIMIT_CORE).
pub(super) struct NoCoreDumps(());

impl NoCoreDumps {
    pub fn begin() -> Result<Self> {
        let mut guarded = GUARDED.lock().unwrap_or_else(PoisonError::into_inner);
        if guarded.0 == 0 {
            let fail = |error: rustix::io::Errno| SignError::CoreDumps { source: error.into() };
            let core = rustix::process::getrlimit(Resource::Core);
            let dumpable = rustix::process::dumpable_behavior().map_err(fail)?;
            rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum })
                .map_err(fail)?;
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fail)?;
            // Only root sets `Suid`, and cannot set it again.
            let dumpable = (dumpable == DumpableBehavior::Dumpable).then_some(dumpable);
            guarded.1 = Some(Before { dumpable, core });
        }
        guarded.0 += 1;
        Ok(Self(()))
    }
}

impl Drop for NoCoreDumps {
    fn drop(&mut self) {
        let mut guarded = GUARDED.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.0 -= 1;
        if guarded.0 > 0 {
            return;
        }
        if let Some(before) = guarded.1.take() {
            // What fails here leaves the process as it is: more careful than it has to be.
            let _ = rustix::process::setrlimit(Resource::Core, before.core);
            if let Some(dumpable) = before.dumpable {
                let _ = rustix::process::set_dumpable_behavior(dumpable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_process_cannot_be_dumped_while_a_key_is_open_and_can_afterwards() {
        let before = rustix::process::getrlimit(Resource::Core);
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        let (one, two) = (NoCoreDumps::begin().unwrap(), NoCoreDumps::begin().unwrap());
        drop(one);
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        drop(two);
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, before.current);
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_is_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "secret").unwrap();
        for (mode, fine) in [(0o644, false), (0o640, false), (0o604, false), (0o600, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_key_file(&path).is_ok(), fine, "{mode:o}");
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(matches!(read_key_file(&path), Err(SignError::Foreign { owner: 65534, .. })));
        }
    }

    #[test]
    fn a_passphrase_comes_from_a_descriptor_without_its_newline_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let read = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            let file = File::open(&path).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
            Passphrase::from_descriptor(u32::try_from(fd).unwrap())
        };
        let passphrase = read(b"correct horse\n").unwrap();
        assert_eq!(passphrase.0.as_slice(), b"correct horse");
        assert!(!format!("{passphrase:?} {:?}", passphrase.password()).contains("horse"));
        assert_eq!(read(b"two\n\n").unwrap().0.as_slice(), b"two\n");
        assert!(read(b"\n").is_err());
        assert!(read(&[b'x'; 5000]).is_err());
    }
}
