//! What a page shows of a log: all of a short one; of a long one, for each step, how it begins, how it ends, and the lines between that
//! look like errors. A log of any size is read once, in little memory.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::model::StepRecord;
use crate::support::terminal_text::{Styled, styled};

/// A log up to this size is shown whole, bytes.
const WHOLE: u64 = 256 << 10;

/// The longest line, bytes.
const LONGEST_LINE: usize = 2000;

/// What is shown of all steps of one log together, bytes, before steps are shown with few lines.
const BUDGET: usize = 1 << 20;

/// Lines that are kept of a step.
struct Limits {
    first: u64,
    errors: usize,
    last: usize,
}

const ALL: Limits = Limits { first: u64::MAX, errors: 0, last: 0 };
const SOME: Limits = Limits { first: 60, errors: 80, last: 200 };
const FEW: Limits = Limits { first: 5, errors: 5, last: 10 };

/// Lines that say what went wrong, in the words of compilers, linkers, make, package tools and test programs.
static ERROR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = r"error|fatal|failed|failure|panicked|undefined reference|cannot |not found|no such file|denied|traceback";
    Regex::new(&format!("(?i-u)({words})")).ok()
});

/// What is shown of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// What each step printed, and what was noted between them, in the order of the log.
    pub sections: Vec<Section>,
    /// True if nothing is left out.
    pub whole: bool,
}

/// What is shown of one step's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The step, by its place in the stage's list; `None` for what was noted between steps.
    pub step: Option<usize>,
    /// The lines, with the gaps between them.
    pub parts: Vec<Part>,
}

/// Lines, or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A line.
    Line {
        /// Its number in the log, from 1.
        number: u64,
        /// What it says.
        text: Vec<Styled>,
        /// Bytes of its end that are left out.
        cut: usize,
        /// Whether it looks like an error.
        error: bool,
    },
    /// So many lines are left out.
    Gap(u64),
}

impl Excerpt {
    /// Reads a log of `size` bytes; `steps` are those of its stage.
    pub fn read(log: impl Read, size: u64, steps: &[StepRecord]) -> io::Result<Self> {
        let mut borders: Vec<(u64, Option<usize>)> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            borders.push((step.log_offset.saturating_add(step.log_bytes), None));
            borders.push((step.log_offset, Some(index)));
        }
        // Where one step ends and the next begins, the beginning comes last and counts.
        borders.sort_by_key(|(offset, step)| (*offset, *step));
        let mut reader = Lines { log: BufReader::with_capacity(64 << 10, log), at: 0, number: 1 };
        let (mut sections, mut kept) = (Vec::new(), 0);
        let mut step = None;
        let ends = borders.iter().map(|(offset, _)| *offset).chain([u64::MAX]);
        for (index, end) in ends.enumerate() {
            let limits = match (size <= WHOLE, kept < BUDGET) {
                (true, _) => ALL,
                (false, true) => SOME,
                (false, false) => FEW,
            };
            let section = reader.section(step, end, &limits, &mut kept)?;
            // A step that printed nothing is shown, too.
            if !section.parts.is_empty() || step.is_some() {
                sections.push(section);
            }
            step = borders.get(index).and_then(|border| border.1);
        }
        let gap = |part: &Part| matches!(part, Part::Gap(_) | Part::Line { cut: 1.., .. });
        let whole = !sections.iter().flat_map(|section: &Section| &section.parts).any(gap);
        Ok(Self { sections, whole })
    }
}

/// A line as it was printed, and how many bytes of its end are left out.
struct Raw {
    number: u64,
    bytes: Vec<u8>,
    cut: usize,
}

impl Raw {
    fn is_error(&self) -> bool {
        ERROR.as_ref().is_some_and(|error| error.is_match(&self.bytes))
    }

    fn shown(&self) -> Part {
        Part::Line { number: self.number, text: styled(&self.bytes), cut: self.cut, error: self.is_error() }
    }
}

