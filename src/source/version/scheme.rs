//! The scheme of version tags: parsing, order and spelling. No repository is needed here.

use std::cmp::Ordering;

/// Digits. dpkg and rpm compare them as numbers of any length, so they stay text.
#[derive(Clone, Debug)]
struct Number(String);

impl Number {
    fn value(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.value(), other.value());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

/// A version that a tag names: `1.3.0-rc1+k3s1`. Its order is dpkg's and rpm's order of what [`Self::release`] gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TagVersion {
    numbers: Vec<Number>,
    /// Before `None`, so that the derived order puts pre-releases below their release.
    stage: Stage,
    meta: Option<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Pre(String, Vec<Number>),
    Final,
}

/// A run of digits or of letters in a META part, with the dots before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Digits(Number),
    Letters(String),
    Dot,
}

/// The upstream versions of one commit in both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    pub deb: String,
    pub rpm: String,
}

/// What counts as a pre-release without a hyphen before it (PEP 440's words, and Debian's custom). `true`: only with a
/// number, since `1.0.2a` is a later release to OpenSSL.
const PRE_WORDS: [(&str, bool); 9] = [
    ("a", true),
    ("alpha", false),
    ("b", true),
    ("beta", false),
    ("c", true),
    ("dev", false),
    ("pre", false),
    ("preview", false),
    ("rc", false),
];

/// What Semantic Versioning would call a pre-release, and everybody else means as a later release.
const POST_WORDS: [&str; 13] =
    ["errata", "fix", "hotfix", "p", "patch", "pl", "post", "r", "rel", "release", "rev", "sp", "update"];

impl TagVersion {
    /// Reads what follows the prefix of a tag; otherwise says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        let (text, meta) = match text.split_once('+') {
            Some((text, meta)) => (text, Some(parse_meta(meta)?)),
            None => (text.as_str(), None),
        };
        let mut rest = text;
        let mut numbers = vec![take_number(&mut rest).ok_or("it does not start with a digit")?];
        while let Some(mut after) = rest.strip_prefix(['.', '_']) {
            let Some(number) = take_number(&mut after) else { break };
            numbers.push(number);
            rest = after;
        }
        let stage = if rest.is_empty() { Stage::Final } else { parse_pre(rest)? };
        Ok(Self { numbers, stage, meta })
    }

    /// Whether it comes before its release: `1.3.0-rc1`.
    pub(super) fn is_pre_release(&self) -> bool {
        matches!(self.stage, Stage::Pre(..))
    }

    /// The spelling of the release itself.
    pub(super) fn release(&self) -> Spelling {
        let text = self.text();
        Spelling { deb: text.clone(), rpm: text }
    }

    /// The spelling of a commit that is `distance` commits after the release and whose id starts with `id`.
    pub(super) fn snapshot(&self, distance: usize, id: &str) -> Spelling {
        let mut text = self.text();
        // dpkg puts `~alpha+3` above `~alpha1`, because a `+` is above the end of a word; a 0 ends the word first.
        if text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            text.push('0');
        }
        Spelling { deb: format!("{text}+{distance}.g{id}"), rpm: format!("{text}^{distance}.g{id}") }
    }

    fn text(&self) -> String {
        let join = |numbers: &[Number]| numbers.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join(".");
        let mut text = join(&self.numbers);
        if let Stage::Pre(word, numbers) = &self.stage {
            text.push_str(&format!("~{word}{}", join(numbers)));
        }
        if let Some(meta) = &self.meta {
            text.push('+');
            for piece in meta {
                text.push_str(match piece {
                    Piece::Digits(number) => &number.0,
                    Piece::Letters(letters) => letters,
                    Piece::Dot => ".",
                });
            }
        }
        text
    }
}

/// The spelling of a commit without a release in its history, which holds `count` commits.
pub(super) fn unreleased(count: usize, id: &str) -> Spelling {
    let text = format!("0~~{count}.g{id}");
    Spelling { deb: text.clone(), rpm: text }
}

