//! The JSON schemas of the files that people write, made of the types that read them.
//!
//! Draft 7, which the language servers of TOML know (taplo, and with it Even Better TOML). What a schema accepts may still be refused for
//! a name that nothing carries; what it refuses is refused.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::Builders;
use super::builder::Manifest;
use super::pipeline::RawPipeline;
use crate::model::LintLevel;

/// The JSON schema of a pipeline file.
pub fn pipeline_schema() -> Schema {
    titled::<RawPipeline>("Packhold pipeline")
}

/// The JSON schema of a builder's `builder.toml`.
pub fn builder_schema() -> Schema {
    titled::<Manifest>("Packhold builder")
}

fn titled<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema.insert("title".to_owned(), title.into());
    schema
}

/// TOML has no null: a key that is not needed is left out.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    }
}

/// A path below where it starts: relative, without `..`.
pub(super) fn inner_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))[^\x00]+$" })
}

pub(super) fn inner_paths(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": inner_path(generator) })
}

/// The name of a builder: that of a folder, which may be the user's own.
pub(super) fn builder(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": Builders::shipped().names() })
}

pub(super) fn builders(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": builder(generator) })
}

/// Names of distro packages: one word each, never an option, a path or an address.
pub(super) fn dependencies(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^(?!.*:/)[A-Za-z0-9][A-Za-z0-9+._:()/=~-]*$";
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": pattern } })
}

/// Variables: none of the contract's own.
pub(super) fn env(_: &mut SchemaGenerator) -> Schema {
    let pattern = "^(?!PACKHOLD_)(?!SOURCE_DATE_EPOCH$)[A-Za-z_][A-Za-z0-9_]*$";
    json_schema!({
        "type": "object",
        "patternProperties": { pattern: { "type": "string" } },
        "additionalProperties": false,
    })
}

pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpPeE]([iI]?[bB]?)?|[bB])?\s*$";
    json_schema!({ "type": "string", "pattern": pattern, "examples": ["512 MiB", "2 GiB"] })
}

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^\s*([0-9]+\s*[a-zA-Zµ]+\s*)+$";
    json_schema!({ "type": "string", "pattern": pattern, "examples": ["90s", "1h 30m"] })
}

pub(super) fn lint_level(_: &mut SchemaGenerator) -> Schema {
    let levels = [LintLevel::Error, LintLevel::Warning, LintLevel::Info].map(|level| level.to_string());
    let words: Vec<String> = levels.into_iter().chain(["none".to_owned()]).collect();
    json_schema!({ "type": "string", "enum": words })
}

