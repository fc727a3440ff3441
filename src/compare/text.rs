use std::fmt::Write;

use super::Comparison;
use crate::model::Digest;

/// A line for a file of a replay, and more lines for what differs.
pub fn line(
    name: &str,
    archived: Option<Digest>,
    built: Option<Digest>,
    comparison: Option<&Comparison>,
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match (comparison, archived, built) {
        (Some(Comparison::Identical), Some(digest), _) => writeln!(text, "  identical  {name}  {digest}"),
        (Some(Comparison::SignatureDiffers), ..) => {
            writeln!(text, "  identical  {name}  but for its signature")
        }
        (Some(Comparison::Differs { differences, more, causes }), ..) => {
            let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
            let cause = match causes.is_empty() {
                true => String::new(),
                false => format!("  only in {}", causes.join(", ")),
            };
            let _ = writeln!(text, "  differs    {name}{cause}");
            for difference in differences {
                let _ = writeln!(text, "    {}: {}", difference.member, difference.what);
            }
            match more {
                0 => Ok(()),
                more => writeln!(text, "    and {more} more"),
            }
        }
        (_, Some(_), None) => writeln!(text, "  not built  {name}"),
        _ => writeln!(text, "  new        {name}  is not in the archive"),
    };
    text
}
