use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use crate::archive::Archive;
use crate::model::RunRecord;
use crate::report::{self, Tails};
use crate::run::{write_page, write_text};

/// What a run is told as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Junit,
    Sarif,
    CodeQuality,
    Markdown,
}

impl Form {
    const ALL: [(&'static str, Self); 5] = [
        ("html", Self::Html),
        ("junit", Self::Junit),
        ("sarif", Self::Sarif),
        ("code-quality", Self::CodeQuality),
        ("markdown", Self::Markdown),
    ];
}

/// A report that is asked for: `junit=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportFile {
    pub form: Form,
    pub file: PathBuf,
}

impl ReportFile {
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = Form::ALL.map(|(word, _)| word).join(", ");
        let (word, file) = text.split_once('=').filter(|(_, file)| !file.is_empty()).ok_or_else(|| {
            format!("write it as FORM=FILE, such as junit=report.xml; the forms are {words}")
        })?;
        let form = Form::ALL.iter().find(|(known, _)| *known == word);
        let (_, form) = form.ok_or_else(|| format!("`{word}` is no form of a report; there are {words}"))?;
        Ok(Self { form: *form, file: file.into() })
    }
}

#[derive(Args, Debug, Default)]
pub(super) struct ReportFiles {
    /// Write a report of the run: html, junit, sarif, code-quality or markdown (may be given several times)
    #[arg(long = "report", value_name = "FORM=FILE", value_parser = ReportFile::parse)]
    pub reports: Vec<ReportFile>,
}

/// What reports are drawn from.
pub(super) struct Views<'a> {
    pub record: &'a RunRecord,
    /// The last lines of logs of failed stages.
    pub tails: &'a Tails,
    /// The pipeline file's path in the repository.
    pub pipeline: String,
}

impl Views<'_> {
    /// The text of a report; `None` of one that needs the archive.
    pub fn text(&self, form: Form) -> Option<String> {
        Some(match form {
            Form::Html => return None,
            Form::Junit => report::junit(self.record, self.tails),
            Form::Sarif => report::sarif(self.record, &self.pipeline),
            Form::CodeQuality => report::code_quality(self.record, &self.pipeline),
            Form::Markdown => report::markdown(self.record),
        })
    }
}

/// Writes reports of a run that is in the archive.
pub(super) fn write(views: &Views<'_>, archive: &Archive, files: &[ReportFile]) -> Result<(), CliError> {
    for ReportFile { form, file } in files {
        match views.text(*form) {
            Some(text) => write_text(file, &text)?,
            None => write_page(archive, &archive.run(views.record.id.as_str())?, file)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_named_by_its_form_and_its_file() {
        let junit = ReportFile { form: Form::Junit, file: "a=b.xml".into() };
        assert_eq!(ReportFile::parse("junit=a=b.xml"), Ok(junit));
        assert!(ReportFile::parse("junit").unwrap_err().contains("FORM=FILE"));
        assert!(ReportFile::parse("xml=a").unwrap_err().contains("sarif"));
    }
}
