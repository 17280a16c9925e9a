//! Keys and single values: quoted and bare text, numbers, dates, block strings.

use chrono::NaiveDateTime;

use super::{
    SyntaxError, Value,
    cursor::{Cursor, is_blank, is_line_end},
};

/// A value that has no parts.
pub(super) enum Scalar {
    /// A literal value.
    Value(Value),
    /// `$NAME`: the value of something else.
    Variable(String),
}

/// A key and whether it was quoted. Keys know no escapes.
pub(super) fn read_key(cursor: &mut Cursor) -> Result<(String, bool), SyntaxError> {
    if let Some(quote @ (b'"' | b'\'')) = cursor.peek() {
        let start = cursor.position();
        cursor.take(1);
        let key = cursor.take_while(|byte| byte != quote && !is_line_end(byte));
        if !cursor.eat(quote) {
            let text = "the quote before this key is not closed on its line".into();
            let position = start;
            return Err(SyntaxError { position, text });
        }
        return Ok((key.into(), true));
    }
    if let Some(b':' | b'=' | b',' | b';' | b'[' | b']') | None = cursor.peek() {
        return Err(cursor.error(format!("expected a key, found {}", cursor.found())));
    }
    let error = cursor.error("put a blank between a key and its bracket");
    let key =
        cursor.take_while(|byte| !is_blank(byte) && !is_line_end(byte) && !b"=:".contains(&byte));
    if key.ends_with(['{', '[']) {
        return Err(error);
    }
    Ok((key.into(), false))
}

/// The path after `include`. Ends at a blank, a line end, `;` or `}`.
pub(super) fn read_include_path(cursor: &mut Cursor) -> Result<String, SyntaxError> {
    let path = match cursor.peek() {
        Some(b'"') => read_quoted(cursor)?,
        Some(b'\'') => read_raw(cursor)?,
        _ => cursor
            .take_while(|byte| !is_blank(byte) && !is_line_end(byte) && !b";}".contains(&byte))
            .into(),
    };
    match path.is_empty() {
        true => Err(cursor.error("include needs the path of a file")),
        false => Ok(path),
    }
}

/// Any value but a map or an array.
pub(super) fn read_scalar(cursor: &mut Cursor) -> Result<Scalar, SyntaxError> {
    let value = match cursor.peek() {
        Some(b'"') => Value::String(read_quoted(cursor)?),
        Some(b'\'') => Value::String(read_raw(cursor)?),
        Some(b'(') => Value::String(read_block(cursor)?),
        Some(b'-' | b'.' | b'0'..=b'9') => read_number(cursor)?,
        _ => return read_bare(cursor),
    };
    Ok(Scalar::Value(value))
}

fn ends_bare(byte: u8) -> bool {
    is_blank(byte) || is_line_end(byte) || b",;]}".contains(&byte)
}

fn read_bare(cursor: &mut Cursor) -> Result<Scalar, SyntaxError> {
    let text = read_bare_text(cursor)?;
    // A bcrypt hash is a password, not a variable.
    if let Some(name) = text.strip_prefix('$').filter(|n| !n.starts_with("2a$")) {
        return Ok(Scalar::Variable(name.into()));
    }
    Ok(Scalar::Value(match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Value::Bool(true),
        "false" | "off" | "no" => Value::Bool(false),
        _ => Value::String(text),
    }))
}

fn read_bare_text(cursor: &mut Cursor) -> Result<String, SyntaxError> {
    let start = cursor.error("a quote inside a value: put the whole value into double quotes");
    let text = cursor.take_while(|byte| !ends_bare(byte));
    if text.is_empty() {
        return Err(cursor.error(format!("expected a value, found {}", cursor.found())));
    }
    if text.contains('\'') {
        return Err(start);
    }
    unescape(text).map_err(|text| SyntaxError { text, ..start })
}

fn read_quoted(cursor: &mut Cursor) -> Result<String, SyntaxError> {
    let unclosed = cursor.error("the double quote that opens here is never closed");
    cursor.take(1);
    let mut escaped = false;
    let end = cursor.rest().bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let Some(end) = end else {
        return Err(unclosed);
    };
    let text = unescape(cursor.take(end)).map_err(|text| SyntaxError { text, ..unclosed })?;
    cursor.take(1);
    Ok(text)
}

fn read_raw(cursor: &mut Cursor) -> Result<String, SyntaxError> {
    let unclosed = cursor.error("the single quote that opens here is never closed");
    cursor.take(1);
    let text = cursor.take_while(|byte| byte != b'\'');
    match cursor.eat(b'\'') {
        true => Ok(text.into()),
        false => Err(unclosed),
    }
}

/// `(` … `)`, the closing one alone at the start of a line. Both line ends
/// belong to the text.
fn read_block(cursor: &mut Cursor) -> Result<String, SyntaxError> {
    let unclosed =
        cursor.error("the text that opens with ( here is not closed by a line that holds only )");
    cursor.take(1);
    let rest = cursor.rest();
    let end = rest.match_indices("\n)").map(|(at, _)| at).find(|at| {
        let after = rest.as_bytes().get(at + 2);
        after.is_none_or(|byte| is_line_end(*byte))
    });
    let Some(end) = end else {
        return Err(unclosed);
    };
    let text = cursor.take(end + 1).into();
    cursor.take(1);
    Ok(text)
}

