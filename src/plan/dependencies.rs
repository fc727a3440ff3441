use crate::model::Format;
use crate::support::terminal_text::neutralise;

/// How many lines a list may have. The longest of Debian and Fedora have some hundred.
const MOST: usize = 2000;

/// Bytes that a line of an rpm list may have.
const LONGEST: usize = 1024;

/// Bytes that a list may have in all. A container's answer that is longer is not read.
pub const LONGEST_LIST: usize = 64 << 10;

/// The fields of a source paragraph that declare build dependencies (Debian Policy 7.7), in lower case.
const CONTROL_FIELDS: [&str; 6] = [
    "build-depends",
    "build-depends-arch",
    "build-depends-indep",
    "build-conflicts",
    "build-conflicts-arch",
    "build-conflicts-indep",
];

/// The build dependencies that the packaging declares, as lines of plain text: what a deps image is made of and, with what the
/// pipeline adds, all that comes from a commit into the container that makes it. Every byte is in the image's key.
///
/// Whoever wrote the packaging wrote the lines. None is an option, a path or an address to whatever installs packages, a macro
/// to rpm, or anything but one word or one quoted argument to a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies(Vec<String>);

/// A list that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadDependencies {
    /// What is wrong, naming the line.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What the packaging declares, or where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// This.
    Listed(Dependencies),
    /// What a spec file, or a template of one, asks for. Its macros are programs (rpm's manual, "Macro syntax": `%(…)`, `%{lua:…}`):
    /// it is read in a container of its own.
    SpecFile(SpecFile),
}

/// A spec file, or a template of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecFile {
    /// Its name without folders.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Dependencies {
    /// What a debian/control declares: the fields of the Build-Depends and Build-Conflicts family of its source paragraph (deb822(5)),
    /// names in lower case, each one line `NAME: VALUE` with single spaces, sorted.
    pub fn of_control(text: &str) -> Result<Self, BadDependencies> {
        let fields = control_fields(text);
        for field in &fields {
            check(field, is_control_field(field))?;
        }
        Self(fields).bounded()
    }

    /// What a builder's `buildrequires.sh` printed (builders/README.md): rpm dependencies, one a line, sorted. Lines that begin with
    /// `#` are for people.
    pub fn of_answer(text: &[u8]) -> Result<Self, BadDependencies> {
        let mut lines = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#') {
            // What is no ASCII is not among the characters that are accepted.
            let line = String::from_utf8_lossy(line).into_owned();
            check(&line, is_rpm_dependency(&line))?;
            lines.push(line);
        }
        lines.sort();
        lines.dedup();
        Self(lines).bounded()
    }

    /// The same list, kept somewhere.
    pub fn of_lines(format: Format, lines: Vec<String>) -> Result<Self, BadDependencies> {
        for line in &lines {
            let good = match format {
                Format::Deb => is_control_field(line),
                Format::Rpm => is_rpm_dependency(line),
            };
            check(line, good)?;
        }
        Self(lines).bounded()
    }

    /// deb: fields of a control file; rpm: dependencies. In the order in which they are in a key.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// The list as a file, a line each.
    pub fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    fn bounded(self) -> Result<Self, BadDependencies> {
        let bytes: usize = self.0.iter().map(|line| line.len() + 1).sum();
        if self.0.len() <= MOST && bytes <= LONGEST_LIST {
            return Ok(self);
        }
        Err(BadDependencies {
            message: format!(
                "{} build dependencies with {bytes} bytes: no more than {MOST} with {LONGEST_LIST} are taken",
                self.0.len()
            ),
            hint: "leave out what others bring along".to_owned(),
        })
    }
}

fn check(line: &str, good: bool) -> Result<(), BadDependencies> {
    if good {
        return Ok(());
    }
    // Long ones are told by their beginning.
    let shown: String = neutralise(line.as_bytes()).chars().take(100).collect();
    Err(BadDependencies {
        message: format!("`{shown}` is not a build dependency"),
        hint: "write names of packages or capabilities with versions; no options, paths of packages, addresses or macros"
            .to_owned(),
    })
}

