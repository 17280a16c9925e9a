//! Validates an answer before it is used: that it is a single JSON object within limits, and the
//! values of the fields that a decision is based on. The types of the answers replace an absent
//! field by zero, since older brokers lack some; here absent, null and zero are distinguished.
//!
//! The [`Client`](crate::Client) calls it. The answer is parsed in one pass without building a
//! tree; only the requested fields are kept.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Characters that are kept of a text; texts that are compared or shown are shorter.
const TEXT_CHARS_MAX: usize = 256;

/// A field of an answer and its expected value.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Keys separated by dots; `*` matches each element of a list, and `new|old` a key that
    /// was renamed.
    pub name: &'a str,
    /// The expected value.
    pub kind: Kind,
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Anything.
    Any,
    /// A number that is not negative, such as a number of items, bytes or seconds.
    Count,
    /// True or false.
    Flag,
    /// A list, which may be empty.
    List,
    /// Any number.
    Number,
    /// A number above zero.
    Positive,
    /// A text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The field is absent.
    Absent,
    /// True or false.
    Flag(bool),
    /// An integer that is not negative.
    Count(u64),
    /// A negative integer.
    Negative(i64),
    /// Any other number.
    Number(f64),
    /// The beginning of a text.
    Text(String),
    /// A list with this number of elements.
    List(usize),
    /// An object.
    Object,
    /// `null`.
    Null,
}

