use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who made a commit, as git has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Printable; may be empty.
    pub name: String,
    /// Printable, without spaces and angle brackets; may be empty.
    pub email: String,
}

/// One commit that is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The full id.
    pub commit: String,
    /// The first line of its message: printable, at most 300 characters.
    pub subject: String,
    /// Who wrote it.
    pub author: Person,
    /// When, in seconds since 1970 UTC.
    pub time: i64,
}

/// What a version holds that the last release did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The tag of the last release; `None` for the first.
    pub since: Option<String>,
    /// Newest first.
    pub changes: Vec<Change>,
    /// How many older ones are not told of.
    pub left_out: usize,
    /// Who wrote the commit that is packaged.
    pub author: Person,
    /// When that was committed, in seconds since 1970 UTC.
    pub time: i64,
}