fn control_fields(text: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let mut inside = false;
    let paragraph = text.lines().skip_while(|l| l.trim().is_empty() || l.starts_with('#'));
    for line in paragraph.take_while(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(field) = fields.last_mut().filter(|_| inside) {
                field.push(' ');
                field.push_str(line.trim());
            }
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        inside = CONTROL_FIELDS.contains(&name.as_str());
        if inside {
            let value = line.split_once(':').map_or("", |(_, value)| value).trim();
            fields.push(format!("{name}: {value}"));
        }
    }
    for field in &mut fields {
        *field = field.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",");
    }
    fields.sort();
    fields
}

/// One of the fields, whose value has the characters of Debian Policy 7.1 (names, versions, alternatives, architectures, profiles;
/// `${}` for a substitution that a tool may refuse itself).
fn is_control_field(line: &str) -> bool {
    let (name, value) = line.split_once(':').unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || " .+-:~()<>=|,[]!_${}".contains(c);
    CONTROL_FIELDS.contains(&name) && value.chars().all(good)
}

/// A dependency as `rpmspec --buildrequires` prints it: `NAME`, `NAME OPERATOR VERSION`, or a rich one, `(… if …)` (rpm's manual,
/// "Boolean dependencies"). Names begin as rpm wants it, with a letter, a digit, `_` or `/` (rpm: parseReqs.c).
fn is_rpm_dependency(line: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || " ._+-~^:/@()[]<>=,".contains(c);
    // Whatever else it is, a tool could take it for the address of a package.
    let is_plain = line.len() <= LONGEST && line.chars().all(good) && !line.contains(":/");
    if !is_plain || !balanced(line) {
        return false;
    }
    if line.starts_with('(') {
        return line.ends_with(')');
    }
    match line.split(' ').collect::<Vec<_>>()[..] {
        [name] => is_name(name),
        [name, "<" | "<=" | "=" | "==" | ">=" | ">", version] => is_name(name) && is_version(version),
        _ => false,
    }
}

fn is_name(name: &str) -> bool {
    let plain = name.split('(').next().unwrap_or_default();
    let starts = plain.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/');
    let inner = |c: char| c.is_ascii_alphanumeric() || "._+-~^/".contains(c);
    // The file of a package is none of a distro's.
    starts
        && plain.chars().all(inner)
        && !name.ends_with(".rpm")
        && !plain.split('/').any(|part| part == "..")
}

fn is_version(version: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._+-~^:".contains(c);
    version.starts_with(|c: char| c.is_ascii_alphanumeric()) && version.chars().all(good)
}

