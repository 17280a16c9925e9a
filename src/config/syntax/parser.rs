//! Maps, arrays, variables and includes: the structure around single values.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Entry, MAX_FILE_BYTES, MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_NESTING, MAX_WEIGHT, Map, Node,
    Position, SyntaxError, Value,
    cursor::{Cursor, is_line_end},
    scalar::{Scalar, read_include_path, read_key, read_scalar},
};

/// Answers a variable that no key answers; `std::env::var` in the daemon.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file and everything it includes.
pub fn parse_file(path: &Path, environment: Environment) -> Result<Map, SyntaxError> {
    let position = Position {
        file: path.display().to_string().into(),
        line: 0,
        column: 0,
    };
    Parser::new(environment).file(path, &position)
}

/// Reads a text. `name` is used as the file in messages; includes are searched from the
/// working directory.
pub fn parse_text(name: &str, text: &str, environment: Environment) -> Result<Map, SyntaxError> {
    Parser::new(environment).document(Cursor::new(name.into(), text))
}

struct Parser<'e> {
    environment: Environment<'e>,
    /// The maps that are open in the present file, outermost first.
    scopes: Vec<Map>,
    /// The files that include each other, outermost first, resolved.
    files: Vec<PathBuf>,
    /// The environment variables whose text is being read.
    variables: Vec<String>,
    /// Whether the value that is read is a secret by its key.
    secret: bool,
    /// Maps and arrays that are open, over all files.
    depth: usize,
    includes: usize,
    weight: usize,
    order: usize,
}

impl<'e> Parser<'e> {
    fn new(environment: Environment<'e>) -> Self {
        Parser {
            environment,
            scopes: Vec::new(),
            files: Vec::new(),
            variables: Vec::new(),
            secret: false,
            depth: 0,
            includes: 0,
            weight: 0,
            order: 0,
        }
    }

    /// Reads the file at `path`, which is asked for at `position`.
    fn file(&mut self, path: &Path, position: &Position) -> Result<Map, SyntaxError> {
        let error = |text: String| SyntaxError {
            position: position.clone(),
            text,
        };
        let resolved = path
            .canonicalize()
            .map_err(|cause| error(format!("cannot read {}: {cause}", path.display())))?;
        if self.files.contains(&resolved) {
            let path = path.display();
            return Err(error(format!("{path} includes itself")));
        }
        if self.files.len() >= MAX_INCLUDE_DEPTH {
            return Err(error(format!(
                "more than {MAX_INCLUDE_DEPTH} files include each other"
            )));
        }
        let text = read_text(path).map_err(error)?;
        self.files.push(resolved);
        let outer = std::mem::take(&mut self.scopes);
        let name: Arc<str> = path.display().to_string().into();
        let map = self.document(Cursor::new(name, &text))?;
        self.scopes = outer;
        self.files.pop();
        Ok(map)
    }

    fn document(&mut self, mut cursor: Cursor) -> Result<Map, SyntaxError> {
        let cursor = &mut cursor;
        if let Some(at) = cursor.rest().find('\0') {
            cursor.take(at);
            return Err(cursor.error("a NUL byte: this is not a text file"));
        }
        cursor.take(cursor.rest().len() - cursor.rest().trim_start_matches('\u{feff}').len());
        cursor.skip_filler();
        let braced = cursor.eat(b'{');
        let map = self.map(cursor, braced)?;
        cursor.skip_filler();
        // Templates often leave one brace too many at the very end.
        if cursor.eat(b'}') {
            cursor.skip_blanks(true);
        }
        match cursor.peek() {
            None => Ok(map),
            Some(_) => Err(cursor.error(format!(
                "expected the end of the file, found {}: a brace before it closes the whole \
                 configuration",
                cursor.found()
            ))),
        }
    }