fn take<'t>(rest: &mut &'t str, wanted: impl Fn(char) -> bool) -> &'t str {
    let (taken, after) = rest.split_at(rest.find(|c| !wanted(c)).unwrap_or(rest.len()));
    *rest = after;
    taken
}

fn take_number(rest: &mut &str) -> Option<Number> {
    let digits = take(rest, |c| c.is_ascii_digit());
    (!digits.is_empty()).then(|| Number(digits.to_owned()))
}

fn parse_pre(text: &str) -> Result<Stage, &'static str> {
    let mut rest = text.trim_start_matches(['.', '_']);
    let semantic = rest.starts_with('-');
    rest = rest.trim_start_matches('-');
    let word = take(&mut rest, |c| c.is_ascii_alphabetic());
    if word.is_empty() {
        return Err("a number after `-` is earlier to some and later to others");
    }
    if POST_WORDS.contains(&word) {
        return Err("its suffix is earlier than the release to Semantic Versioning and later to people");
    }
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let mut after = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
        match take_number(&mut after) {
            Some(number) => numbers.push(number),
            None => return Err("a pre-release is one word and numbers, such as rc1 or alpha.2"),
        }
        rest = after;
    }
    match PRE_WORDS.iter().find(|(known, _)| *known == word) {
        Some((_, true)) if numbers.is_empty() => {
            Err("a letter alone does not say whether it is earlier or later")
        }
        None if !semantic => Err("its suffix is not one that marks a pre-release"),
        _ => Ok(Stage::Pre(word.to_owned(), numbers)),
    }
}

