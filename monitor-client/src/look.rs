//! Looks at an answer before it is believed: whether it is one JSON object
//! within bounds, and what it says at the places that somebody's verdict rests
//! on. The types of the answers take an absent field for zero, since older
//! brokers lack some; here absent, null and zero are told apart.
//!
//! Called by the [`Client`](crate::Client). No tree of the answer is built: it is
//! walked once, and only what was asked for is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Characters kept of a text that was asked for; what is compared or shown is
/// shorter.
const TEXT_CHARS_MAX: usize = 256;

/// A place in an answer, and what has to be there.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Keys separated by dots; `*` stands for each element of a list, and
    /// `new|old` for a key that was renamed.
    pub name: &'a str,
    /// What fits there.
    pub kind: Kind,
}

/// What fits at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Anything.
    Any,
    /// A number of things, bytes or seconds: not negative.
    Count,
    /// True or false.
    Flag,
    /// A list; also an empty one.
    List,
    /// Any number.
    Number,
    /// A number of things of which there is at least one.
    Positive,
    /// A text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// What an answer says at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Nothing: the place is not there.
    Absent,
    /// True or false.
    Flag(bool),
    /// A number from zero that is whole.
    Count(u64),
    /// A negative number that is whole.
    Negative(i64),
    /// Any other number.
    Number(f64),
    /// The beginning of a text.
    Text(String),
    /// A list of so many elements.
    List(usize),
    /// Several members.
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

    /// The text; empty if it is none.
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

/// How much JSON an answer may consist of. A few bytes of it become hundreds in
/// memory, so the length of the body alone bounds too little.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of the body.
    pub bytes: u64,
    /// Values of any sort.
    pub values: usize,
    /// Of these, objects: each may become a large struct.
    pub objects: usize,
}

/// Bounds of `/varz` and `/healthz`, which are asked every few seconds by
/// programs that live long: an honest one has a few hundred values.
const SMALL: Bounds = Bounds {
    bytes: 512 << 10,
    values: 32 << 10,
    objects: 4 << 10,
};

/// Bounds of all others: the largest honest one is a full page of `/connz` with
/// 65536 subscriptions in full.
const LARGE: Bounds = Bounds {
    bytes: 8 << 20,
    values: 1 << 20,
    objects: 128 << 10,
};

impl Bounds {
    /// The bounds of the answer at a path, which may carry a query.
    pub fn of(path: &str) -> Self {
        match path.split_once('?').map_or(path, |(path, _)| path) {
            "/varz" | "/healthz" => SMALL,
            _ => LARGE,
        }
    }
}

/// Why an answer is not believed.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// Not one JSON object within the bounds.
    Json(serde_json::Error),
    /// A place holds what does not fit, or an element of a list lacks it.
    Field(String),
}

/// Walks an answer; returns what it says at each of the places, in their order.
pub(crate) fn look(body: &[u8], fields: &[Field<'_>], bounds: Bounds) -> Result<Vec<Found>, Doubt> {
    let mut walk = Walk {
        fields,
        found: vec![Found::Absent; fields.len()],
        visits: vec![0; fields.len()],
        doubt: None,
        values_left: bounds.values,
        objects_left: bounds.objects,
    };
    let names = fields.iter().map(|field| field.name).enumerate().collect();
    let mut json = serde_json::Deserializer::from_slice(body);
    let root = Place {
        walk: &mut walk,
        sought: names,
        is_root: true,
    };
    root.deserialize(&mut json).map_err(Doubt::Json)?;
    json.end().map_err(Doubt::Json)?;
    match walk.doubt {
        Some(doubt) => Err(Doubt::Field(doubt)),
        None => Ok(walk.found),
    }
}

/// What the whole walk knows.
struct Walk<'a> {
    fields: &'a [Field<'a>],
    found: Vec<Found>,
    /// How often each place was met; more than once below a list.
    visits: Vec<usize>,
    /// The first thing that does not fit.
    doubt: Option<String>,
    values_left: usize,
    objects_left: usize,
}

