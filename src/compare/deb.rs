//! Debian binary packages (deb(5)): an ar archive with `debian-binary`, `control.tar` and `data.tar`, and signatures in members
//! whose names begin with `_gpg` (debsigs(1p)).

use std::io::{self, Read};

use super::members::{Member, Members, bad};
use crate::support::decompress::{self, Packing};
use crate::support::tar_reader::TarReader;

pub(super) fn members(bytes: &[u8]) -> io::Result<Members> {
    let mut members = Members::default();
    let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or_else(|| bad("it is no ar archive"))?;
    while !rest.is_empty() {
        let header = rest.get(..60).ok_or_else(|| bad("it ends in the header of a member"))?;
        let field = |from: usize, to: usize| String::from_utf8_lossy(&header[from..to]).trim_end().to_owned();
        let size: usize = field(48, 58).parse().map_err(|_| bad("the size of a member is no number"))?;
        let name = field(0, 16).trim_end_matches('/').to_owned();
        let content =
            rest.get(60..).and_then(|rest| rest.get(..size)).ok_or_else(|| bad("it ends in a member"))?;
        member(&mut members, &name, content)?;
        rest = rest.get(60 + size + size % 2..).unwrap_or_default();
    }
    Ok(members)
}

fn member(members: &mut Members, name: &str, content: &[u8]) -> io::Result<()> {
    let inner = ["control.tar", "data.tar"].into_iter().find(|tar| name.starts_with(tar));
    match inner {
        Some(tar) => tar_members(members, tar, content),
        None if name.starts_with("_gpg") => {
            members.signatures.insert(name.to_owned(), Member::of(content)?.digest);
            Ok(())
        }
        None => members.add(name.to_owned(), Member::of(content)?),
    }
}

fn tar_members(members: &mut Members, tar: &str, content: &[u8]) -> io::Result<()> {
    let (start, packed) = decompress::peek(content, 6)?;
    let unpacked = decompress::unpack(packed, Packing::of(&start))?;
    let mut reader = TarReader::new(unpacked);
    while let Some(entry) = reader.next_raw().map_err(|error| bad(&error.to_string()))? {
        if entry.sparse {
            return Err(bad("it holds a sparse file"));
        }
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let name = format!("{tar}/{}", path.trim_start_matches("./").trim_end_matches('/'));
        let header = &entry.header;
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (user, group) = (text(header.username_bytes()), text(header.groupname_bytes()));
        let owner = format!("{user}({}):{group}({})", header.uid()?, header.gid()?);
        let (mode, mtime) = (header.mode()?, header.mtime()?);
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let member = Member::of(reader.by_ref())?;
        members.add(name, Member { mode, owner, mtime, link, ..member })?;
    }
    Ok(())
}
