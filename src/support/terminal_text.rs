//! Text that came out of a container, made safe to show.

/// How a terminal would show a text (ECMA-48, 8.3.117, SGR). Colours are those of a terminal's sixteen: 0–7, and 8–15 for the
/// bright ones. Others are not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The colour of the letters.
    pub foreground: Option<u8>,
    /// The colour behind them.
    pub background: Option<u8>,
    /// Bold.
    pub bold: bool,
    /// Faint.
    pub faint: bool,
    /// Italic.
    pub italic: bool,
    /// Underlined.
    pub underlined: bool,
}

/// A part of a line that is shown in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Styled {
    /// The text, as [`neutralise`] makes it.
    pub text: String,
    /// How it is shown.
    pub style: Style,
}

/// `bytes` as text that cannot steer a terminal: invalid UTF-8 becomes U+FFFD, escape sequences (ECMA-48) are removed
/// whole, other control characters become `^X`-style text, bidirectional overrides (Unicode UAX #9) become their code
/// point in words. A tab becomes spaces up to the next multiple of eight.
pub fn neutralise(bytes: &[u8]) -> String {
    let mut parts = styled(bytes).into_iter();
    let mut text = parts.next().map(|part| part.text).unwrap_or_default();
    parts.for_each(|part| text.push_str(&part.text));
    text
}

/// As [`neutralise`], and how each part of the line would be shown.
pub fn styled(bytes: &[u8]) -> Vec<Styled> {
    // What stands before the last carriage return that is followed by text would be overwritten on a terminal.
    let trimmed = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    let visible = trimmed.rsplit(|b| *b == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    let mut line = Line { parts: Vec::new(), style: Style::default(), column: 0, expected: visible.len() };
    vte::Parser::new().advance(&mut line, visible);
    line.parts
}

/// What a terminal would show of a line.
struct Line {
    parts: Vec<Styled>,
    style: Style,
    column: usize,
    /// Bytes of the text, about.
    expected: usize,
}

impl Line {
    /// The text that goes on in the style of now.
    fn out(&mut self) -> &mut String {
        if self.parts.last().is_none_or(|last| last.style != self.style) {
            let capacity = if self.parts.is_empty() { self.expected } else { 0 };
            self.parts.push(Styled { text: String::with_capacity(capacity), style: self.style });
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last].text
    }
}

impl vte::Perform for Line {
    fn print(&mut self, c: char) {
        match c {
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{80}'..='\u{9f}' => {
                self.out().push_str(&format!("<U+{:04X}>", u32::from(c)));
                self.column += 8;
            }
            '\u{7f}' => {
                self.out().push_str("^?");
                self.column += 2;
            }
            c => {
                self.out().push(c);
                self.column += 1;
            }
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => {
                let next = (self.column / 8 + 1) * 8;
                let spaces = next - self.column;
                self.out().extend(std::iter::repeat_n(' ', spaces));
                self.column = next;
            }
            // A carriage return rewrites the line: what stood before it was progress.
            b'\r' | b'\n' => {}
            0x80.. => {}
            control => {
                let out = self.out();
                out.push('^');
                out.push(char::from(control ^ 0x40));
                self.column += 2;
            }
        }
    }

    fn csi_dispatch(&mut self, parameters: &vte::Params, intermediates: &[u8], _ignored: bool, action: char) {
        if action == 'm' && intermediates.is_empty() {
            self.style.change(&mut parameters.iter());
        }
    }
}

impl Style {
    /// Select graphic rendition.
    fn change(&mut self, parameters: &mut dyn Iterator<Item = &[u16]>) {
        while let Some(parameter) = parameters.next() {
            let code = parameter.first().copied().unwrap_or(0);
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => self.underlined = parameter.get(1) != Some(&0),
                22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underlined = false,
                30..=37 => self.foreground = colour(code - 30),
                38 => self.foreground = extended(parameter, parameters),
                39 => self.foreground = None,
                40..=47 => self.background = colour(code - 40),
                48 => self.background = extended(parameter, parameters),
                49 => self.background = None,
                90..=97 => self.foreground = colour(code - 90 + 8),
                100..=107 => self.background = colour(code - 100 + 8),
                _ => {}
            }
        }
    }
}

fn colour(code: u16) -> Option<u8> {
    u8::try_from(code).ok().filter(|code| *code < 16)
}

/// A colour of 256, if it is one of the sixteen; `5;N` or `2;R;G;B` after the code, with colons (ITU-T T.416) or semicolons.
fn extended(parameter: &[u16], rest: &mut dyn Iterator<Item = &[u16]>) -> Option<u8> {
    if let Some(kind) = parameter.get(1) {
        return parameter.get(2).filter(|_| *kind == 5).and_then(|code| colour(*code));
    }
    let mut next = || rest.next().and_then(|parameter| parameter.first().copied());
    match next()? {
        5 => colour(next()?),
        2 => {
            for _colour in ["red", "green", "blue"] {
                next();
            }
            None
        }
        _ => None,
    }
}

/// `bytes` as one line of such text, in which words are apart by single spaces.
pub fn one_line(bytes: &[u8]) -> String {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n' || *byte == b'\r').map(neutralise).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text of at most `most` characters, and of a longer one its beginning, which says that it is one.
pub fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_never_reach_the_terminal() {
        assert_eq!(neutralise(b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b[2J"), "red x");
        assert_eq!(neutralise(b"a\x07b\x08c\x7f"), "a^Gb^Hc^?");
        assert!(!neutralise("\u{9b}31mx".as_bytes()).contains('\u{9b}'));
        assert_eq!(neutralise("x\u{202e}y".as_bytes()), "x<U+202E>y");
    }

    #[test]
    fn invalid_utf8_is_shown_and_not_an_error() {
        assert_eq!(neutralise(b"gr\xfc\xdfe"), "gr\u{fffd}\u{fffd}e");
    }

    #[test]
    fn colours_are_told_beside_the_text() {
        let shown = |bytes: &[u8]| -> Vec<(String, Style)> {
            styled(bytes).into_iter().map(|part| (part.text, part.style)).collect()
        };
        let plain = Style::default();
        let red = Style { foreground: Some(1), bold: true, ..plain };
        assert_eq!(
            shown(b"\x1b[1;31merror\x1b[0m: x\x1b[38;5;200my"),
            [("error".to_owned(), red), (": xy".to_owned(), plain)]
        );
        let bright = Style { foreground: Some(10), background: Some(4), ..plain };
        assert_eq!(shown(b"\x1b[38:5:10;44mz\x1b[38;2;1;3;4m"), [("z".to_owned(), bright)]);
        assert!(shown(b"").is_empty());
    }

    #[test]
    fn a_progress_line_shows_its_last_state() {
        assert_eq!(neutralise(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(neutralise(b"a\tb\n"), "a       b");
    }
}