fn balanced(text: &str) -> bool {
    let mut depth = 0_i32;
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Source: a\nMaintainer: x\nBuild-Depends: debhelper-compat (= 13),\n zlib1g-dev ,\n\
                           # a comment\n pkg-config\nStandards-Version: 4.6.2\n\nPackage: a\nDepends: b\n";

    fn of_control(text: &str) -> Dependencies {
        Dependencies::of_control(text).unwrap()
    }

    #[test]
    fn the_build_dependencies_of_a_control_file_are_one_canonical_line() {
        let declared = of_control(CONTROL);
        assert_eq!(declared.lines(), ["build-depends: debhelper-compat (= 13), zlib1g-dev, pkg-config"]);
        assert_eq!(Dependencies::of_lines(Format::Deb, declared.lines().to_vec()), Ok(declared));
    }

    #[test]
    fn other_fields_do_not_change_the_dependencies() {
        let other = CONTROL.replace("Maintainer: x", "Maintainer: y").replace("Depends: b", "Depends: c");
        let other = other.replace("Build-Depends: c", "Build-Depends: b");
        assert_eq!(of_control(CONTROL), of_control(&other));
        let more = CONTROL.replace("Standards-Version:", "Build-Depends-Other: $(id)\nStandards-Version:");
        assert_eq!(of_control(CONTROL), of_control(&more));
    }

    #[test]
    fn a_new_build_dependency_changes_them() {
        let more = CONTROL.replace("pkg-config", "pkg-config, libcap-dev");
        assert_ne!(of_control(CONTROL), of_control(&more));
    }

    #[test]
    fn fields_with_architectures_and_profiles_are_taken_and_others_are_not() {
        let all = "a:any (>= 1:2.3~rc1+b-1) [linux-any !hurd-i386] <!nocheck> <!cross> | b:native, ${c}";
        assert_eq!(
            of_control(&format!("Build-Depends-Indep: {all}\n")).lines(),
            [format!("build-depends-indep: {all}")]
        );
        for value in ["a; id", "a `id`", "a\u{1b}[2J", "a\\", "/etc/x'", "b\u{e4}r", "a \"b\"", "a %(id)"] {
            let bad = Dependencies::of_control(&format!("Build-Depends: {value}\n")).unwrap_err();
            assert!(bad.message.contains("is not a build dependency"), "{value}: {bad}");
            assert!(!bad.message.contains('\u{1b}') && !bad.hint.is_empty());
        }
    }

    #[test]
    fn the_dependencies_of_rpm_are_taken_sorted_and_once() {
        let good = [
            "(python3dist(setuptools) >= 40 if python3 < 3.12)",
            "/usr/bin/getent",
            "cmake(Qt5Core)",
            "config(foo) = 1:2.3-4.el9",
            "font(:lang=en)",
            "gcc",
            "libcrypto.so.3(OPENSSL_3.0.0)(64bit)",
            "npm(@babel/core)",
            "perl(Foo::Bar) >= 1.0",
            "pkgconfig(glib-2.0)",
            "python3dist(foo[extra])",
            "zlib-devel >= 1.2~rc1^git",
        ];
        let text = format!("# for people: $(id)\n\n{}\ngcc\n", good.join("\n"));
        let declared = Dependencies::of_answer(text.as_bytes()).unwrap();
        let mut sorted = good.map(str::to_owned).to_vec();
        sorted.sort();
        assert_eq!(declared.lines(), sorted);
        assert_eq!(declared.text(), sorted.join("\n") + "\n");
        assert_eq!(Dependencies::of_lines(Format::Rpm, sorted), Ok(declared));
    }

    #[test]
    fn what_is_more_than_a_dependency_is_not_taken() {
        for line in [
            "--setopt=tsflags=nocrypto",
            "-y",
            "%(touch /x)",
            "%{lua:os.execute('id')}",
            "$(id)",
            "`id`",
            "a;id",
            "a|b",
            "a*",
            "@development",
            "https://host.invalid/x.rpm",
            "http:x",
            "file:/x",
            "(a or file:/x)",
            "./x.rpm",
            "/tmp/x.rpm",
            "/tmp/../x",
            "x.rpm",
            "a b",
            "a >=",
            "a >= -1",
            "a >= 1 b",
            "a  >= 1",
            " a",
            "a\tb",
            "a\r",
            "a\0",
            "(a",
            "(a)) b (c",
            "(a) b",
            "b\u{e4}r",
            "packhold: missing-dependency: x",
            "\u{1b}[2J",
        ] {
            let bad = Dependencies::of_answer(format!("gcc\n{line}\n").as_bytes()).unwrap_err();
            assert!(bad.message.contains("is not a build dependency"), "{line}: {bad}");
            assert!(Dependencies::of_lines(Format::Rpm, vec![line.to_owned()]).is_err(), "{line}");
        }
        assert!(Dependencies::of_answer(b"gcc\n\xff\n").is_err());
        assert!(Dependencies::of_lines(Format::Rpm, vec!["gcc\nmake".to_owned()]).is_err());
        assert!(Dependencies::of_answer("a".repeat(LONGEST + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_list_has_a_bound() {
        let many = |count: usize| (0..count).map(|n| format!("p{n}\n")).collect::<String>();
        assert!(Dependencies::of_answer(many(MOST).as_bytes()).is_ok());
        let bad = Dependencies::of_answer(many(MOST + 1).as_bytes()).unwrap_err();
        assert!(bad.message.starts_with("2001 build dependencies"), "{bad}");
        let long = format!("Build-Depends: {}\n", "a, ".repeat(LONGEST_LIST / 3));
        assert!(Dependencies::of_control(&long).is_err());
    }
}
