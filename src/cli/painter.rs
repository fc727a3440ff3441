//! Lines at the bottom of a terminal that are drawn again and again, and lines that stay above them.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::engine::WindowSize;

/// Terminals cut lines while this is so, instead of wrapping them (DECAWM, VT100 User Guide, 3.3).
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Draws lines. The cursor waits below them, at the start of a line.
pub(super) struct Painter<W> {
    out: W,
    /// How wide the lines are that are drawn now, in characters of the terminal.
    drawn: Vec<usize>,
}

impl<W: Write> Painter<W> {
    pub fn new(out: W) -> Self {
        Self { out, drawn: Vec::new() }
    }

    /// Draws `lines` in the place of those that are there, and `above` over them, to stay. Lines are cut to fit. What a terminal
    /// has wrapped since, because it became narrower, is found by its width. A terminal may be narrower before it says so: then what is
    /// drawn is cut, and takes as many rows as is thought.
    pub fn paint(&mut self, above: &[String], lines: &[String], size: WindowSize) -> io::Result<()> {
        let (columns, rows) = room(size);
        let mut text = String::new();
        let taken: usize = self.drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        if taken > 0 {
            // ECMA-48: CUU, and ED to the end of the screen.
            text.push_str(&format!("\r\x1b[{taken}A\x1b[J"));
        }
        for line in above {
            text.push_str(line);
            text.push('\n');
        }
        // The last column stays free: some terminals wrap when it is written to. So does the last row, for the cursor.
        let shown = lines.iter().take(rows.saturating_sub(1)).map(|line| fitting(line, columns - 1));
        self.drawn.clear();
        let shown: Vec<String> = shown.collect();
        if !shown.is_empty() {
            text.push_str(CUT);
        }
        for line in &shown {
            self.drawn.push(line.width());
            text.push_str(line);
            text.push('\n');
        }
        if !shown.is_empty() {
            text.push_str(WRAP);
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// Columns and rows. Some terminals have no size (rows and columns 0): those are as terminals were.
pub(super) fn room(size: WindowSize) -> (usize, usize) {
    let or = |known: u16, usual: usize| if known == 0 { usual } else { usize::from(known) };
    (or(size.columns, 80), or(size.rows, 24))
}

/// The beginning of a line that takes at most so many columns.
fn fitting(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let (mut text, mut width) = (String::new(), 0);
    for c in line.chars() {
        let wide = c.width().unwrap_or(0);
        if width + wide >= columns {
            break;
        }
        width += wide;
        text.push(c);
    }
    if columns > 0 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(columns: u16, rows: u16) -> WindowSize {
        WindowSize { rows, columns }
    }

    fn painted(painter: &mut Painter<Vec<u8>>, above: &[&str], lines: &[&str], size: WindowSize) -> String {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        painter.paint(&owned(above), &owned(lines), size).unwrap();
        String::from_utf8(std::mem::take(&mut painter.out)).unwrap()
    }

    #[test]
    fn lines_are_drawn_in_the_place_of_those_before_also_where_a_terminal_has_wrapped_them() {
        let mut painter = Painter::new(Vec::new());
        let lines = ["one", "0123456789012345678"];
        let screen = painted(&mut painter, &[], &lines, size(80, 24));
        assert_eq!(screen, "\x1b[?7lone\n0123456789012345678\n\x1b[?7h");
        // 19 characters in rows of 8 are three rows.
        let screen = painted(&mut painter, &["done"], &["two"], size(8, 24));
        assert_eq!(screen, "\r\x1b[4A\x1b[Jdone\n\x1b[?7ltwo\n\x1b[?7h");
        assert_eq!(painted(&mut painter, &[], &[], size(8, 24)), "\r\x1b[1A\x1b[J");
        assert_eq!(painted(&mut painter, &[], &[], size(8, 24)), "");
    }

    #[test]
    fn a_line_is_cut_to_fit_also_where_characters_are_wide_or_there_is_no_room_at_all() {
        assert_eq!(fitting("abcdef", 6), "abcdef");
        assert_eq!(fitting("abcdefg", 6), "abcde…");
        assert_eq!(fitting("日本語", 5), "日本…");
        assert_eq!(fitting("日本語", 0), "");
        let mut painter = Painter::new(Vec::new());
        let screen = painted(&mut painter, &[], &["a", "b", "c", "d"], size(1, 3));
        assert_eq!(screen, "\x1b[?7l\n\n\x1b[?7h");
        let screen = painted(&mut painter, &[], &["wide"], size(0, 0));
        assert_eq!(screen, "\r\x1b[2A\x1b[J\x1b[?7lwide\n\x1b[?7h");
    }
}
