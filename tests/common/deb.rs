//! Debian packages made quickly, without a tool (deb(5)).

/// An ar archive.
pub fn ar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len());
        ar.extend(header.into_bytes());
        ar.extend(*bytes);
        ar.extend(vec![b'\n'; bytes.len() % 2]);
    }
    ar
}

/// A tar of these files and their contents, all of them for root and of 1970.
pub fn tar_of<N: AsRef<str>, C: AsRef<str>>(files: &[(N, C)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let content = content.as_ref().as_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name.as_ref(), content).unwrap();
    }
    tar.into_inner().unwrap()
}
