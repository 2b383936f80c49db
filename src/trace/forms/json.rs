//! JSON text that is safe inside of a page's `script` element.

use std::fmt::{Display, Write};

/// Writes objects and arrays. The caller balances the brackets; commas come by themselves.
#[derive(Default)]
pub(super) struct Json {
    text: String,
    /// Whether a comma must come before the next value or key.
    follows: bool,
}

impl Json {
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn separate(&mut self) {
        if self.follows {
            self.text.push(',');
        }
        self.follows = true;
    }

    /// Opens an object or array.
    pub(super) fn open(&mut self, bracket: char) -> &mut Self {
        self.separate();
        self.text.push(bracket);
        self.follows = false;
        self
    }

    pub(super) fn close(&mut self, bracket: char) -> &mut Self {
        self.text.push(bracket);
        self.follows = true;
        self
    }

    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self.follows = false;
        self
    }

    pub(super) fn number(&mut self, number: impl Display) -> &mut Self {
        self.separate();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{number}");
        self
    }

    /// Writes a number, or 0 if it is none that JSON knows.
    pub(super) fn float(&mut self, number: f64) -> &mut Self {
        self.number(if number.is_finite() { number } else { 0.0 })
    }

    /// Writes a string. `<`, `>` and `&` are escaped, so that nothing in it ends the element around it.
    pub(super) fn string(&mut self, string: &str) -> &mut Self {
        self.separate();
        self.text.push('"');
        for character in string.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' | '\x7f' => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(character));
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
        self
    }
}
