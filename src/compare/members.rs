use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::model::{Digest, Hasher};

/// The most members that a package may have.
const MAX_MEMBERS: usize = 1 << 20;

/// The largest member of which the text is kept, bytes.
const MAX_TEXT: usize = 64 << 10;

/// What the names and texts of one package may take in memory, bytes.
const MAX_KEPT: usize = 256 << 20;

/// The longest line that is shown, characters.
const MAX_LINE: usize = 120;

/// What a package holds.
#[derive(Default)]
pub(super) struct Members {
    /// By name.
    pub(super) all: BTreeMap<String, Member>,
    /// The names as they come.
    pub(super) order: Vec<String>,
    /// A digest of each signature, by name.
    pub(super) signatures: BTreeMap<String, Digest>,
    /// Bytes of names and texts.
    kept: usize,
}

/// A file in a package, or a field of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) owner: String,
    /// Seconds since 1970 UTC.
    pub(super) mtime: u64,
    /// Where it leads, if it is a link.
    pub(super) link: String,
    /// The text of a short one.
    pub(super) text: Option<String>,
}

impl Members {
    pub(super) fn add(&mut self, name: String, mut member: Member) -> io::Result<()> {
        // Names are kept twice. Without its text a member can still be compared.
        self.kept += 2 * name.len() + member.owner.len() + member.link.len();
        let text = member.text.as_ref().map_or(0, String::len);
        match self.kept + text <= MAX_KEPT {
            true => self.kept += text,
            false => member.text = None,
        }
        if self.kept > MAX_KEPT {
            return Err(bad("the names of its members are too long"));
        }
        if self.order.len() >= MAX_MEMBERS {
            return Err(bad("it has too many members"));
        }
        self.order.push(name.clone());
        self.all.insert(name, member);
        Ok(())
    }
}

impl Member {
    /// A member of these bytes, and nothing else that could differ.
    pub(super) fn of(mut bytes: impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::around(Text::default());
        io::copy(&mut bytes, &mut hasher)?;
        let (digest, size, text) = hasher.finish();
        let text = text.0.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
        Ok(Self { digest, size, mode: 0, owner: String::new(), mtime: 0, link: String::new(), text })
    }
}

/// Keeps what is short.
struct Text(Option<Vec<u8>>);

impl Default for Text {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(kept) if kept.len() + bytes.len() <= MAX_TEXT => kept.extend_from_slice(bytes),
            kept => *kept = None,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is no package.
pub(super) fn whole(bytes: &[u8]) -> Members {
    let mut members = Members::default();
    // Reading memory does not fail.
    if let Ok(member) = Member::of(bytes) {
        let _ = members.add("file".to_owned(), member);
    }
    members
}

/// Where the bytes of two members part.
pub(super) fn text_difference(first: &Member, second: &Member) -> String {
    let (Some(a), Some(b)) = (&first.text, &second.text) else {
        return match first.size == second.size {
            true => "bytes".to_owned(),
            false => format!("bytes ({} → {} of them)", first.size, second.size),
        };
    };
    let line = |text: Option<&str>| match text {
        Some(text) => format!("`{}`", text.chars().take(MAX_LINE).collect::<String>()),
        None => "nothing".to_owned(),
    };
    let (mut a, mut b) = (a.lines(), b.lines());
    for number in 1.. {
        let (left, right) = (a.next(), b.next());
        if left != right {
            return format!("line {number}: {} → {}", line(left), line(right));
        }
        if left.is_none() {
            break;
        }
    }
    "ends of lines".to_owned()
}

pub(super) fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
