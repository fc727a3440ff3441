//! Text that came out of a container, made safe to show.

/// `bytes` as text that cannot steer a terminal: invalid UTF-8 becomes U+FFFD, escape sequences (ECMA-48) are removed
/// whole, other control characters become `^X`-style text, bidirectional overrides (Unicode UAX #9) become their code
/// point in words. A tab becomes spaces up to the next multiple of eight.
pub fn neutralise(bytes: &[u8]) -> String {
    struct Text {
        out: String,
        column: usize,
    }

    impl vte::Perform for Text {
        fn print(&mut self, c: char) {
            match c {
                '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{80}'..='\u{9f}' => {
                    self.out.push_str(&format!("<U+{:04X}>", u32::from(c)));
                    self.column += 8;
                }
                '\u{7f}' => {
                    self.out.push_str("^?");
                    self.column += 2;
                }
                c => {
                    self.out.push(c);
                    self.column += 1;
                }
            }
        }

        fn execute(&mut self, byte: u8) {
            match byte {
                b'\t' => {
                    let next = (self.column / 8 + 1) * 8;
                    self.out.extend(std::iter::repeat_n(' ', next - self.column));
                    self.column = next;
                }
                // A carriage return rewrites the line: what stood before it was progress.
                b'\r' | b'\n' => {}
                0x80.. => {}
                control => {
                    self.out.push('^');
                    self.out.push(char::from(control ^ 0x40));
                    self.column += 2;
                }
            }
        }
    }

    // What stands before the last carriage return that is followed by text would be overwritten on a terminal.
    let trimmed = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    let visible = trimmed.rsplit(|b| *b == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    let mut text = Text { out: String::with_capacity(visible.len()), column: 0 };
    vte::Parser::new().advance(&mut text, visible);
    text.out
}

/// `bytes` as one line of such text, in which words are apart by single spaces.
pub fn one_line(bytes: &[u8]) -> String {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n' || *byte == b'\r').map(neutralise).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
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
    fn a_progress_line_shows_its_last_state() {
        assert_eq!(neutralise(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(neutralise(b"a\tb\n"), "a       b");
    }
}