    /// The pairs of a map up to its brace if it is `braced`, else up to the end
    /// of the file or a brace that closes nothing.
    fn map(&mut self, cursor: &mut Cursor, braced: bool) -> Result<Map, SyntaxError> {
        let unclosed = cursor.error("the block that opens here is not closed");
        self.scopes.push(Map::default());
        loop {
            cursor.skip_filler();
            match cursor.peek() {
                None if braced => return Err(unclosed),
                None => break,
                Some(b'}') => {
                    if braced {
                        cursor.take(1);
                    }
                    break;
                }
                Some(_) => self.pair(cursor, braced)?,
            }
        }
        Ok(self.scopes.pop().unwrap_or_default())
    }

    fn pair(&mut self, cursor: &mut Cursor, braced: bool) -> Result<(), SyntaxError> {
        let position = cursor.position();
        let (key, quoted) = read_key(cursor)?;
        cursor.skip_blanks(false);
        if !quoted && key.eq_ignore_ascii_case("include") && !is_separator(cursor.peek()) {
            self.include(cursor, &position)?;
            return end_of_pair(cursor, "the path to include");
        }
        cursor.skip_blanks(true);
        if is_separator(cursor.peek()) {
            cursor.take(1);
        }
        // The value may be on a line of its own only where it cannot be mistaken for the
        // next pair.
        cursor.skip_blanks(braced);
        if cursor.peek().is_none_or(is_line_end) {
            return Err(cursor.error(format!("{key:?} has no value")));
        }
        let outer = std::mem::replace(&mut self.secret, is_secret(&key));
        let node = self.value(cursor);
        self.secret = outer;
        let node = node?;
        self.weigh(key.len(), &position)?;
        let end = end_of_pair(cursor, &format!("the value of {key:?}"));
        self.order += 1;
        let order = self.order;
        self.add(Entry {
            key,
            position,
            node,
            used: false,
            order,
        });
        end
    }

