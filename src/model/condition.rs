use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! conditions {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $phrase:literal;)*) => {
        /// Something about the surroundings of a build that no package should depend on. The words are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Condition {
            $($(#[$meta])* #[serde(rename = $word)] $variant,)*
        }

        impl Condition {
            /// All of them, the ones that packages depend on most often first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for Condition {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $phrase,)* })
            }
        }
    };
}

conditions! {
    /// Where the source tree lies.
    BuildPath = "build-path", "the build path";
    /// The date and the time of day, as the C library tells them.
    Time = "time", "the time";
    /// LANG, LC_ALL and LANGUAGE.
    Locale = "locale", "the locale";
    /// The order in which the file system lists a folder.
    FileOrder = "file-order", "the order of files in folders";
    /// How many cores there are, and how many jobs a build may start.
    Cores = "cores", "the number of cores";
    /// Name and number of user and group, and the home folder.
    User = "user", "the user";
    /// The permissions that new files do not get.
    Umask = "umask", "the umask";
    /// TZ.
    TimeZone = "time-zone", "the time zone";
    /// A variable that means nothing.
    Environment = "environment", "the environment";
    /// The machine's name.
    HostName = "host-name", "the host name";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_written_as_their_words() {
        for condition in Condition::ALL {
            assert_eq!(serde_json::to_value(condition).unwrap(), condition.word());
        }
    }
}