impl Found {
    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Count(number) => Some(*number as f64),
            Self::Negative(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text; empty if it is not a text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    fn fits(&self, kind: Kind) -> bool {
        let number = self.number();
        match kind {
            Kind::Any => true,
            Kind::Count => number.is_some_and(|number| number >= 0.0),
            Kind::Flag => matches!(self, Self::Flag(_)),
            Kind::List => matches!(self, Self::List(_)),
            Kind::Number => number.is_some(),
            Kind::Positive => number.is_some_and(|number| number > 0.0),
            Kind::Text => !self.text().is_empty(),
            Kind::Word(words) => words.contains(&self.text()),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Flag(flag) => flag.fmt(f),
            Self::Count(number) => number.fmt(f),
            Self::Negative(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(_) => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
            Self::Null => f.write_str("null"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Count => f.write_str("a number from 0"),
            Self::Flag => f.write_str("true or false"),
            Self::List => f.write_str("a list"),
            Self::Number => f.write_str("a number"),
            Self::Positive => f.write_str("a number above 0"),
            Self::Text => f.write_str("a text"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// Limits of an answer. A few bytes of JSON may take hundreds of bytes in memory, so a limit of the
/// length is not enough.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of the body.
    pub bytes: u64,
    /// Number of values.
    pub values: usize,
    /// Number of objects among them: each may become a large struct.
    pub objects: usize,
}

/// Limits of `/varz` and `/healthz`, which long-running programs request every few seconds: a
/// normal answer has a few hundred values.
const SMALL: Bounds = Bounds {
    bytes: 512 << 10,
    values: 32 << 10,
    objects: 4 << 10,
};

/// Limits of all others: the largest normal answer is a full page of `/connz` with 65536
/// subscriptions in detail.
const LARGE: Bounds = Bounds {
    bytes: 8 << 20,
    values: 1 << 20,
    objects: 128 << 10,
};

impl Bounds {
    /// The limits for a path, which may have a query.
    pub fn of(path: &str) -> Self {
        match path.split_once('?').map_or(path, |(path, _)| path) {
            "/varz" | "/healthz" => SMALL,
            _ => LARGE,
        }
    }
}

/// Why an answer is rejected.
#[derive(Debug)]
pub(crate) enum Mismatch {
    /// It is not a single JSON object within the limits.
    Json(serde_json::Error),
    /// A field has a wrong value, or is missing in an element of a list.
    Field(String),
}

/// Parses an answer; returns the value of each field, in their order.
pub(crate) fn inspect(
    body: &[u8],
    fields: &[Field<'_>],
    bounds: Bounds,
) -> Result<Vec<Found>, Mismatch> {
    let mut pass = Pass {
        fields,
        found: vec![Found::Absent; fields.len()],
        visits: vec![0; fields.len()],
        mismatch: None,
        values_left: bounds.values,
        objects_left: bounds.objects,
    };
    let names = fields.iter().map(|field| field.name).enumerate().collect();
    let mut json = serde_json::Deserializer::from_slice(body);
    let root = Node {
        pass: &mut pass,
        sought: names,
        is_root: true,
    };
    root.deserialize(&mut json).map_err(Mismatch::Json)?;
    json.end().map_err(Mismatch::Json)?;
    match pass.mismatch {
        Some(mismatch) => Err(Mismatch::Field(mismatch)),
        None => Ok(pass.found),
    }
}

/// The state of the whole pass.
struct Pass<'a> {
    fields: &'a [Field<'a>],
    found: Vec<Found>,
    /// How often each field was found; below a list, more than once.
    visits: Vec<usize>,
    /// The first mismatch.
    mismatch: Option<String>,
    values_left: usize,
    objects_left: usize,
}

/// A value of the answer.
struct Node<'w, 'a> {
    pass: &'w mut Pass<'a>,
    /// Fields at or below it, with the rest of their names.
    sought: Vec<(usize, &'a str)>,
    is_root: bool,
}

impl<'a> Pass<'a> {
    fn record(&mut self, sought: &[(usize, &'a str)], found: &Found) {
        for (index, _) in sought.iter().filter(|(_, rest)| rest.is_empty()) {
            let Field { name, kind } = self.fields[*index];
            self.visits[*index] += 1;
            if !found.fits(kind) {
                let mismatch = || format!("\"{name}\" is {found}, not {kind}");
                self.mismatch.get_or_insert_with(mismatch);
            }
            self.found[*index] = found.clone();
        }
    }

    /// The fields below a key.
    fn below(sought: &[(usize, &'a str)], key: &str) -> Vec<(usize, &'a str)> {
        let step = |(index, rest): &(usize, &'a str)| {
            let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let matches = !first.is_empty() && first.split('|').any(|name| name == key);
            matches.then_some((*index, rest))
        };
        sought.iter().filter_map(step).collect()
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let left = &mut self.pass.values_left;
        *left = left
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom("too many values"))?;
        match self.is_root {
            true => deserializer.deserialize_map(self),
            false => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.pass.record(&self.sought, &Found::Flag(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.pass.record(&self.sought, &Found::Count(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.pass.record(&self.sought, &Found::Negative(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.pass.record(&self.sought, &Found::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        if !self.sought.is_empty() {
            let text = Found::Text(value.chars().take(TEXT_CHARS_MAX).collect());
            self.pass.record(&self.sought, &text);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.pass.record(&self.sought, &Found::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { pass, sought, .. } = self;
        let below = Pass::below(&sought, "*");
        let mut count = 0;
        loop {
            let before: Vec<usize> = below.iter().map(|(index, _)| pass.visits[*index]).collect();
            let element = Node {
                pass: &mut *pass,
                sought: below.clone(),
                is_root: false,
            };
            if elements.next_element_seed(element)?.is_none() {
                break;
            }
            count += 1;
            for ((index, _), before) in below.iter().zip(before) {
                if pass.visits[*index] == before {
                    let name = pass.fields[*index].name;
                    let mismatch = || format!("no \"{name}\" in element {count}");
                    pass.mismatch.get_or_insert_with(mismatch);
                }
            }
        }
        pass.record(&sought, &Found::List(count));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { pass, sought, .. } = self;
        pass.objects_left = pass
            .objects_left
            .checked_sub(1)
            .ok_or_else(|| A::Error::custom("too many objects"))?;
        pass.record(&sought, &Found::Object);
        while let Some(below) = members.next_key_seed(Key(&sought))? {
            let member = Node {
                pass: &mut *pass,
                sought: below,
                is_root: false,
            };
            members.next_value_seed(member)?;
        }
        Ok(())
    }
}

/// A key of an object; evaluates to the fields below it.
struct Key<'s, 'a>(&'s [(usize, &'a str)]);

impl<'de, 'a> DeserializeSeed<'de> for Key<'_, 'a> {
    type Value = Vec<(usize, &'a str)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 'a> Visitor<'de> for Key<'_, 'a> {
    type Value = Vec<(usize, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        // A key named `*` in the answer does not match the elements of a list.
        Ok(match key {
            "*" => Vec::new(),
            key => Pass::below(self.0, key),
        })
    }
}
