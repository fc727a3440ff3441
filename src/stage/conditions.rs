use std::collections::BTreeMap;
use std::sync::Arc;

use super::environment::BUILD_USER;
use super::kit::Kit;
use crate::model::Condition;
use crate::plan::Setting;

/// How far the varied clock is ahead, seconds: a year and a month, and half a day, so that the time of day differs too.
const AHEAD: i64 = 400 * 86_400 + 11 * 3600 + 13 * 60 + 7;

/// The user that no build but a varied one has.
const SECOND_USER: u64 = 23_456;
const SECOND_HOME: &str = "/home/second";

/// Where a build lies, and where a varied one does: longer, deeper and elsewhere.
const ROOT: &str = "/build";
const OTHER_ROOT: &str = "/srv/packhold/second/build";

/// The surroundings of a build. The default are those under which every package is built: fixed, so that the same commit gives the
/// same bytes. Others serve to find out whether a package depends on them.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    setting: Setting,
    /// Where a stopped clock stands, seconds since 1970 UTC.
    stopped_at: i64,
    kit: Option<Arc<Kit>>,
}

impl Conditions {
    /// The conditions of `setting`. What it varies has to be in `kit`, if it needs one ([`Kit::lacks`]).
    pub fn varied(setting: Setting, stopped_at: i64, kit: Option<Arc<Kit>>) -> Self {
        Self { setting, stopped_at, kit }
    }

    /// In words, if they are not the usual ones.
    pub fn title(&self, what: &str) -> String {
        let mut others: Vec<String> =
            self.setting.varied.iter().map(|condition| condition.word().to_owned()).collect();
        if self.setting.stopped {
            others.push("stopped clock".to_owned());
        }
        match others.is_empty() {
            true => what.to_owned(),
            false => format!("{what} (other {})", others.join(", ")),
        }
    }

    fn has(&self, condition: Condition) -> bool {
        self.setting.varied.contains(&condition)
    }

    pub(super) fn root(&self) -> &'static str {
        if self.has(Condition::BuildPath) { OTHER_ROOT } else { ROOT }
    }

    /// A folder of the contract.
    pub(super) fn folder(&self, name: &str) -> String {
        format!("{}/{name}", self.root())
    }

    pub(super) fn home(&self) -> &'static str {
        if self.has(Condition::User) { SECOND_HOME } else { ROOT }
    }

    /// Number of the user and of the group.
    pub(super) fn owner(&self) -> u64 {
        if self.has(Condition::User) { SECOND_USER } else { BUILD_USER }
    }

    /// The other user, who has to be made first.
    pub(super) fn new_user(&self) -> Option<(String, &'static str)> {
        self.has(Condition::User).then(|| (SECOND_USER.to_string(), SECOND_HOME))
    }

    /// Folders that an image does not have, or has for another owner.
    pub(super) fn own_folders(&self) -> Vec<&'static str> {
        let mut folders = Vec::new();
        if self.has(Condition::BuildPath) || self.has(Condition::User) {
            folders.push(self.root());
        }
        if self.has(Condition::User) {
            folders.push(SECOND_HOME);
        }
        folders
    }

    pub(super) fn host_name(&self) -> Option<&'static str> {
        self.has(Condition::HostName).then_some("elsewhere")
    }

    /// Number of parallel jobs, of those that a build may start. Where that is one, two are another number.
    pub(super) fn jobs(&self, usual: usize) -> usize {
        match (self.has(Condition::Cores), usual) {
            (false, usual) => usual,
            (true, 1) => 2,
            (true, _) => 1,
        }
    }

    /// What has to be in the container beside the builder's scripts.
    pub(super) fn kit(&self) -> Option<&Arc<Kit>> {
        let needed = self.setting.stopped || Kit::GIVES.iter().any(|condition| self.has(*condition));
        self.kit.as_ref().filter(|_| needed)
    }

    /// The variables that are not the usual ones, for the command itself and for `vary.sh`.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
        set("PACKHOLD_UMASK", if self.has(Condition::Umask) { "002" } else { "022" });
        if self.has(Condition::TimeZone) {
            // POSIX: it needs no database, and lies beyond any that people live in.
            set("TZ", "VAR-14:45");
        }
        if self.has(Condition::Environment) {
            set("UNRELATED_VARIABLE", "it means nothing to any build");
        }
        if let Some(name) = self.host_name() {
            set("HOSTNAME", name);
        }
        if self.has(Condition::FileOrder) {
            set("PACKHOLD_VARY_ORDER", "reversed");
        }
        if self.has(Condition::Locale) {
            set("PACKHOLD_VARY_LOCALE", "other");
        }
        if self.has(Condition::Cores) {
            set("PACKHOLD_VARY_CORE", "one");
        }
        if self.setting.stopped {
            set("PACKHOLD_VARY_CLOCK", &self.stopped_at.to_string());
        } else if self.has(Condition::Time) {
            set("PACKHOLD_VARY_CLOCK", &format!("+{AHEAD}"));
        }
        env
    }

    /// A command as it is called under these conditions. Under the usual ones it is the command itself, so that nothing of what
    /// varies them is in its way.
    pub(super) fn command(&self, argv: Vec<String>) -> Vec<String> {
        if self.setting == Setting::default() {
            return argv;
        }
        let run = ["/bin/sh", "-eu", "/packhold/vary.sh", "run"].map(str::to_owned);
        run.into_iter().chain(argv).collect()
    }
}

impl Kit {
    /// The conditions that need something in the container.
    pub const GIVES: [Condition; 3] = [Condition::Time, Condition::Locale, Condition::FileOrder];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_changes_what_a_build_sees_and_the_default_nothing() {
        let seen = |conditions: &Conditions| {
            let words = (conditions.variables(), conditions.root(), conditions.home());
            (words, conditions.owner(), conditions.jobs(4), conditions.host_name())
        };
        let usual = Conditions::default();
        assert_eq!(usual.command(vec!["make".to_owned()]), ["make"]);
        assert_eq!(usual.root(), "/build");
        for condition in Condition::ALL {
            let setting = Setting { varied: [*condition].into(), stopped: false };
            let varied = Conditions::varied(setting, 0, None);
            assert_ne!(seen(&varied), seen(&usual), "{condition}");
            assert!(varied.title("build").contains(condition.word()));
        }
        let setting = Setting { varied: [Condition::Cores].into(), stopped: false };
        assert_eq!(Conditions::varied(setting, 0, None).jobs(1), 2);
    }
}
