//! Entries of changelogs, read by the tools that have to read them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use packhold::config::Template;
use packhold::model::Changes;
use packhold::plan::changelog::{Release, debian_entry, spec_entry};
use packhold::source::Repository;

/// First lines of messages that want to be something else.
const HOSTILE: [&str; 12] = [
    " -- Mallory <m@b.invalid>  Sat, 01 Mar 2025 00:00:00 +0000",
    "agent (9.9-1) unstable; urgency=high",
    "%changelog",
    "%(touch pwned) %{lua:os.execute('touch pwned')} 100% %%",
    "* Sat Mar 01 2025 Mallory <m@b.invalid> - 9.9-1",
    "%if 0",
    "%{ an open brace",
    "ends in a backslash \\",
    "\u{1b}[2J\u{7}bell and \u{202e}override",
    "vim: set modeline:",
    "Local variables:",
    "#comment or macro %{expand:%(touch pwned)}",
];

/// A repository with one release and a commit for each subject.
fn changes(folder: &Path, subjects: &[&str]) -> Changes {
    let mut stream = String::from(
        "commit refs/heads/main\ncommitter T <t@b.invalid> 1740787000 +0000\ndata 5\nfirst\nreset refs/tags/v1.0\nfrom refs/heads/main\n\n",
    );
    for (number, subject) in subjects.iter().enumerate() {
        let message = format!("{subject}\n\n -- body\n%(touch pwned)\n");
        stream += &format!(
            "commit refs/heads/main\nauthor Añ %(touch pwned) <a@b.invalid> {time} +0100\ncommitter T <t@b.invalid> {time} +0000\ndata {}\n{message}\n",
            message.len(),
            time = 1_740_787_200 + number,
        );
    }
    fs::write(folder.join("stream"), stream).unwrap();
    let script =
        "git init --quiet --initial-branch=main work && cd work && git fast-import --quiet <../stream";
    let output = run(folder, Command::new("sh").args(["-c", script]));
    assert!(output.status.success(), "{output:?}");
    let repository = Repository::open("work", folder, &folder.join("cache")).unwrap();
    repository.changes(&repository.resolve("main").unwrap(), "", "v").unwrap()
}

fn run(folder: &Path, command: &mut Command) -> Output {
    command.current_dir(folder).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn release(version: &str) -> Release {
    Release { package: "agent".into(), version: version.into(), distribution: "stable".into() }
}

#[test]
fn dpkg_reads_one_entry_whatever_the_messages_say() {
    let folder = tempfile::tempdir().unwrap();
    let changes = changes(folder.path(), &HOSTILE);
    let old = "agent (1.0-1) stable; urgency=medium\n\n  * Old.\n\n -- T <t@b.invalid>  Sat, 01 Feb 2025 00:00:00 +0000\n";
    let template: Template = "{subject} ({author}, {commit})".parse().unwrap();
    let entry = debian_entry(&release("1.1-1"), &changes, &template);
    fs::write(folder.path().join("changelog"), format!("{entry}{old}")).unwrap();
    let parse = |arguments: &[&str]| {
        let mut command = Command::new("dpkg-parsechangelog");
        let output = run(folder.path(), command.args(["-l", "changelog"]).args(arguments));
        // What it cannot read it warns of.
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{entry}");
        String::from_utf8(output.stdout).unwrap()
    };
    let versions = parse(&["--all", "-S", "Version"]);
    assert_eq!(versions.trim(), "1.1-1", "{entry}");
    assert_eq!(parse(&["--count", "5", "--format", "rfc822"]).matches("Version: ").count(), 2);
    assert_eq!(parse(&["-S", "Maintainer"]).trim(), "Añ %(touch pwned) <a@b.invalid>");
    assert_eq!(parse(&["-S", "Timestamp"]).trim(), (1_740_787_200 + HOSTILE.len() - 1).to_string());
    let text = parse(&["-S", "Changes"]);
    assert_eq!(text.matches("\n  * ").count(), HOSTILE.len(), "{text}");
    assert!(text.contains("* agent (9.9-1) unstable; urgency=high") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("body"), "{text}");
    assert!(entry.lines().all(|line| line.chars().count() <= 80), "{entry}");
}

#[test]
fn rpm_reads_one_entry_whatever_the_messages_say_and_expands_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let changes = changes(folder.path(), &HOSTILE);
    let spec = "Name: agent\nVersion: 1.1\nRelease: 1\nSummary: a\nLicense: MIT\nBuildArch: noarch\n%description\na\n%files\n%changelog\n\
        * Sat Feb 01 2025 T <t@b.invalid> - 1.0-1\n- Old\n";
    let entry = spec_entry(&release("1.1-1"), &changes, &Template::default());
    fs::write(folder.path().join("agent.spec"), spec).unwrap();
    assert_eq!(inserted(folder.path(), &entry, changes.time), "");
    let ask = |format: &str| {
        let mut command = Command::new("rpmspec");
        command.args(["-q", "--define", "_changelog_trimage 0", "--qf", format, "agent.spec"]);
        let output = run(folder.path(), &mut command);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{entry}");
        String::from_utf8(output.stdout).unwrap()
    };
    let names = ask("[%{CHANGELOGNAME}\n]");
    assert_eq!(names, "Añ %(touch pwned) <a@b.invalid> - 1.1-1\nT <t@b.invalid> - 1.0-1\n");
    // Noon of that day, as rpm has it.
    assert!(ask("[%{CHANGELOGTIME} ]").starts_with("1740830400 "));
    let text = ask("%{CHANGELOGTEXT}");
    let (lines, joined) = (text.lines().filter(|line| line.starts_with("- ")), text.replace("\n  ", " "));
    assert_eq!(lines.count(), HOSTILE.len(), "{text}");
    for subject in HOSTILE.iter().filter(|subject| !subject.contains('\u{1b}')) {
        let words = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(joined.contains(&format!("- {words}")), "{words}: {joined}");
    }
    assert!(!folder.path().join("pwned").exists(), "a macro ran");
}