/// The letters of suffixes of integers, each a thousand times the one before.
const SUFFIXES: &str = "kmgtpe";

/// A number or date, or text that begins like one, such as `30s` or `127.0.0.1`.
fn read_number(cursor: &mut Cursor) -> Result<Value, SyntaxError> {
    let start = cursor.error("");
    let error = |text: &str| SyntaxError {
        text: text.into(),
        ..start.clone()
    };
    let token: String = cursor
        .rest()
        .bytes()
        .take_while(|byte| byte.is_ascii() && !ends_bare(*byte))
        .map(char::from)
        .collect();
    let digits = token.strip_prefix('-').unwrap_or(&token);
    let (whole, tail) = digits.split_at(digits.bytes().take_while(u8::is_ascii_digit).count());
    let ends_token = cursor
        .rest()
        .as_bytes()
        .get(token.len())
        .is_none_or(|b| ends_bare(*b));
    let value = if whole.is_empty() {
        return Err(error("expected a digit; quote the value if it is text"));
    } else if let Some(factor) = suffix_factor(tail).filter(|_| ends_token) {
        let sign = if token.starts_with('-') { "-" } else { "" };
        let number: Option<i64> = format!("{sign}{whole}").parse().ok();
        let number = number.and_then(|number| number.checked_mul(factor));
        Value::Integer(number.ok_or_else(|| error("the integer does not fit into 64 bits"))?)
    } else if let Some(fraction) = tail.strip_prefix('.') {
        return read_fraction(cursor, &token, fraction, ends_token, error);
    } else if tail.starts_with('-') {
        read_date(&token)
            .filter(|_| ends_token)
            .ok_or_else(|| error("a date must read like 2006-01-02T15:04:05Z; quote text"))?
    } else if token.starts_with('-') && !begins_like_suffix(tail) {
        return Err(error("not a number; quote the value if it is text"));
    } else {
        return Ok(Value::String(read_bare_text(cursor)?));
    };
    cursor.take(token.len());
    Ok(value)
}

fn read_fraction(
    cursor: &mut Cursor,
    token: &str,
    fraction: &str,
    ends_token: bool,
    error: impl Fn(&str) -> SyntaxError,
) -> Result<Value, SyntaxError> {
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let tail = &fraction[digits..];
    if digits == 0 {
        return Err(error("a digit must follow the point"));
    }
    if tail.starts_with('.') {
        return Ok(Value::String(read_bare_text(cursor)?));
    }
    if !tail.is_empty() || !ends_token {
        return Err(error(
            "text after a fraction; quote the value if it is text",
        ));
    }
    let number: Option<f64> = token.parse().ok();
    let number = number.filter(|number| number.is_finite());
    cursor.take(token.len());
    Ok(Value::Float(
        number.ok_or_else(|| error("the number is too large"))?,
    ))
}

/// Whether `tail` begins with a letter of a suffix: then a number may turn out to be text, also a
/// negative one, such as `-10ms`. nats-server has no other negative text.
fn begins_like_suffix(tail: &str) -> bool {
    tail.starts_with(|letter: char| SUFFIXES.contains(letter.to_ascii_lowercase()))
}

/// What the suffix of an integer multiplies with: `k` = 1000, `kb` `ki` `kib` =
/// 1024, and so on up to `e`; 1 without one.
fn suffix_factor(suffix: &str) -> Option<i64> {
    let suffix = suffix.to_ascii_lowercase();
    let Some(letter) = suffix.chars().next() else {
        return Some(1);
    };
    let power = u32::try_from(SUFFIXES.find(letter)?).ok()? + 1;
    match &suffix[1..] {
        "" => Some(1000_i64.pow(power)),
        "b" | "i" | "ib" => Some(1024_i64.pow(power)),
        _ => None,
    }
}

fn read_date(token: &str) -> Option<Value> {
    let shape = token.len() == "2006-01-02T15:04:05Z".len();
    let date = NaiveDateTime::parse_from_str(token, "%Y-%m-%dT%H:%M:%SZ").ok();
    date.filter(|_| shape)
        .map(|date| Value::DateTime(date.and_utc()))
}

/// Replaces `\t \n \r \" \\ \xHH`.
fn unescape(text: &str) -> Result<String, String> {
    let mut parts = text.split('\\');
    let mut bytes: Vec<u8> = parts.next().unwrap_or_default().into();
    while let Some(part) = parts.next() {
        let Some(letter) = part.chars().next() else {
            // Two backslashes in a row; what follows them is plain text.
            bytes.push(b'\\');
            let plain = parts.next().ok_or("a backslash must be written twice")?;
            bytes.extend(plain.bytes());
            continue;
        };
        let (byte, length) = match letter {
            't' => (b'\t', 1),
            'n' => (b'\n', 1),
            'r' => (b'\r', 1),
            '"' => (b'"', 1),
            'x' => (hex_byte(part.get(1..3))?, 3),
            _ => {
                return Err(format!(
                    "unknown escape \\{letter}; known are \\t \\n \\r \\\" \\\\ \\xHH"
                ));
            }
        };
        bytes.push(byte);
        bytes.extend(&part.as_bytes()[length..]);
    }
    String::from_utf8(bytes).map_err(|_| "the \\x escapes do not give UTF-8 text".into())
}

fn hex_byte(digits: Option<&str>) -> Result<u8, String> {
    digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .ok_or_else(|| "two hexadecimal digits must follow \\x".into())
}
