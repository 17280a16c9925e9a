//! Takes a few values out of an answer: the result is a smaller JSON tree with the wanted keys and
//! nothing else.
//!
//! [`Client::select`](crate::Client::select) calls it, for the collectd plugin, which reads many
//! endpoints every few seconds and keeps little in memory. Absent, null and zero stay distinct, as in
//! [`inspect`](crate::inspect). The answer is parsed in one pass within [`Bounds`].

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Bounds;

/// Elements that are kept of a list, and members of an object of which all are wanted.
const ELEMENTS_MAX: usize = 4096;

/// Characters that are kept of a text.
const TEXT_CHARS_MAX: usize = 1024;

/// Bytes of a key; a member with a longer one is left out.
const KEY_MAX: usize = 256;

/// The wanted values of an answer. `wanted` are keys separated by dots; `*` stands for each element
/// of a list and each member of an object. Only numbers, texts and flags are kept; a wanted value
/// that is a list or an object is an empty one in the result.
pub(crate) fn select(
    body: &[u8],
    wanted: &[&str],
    bounds: Bounds,
) -> Result<Value, serde_json::Error> {
    let mut left = Left {
        values: bounds.values,
        objects: bounds.objects,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let root = Node {
        left: &mut left,
        sought: wanted.to_vec(),
        is_root: true,
    };
    let selected = root.deserialize(&mut json)?;
    json.end()?;
    Ok(selected.unwrap_or_default())
}

/// What is left of the bounds.
struct Left {
    values: usize,
    objects: usize,
}

/// A value of the answer; evaluates to what is kept of it.
struct Node<'w, 'a> {
    left: &'w mut Left,
    /// What is wanted at or below it: the rests of the keys.
    sought: Vec<&'a str>,
    is_root: bool,
}

impl<'a> Node<'_, 'a> {
    fn is_wanted(&self) -> bool {
        self.sought.iter().any(|rest| rest.is_empty())
    }

    fn leaf(&self, value: impl FnOnce() -> Value) -> Option<Value> {
        self.is_wanted().then(value)
    }

    /// What is wanted below a key; `None` is an element of a list.
    fn below(sought: &[&'a str], key: Option<&str>) -> Vec<&'a str> {
        let step = |rest: &&'a str| {
            let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
            (first == "*" || key.is_some_and(|key| !first.is_empty() && first == key))
                .then_some(rest)
        };
        sought.iter().filter_map(step).collect()
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let left = &mut self.left.values;
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
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        let text = || value.chars().take(TEXT_CHARS_MAX).collect::<String>();
        Ok(self.leaf(|| text().into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.leaf(|| Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Self { left, sought, .. } = self;
        let below = Self::below(&sought, None);
        let mut kept = Vec::new();
        loop {
            let element = Node {
                left: &mut *left,
                sought: match kept.len() < ELEMENTS_MAX {
                    true => below.clone(),
                    false => Vec::new(),
                },
                is_root: false,
            };
            match elements.next_element_seed(element)? {
                Some(element) => kept.extend(element),
                None => break,
            }
        }
        Ok((!sought.is_empty()).then_some(Value::Array(kept)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let Self { left, sought, .. } = self;
        left.objects = left
            .objects
            .checked_sub(1)
            .ok_or_else(|| A::Error::custom("too many objects"))?;
        let mut kept = Map::new();
        while let Some((key, below)) = members.next_key_seed(Key {
            sought: &sought,
            is_full: kept.len() >= ELEMENTS_MAX,
        })? {
            let member = Node {
                left: &mut *left,
                sought: below,
                is_root: false,
            };
            if let Some(member) = members.next_value_seed(member)? {
                kept.insert(key, member);
            }
        }
        Ok((!sought.is_empty()).then_some(Value::Object(kept)))
    }
}

/// A key of an object; evaluates to itself and what is wanted below it.
struct Key<'s, 'a> {
    sought: &'s [&'a str],
    is_full: bool,
}

impl<'de, 'a> DeserializeSeed<'de> for Key<'_, 'a> {
    type Value = (String, Vec<&'a str>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'_, 'a> {
    type Value = (String, Vec<&'a str>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let below = match self.is_full || key.len() > KEY_MAX {
            true => Vec::new(),
            false => Node::below(self.sought, Some(key)),
        };
        // The key of a member that is left out is not needed.
        let key = if below.is_empty() { "" } else { key };
        Ok((key.to_owned(), below))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        bytes: 1 << 20,
        values: 20_000,
        objects: 5000,
    };

    fn selected(json: &Value, wanted: &[&str]) -> Value {
        select(json.to_string().as_bytes(), wanted, BOUNDS).expect("an object")
    }

    #[test]
    fn only_what_is_wanted_is_kept() {
        let json = json!({
            "a": 1, "b": {"c": -2, "d": {"e": 3.5}}, "unwanted": {"a": 7},
            "lost": {"slow": 4, "closed": 5},
            "list": [{"x": true, "y": "no"}, {"y": 1}, 7, {"x": null, "x2": 1}],
        });
        assert_eq!(
            selected(&json, &["a", "b.d.e", "lost.*", "list.*.x", "absent.z"]),
            json!({
                "a": 1, "b": {"d": {"e": 3.5}}, "lost": {"slow": 4, "closed": 5},
                "list": [{"x": true}, {}, {"x": null}],
            })
        );
    }

    #[test]
    fn a_wanted_value_that_is_no_leaf_is_empty() {
        let json = json!({"a": [1, {"b": 2}], "c": {"d": 3}, "e": 1});
        let found = selected(&json, &["a", "c", "e.f"]);
        assert_eq!(found, json!({"a": [], "c": {}}));
    }

    #[test]
    fn lists_texts_and_keys_are_cut() {
        let many: Vec<u64> = (0..ELEMENTS_MAX as u64 + 5).collect();
        let long = "ü".repeat(TEXT_CHARS_MAX + 1);
        let key = "k".repeat(KEY_MAX + 1);
        let mut json = json!({"list": many, "text": long, "map": {}});
        json["map"][&key] = 1.into();
        json["map"]["short"] = 2.into();
        let found = selected(&json, &["list.*", "text", "map.*"]);
        assert_eq!(found["list"].as_array().map(Vec::len), Some(ELEMENTS_MAX));
        let text = found["text"].as_str().expect("a text");
        assert_eq!(text.chars().count(), TEXT_CHARS_MAX);
        assert_eq!(found["map"], json!({"short": 2}));
    }

    #[test]
    fn only_a_complete_object_within_the_bounds_is_an_answer() {
        let refused = |text: &str| select(text.as_bytes(), &["a"], BOUNDS).is_err();
        for text in ["", "[]", "7", "{", "{}{}", "{\"a\":1e999}", "<html>"] {
            assert!(refused(text), "{text}");
        }
        let list = |element: &str, count: usize| {
            refused(&format!("{{\"y\":[{}]}}", vec![element; count].join(",")))
        };
        assert!(!list("{}", BOUNDS.objects - 1) && list("{}", BOUNDS.objects));
        assert!(!list("0", BOUNDS.values - 2) && list("0", BOUNDS.values - 1));
        assert!(refused(&format!("{{\"y\":{}", "[".repeat(100_000))));
    }

    /// Any JSON object of a few keys.
    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z*.]{0,3}".prop_map(Value::from),
        ];
        let any = leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                members(inner).prop_map(Value::Object),
            ]
        });
        members(any).prop_map(Value::Object)
    }

    fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        let key = prop_oneof!["[abc]", Just("*".to_owned()), Just(String::new())];
        vec((key, value), 0..4).prop_map(|members| members.into_iter().collect())
    }

    /// The same by way of the whole tree.
    fn reference(value: &Value, wanted: &[Vec<&str>]) -> Option<Value> {
        let below = |is_step: &dyn Fn(&str) -> bool| -> Vec<Vec<&str>> {
            let steps = wanted.iter().filter_map(|wanted| wanted.split_first());
            let below = steps.filter(|(step, _)| is_step(step));
            below.map(|(_, rest)| rest.to_vec()).collect()
        };
        match value {
            _ if wanted.is_empty() => None,
            Value::Array(elements) => {
                let below = below(&|step| step == "*");
                let kept = elements.iter().filter_map(|one| reference(one, &below));
                Some(kept.collect())
            }
            Value::Object(members) => {
                let kept = members.iter().filter_map(|(key, one)| {
                    let below = below(&|step| step == "*" || step == key);
                    Some((key.clone(), reference(one, &below)?))
                });
                Some(Value::Object(kept.collect()))
            }
            leaf => wanted.iter().any(Vec::is_empty).then(|| leaf.clone()),
        }
    }

    proptest! {
        #[test]
        fn the_selection_is_that_of_the_whole_tree(
            json in any_object(),
            wanted in vec(vec("[abc*]", 1..4), 0..5),
        ) {
            let keys: Vec<String> = wanted.iter().map(|keys| keys.join(".")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let steps: Vec<Vec<&str>> = keys.iter().map(|keys| keys.split('.').collect()).collect();
            let expected = reference(&json, &steps).unwrap_or_default();
            prop_assert_eq!(selected(&json, &keys), expected);
        }

        #[test]
        fn whatever_comes_is_survived(body in vec(any::<u8>(), 0..200)) {
            let _ = select(&body, &["a.*.b", "*"], BOUNDS);
        }
    }
}
