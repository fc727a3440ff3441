use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::{Builders, ConfigError, Pipeline, PipelineFile};
use crate::support::Hint;

const AGENT: &str = include_str!("../../../tests/fixtures/declared-agent/packhold.toml");
const LICENSE: &[u8] =
    b"MIT License\n\nCopyright (c) 2025 The hostpulse authors\n\nPermission is hereby granted\n.dots\n";

fn parse(text: &str) -> Result<Pipeline, ConfigError> {
    let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text: text.to_owned() };
    Pipeline::parse(&file, &Builders::shipped())
}

/// A description with this in its [package], for one target of each format.
fn described(lines: &str, tables: &str) -> String {
    format!(
        "[package]\nname = \"demo\"\nsummary = \"a demo\"\ndescription = \"It shows.\"\nlicense = \"MIT\"\n\
         maintainer = \"A B <a@b.invalid>\"\n{lines}\n{tables}\n[target.\"debian-12/deb\"]\n[target.\"debian-rpm/rpm\"]\n"
    )
}

fn commit() -> BTreeMap<String, Vec<u8>> {
    [
        ("LICENSE", LICENSE),
        ("scripts/postinst.sh", b"#!/bin/sh\nexit 0\n"),
        ("post.sh", b"#!/bin/bash\necho post\nexit 0\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_vec()))
    .into()
}

fn made(text: &str) -> BTreeMap<String, String> {
    let package = parse(text).unwrap().package.unwrap();
    let files = generate(&package, &commit()).unwrap();
    files.into_iter().map(|file| (file.path, String::from_utf8(file.content).unwrap())).collect()
}

fn error_of(text: &str) -> String {
    let error = parse(text).expect_err(text);
    assert!(!error.hint().is_empty());
    error.to_string()
}

#[test]
fn both_packagings_are_made_of_one_description() {
    let files = made(AGENT);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let wanted = [
        "debian/build.sh",
        "debian/check.sh",
        "debian/control",
        "debian/copyright",
        "debian/docs",
        "debian/hostpulse.postinst",
        "debian/hostpulse.postrm",
        "debian/rules",
        "debian/source/format",
        "debian/sysusers.conf",
        "rpm/build.sh",
        "rpm/check.sh",
        "rpm/hostpulse.spec",
        "rpm/sysusers.conf",
    ];
    assert_eq!(names, wanted);
    for line in [
        "\tinstall -D -p -m 0755 -- build/hostpulse debian/hostpulse/usr/bin/hostpulse\n",
        "\tinstall -D -p -m 0644 -t debian/hostpulse/usr/share/man/man5 -- man/*.5\n",
        "\tln -s -- hostpulse debian/hostpulse/usr/bin/hp\n",
        "\tchmod 0640 -- debian/hostpulse/etc/hostpulse/hostpulse.conf\n",
        "\tdh_installsystemd --name=hostpulse hostpulse.service\n",
    ] {
        assert!(files["debian/rules"].contains(line), "{line}{}", files["debian/rules"]);
    }
    for line in [
        "BuildRequires:  zlib-devel\n",
        "%dir /etc/hostpulse\n",
        "%dir /usr/share/hostpulse\n",
        "%dir %attr(0750,hostpulse,hostpulse) /var/log/hostpulse\n",
        "%config(noreplace) %attr(0640,root,hostpulse) /etc/hostpulse/hostpulse.conf\n",
        "%attr(0644,root,root) /usr/share/man/man8/hostpulse.8*\n",
        "%post -f scripts/postinst.sh\n",
    ] {
        assert!(files["rpm/hostpulse.spec"].contains(line), "{line}{}", files["rpm/hostpulse.spec"]);
    }
    let copyright = &files["debian/copyright"];
    assert!(
        copyright.contains("Copyright:\n 2025 The hostpulse authors\nLicense: Expat\n MIT License\n .\n"),
        "{copyright}"
    );
    // A line that begins with a full stop would be another thing than text.
    assert!(copyright.ends_with("\n  .dots\n"), "{copyright}");
    assert!(files["debian/hostpulse.postrm"].contains("remove_empty /etc/hostpulse\n"));
}

#[test]
fn what_a_format_or_a_builder_says_stands_in_the_place_of_what_all_have() {
    let text = described(
        "depends = [\"curl >= 7\"]",
        "[package.rpm]\nbuild-depends = [\"pkgconfig(zlib)\"]\n[package.deb]\nbuild-depends = [\"zlib1g-dev | libz-dev\"]\n\
         [package.builder.debian-12]\ndepends = []\n",
    );
    let files = made(&text);
    let control = &files["packhold/debian-12/debian/control"];
    assert!(control.contains("Depends: ${misc:Depends},\n ${shlibs:Depends}\n"), "{control}");
    assert!(
        control.contains("Build-Depends: debhelper-compat (= 13),\n zlib1g-dev | libz-dev\n"),
        "{control}"
    );
    let spec = &files["rpm/demo.spec"];
    assert!(
        spec.contains("Requires:       curl >= 7\n") && spec.contains("BuildRequires:  pkgconfig(zlib)\n"),
        "{spec}"
    );
    let pipeline = parse(&text).unwrap();
    let places: Vec<&str> = pipeline.targets.iter().map(|target| target.packaging.as_str()).collect();
    assert_eq!(places, ["packhold/debian-12/debian", "rpm/demo.spec"]);
}

#[test]
fn the_packaging_does_not_depend_on_which_targets_are_built() {
    let mut pipeline = parse(AGENT).unwrap();
    let all = generate(pipeline.package.as_ref().unwrap(), &commit()).unwrap();
    pipeline.select(&["debian-rpm/rpm".parse().unwrap()]).unwrap();
    assert_eq!(generate(pipeline.package.as_ref().unwrap(), &commit()).unwrap(), all);
}

#[test]
fn scripts_of_the_commit_run_in_their_shell_and_may_leave_early() {
    let files = made(&described("", "[package.scripts]\npostinst = \"post.sh\"\nprerm = \"post.sh\"\n"));
    let wrapped = "(\necho post\nexit 0\n)";
    let postinst = &files["debian/demo.postinst"];
    assert!(
        postinst.starts_with("#!/bin/bash\n") && postinst.ends_with(&format!("{wrapped}\n\n#DEBHELPER#\n")),
        "{postinst}"
    );
    let prerm = &files["debian/demo.prerm"];
    assert!(prerm.ends_with(&format!("#DEBHELPER#\n\n{wrapped}\n")), "{prerm}");
    assert!(files["rpm/demo.spec"].contains("\n%preun -p /bin/bash -f post.sh\n"));
    for (script, told) in [
        (&b"#!/usr/bin/python3\n"[..], "is no shell script"),
        (b"#!/bin/sh\n#DEBHELPER#\n", "debhelper's token"),
        (b"#!/bin/sh\r\n", "carriage returns"),
        (b"\xff", "is no text"),
    ] {
        let package =
            parse(&described("", "[package.scripts]\npostinst = \"post.sh\"\n")).unwrap().package.unwrap();
        let mut files = commit();
        files.insert("post.sh".to_owned(), script.to_vec());
        let error = generate(&package, &files).unwrap_err();
        assert!(error.message.starts_with("`post.sh` ") && error.message.contains(told), "{error}");
        files.remove("post.sh");
        assert!(generate(&package, &files).unwrap_err().message.contains("the commit has no `post.sh`"));
    }
}

#[test]
fn a_licence_that_debian_has_is_named_and_not_copied() {
    let text = described("", "").replace("\"MIT\"", "\"MIT OR Apache-2.0\"");
    let package = parse(&text).unwrap().package.unwrap();
    let mut files = commit();
    files.insert(
        "LICENSE-APACHE".to_owned(),
        b"                 Apache License\n        Version 2.0\n".to_vec(),
    );
    let made = generate(&package, &files).unwrap();
    let text = |path: &str| {
        String::from_utf8(made.iter().find(|f| f.path == path).unwrap().content.clone()).unwrap()
    };
    let copyright = text("debian/copyright");
    assert!(copyright.contains("License: Expat or Apache-2.0\n"), "{copyright}");
    assert!(
        copyright.contains(" /usr/share/common-licenses/Apache-2.0.\n") && !copyright.contains("Version 2.0"),
        "{copyright}"
    );
    assert!(text("rpm/demo.spec").contains("%license LICENSE\n%license LICENSE-APACHE\n"));
    let error = generate(&package, &BTreeMap::new()).unwrap_err();
    assert!(error.message.contains("no file with the text of the licence"), "{error}");
}

#[test]
fn what_cannot_be_packaged_is_told_with_its_line() {
    let file = |lines: &str| described("", &format!("[[package.files]]\nsource = \"a\"\n{lines}\n"));
    for (text, told) in [
        (
            "[package]\nname = \"demo\"\nsummary = \"x\"\n[target.\"debian-12/deb\"]\n".to_owned(),
            "p.toml:2:8: [package] describes a package and does not say its `description`",
        ),
        (
            described("", "").replace("\"demo\"", "\"Demo\""),
            "p.toml:2:8: packaging cannot be made for the name `Demo`",
        ),
        (
            described("", "").replace("\"a demo\"", "\"a demo\\nEvil: x\""),
            "p.toml:3:11: `a demo Evil: x` is no line of text",
        ),
        (described("", "").replace("\"a demo\"", "\"a demo.\""), "p.toml:3:11: the summary ends"),
        (
            described("", "").replace("It shows.", "%files"),
            "p.toml:4:15: a line of the description begins with a percent",
        ),
        (described("", "").replace("\"MIT\"", "\"%(id)\""), "p.toml:5:11: `%(id)` is no SPDX"),
        (described("", "").replace("A B <", "A, B <"), "p.toml:6:14: "),
        (described("homepage = \"javascript:x\"", ""), "p.toml:7:12: "),
        (described("section = \"adm\"", ""), "p.toml:7:11: `adm` is not a section"),
        (described("depends = [\"a$(id)\"]", ""), "p.toml:7:12: `a$(id)` is not a relation of deb packages"),
        (
            described("depends = [\"libfoo.so()(64bit)\"]", ""),
            "p.toml:7:12: `libfoo.so()(64bit)` is not a relation of deb",
        ),
        (described("build = []", ""), "p.toml:7:9: there is no command"),
        (described("build = [\"a\\u0007\"]", ""), "p.toml:7:9: a command has a control character"),
        (described("buidl = \"make\"", ""), "p.toml:7:1: unknown key `buidl`"),
        (file("to = \"usr/bin/a\""), "p.toml:10:6: `usr/bin/a` is no place"),
        (file("to = \"/usr/local/bin/a\""), "p.toml:10:6: `/usr/local/bin/a` is no place"),
        (file("to = \"/bin/a\""), "p.toml:10:6: `/bin/a` is no place"),
        (file("to = \"/usr/../etc/a\""), "p.toml:10:6: "),
        (file("to = \"/usr/share/$(id)\""), "p.toml:10:6: "),
        (file("to = \"/usr/share/%{nil}a\""), "p.toml:10:6: "),
        (file("to = \"/usr/share/a b\""), "p.toml:10:6: "),
        (file("to = \"/usr/bin/\"\nmode = \"755x\""), "p.toml:11:8: `755x` is not a mode"),
        (file("to = \"/usr/bin/\"\nowner = \"nobody\""), "p.toml:11:9: `nobody` is no owner"),
        (file("to = \"/etc/a\"\nconfig = false"), "p.toml:11:10: what is below /etc"),
        (
            file("to = \"/usr/bin/\"\n[[package.files]]\nsource = \"b/a\"\nto = \"/usr/bin/a\""),
            "p.toml:13:6: `/usr/bin/a` is installed twice",
        ),
        (
            described("", "[[package.files]]\nsource = \"../a\"\nto = \"/usr/bin/\"\n"),
            "p.toml:9:10: `../a` is not a path",
        ),
        (described("", "[[package.files]]\nsource = \"-t/etc\"\nto = \"/usr/bin/\"\n"), "p.toml:9:10: "),
        (
            described("", "[[package.files]]\nsource = \"*\"\nto = \"/usr/bin\"\n"),
            "p.toml:10:6: several files",
        ),
        (
            described("", "[[package.directories]]\npath = \"/usr/lib\"\npurge = true\n"),
            "p.toml:9:8: a purge must not",
        ),
        (
            described("", "[[package.symlinks]]\npath = \"/usr/bin/a\"\ntarget = \"../../../x\"\n"),
            "p.toml:10:10: ",
        ),
        (
            described("", "[[package.units]]\nsource = \"a.sh\"\n"),
            "p.toml:9:10: `a.sh` is not the name of a unit",
        ),
        (
            described("", "[[package.users]]\nname = \"Root\"\ndescription = \"x\"\n"),
            "p.toml:9:8: `Root` cannot be",
        ),
        (
            described("", "[[package.users]]\nname = \"a\"\ndescription = \"x:y\"\n"),
            "p.toml:10:15: `x:y` cannot be",
        ),
        (
            described("", "[package.builder.rocky-9]\ndepends = []\n"),
            "p.toml:8:18: no target is made of [package] on builder `rocky-9`",
        ),
    ] {
        let error = error_of(&text);
        assert!(error.starts_with(told), "{error}\nand not {told}\n{text}");
    }
}

/// The fields of the paragraphs of a control file.
fn fields(control: &str) -> Vec<Vec<&str>> {
    let control = control.strip_prefix(MADE).unwrap().trim_start();
    control.split("\n\n").map(names).collect()
}

fn names(paragraph: &str) -> Vec<&str> {
    let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '#']));
    lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("{line}")).0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever a pull request writes into texts, it is refused, or is text: no field, no section, no macro, no command.
    #[test]
    fn texts_stay_texts(
        hostile in "[a-zA-Z%:{}()$`'\"\\\\ \n.#<]{1,30}[\n\t\u{202e}\u{85}]?[a-z%]{0,2}",
        place in 0..3,
    ) {
        let at = |wanted: i32, else_: &str| if wanted == place { hostile.clone() } else { else_.to_owned() };
        let (summary, description, name) = (at(0, "a demo"), at(1, "It shows."), at(2, "A B"));
        let toml = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let text = format!(
            "[package]\nname = \"demo\"\nsummary = {}\ndescription = {}\nlicense = \"MIT\"\nmaintainer = {}\n\
             [target.\"debian-12/deb\"]\n[target.\"debian-rpm/rpm\"]\n",
            toml(&summary), toml(&description), toml(&format!("{name} <a@b.invalid>")),
        );
        let Ok(pipeline) = parse(&text) else { return Ok(()) };
        let files = generate(&pipeline.package.unwrap(), &commit()).unwrap();
        let of = |path: &str| String::from_utf8(files.iter().find(|f| f.path == path).unwrap().content.clone()).unwrap();
        let control = of("debian/control");
        let source: &[&str] = &["Source", "Section", "Priority", "Maintainer", "Build-Depends", "Standards-Version", "Rules-Requires-Root"];
        let binary: &[&str] = &["Package", "Architecture", "Pre-Depends", "Depends", "Description"];
        prop_assert_eq!(fields(&control), [source, binary]);
        let description = control.split_once("\nDescription: ").unwrap().1;
        prop_assert!(!description.replace("${}", "").contains('$'), "{}", description);
        let spec = of("rpm/demo.spec");
        let (head, rest) = spec.split_once("\n%description\n").unwrap();
        let tags: Vec<&str> = head.lines().skip(3).map(|line| line.split(':').next().unwrap()).collect();
        prop_assert_eq!(tags, ["Name", "Version", "Release", "Summary", "License", "Source0"]);
        let summary = head.lines().find(|line| line.starts_with("Summary:")).unwrap();
        let told = rest.split("\n%prep\n").next().unwrap();
        for text in [summary, told] {
            prop_assert!(!text.replace("%%", "").contains('%'), "{}", text);
        }
        prop_assert!(told.lines().all(|line| !line.trim_start().starts_with('%')), "{}", told);
    }
}
