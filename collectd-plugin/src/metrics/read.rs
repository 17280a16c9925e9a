//! Reads the values of the table from the answers of a poll.
//!
//! What an answer does not have has no value, so that collectd sees that it is missing. What cannot be
//! a value of its kind (a negative count, a text) is left out as well, and logged by the caller.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, FixedOffset};
use serde_json::Value as Json;

use super::{
    names::{Names, type_instance},
    source::{Endpoint, Figure, List, Members, Ranked, Source, seconds},
    table::{Form, Group, Metric},
};
use crate::daemon::Value;

/// Types of which the largest counts if several elements of a list have one name, as the pooled
/// routes of nats-server; others are added up.
const LARGEST_COUNTS: [&str; 2] = ["bool", "latency"];

/// Days have this many seconds.
const DAY: f64 = 86_400.0;

/// The answers of a poll, reduced to what [`wanted`] says.
pub(crate) type Answers = BTreeMap<Endpoint, Json>;

/// The values of one identifier.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading {
    /// Whether it belongs to an old configuration.
    pub(crate) is_legacy: bool,
    pub(crate) kind: &'static str,
    pub(crate) type_instance: String,
    pub(crate) values: Vec<Value>,
}

/// The values of a poll, and what is wrong with others.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub(crate) readings: Vec<Reading>,
    /// Values that were left out.
    pub(crate) wrong: Vec<(Endpoint, Wrong)>,
    seen: HashSet<(bool, &'static str, String)>,
}

/// Something that is not a value of its kind.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) key: &'static str,
    /// What it is, as JSON.
    pub(crate) found: String,
}

/// What these metrics need of the answers: keys separated by dots, by endpoint.
pub(crate) fn wanted<'a>(
    metrics: impl IntoIterator<Item = &'a Metric>,
) -> BTreeMap<Endpoint, BTreeSet<String>> {
    let mut wanted: BTreeMap<Endpoint, BTreeSet<String>> = BTreeMap::new();
    for metric in metrics {
        let (endpoint, keys): (_, Vec<String>) = match &metric.source {
            Source::Own(_) | Source::Findings(_) => continue,
            Source::Answer(endpoint, figure) => {
                let keys = figure.keys().into_iter();
                (*endpoint, keys.map(str::to_owned).collect())
            }
            Source::Each(list, figure) => {
                let keys = figure
                    .keys()
                    .into_iter()
                    .chain(list.name_keys.iter().copied());
                let element = |key| format!("{}.*.{key}", list.key);
                (list.endpoint, keys.map(element).collect())
            }
            Source::Members(members) => (members.endpoint, vec![format!("{}.*", members.key)]),
            Source::Ranked(ranked) => {
                let keys = ranked.figure.keys().into_iter();
                let element = |key| format!("{}.*.{key}", ranked.list);
                (ranked.endpoint, keys.map(element).collect())
            }
        };
        wanted.entry(endpoint).or_default().extend(keys);
    }
    wanted
}

/// Reads the values of a metric. `ranks` is the number of elements of ranked lists.
pub(crate) fn read(
    metric: &'static Metric,
    answers: &Answers,
    names: &mut Names,
    ranks: usize,
    to: &mut Readings,
) {
    match &metric.source {
        // The poll knows them.
        Source::Own(_) | Source::Findings(_) => {}
        Source::Answer(endpoint, figure) => {
            if let Some(answer) = answers.get(endpoint) {
                let values = figure_of(figure, metric.form, answer, now(answers));
                to.add(metric, *endpoint, metric.type_instance.to_owned(), values);
            }
        }
        Source::Each(list, figure) => {
            if let Some(answer) = answers.get(&list.endpoint) {
                to.add_elements(metric, list, figure, answer, now(answers), names);
            }
        }
        Source::Members(members) => {
            if let Some(answer) = answers.get(&members.endpoint) {
                to.add_members(metric, members, answer, names);
            }
        }
        Source::Ranked(ranked) => {
            if let Some(answer) = answers.get(&ranked.endpoint) {
                to.add_ranked(metric, ranked, answer, ranks);
            }
        }
    }
}

impl Readings {
    /// Adds values, unless the identifier has some already.
    fn add(
        &mut self,
        metric: &'static Metric,
        endpoint: Endpoint,
        type_instance: String,
        values: Result<Option<Vec<Value>>, Wrong>,
    ) {
        match values {
            Ok(None) => {}
            Ok(Some(values)) => {
                let is_legacy = metric.group == Group::Legacy;
                let identifier = (is_legacy, metric.kind, type_instance.clone());
                if self.seen.insert(identifier) {
                    self.readings.push(Reading {
                        is_legacy,
                        kind: metric.kind,
                        type_instance,
                        values,
                    });
                }
            }
            Err(wrong) => self.wrong.push((endpoint, wrong)),
        }
    }

    /// Adds what the plugin knows itself, if it is known.
    pub(crate) fn add_own(&mut self, metric: &'static Metric, number: Option<f64>) {
        let values = number.map(|number| vec![Value::Gauge(number)]);
        let type_instance = metric.type_instance.to_owned();
        self.add(metric, Endpoint::Varz, type_instance, Ok(values));
    }