fn parse_meta(text: &str) -> Result<Vec<Piece>, &'static str> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("what follows `+` must start with a letter, or it would look like a snapshot");
    }
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let before = rest.len();
        if let Some(number) = take_number(&mut rest) {
            pieces.push(Piece::Digits(number));
        }
        let letters = take(&mut rest, |c| c.is_ascii_alphabetic());
        if !letters.is_empty() {
            pieces.push(Piece::Letters(letters.to_owned()));
        }
        if let Some(after) = rest.strip_prefix(['.', '-', '_']) {
            if !after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err("it holds an empty part");
            }
            pieces.push(Piece::Dot);
            rest = after;
        }
        if rest.len() == before {
            return Err("it holds a character that no package version can have");
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789ab";

    fn parse(text: &str) -> TagVersion {
        TagVersion::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    fn run(program: &str, package: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).output().unwrap_or_else(|error| {
            panic!("this test compares with the real `{program}`; install the package {package}: {error}")
        })
    }

    fn dpkg(a: &str, b: &str) -> Ordering {
        for (word, ordering) in [("lt", Ordering::Less), ("eq", Ordering::Equal), ("gt", Ordering::Greater)] {
            let output = run("dpkg", "dpkg", &["--compare-versions", a, word, b]);
            assert!(output.stderr.is_empty(), "dpkg complains of {a} or {b}: {output:?}");
            if output.status.success() {
                return ordering;
            }
        }
        panic!("dpkg cannot compare {a} and {b}")
    }

    fn rpm(a: &str, b: &str) -> Ordering {
        let script = format!("%{{lua:print(rpm.vercmp(\"{a}\",\"{b}\"))}}");
        let output = run("rpm", "rpm", &["--eval", &script]);
        match String::from_utf8_lossy(&output.stdout).trim() {
            "-1" => Ordering::Less,
            "0" => Ordering::Equal,
            "1" => Ordering::Greater,
            _ => panic!("rpm cannot compare {a} and {b}: {output:?}"),
        }
    }

    /// Asserts that both package managers put `low` below `high`, also with revisions and releases added.
    fn below(low: &Spelling, high: &Spelling) {
        assert_eq!(dpkg(&low.deb, &high.deb), Ordering::Less, "dpkg: {} < {}", low.deb, high.deb);
        let (low_deb, high_deb) = (format!("{}-9", low.deb), format!("{}-1", high.deb));
        assert_eq!(dpkg(&low_deb, &high_deb), Ordering::Less, "dpkg: {low_deb} < {high_deb}");
        assert_eq!(rpm(&low.rpm, &high.rpm), Ordering::Less, "rpm: {} < {}", low.rpm, high.rpm);
    }

    #[test]
    fn tags_are_spelled_as_the_table_says() {
        for (tag, release, deb, rpm) in [
            ("1.2.0", "1.2.0", "1.2.0+3.g0123456789ab", "1.2.0^3.g0123456789ab"),
            ("1.3.0-rc1", "1.3.0~rc1", "1.3.0~rc1+3.g0123456789ab", "1.3.0~rc1^3.g0123456789ab"),
            ("1.3.0rc1", "1.3.0~rc1", "1.3.0~rc1+3.g0123456789ab", "1.3.0~rc1^3.g0123456789ab"),
            ("1.3.0-RC.1", "1.3.0~rc1", "1.3.0~rc1+3.g0123456789ab", "1.3.0~rc1^3.g0123456789ab"),
            ("1.3.0_rc_1", "1.3.0~rc1", "1.3.0~rc1+3.g0123456789ab", "1.3.0~rc1^3.g0123456789ab"),
            ("1.3.0.dev4", "1.3.0~dev4", "1.3.0~dev4+3.g0123456789ab", "1.3.0~dev4^3.g0123456789ab"),
            ("1.3.0-alpha.2", "1.3.0~alpha2", "1.3.0~alpha2+3.g0123456789ab", "1.3.0~alpha2^3.g0123456789ab"),
            ("1.3.0-beta3", "1.3.0~beta3", "1.3.0~beta3+3.g0123456789ab", "1.3.0~beta3^3.g0123456789ab"),
            ("1.3.0-alpha", "1.3.0~alpha", "1.3.0~alpha0+3.g0123456789ab", "1.3.0~alpha0^3.g0123456789ab"),
            ("1.2.0+k3s1", "1.2.0+k3s1", "1.2.0+k3s1+3.g0123456789ab", "1.2.0+k3s1^3.g0123456789ab"),
            ("1.2.0_1", "1.2.0.1", "1.2.0.1+3.g0123456789ab", "1.2.0.1^3.g0123456789ab"),
            ("2024.01.05", "2024.01.05", "2024.01.05+3.g0123456789ab", "2024.01.05^3.g0123456789ab"),
        ] {
            let version = parse(tag);
            assert_eq!(version.release(), Spelling { deb: release.into(), rpm: release.into() }, "{tag}");
            assert_eq!(version.snapshot(3, ID), Spelling { deb: deb.into(), rpm: rpm.into() }, "{tag}");
        }
        assert_eq!(unreleased(7, ID).deb, "0~~7.g0123456789ab");
    }

    #[test]
    fn a_tag_whose_place_is_in_doubt_is_refused() {
        for tag in [
            "",
            "x",
            "1.2.0-1",
            "1.2.0-p1",
            "1.2.0-hotfix.1",
            "1.0.2a",
            "1.2.0p1",
            "1.2.0-rc1-hotfix",
            "1..2",
            "1.2.",
            "1.2.0-",
            "1.0.0+5",
            "1.0.0+",
            "1.0.0+a..b",
            "1.0.0+a%",
            "1.2.0:3",
            "1.2.0-rc1.x",
            "1.2 3",
            "1é",
        ] {
            assert!(
                TagVersion::parse(tag).is_err(),
                "{tag} gave {:?}",
                TagVersion::parse(tag).map(|v| v.release())
            );
        }
    }

    #[test]
    fn both_package_managers_agree_on_a_projects_life() {
        let release = |tag: &str| parse(tag).release();
        let snapshot = |tag: &str, distance| parse(tag).snapshot(distance, ID);
        let life = [
            unreleased(1, "ffffffffffff"),
            unreleased(2, ID),
            unreleased(10, ID),
            release("0-a1"),
            release("0-alpha"),
            release("0"),
            release("0.0.0-alpha"),
            release("0.0.1"),
            release("1.2.0-alpha"),
            snapshot("1.2.0-alpha", 9),
            release("1.2.0-alpha.1"),
            release("1.2.0-beta3"),
            release("1.2.0-rc1"),
            snapshot("1.2.0-rc1", 1),
            snapshot("1.2.0-rc1", 12),
            release("1.2.0-rc1.1"),
            release("1.2.0-rc2"),
            release("1.2.0-rc10"),
            release("1.2.0"),
            snapshot("1.2.0", 1),
            snapshot("1.2.0", 10),
            release("1.2.0+k3s1"),
            snapshot("1.2.0+k3s1", 100),
            release("1.2.0+k3s2"),
            release("1.2.0.1"),
            snapshot("1.2.0.1", 4),
            release("1.2.1-rc1"),
            release("1.2.1"),
            release("1.10.0"),
        ];
        for pair in life.windows(2) {
            below(&pair[0], &pair[1]);
        }
    }

    /// Tags of one project: all META parts alike, and no number left out that others have.
    fn tag() -> impl Strategy<Value = String> {
        let numbers = proptest::collection::vec(prop_oneof![0u32..4, 9u32..12, Just(2024)], 1..4);
        let pre = proptest::option::weighted(
            0.5,
            (
                prop_oneof![
                    Just("a"),
                    Just("alpha"),
                    Just("b"),
                    Just("beta"),
                    Just("dev"),
                    Just("rc"),
                    Just("pre")
                ],
                proptest::collection::vec(prop_oneof![1u32..4, 9u32..12], 0..3),
                prop_oneof![Just("-"), Just(""), Just("."), Just("_")],
                prop_oneof![Just("."), Just("-")],
            ),
        );
        let meta = proptest::option::weighted(0.2, (1u32..3, 1u32..12));
        (numbers, pre, meta).prop_map(|(numbers, pre, meta)| {
            let join = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            let mut tag = join(&numbers);
            if let Some((word, mut numbers, before, between)) = pre {
                if numbers.is_empty() && word.len() == 1 {
                    numbers.push(1);
                }
                let dot = if numbers.is_empty() { "" } else { between };
                tag += &format!("{before}{word}{dot}{}", join(&numbers));
            }
            if let Some((a, b)) = meta {
                tag += &format!("+k{a}s{b}");
            }
            tag
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_order_of_tags_is_that_of_dpkg_and_of_rpm(a in tag(), b in tag()) {
            let (a, b) = (parse(&a), parse(&b));
            prop_assert_eq!(dpkg(&a.release().deb, &b.release().deb), a.cmp(&b), "dpkg: {:?} {:?}", a, b);
            prop_assert_eq!(rpm(&a.release().rpm, &b.release().rpm), a.cmp(&b), "rpm: {:?} {:?}", a, b);
        }

        #[test]
        fn a_snapshot_is_between_its_release_and_every_later_one(
            a in tag(), b in tag(), n in 1usize..1000, more in 1usize..1000, id in "[0-9a-f]{12}", other in "[0-9a-f]{12}",
        ) {
            let (a, b) = (parse(&a), parse(&b));
            let snapshot = a.snapshot(n, &id);
            below(&a.release(), &snapshot);
            below(&snapshot, &a.snapshot(n + more, &other));
            below(&unreleased(n, &id), &a.release());
            below(&unreleased(n, &id), &unreleased(n + more, &other));
            match a.cmp(&b) {
                Ordering::Less => below(&snapshot, &b.release()),
                Ordering::Greater => below(&b.snapshot(n, &id), &a.release()),
                Ordering::Equal => {}
            }
        }
    }
}