/// One value of the answer.
struct Place<'w, 'a> {
    walk: &'w mut Walk<'a>,
    /// Fields at or below it, with what is left of their names.
    sought: Vec<(usize, &'a str)>,
    is_root: bool,
}

impl<'a> Walk<'a> {
    fn note(&mut self, sought: &[(usize, &'a str)], found: &Found) {
        for (index, _) in sought.iter().filter(|(_, rest)| rest.is_empty()) {
            let Field { name, kind } = self.fields[*index];
            self.visits[*index] += 1;
            if !found.fits(kind) {
                let doubt = || format!("\"{name}\" is {found}, not {kind}");
                self.doubt.get_or_insert_with(doubt);
            }
            self.found[*index] = found.clone();
        }
    }

    /// What is sought below a key.
    fn below(sought: &[(usize, &'a str)], key: &str) -> Vec<(usize, &'a str)> {
        let step = |(index, rest): &(usize, &'a str)| {
            let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let is_it = !first.is_empty() && first.split('|').any(|name| name == key);
            is_it.then_some((*index, rest))
        };
        sought.iter().filter_map(step).collect()
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let left = &mut self.walk.values_left;
        *left = left
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom("too many values"))?;
        match self.is_root {
            true => deserializer.deserialize_map(self),
            false => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Place<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.walk.note(&self.sought, &Found::Flag(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.walk.note(&self.sought, &Found::Count(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.walk.note(&self.sought, &Found::Negative(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.walk.note(&self.sought, &Found::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        if !self.sought.is_empty() {
            let text = Found::Text(value.chars().take(TEXT_CHARS_MAX).collect());
            self.walk.note(&self.sought, &text);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.walk.note(&self.sought, &Found::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { walk, sought, .. } = self;
        let below = Walk::below(&sought, "*");
        let mut count = 0;
        loop {
            let before: Vec<usize> = below.iter().map(|(index, _)| walk.visits[*index]).collect();
            let element = Place {
                walk: &mut *walk,
                sought: below.clone(),
                is_root: false,
            };
            if elements.next_element_seed(element)?.is_none() {
                break;
            }
            count += 1;
            for ((index, _), before) in below.iter().zip(before) {
                if walk.visits[*index] == before {
                    let name = walk.fields[*index].name;
                    let doubt = || format!("no \"{name}\" in element {count}");
                    walk.doubt.get_or_insert_with(doubt);
                }
            }
        }
        walk.note(&sought, &Found::List(count));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { walk, sought, .. } = self;
        walk.objects_left = walk
            .objects_left
            .checked_sub(1)
            .ok_or_else(|| A::Error::custom("too many objects"))?;
        walk.note(&sought, &Found::Object);
        while let Some(below) = members.next_key_seed(Key(&sought))? {
            let member = Place {
                walk: &mut *walk,
                sought: below,
                is_root: false,
            };
            members.next_value_seed(member)?;
        }
        Ok(())
    }
}

/// A key of an object: becomes what is sought below it.
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
        // A key of the answer is never the sign for elements of a list.
        Ok(match key {
            "*" => Vec::new(),
            key => Walk::below(self.0, key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field<'_>] = &[
        Field {
            name: "n",
            kind: Kind::Count,
        },
        Field {
            name: "a.new|old",
            kind: Kind::Number,
        },
        Field {
            name: "list",
            kind: Kind::List,
        },
        Field {
            name: "list.*.x",
            kind: Kind::Flag,
        },
    ];

    fn looked(json: &str) -> Result<Vec<Found>, String> {
        look(json.as_bytes(), FIELDS, SMALL).map_err(|doubt| match doubt {
            Doubt::Json(error) => error.to_string(),
            Doubt::Field(text) => text,
        })
    }

    #[test]
    fn absent_and_zero_are_two_things() {
        let found = looked(r#"{"n":0,"list":[],"b":{"n":3}}"#).unwrap();
        let expected = [
            Found::Count(0),
            Found::Absent,
            Found::List(0),
            Found::Absent,
        ];
        assert_eq!(found, expected);
        let found = looked(r#"{"a":{"old":-1.5},"list":[{"x":true},{"x":false}]}"#).unwrap();
        let expected = [
            Found::Absent,
            Found::Number(-1.5),
            Found::List(2),
            Found::Flag(false),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, doubt) in [
            (r#"{"n":-5}"#, "\"n\" is -5, not a number from 0"),
            (r#"{"n":-0.5}"#, "\"n\" is -0.5, not a number from 0"),
            (r#"{"n":"7"}"#, "\"n\" is \"7\", not a number from 0"),
            (r#"{"n":null}"#, "\"n\" is null, not a number from 0"),
            (r#"{"n":[]}"#, "\"n\" is a list, not a number from 0"),
            (
                r#"{"list":{"x":true}}"#,
                "\"list\" is an object, not a list",
            ),
            (
                r#"{"list":[{"x":true},{}]}"#,
                "no \"list.*.x\" in element 2",
            ),
            (r#"{"list":[7]}"#, "no \"list.*.x\" in element 1"),
        ] {
            assert_eq!(looked(json), Err(doubt.to_owned()), "{json}");
        }
    }

    #[test]
    fn no_whole_object_is_no_answer() {
        for json in [
            "",
            " ",
            "[]",
            "[{}]",
            "7",
            "null",
            "\"{}\"",
            "{",
            "{\"n\":",
            "{\"n\":NaN}",
            "{\"n\":1e999}",
            "{}{}",
            "<html>",
            "{\"n\":1}x",
            "\u{feff}{}",
        ] {
            assert!(looked(json).is_err(), "{json}");
        }
    }

    /// A few bytes of JSON are large in memory: they are counted, and the depth too.
    #[test]
    fn values_objects_and_depth_are_bounded() {
        let list = |element: &str, count: usize| {
            let elements = vec![element; count].join(",");
            looked(&format!("{{\"y\":[{elements}]}}"))
        };
        assert!(list("{}", SMALL.objects - 1).is_ok());
        assert!(list("{}", SMALL.objects).unwrap_err().contains("objects"));
        assert!(list("0", SMALL.values - 2).is_ok());
        assert!(list("0", SMALL.values - 1).unwrap_err().contains("values"));
        let deep = format!("{{\"y\":{}", "[".repeat(100_000));
        assert!(looked(&deep).unwrap_err().contains("recursion limit"));
    }
}
