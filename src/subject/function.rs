//! The functions that a token of a transform's destination may be: `$1`, `{{wildcard(1)}}`,
//! `{{partition(5,1,2)}}` and so on.

use super::tokens;

/// A function of tokens of the source, which are given by their index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Function {
    /// The first characters of a token.
    Left(usize, usize),
    /// A number below `count` from a hash of the tokens, or of the whole subject if no tokens are
    /// given.
    Partition { count: u32, tokens: Vec<usize> },
    /// A random number below this one.
    Random(u32),
    /// The last characters of a token.
    Right(usize, usize),
    /// Splits a token into tokens of this length; a shorter one may be at the end.
    SliceFromLeft(usize, usize),
    /// Splits a token into tokens of this length; a shorter one may be at the beginning.
    SliceFromRight(usize, usize),
    /// Splits a token at the separators.
    Split(usize, Box<[u8]>),
    /// Splits a token in two, the first of this length.
    SplitFromLeft(usize, usize),
    /// Splits a token in two, the last of this length.
    SplitFromRight(usize, usize),
    /// The token itself.
    Wildcard(usize),
}

impl Function {
    /// Parses a token of the destination; `None` if it is no function. `wildcards` are the indexes
    /// of the source's wildcards. The error says what is wrong.
    pub(super) fn parse(token: &str, wildcards: &[usize]) -> Result<Option<Self>, String> {
        if let Some(number) = token.strip_prefix('$') {
            // Subjects such as $SYS.x are ordinary text.
            return match number.parse() {
                Ok(number) => Ok(Some(Self::Wildcard(wildcard_token(wildcards, number)?))),
                Err(_) => Ok(None),
            };
        }
        let Some(call) = token
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
        else {
            return Ok(None);
        };
        let (name, arguments) = call
            .trim()
            .strip_suffix(')')
            .and_then(|call| call.split_once('('))
            .ok_or("a function is written as {{name(argument, …)}}")?;
        let arguments = Arguments {
            texts: arguments.split(',').collect(),
            wildcards,
        };
        arguments.call(&name.trim().to_ascii_lowercase()).map(Some)
    }

    /// Appends the function's result for `subject`.
    pub(super) fn apply(&self, subject: &[u8], to: &mut Vec<u8>) {
        let token = |index: usize| tokens(subject).nth(index).unwrap_or_default();
        match self {
            Self::Wildcard(index) => to.extend_from_slice(token(*index)),
            Self::Left(index, len) => {
                let token = token(*index);
                to.extend_from_slice(&token[..(*len).min(token.len())]);
            }
            Self::Right(index, len) => {
                let token = token(*index);
                to.extend_from_slice(&token[token.len().saturating_sub(*len)..]);
            }
            Self::SplitFromLeft(index, len) => {
                let token = token(*index);
                let (head, rest) = token.split_at((*len).min(token.len()));
                join([head, rest], to);
            }
            Self::SplitFromRight(index, len) => {
                let token = token(*index);
                let (head, rest) = token.split_at(token.len().saturating_sub(*len));
                join([head, rest], to);
            }
            Self::SliceFromLeft(index, len) => {
                join(token(*index).chunks((*len).max(1)), to);
            }
            Self::SliceFromRight(index, len) => {
                let token = token(*index);
                let len = (*len).max(1);
                let remainder = token.len() % len;
                join(
                    std::iter::once(&token[..remainder]).chain(token[remainder..].chunks(len)),
                    to,
                );
            }
            Self::Split(index, by) => split(token(*index), by, to),
            Self::Partition { count, tokens } => {
                let hash = match tokens.is_empty() {
                    true => fnv1a(std::iter::once(subject)),
                    false => fnv1a(tokens.iter().map(|index| token(*index))),
                };
                to.extend_from_slice((hash % count).to_string().as_bytes());
            }
            Self::Random(count) => {
                to.extend_from_slice(fastrand::u32(..count).to_string().as_bytes());
            }
        }
    }
}

/// The arguments of a function call.
struct Arguments<'a> {
    texts: Vec<&'a str>,
    wildcards: &'a [usize],
}

impl Arguments<'_> {
    fn call(&self, name: &str) -> Result<Function, String> {
        let token_and_length = |make: fn(usize, usize) -> Function| {
            self.expect(2)?;
            Ok(make(self.token(0)?, self.number(1)? as usize))
        };
        match name {
            "wildcard" => {
                self.expect(1)?;
                Ok(Function::Wildcard(self.token(0)?))
            }
            "partition" => {
                let count = self.count(0)?;
                let tokens = (1..self.texts.len()).map(|at| self.token(at));
                let tokens = tokens.collect::<Result<_, _>>()?;
                Ok(Function::Partition { count, tokens })
            }
            "random" => {
                self.expect(1)?;
                Ok(Function::Random(self.count(0)?))
            }
            "split" => {
                self.expect(2)?;
                let by = self.texts[1];
                if by.is_empty() || by.contains([' ', '.']) {
                    return Err("a separator is not empty and has no blank and no dot".into());
                }
                Ok(Function::Split(self.token(0)?, by.as_bytes().into()))
            }
            "splitfromleft" => token_and_length(Function::SplitFromLeft),
            "splitfromright" => token_and_length(Function::SplitFromRight),
            "slicefromleft" => token_and_length(Function::SliceFromLeft),
            "slicefromright" => token_and_length(Function::SliceFromRight),
            "left" => token_and_length(Function::Left),
            "right" => token_and_length(Function::Right),
            _ => Err("unknown function".into()),
        }
    }

    fn expect(&self, count: usize) -> Result<(), String> {
        match self.texts.len() == count {
            true => Ok(()),
            false => Err(format!("it takes {count} argument(s)")),
        }
    }

    fn number(&self, at: usize) -> Result<u32, String> {
        let text = self.texts[at].trim();
        text.parse()
            .map_err(|_| format!("{text:?} is not a number of 0 or more"))
    }

    fn count(&self, at: usize) -> Result<u32, String> {
        match self.number(at)? {
            0 => Err("the number must be at least 1".into()),
            count => Ok(count),
        }
    }

    /// The index of the source's token that an argument refers to by the number of its wildcard.
    fn token(&self, at: usize) -> Result<usize, String> {
        wildcard_token(self.wildcards, self.number(at)? as usize)
    }
}

/// The index of the token that this wildcard matches; wildcards are counted from 1.
fn wildcard_token(wildcards: &[usize], number: usize) -> Result<usize, String> {
    if number == 0 {
        return Err("wildcards are counted from 1".into());
    }
    let found = wildcards.get(number - 1).copied();
    found.ok_or_else(|| format!("the source has {} wildcard(s) \"*\"", wildcards.len()))
}

/// Appends the parts as tokens, without empty ones.
fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>, to: &mut Vec<u8>) {
    for (index, part) in parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .enumerate()
    {
        if index > 0 {
            to.push(b'.');
        }
        to.extend_from_slice(part);
    }
}

fn split(token: &[u8], by: &[u8], to: &mut Vec<u8>) {
    let mut rest = token;
    let mut parts = Vec::new();
    while let Some(at) = memchr::memmem::find(rest, by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    join(parts, to);
}

/// 32-bit FNV-1a.
fn fnv1a<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    parts.flatten().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