    fn add_elements(
        &mut self,
        metric: &'static Metric,
        list: &List,
        figure: &Figure,
        answer: &Json,
        now: Option<DateTime<FixedOffset>>,
        names: &mut Names,
    ) {
        let elements = answer[list.key].as_array().map_or(&[][..], Vec::as_slice);
        let mut by_name: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for element in elements {
            let Some(name) = (list.name)(element) else {
                continue;
            };
            match figure_of(figure, metric.form, element, now) {
                Ok(None) => {}
                Ok(Some(values)) => {
                    by_name
                        .entry(name)
                        .and_modify(|known| combine(metric.kind, known, &values))
                        .or_insert(values);
                }
                Err(wrong) => self.wrong.push((list.endpoint, wrong)),
            }
        }
        for (name, values) in by_name {
            if names.admit(list.what, name) {
                let type_instance = type_instance(metric.type_instance, name);
                self.add(metric, list.endpoint, type_instance, Ok(Some(values)));
            }
        }
    }

    fn add_members(
        &mut self,
        metric: &'static Metric,
        members: &Members,
        answer: &Json,
        names: &mut Names,
    ) {
        let object = at(answer, members.key).and_then(Json::as_object);
        for (name, found) in object.into_iter().flatten() {
            if !name.is_empty() && names.admit(members.what, name) {
                let value = value(members.key, found, metric.form).map(|value| Some(vec![value]));
                let type_instance = type_instance(metric.type_instance, name);
                self.add(metric, members.endpoint, type_instance, value);
            }
        }
    }

    fn add_ranked(
        &mut self,
        metric: &'static Metric,
        ranked: &Ranked,
        answer: &Json,
        ranks: usize,
    ) {
        let Some(elements) = answer[ranked.list].as_array() else {
            return;
        };
        for rank in 0..ranks {
            let value = match elements.get(rank) {
                Some(element) => figure_of(&ranked.figure, metric.form, element, None),
                None => Ok(Some(vec![Value::Gauge(0.0)])),
            };
            let type_instance = type_instance(metric.type_instance, &(rank + 1).to_string());
            self.add(metric, ranked.endpoint, type_instance, value);
        }
    }
}

/// The values of a figure; `None` if one of them is absent.
fn figure_of(
    figure: &Figure,
    form: Form,
    object: &Json,
    now: Option<DateTime<FixedOffset>>,
) -> Result<Option<Vec<Value>>, Wrong> {
    let value_at = |key: &'static str| {
        let found = at(object, key);
        found.map(|found| value(key, found, form)).transpose()
    };
    let number_at = |key: &'static str| {
        let found = at(object, key);
        found.map(|found| number(key, found)).transpose()
    };
    let one = |number: Option<f64>| Ok(number.map(|number| vec![Value::Gauge(number)]));
    match figure {
        Figure::Keys(keys) => keys.iter().map(|key| value_at(key)).collect(),
        Figure::Percent(used, limit) => {
            let pair = number_at(used)?.zip(number_at(limit)?);
            let pair = pair.filter(|(_, limit)| *limit > 0.0);
            one(pair.map(|(used, limit)| (used / limit * 100.0).min(100.0)))
        }
        Figure::DaysUntil(key) => {
            let end = at(object, key).and_then(Json::as_str).and_then(time);
            let pair = end.zip(now);
            one(pair.map(|(end, now)| (end - now).as_seconds_f64() / DAY))
        }
        Figure::Sampled(key, count) => match number_at(count)? {
            Some(count) if count > 0.0 => Ok(value_at(key)?.map(|value| vec![value])),
            _ => Ok(None),
        },
        Figure::One => one(Some(1.0)),
    }
}

fn value(key: &'static str, found: &Json, form: Form) -> Result<Value, Wrong> {
    let wrong = || Wrong::new(key, found);
    match form {
        Form::Counter => found.as_u64().map(Value::Counter).ok_or_else(wrong),
        Form::Derive => {
            let total = found.as_i64().filter(|total| *total >= 0);
            total.map(Value::Derive).ok_or_else(wrong)
        }
        Form::Gauge => number(key, found).map(Value::Gauge),
        Form::Signed => found.as_f64().map(Value::Gauge).ok_or_else(wrong),
    }
}

/// A number that is not negative; a flag is 0 or 1, a duration its seconds.
fn number(key: &'static str, found: &Json) -> Result<f64, Wrong> {
    let number = match found {
        Json::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Json::String(duration) => seconds(duration),
        other => other.as_f64(),
    };
    number
        .filter(|number| *number >= 0.0)
        .ok_or_else(|| Wrong::new(key, found))
}

impl Wrong {
    fn new(key: &'static str, found: &Json) -> Self {
        Self {
            key,
            found: found.to_string(),
        }
    }
}

fn combine(kind: &str, known: &mut [Value], more: &[Value]) {
    for (known, more) in known.iter_mut().zip(more) {
        *known = match (*known, *more) {
            (Value::Derive(one), Value::Derive(other)) => Value::Derive(one.saturating_add(other)),
            (Value::Gauge(one), Value::Gauge(other)) if LARGEST_COUNTS.contains(&kind) => {
                Value::Gauge(one.max(other))
            }
            (Value::Gauge(one), Value::Gauge(other)) => Value::Gauge(one + other),
            (first, _) => first,
        };
    }
}

/// What is at the end of these keys.
pub(super) fn at<'a>(object: &'a Json, keys: &str) -> Option<&'a Json> {
    keys.split('.')
        .try_fold(object, |object, key| object.get(key))
}

/// The broker's time at its `/varz`.
fn now(answers: &Answers) -> Option<DateTime<FixedOffset>> {
    time(answers.get(&Endpoint::Varz)?.get("now")?.as_str()?)
}

pub(super) fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}