struct Lines<R> {
    log: BufReader<R>,
    /// Bytes from the start.
    at: u64,
    /// Of the next line, from 1.
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The next line, or what there is of it before `end`; `None` at `end` or at the end of the log.
    fn next(&mut self, end: u64) -> io::Result<Option<Raw>> {
        let mut line = Raw { number: self.number, bytes: Vec::new(), cut: 0 };
        let begin = self.at;
        while self.at < end {
            let available = self.log.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(available.len());
            let newline = available[..most].iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(most, |at| at + 1);
            let room = LONGEST_LINE.saturating_sub(line.bytes.len());
            let text = &available[..newline.unwrap_or(taken)];
            line.bytes.extend_from_slice(&text[..text.len().min(room)]);
            line.cut += text.len().saturating_sub(room);
            self.log.consume(taken);
            self.at += taken as u64;
            if newline.is_some() {
                break;
            }
        }
        if self.at == begin {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(line))
    }

    /// Everything up to `end`, as far as it is shown.
    fn section(
        &mut self,
        step: Option<usize>,
        end: u64,
        limits: &Limits,
        kept: &mut usize,
    ) -> io::Result<Section> {
        let first_number = self.number;
        let (mut shown, mut last, mut errors) = (Vec::new(), VecDeque::new(), 0);
        while let Some(line) = self.next(end)? {
            if line.number - first_number < limits.first {
                shown.push(line);
                continue;
            }
            last.push_back(line);
            if last.len() > limits.last {
                let oldest = last.pop_front().filter(|line: &Raw| errors < limits.errors && line.is_error());
                errors += usize::from(oldest.is_some());
                shown.extend(oldest);
            }
        }
        shown.extend(last);
        let mut parts = Vec::new();
        let mut expected = first_number;
        for line in &shown {
            if line.number > expected {
                parts.push(Part::Gap(line.number - expected));
            }
            expected = line.number + 1;
            *kept += line.bytes.len();
            parts.push(line.shown());
        }
        Ok(Section { step, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(log_offset: u64, log_bytes: u64) -> StepRecord {
        StepRecord {
            title: "x".into(),
            argv: Vec::new(),
            exit: Some(0),
            duration_ms: 0,
            log_offset,
            log_bytes,
        }
    }

    fn numbers(section: &Section) -> Vec<u64> {
        let lines = section.parts.iter().filter_map(|part| match part {
            Part::Line { number, .. } => Some(*number),
            Part::Gap(_) => None,
        });
        lines.collect()
    }

    #[test]
    fn a_short_log_is_shown_whole_and_step_by_step() {
        let log = b"note\nfirst\nerror: x\nsecond\n";
        let excerpt = Excerpt::read(&log[..], 27, &[step(5, 15), step(20, 7), step(27, 0)]).unwrap();
        assert!(excerpt.whole);
        let steps: Vec<_> = excerpt.sections.iter().map(|section| (section.step, numbers(section))).collect();
        assert_eq!(
            steps,
            [(None, vec![1]), (Some(0), vec![2, 3]), (Some(1), vec![4]), (Some(2), Vec::new())]
        );
        let errors =
            excerpt.sections[1].parts.iter().filter(|part| matches!(part, Part::Line { error: true, .. }));
        assert_eq!(errors.count(), 1);
    }

    #[test]
    fn of_a_long_log_beginning_end_and_errors_are_shown() {
        let lines = 400_000_u64;
        let mut log = String::new();
        for number in 1..=lines {
            log += &if number == 1000 {
                format!("{number} fatal error\n")
            } else {
                format!("{number} compiled\n")
            };
        }
        let size = log.len() as u64;
        let excerpt = Excerpt::read(log.as_bytes(), size, &[step(0, size)]).unwrap();
        assert!(!excerpt.whole);
        let shown = numbers(&excerpt.sections[0]);
        assert_eq!((shown[0], shown[60], *shown.last().unwrap()), (1, 1000, lines));
        assert_eq!(shown.len(), 60 + 1 + 200);
        let gaps: u64 =
            excerpt.sections[0].parts.iter().map(|p| if let Part::Gap(n) = p { *n } else { 0 }).sum();
        assert_eq!(gaps + shown.len() as u64, lines, "what is left out is told");
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let endless = io::repeat(b'x').take(100 << 20);
        let excerpt = Excerpt::read(endless, 100 << 20, &[step(0, 100 << 20)]).unwrap();
        let [Part::Line { text, cut, .. }] = &excerpt.sections[0].parts[..] else { panic!("{excerpt:?}") };
        assert_eq!((text[0].text.len(), *cut), (LONGEST_LINE, (100 << 20) - LONGEST_LINE));
    }
}
