//! JSON that people can read, indented by two spaces as nats-server has it. What
//! `serde_json` makes is the same; this writes a line's beginning in one piece, which
//! is a good part of what a list of thousands of connections costs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// Spaces of a level.
const INDENT: usize = 2;

/// A comma, the end of a line and the spaces of the deepest level that is written in
/// one piece.
const LINE: &[u8] = b",\n                                ";

/// Initial capacity of an answer in bytes.
const CAPACITY: usize = 4096;

/// A value as JSON.
///
/// # Errors
///
/// It cannot be written as JSON.
pub(super) fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(CAPACITY);
    value.serialize(&mut Serializer::with_formatter(
        &mut json,
        Pretty::default(),
    ))?;
    Ok(json)
}

/// Writes each entry of an object or array on a line of its own.
#[derive(Default)]
struct Pretty {
    level: usize,
    /// The object or array that is written has an entry.
    has_entry: bool,
}

impl Pretty {
    fn begin(&mut self, writer: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.has_entry = false;
        writer.write_all(bracket)
    }

    fn end(&mut self, writer: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.level -= 1;
        if self.has_entry {
            self.new_line(writer, true)?;
        }
        writer.write_all(bracket)
    }

    /// Begins a line, without the comma before the first entry.
    fn new_line(&self, writer: &mut (impl Write + ?Sized), first: bool) -> io::Result<()> {
        let spaces = self.level * INDENT;
        let begin = usize::from(first);
        if let Some(line) = LINE.get(begin..2 + spaces) {
            return writer.write_all(line);
        }
        writer.write_all(&LINE[begin..])?;
        let written = LINE.len() - 2;
        (written..spaces).try_for_each(|_| writer.write_all(b" "))
    }
}

impl Formatter for Pretty {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.new_line(writer, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_entry = true;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.new_line(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_entry = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_what_serde_json_makes() {
        let mut deep = json!("end");
        for level in 0..40 {
            deep = match level % 2 {
                0 => json!([deep, {}, []]),
                _ => json!({ "a": deep, "b": null }),
            };
        }
        for value in [
            json!({}),
            json!([]),
            json!([[], {}, [1], { "a \"quote\"": [true, 1.5, -3] }]),
            json!({ "one": { "two": {} }, "three": [{ "four": [] }, "five"] }),
            json!("text"),
            deep,
        ] {
            let made = String::from_utf8(to_vec(&value).unwrap()).unwrap();
            assert_eq!(made, serde_json::to_string_pretty(&value).unwrap());
            assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), value);
        }
    }
}
