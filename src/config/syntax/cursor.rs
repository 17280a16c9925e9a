//! A position in a text: peeks, advances, and tracks line and column.

use std::sync::Arc;

use super::{Position, SyntaxError};

/// Reads `text` from front to back. `at` never exceeds the length of the text
/// and is always at the border of a character.
pub(super) struct Cursor<'a> {
    file: Arc<str>,
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: Arc<str>, text: &'a str) -> Self {
        Cursor {
            file,
            text,
            at: 0,
            line: 1,
            line_start: 0,
        }
    }

    /// The unread rest.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next byte; `None` at the end.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over `len` bytes of the rest and returns them. `len` must end on
    /// the border of a character, as a count of looked-at bytes does.
    pub(super) fn take(&mut self, len: usize) -> &'a str {
        let taken = &self.rest()[..len];
        for (offset, _) in taken.bytes().enumerate().filter(|(_, byte)| *byte == b'\n') {
            self.line = self.line.saturating_add(1);
            self.line_start = self.at + offset + 1;
        }
        self.at += len;
        taken
    }

    /// Steps over the bytes for which `wanted` holds and returns them. `wanted`
    /// must treat all bytes above 127 alike.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().position(|byte| !wanted(byte));
        self.take(len.unwrap_or(rest.len()))
    }

    /// Steps over `byte`, an ASCII character, if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.take(1);
        }
        found
    }

    /// Steps over blanks, and over line ends too if `lines`.
    pub(super) fn skip_blanks(&mut self, lines: bool) {
        self.take_while(|byte| is_blank(byte) || (lines && is_line_end(byte)));
    }

    /// Steps over the rest of the line if a comment begins here.
    pub(super) fn skip_comment(&mut self) -> bool {
        let found = self.rest().starts_with('#') || self.rest().starts_with("//");
        if found {
            self.take_while(|byte| !is_line_end(byte));
        }
        found
    }

    /// Skips what has no meaning: blanks, line ends, comments.
    pub(super) fn skip_filler(&mut self) {
        loop {
            self.skip_blanks(true);
            if !self.skip_comment() {
                return;
            }
        }
    }

    pub(super) fn position(&self) -> Position {
        let column = self.at - self.line_start + 1;
        Position {
            file: self.file.clone(),
            line: self.line,
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// An error at the present place.
    pub(super) fn error(&self, text: impl Into<String>) -> SyntaxError {
        SyntaxError {
            position: self.position(),
            text: text.into(),
        }
    }

    /// The next character in quotes, for messages.
    pub(super) fn found(&self) -> String {
        match self.rest().chars().next() {
            Some('\n' | '\r') => "the end of the line".into(),
            Some(character) => format!("{:?}", character.to_string()),
            None => "the end of the file".into(),
        }
    }
}

/// Space and tab.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Line feed and carriage return.
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
