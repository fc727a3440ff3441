//! What pages say, and how they come into a folder.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use packhold::compare::{Contents, contents};
use packhold::run::{write_page, write_site};

use super::fixture::Fixture;
use super::packages;

fn relation<'a>(contents: &'a Contents, kind: &str) -> &'a [String] {
    contents.relations.iter().find(|(known, _)| known == kind).map_or(&[], |(_, all)| all)
}

#[test]
fn packages_of_the_distros_tools_are_taken_apart() {
    let dir = tempfile::tempdir().unwrap();
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        contents(&name, &std::fs::read(&path).unwrap()).unwrap()
    };
    let more = "Requires: libfoo >= 2, bar\nConflicts: old < 1:3\n%pre\ntrue\n%preun\ntrue";
    let rpm = read(packages::rpm(dir.path(), "agent", "1.0", "noarch", more));
    assert_eq!(relation(&rpm, "Requires"), ["/bin/sh", "/bin/sh", "bar", "libfoo >= 2"]);
    assert_eq!(relation(&rpm, "Conflicts"), ["old < 1:3"]);
    assert_eq!(relation(&rpm, "Provides"), ["agent = 1.0-1"]);
    assert_eq!(rpm.scripts, ["PREIN", "PREUN"]);
    assert!(rpm.fields.contains(&("License".to_owned(), "MIT".to_owned())), "{:?}", rpm.fields);
    let paths: Vec<&str> = rpm.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/etc/agent/a.conf", "/usr/bin/agent", "/usr/share/agent/a & b"]);

    let fields = "Depends: libfoo (>= 2),\n bar\nProvides: x\n";
    let deb = read(packages::deb(dir.path(), "agent", "1.0", "all", &["usr/bin/agent", "etc/a/b"], fields));
    assert_eq!(relation(&deb, "Depends"), ["libfoo (>= 2)", "bar"]);
    assert_eq!(relation(&deb, "Provides"), ["x"]);
    let paths: Vec<&str> = deb.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/etc/a/b", "/usr/bin/agent"]);
    assert_eq!(deb.files[0].owner, "root(0):root(0)");
}

#[test]
fn a_page_says_what_is_in_the_packages_and_what_changed() {
    let fixture = Fixture::new();
    let first = fixture.add(1, true);
    let second = fixture.add(2, true);
    let file = fixture.dir.path().join("page.html");
    write_page(&fixture.archive, &fixture.archive.run(second.id.as_str()).unwrap(), &file).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    let artifact = &second.targets[0].artifacts[0];
    let parts = [
        artifact.digest.hex(),
        "/usr/bin/agent".to_owned(),
        "postinst".to_owned(),
        // What it needs, and what it needed before.
        "<ins>+ libc6 (&gt;= 2.2)</ins>".to_owned(),
        "<del>− libc6 (&gt;= 2.1)</del>".to_owned(),
        "data.tar/usr/bin/agent".to_owned(),
        "Other packages in the deps image: 1".to_owned(),
        first.id.to_string(),
        format!("restore {} --to DIR", second.id),
        "not signed".to_owned(),
    ];
    for part in parts {
        assert!(page.contains(&part), "`{part}` is missing");
    }
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);

    let of_first = fixture.dir.path().join("first.html");
    write_page(&fixture.archive, &fixture.archive.run(first.id.as_str()).unwrap(), &of_first).unwrap();
    assert!(std::fs::read_to_string(&of_first).unwrap().contains("no earlier run of this package"));
}

#[test]
fn a_site_has_a_page_for_each_run_and_writes_none_twice() {
    let fixture = Fixture::new();
    let site = fixture.dir.path().join("site");
    for day in 1..4 {
        fixture.add(day, true);
    }
    let written = write_site(&fixture.archive, &site, 100).unwrap();
    assert_eq!((written.runs, written.pages), (3, 3));
    let fourth = fixture.add(4, true);
    let written = write_site(&fixture.archive, &site, 100).unwrap();
    assert_eq!((written.runs, written.pages), (4, 1));
    let index = std::fs::read_to_string(site.join("index.html")).unwrap();
    assert!(index.contains(&format!("href=\"runs/{}.html\"", fourth.id)));
    assert!(index.contains("Time of 4 runs") || index.contains("Size of 4 runs"), "trends");
    let page = std::fs::read_to_string(site.join(format!("runs/{}.html", fourth.id))).unwrap();
    assert!(page.contains("href=\"../index.html\""));
    let previous = page.matches(".html\"").count();
    assert_eq!(previous, 2, "the list, and the run before");

    let written = write_site(&fixture.archive, &fixture.dir.path().join("few"), 2).unwrap();
    assert_eq!((written.runs, written.pages), (2, 2));
    let index = std::fs::read_to_string(fixture.dir.path().join("few/index.html")).unwrap();
    assert!(index.contains("older ones are not listed"));
}

#[test]
fn the_command_says_where_the_page_is() {
    let fixture = Fixture::new();
    let record = fixture.add(1, true);
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
    command
        .arg("report")
        .env("PACKHOLD_ARCHIVE", fixture.archive.path())
        .env("XDG_CACHE_HOME", fixture.dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fixture.dir.path().join(format!("packhold/reports/{}.html", record.id));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), page.to_str().unwrap());
    assert!(page.exists());
}