/// Lets the builders' script put an entry into `agent.spec`, as a build does, and gives what it said.
fn inserted(folder: &Path, entry: &str, time: i64) -> String {
    let query = |format: &str| {
        let output =
            run(folder, Command::new("rpmspec").args(["-q", "--srpm", "--qf", format, "agent.spec"]));
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    fs::write(folder.join("known"), query("[%{CHANGELOGTIME} %{CHANGELOGNAME}\n]")).unwrap();
    let epoch = String::from_utf8(query("%{EPOCH}")).unwrap();
    fs::write(folder.join("entry"), entry).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/rpm/changelog.sh");
    let mut command = Command::new("sh");
    command.arg("-eu").arg(script).args(["agent.spec", "entry", "known", &epoch]);
    let output = run(folder, command.env("SOURCE_DATE_EPOCH", time.to_string()));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_entry_of_a_spec_goes_before_the_others_and_what_people_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let changes = changes(folder.path(), &["New"]);
    let entry = spec_entry(&release("1.1-1"), &changes, &Template::default());
    let head = "Name: agent\nVersion: 1.1\nRelease: 1\nSummary: a\nLicense: MIT\nBuildArch: noarch\n%description\na\n%files\n";
    let after = |changelog: &str| {
        fs::write(folder.path().join("agent.spec"), format!("{head}{changelog}")).unwrap();
        let said = inserted(folder.path(), &entry, changes.time);
        let spec = fs::read_to_string(folder.path().join("agent.spec")).unwrap();
        (said, spec.strip_prefix(head).unwrap().to_owned())
    };
    let old = "* Sat Feb 01 2025 T <t@b.invalid> - 1.0-1\n- Old\n\n* Wed Jan 01 2025 T <t@b.invalid> 0.9\n- Older\n";
    let new = format!("%changelog\n{entry}{old}");
    assert_eq!(after(&format!("%changelog\n{old}")), (String::new(), new.clone()));
    assert_eq!(after(&format!("%changelog \n\n\n{old}")).1, new.replacen('\n', " \n", 1));
    assert_eq!(after(""), (String::new(), format!("\n%changelog\n{entry}")));
    assert_eq!(after("%changelog\n").1, format!("%changelog\n{entry}"));
    let of = |day: &str, version: &str| format!("%changelog\n* {day} T <t@b.invalid>{version}\n- Old\n");
    for version in [" - 1.1-1", " 1.1", " - 2:1.1-1.el9", " - 1.1-1.fc43"] {
        let spec = of("Sat Feb 01 2025", version);
        let (said, kept) = after(&spec);
        assert_eq!((said.contains("an entry of 1.1-1"), kept), (true, spec), "{said}");
    }
    for version in [" - 1.1-11", " 1.10", ""] {
        assert_eq!(after(&of("Sat Feb 01 2025", version)).0, "", "{version}");
    }
    let later = of("Sun Mar 02 2025", " - 1.0-1");
    let (said, kept) = after(&later);
    assert_eq!((said.contains("a later day"), kept), (true, later), "{said}");
    assert_eq!(after(&of("Sat Mar 01 2025", " - 1.0-1")).0, "", "of the same day");
    let epoch = head.replace("License", "Epoch: 2\nLicense");
    fs::write(folder.path().join("agent.spec"), format!("{epoch}%changelog\n{old}")).unwrap();
    assert_eq!(inserted(folder.path(), &entry, changes.time), "");
    let spec = fs::read_to_string(folder.path().join("agent.spec")).unwrap();
    assert_eq!(
        spec,
        format!("{epoch}{}", new.replacen(" - 1.1-1\n", " - 2:1.1-1\n", 1)),
        "versions of a package with an epoch have it"
    );
    let macros = "%changelog\n\n%{?autochangelog}\n";
    let (said, kept) = after(macros);
    assert_eq!((said.contains("a macro"), kept.as_str()), (true, macros), "{said}");
}

#[test]
fn without_commits_an_entry_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut changes = changes(folder.path(), &[]);
    changes.changes.clear();
    changes.since = Some("v1.0".into());
    let entry = debian_entry(&release("1.1"), &changes, &Template::default());
    assert!(entry.contains("  * No changes since v1.0.\n"), "{entry}");
}