/// Serde's `alias`, of which schemars knows nothing.
pub(super) fn object_or_path(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties")
        && let Some(object) = properties.get("object").cloned()
    {
        properties.insert("path".to_owned(), object);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;
    use crate::config::strict::Document;
    use crate::config::{Pipeline, PipelineFile};

    const EVERY_KEY: &str = include_str!("../../tests/fixtures/schemas/every-key.toml");

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// The files with one of these names below a folder.
    fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => find(&path, wanted, found),
                false if wanted(&path) => found.push(path),
                false => {}
            }
        }
    }

    /// The lines of somebody else's validator: one for each file that a schema refuses.
    fn refused(schema: &Schema, files: &[PathBuf]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        fs::write(&path, schema.as_value().to_string()).unwrap();
        let mut command = Command::new(root().join("target/validators/bin/python"));
        command.arg(root().join("tests/fixtures/validate.py")).arg("schema").arg(path).args(files);
        let output = command.output().expect("`.ci/setup.sh test` makes target/validators");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Checks that the parser and the schema refuse each of these texts.
    fn assert_refused(schema: &Schema, wrong: &[&str], parser_refuses: impl Fn(&str) -> bool) {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (number, text) in wrong.iter().enumerate() {
            assert!(parser_refuses(text), "the parser accepts: {text}");
            files.push(folder.path().join(format!("{number:02}.toml")));
            fs::write(&files[number], text).unwrap();
        }
        let said = refused(schema, &files);
        for (file, text) in files.iter().zip(wrong) {
            let name = file.to_string_lossy();
            assert!(said.iter().any(|line| line.starts_with(&*name)), "the schema accepts: {text}");
        }
    }

    fn parse(text: &str) -> Result<Pipeline, crate::config::ConfigError> {
        let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text: text.to_owned() };
        Pipeline::parse(&file, &Builders::shipped())
    }

    /// The names of all keys that a schema knows.
    fn keys(value: &Value, found: &mut BTreeSet<String>) {
        if let Some(Value::Object(properties)) = value.get("properties") {
            found.extend(properties.keys().cloned());
        }
        match value {
            Value::Object(members) => members.values().for_each(|member| keys(member, found)),
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn what_the_parser_accepts_the_schema_accepts() {
        let is_pipeline = |path: &Path| {
            let parsed = || parse(&fs::read_to_string(path).unwrap()).is_ok();
            path.extension().is_some_and(|extension| extension == "toml") && parsed()
        };
        let mut pipelines = Vec::new();
        for folder in ["pipelines", "tests/fixtures"] {
            find(&root().join(folder), &is_pipeline, &mut pipelines);
        }
        assert!(pipelines.len() > 10, "{pipelines:?}");
        assert_eq!(refused(&pipeline_schema(), &pipelines), [""; 0]);
        let mut builders = Vec::new();
        find(&root().join("builders"), &|path| path.ends_with("builder.toml"), &mut builders);
        assert!(builders.len() >= 10);
        assert_eq!(refused(&builder_schema(), &builders), [""; 0]);
    }

    #[test]
    fn every_key_of_the_schema_is_one_of_the_parser() {
        parse(EVERY_KEY).unwrap();
        let mut known = BTreeSet::new();
        keys(&pipeline_schema().to_value(), &mut known);
        assert!(known.contains("tag-prefix") && known.contains("waive"), "{known:?}");
        let words: BTreeSet<&str> =
            EVERY_KEY.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        known.retain(|key| !words.contains(key.as_str()));
        assert_eq!(known, BTreeSet::new(), "not in tests/fixtures/schemas/every-key.toml");
    }

    #[test]
    fn what_the_parser_refuses_in_a_pipeline_the_schema_refuses() {
        const START: &str = "[package]\nname = \"demo\"\n[target.\"debian-12/deb\"]\n";
        let wrong = [
            "[target.\"debian-12/deb\"]\n".to_owned(),
            "[package]\nname = \"demo\"\n".to_owned(),
            "[package]\nname = \"a b\"\n[target.\"debian-12/deb\"]\n".to_owned(),
            "[package]\nname = \"demo\"\n[target.debian]\n".to_owned(),
            "[package]\nname = \"demo\"\n[target.\"debian-12/deb/x86_64\"]\n".to_owned(),
            format!("{START}packging = \"debian\"\n"),
            format!("{START}packaging = \"a/../../b\"\n"),
            format!("{START}deps = [\"./x.deb\"]\n"),
            format!("{START}deps = [\"http://h/x.rpm\"]\n"),
            format!("{START}env = {{ SOURCE_DATE_EPOCH = \"1\" }}\n"),
            format!("{START}revision = 1\n"),
            format!("{START}[limits]\nmemory = \"lots\"\n"),
            format!("{START}[limits]\nprocesses = 1\n"),
            format!("{START}[limits]\ntime = \"soon\"\n"),
            format!("{START}[changelog]\nentries = \"some\"\n"),
            format!("{START}[changelog]\nauthor = \"me\"\n"),
            format!("{START}[verify]\nskip = [\"instal\"]\n"),
            format!("{START}[verify.lint]\nrequire = \"warnings\"\n"),
            format!("{START}[[verify.lint.waive]]\ntag = \"x\"\n"),
            format!("{START}[[verify.allow]]\nrule = \"oops\"\nreason = \"y\"\n"),
            format!("{START}[[verify.allow]]\nrule = \"set-id\"\nreason = \" \"\n"),
            format!("{START}[[verify.file]]\npath = \"etc\"\n"),
            format!("{START}[[verify.file]]\npath = \"/etc/x\"\nmode = \"rw\"\n"),
            format!("{START}[[verify.smoke]]\nexit = 0\n"),
            format!("{START}[publish.keep]\nstable = 0\n"),
        ];
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        assert_refused(&pipeline_schema(), &wrong, |text| parse(text).is_err());
    }

    #[test]
    fn what_the_parser_refuses_in_a_builder_the_schema_refuses() {
        let wrong = [
            "format = \"apk\"\n",
            "extend = \"deb\"\n",
            "[base]\ndigest = \"sha256:x\"\n",
            "[base.bootstrap]\nvariant = \"x\"\n",
        ];
        assert_refused(&builder_schema(), &wrong, |text| {
            Document { file: Path::new("builder.toml"), text }.parse::<Manifest>().is_err()
        });
    }
}