    fn add(&mut self, entry: Entry) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(entry);
        }
    }

    /// Reads `include PATH`, the path counted from the including file's folder
    /// even if it begins with a slash, as nats-server does.
    fn include(&mut self, cursor: &mut Cursor, position: &Position) -> Result<(), SyntaxError> {
        let path = read_include_path(cursor)?;
        self.includes += 1;
        if self.includes > MAX_INCLUDES {
            return Err(cursor.error(format!("more than {MAX_INCLUDES} includes")));
        }
        let folder = match self.files.is_empty() {
            true => PathBuf::new(),
            false => Path::new(&*position.file)
                .parent()
                .unwrap_or(Path::new(""))
                .into(),
        };
        let map = self.file(&folder.join(path.trim_start_matches('/')), position)?;
        map.into_entries().for_each(|entry| self.add(entry));
        Ok(())
    }

    fn value(&mut self, cursor: &mut Cursor) -> Result<Node, SyntaxError> {
        let position = cursor.position();
        let value = match cursor.peek() {
            Some(open @ (b'{' | b'[')) => {
                if self.depth >= MAX_NESTING {
                    return Err(too_deep(position));
                }
                self.depth += 1;
                cursor.take(1);
                let value = match open {
                    b'{' => Value::Map(self.map(cursor, true)?),
                    _ => Value::Array(self.array(cursor, &position)?),
                };
                self.depth -= 1;
                self.weigh(1, &position)?;
                value
            }
            _ => {
                let value = match read_scalar(cursor)? {
                    Scalar::Value(value) => value,
                    Scalar::Variable(name) => self.variable(&name, &position)?,
                };
                self.weigh(value.weight(), &position)?;
                value
            }
        };
        Ok(Node { value, position })
    }

    fn array(&mut self, cursor: &mut Cursor, open: &Position) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            cursor.skip_filler();
            match cursor.peek() {
                None => {
                    let text = "the list that opens here is not closed".into();
                    let position = open.clone();
                    return Err(SyntaxError { position, text });
                }
                Some(b']') => {
                    cursor.take(1);
                    return Ok(items);
                }
                Some(_) => items.push(self.value(cursor)?),
            }
            cursor.skip_blanks(false);
            let comma = cursor.eat(b',');
            let ends = |byte| is_line_end(byte) || byte == b']';
            if !comma && !cursor.peek().is_none_or(ends) && !cursor.skip_comment() {
                let found = cursor.found();
                return Err(cursor.error(format!(
                    "expected \",\", \"]\" or a new line after an item of the list, found {found}"
                )));
            }
        }
    }

    /// The value of `$name`: of a key already read in this file, from the
    /// innermost map outwards, else of the environment.
    fn variable(&mut self, name: &str, position: &Position) -> Result<Value, SyntaxError> {
        let error = |text: String| SyntaxError {
            position: position.clone(),
            text,
        };
        let known = self.scopes.iter_mut().rev().find_map(|s| s.get_mut(name));
        let value = match known {
            Some(entry) => {
                entry.used = true;
                entry.node.value.clone()
            }
            None => {
                if self.variables.iter().any(|outer| outer == name) {
                    return Err(error(format!("the variable ${name} refers to itself")));
                }
                let text = (self.environment)(name).ok_or_else(|| {
                    // A password may begin like a variable.
                    let (name, advice) = match self.secret {
                        true => ("…", "; quote a secret that begins with $"),
                        false => (name, ""),
                    };
                    error(format!(
                        "the variable ${name} is neither a key above nor in the environment{advice}"
                    ))
                })?;
                self.environment_value(name, &text, position)?
            }
        };
        match self.depth + value.nesting() > MAX_NESTING {
            true => Err(too_deep(position.clone())),
            false => Ok(value),
        }
    }

    /// The text of an environment variable, read as a value.
    fn environment_value(
        &mut self,
        name: &str,
        text: &str,
        position: &Position,
    ) -> Result<Value, SyntaxError> {
        if text.trim().is_empty() {
            return Ok(Value::String(String::new()));
        }
        if self.variables.len() >= MAX_NESTING {
            return Err(too_deep(position.clone()));
        }
        self.variables.push(name.into());
        let outer = std::mem::take(&mut self.scopes);
        let file = format!("environment variable {name}").into();
        let mut cursor = Cursor::new(file, text);
        cursor.skip_filler();
        let node = self.value(&mut cursor)?;
        cursor.skip_filler();
        self.scopes = outer;
        self.variables.pop();
        match cursor.peek() {
            None => Ok(node.value),
            Some(_) => Err(cursor.error("the variable holds more than one value; quote its text")),
        }
    }

    fn weigh(&mut self, weight: usize, position: &Position) -> Result<(), SyntaxError> {
        self.weight = self.weight.saturating_add(weight);
        match self.weight > MAX_WEIGHT {
            true => Err(SyntaxError {
                position: position.clone(),
                text: format!("the configuration grows beyond {MAX_WEIGHT} bytes of values"),
            }),
            false => Ok(()),
        }
    }
}

fn is_separator(byte: Option<u8>) -> bool {
    matches!(byte, Some(b':' | b'='))
}

/// Whether a key's value is a secret.
fn is_secret(key: &str) -> bool {
    let secrets = ["pass", "password", "token"];
    secrets
        .iter()
        .any(|secret| key.eq_ignore_ascii_case(secret))
}

fn too_deep(position: Position) -> SyntaxError {
    SyntaxError {
        position,
        text: format!("more than {MAX_NESTING} blocks and lists inside each other"),
    }
}

/// What must follow a pair: a line end, `,`, `;`, a comment, a closing brace or
/// the end of the file. `what` was just read.
fn end_of_pair(cursor: &mut Cursor, what: &str) -> Result<(), SyntaxError> {
    cursor.skip_blanks(false);
    let ends = |byte| is_line_end(byte) || b",;}".contains(&byte);
    if cursor.peek().is_none_or(ends) {
        if !cursor.eat(b',') {
            cursor.eat(b';');
        }
        return Ok(());
    }
    if cursor.skip_comment() {
        return Ok(());
    }
    let found = cursor.found();
    Err(cursor.error(format!(
        "expected a new line, \",\" or \";\" after {what}, found {found}; \
         quote a value that holds blanks"
    )))
}

/// The text of a file, if it is text and not too large.
fn read_text(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|cause| format!("cannot read {name}: {cause}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{name} is larger than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        format!("{name} is not UTF-8 text: look at line {line}")
    })
}
