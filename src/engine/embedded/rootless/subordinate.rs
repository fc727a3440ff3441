use std::fs;
use std::io;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

/// How many ids a distro's images use, those of its `nobody` included: 0 to 65534 (Debian Policy 9.2.2).
const NEEDED: u32 = 65_535;

/// The ids that a user may use besides the own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// The first and the number of them.
    ranges: Vec<(u32, u32)>,
}

/// Which ids are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Users,
    Groups,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Users, Self::Groups];

    /// subuid(5), subgid(5).
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }

    /// The program that maps them.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    /// The own one.
    fn own(self) -> u32 {
        match self {
            Self::Users => rustix::process::getuid().as_raw(),
            Self::Groups => rustix::process::getgid().as_raw(),
        }
    }
}

impl Ids {
    /// Those of the user who runs this process: what getsubids(1) says, which asks whom `/etc/nsswitch.conf` names; without that program, what
    /// is in the files.
    pub(super) fn of_this_user(kind: Kind) -> io::Result<Self> {
        let user = this_user();
        let mut ask = Command::new("getsubids");
        ask.args(matches!(kind, Kind::Groups).then_some("-g")).args(user.first()).stdin(Stdio::null());
        if let Ok(told) = ask.output() {
            let told = Self::parse_told(&String::from_utf8_lossy(&told.stdout));
            if !told.ranges.is_empty() {
                return Ok(told);
            }
        }
        let text = fs::read_to_string(kind.file())?;
        Ok(Self::parse(&text, &user))
    }

    /// Lines of getsubids(1): a number, the user, the first id and how many there are.
    fn parse_told(text: &str) -> Self {
        let range = |line: &str| {
            let mut fields = line.split_once(": ")?.1.split_ascii_whitespace().skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Self { ranges: text.lines().filter_map(range).collect() }
    }

    /// The lines that begin with one of these names.
    fn parse(text: &str, names: &[String]) -> Self {
        let range = |line: &str| {
            let mut fields = line.trim().split(':');
            let is_own = names.iter().any(|name| fields.clone().next() == Some(name));
            let (first, count) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            is_own.then_some((first, count))
        };
        Self { ranges: text.lines().filter_map(range).collect() }
    }

    /// Whether there are as many as images need.
    pub(super) fn are_enough(&self) -> bool {
        let count: u64 = self.ranges.iter().map(|(_, count)| u64::from(*count)).sum();
        count >= u64::from(NEEDED)
    }

    /// The map as newuidmap(1) wants it: inside, outside, count; 0 is the user.
    pub(super) fn map(&self, kind: Kind) -> Vec<u32> {
        let mut map = vec![0, kind.own(), 1];
        let mut inside = 1_u32;
        for (first, count) in &self.ranges {
            map.extend([inside, *first, *count]);
            inside = inside.saturating_add(*count);
        }
        map
    }
}

/// The names of this user in the files: that of the list of users, if it has one, and the number.
pub(super) fn this_user() -> Vec<String> {
    let uid = Uid::current();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.into_iter().chain([uid.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_name_and_of_the_number_and_of_nobody_else() {
        let text = "ann:100000:65536\nbob:200000:10\n# note\n1001:300000:5\nanna:1:1\nann:broken\n";
        let names = ["ann".to_owned(), "1001".to_owned()];
        let ids = Ids::parse(text, &names);
        assert_eq!(ids.ranges, [(100_000, 65_536), (300_000, 5)]);
        assert!(ids.are_enough());
        assert!(!Ids::parse(text, &["bob".to_owned()]).are_enough());
        assert_eq!(ids.map(Kind::Users)[3..], [1, 100_000, 65_536, 65_537, 300_000, 5]);
    }
    #[test]
    fn what_getsubids_says_is_understood() {
        let told = Ids::parse_told("0: ann 100000 65536\n1: ann 300000 5\n");
        assert_eq!(told.ranges, [(100_000, 65_536), (300_000, 5)]);
        assert_eq!(Ids::parse_told("Error fetching ranges\n").ranges, []);
    }
}
