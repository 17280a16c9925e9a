//! Subjects of one form as one row: `/topz` calls [`grouped`] with the subjects that a sketch has
//! counted.
//!
//! A fleet uses subjects that each carry one message, such as those of replies, and one for each
//! node. Listed one by one they hide everything else. A token is variable, shown as `*`, by its form
//! (a hash, an id) or by how its place is used: many tokens there, each with about as much traffic as
//! the others or with a message or two. A subject that stands out of its group stays a row of its
//! own. All of that is a function of the counts: nothing is learned while messages are routed, and
//! nothing is kept.

use std::collections::HashMap;

use super::sketch::Hit;

/// Tokens at one place from which on they are variable, whatever their traffic.
const MANY: usize = 64;

/// The same if none of them stands out.
const SEVERAL: usize = 16;

/// The same if each has a message or some; behind a token that is an id by its form, two are enough.
const FEW: usize = 8;
const FEW_BEHIND_ID: usize = 2;
const ONE_OFF_MSGS: u64 = 4;

/// How many times the average stands out, and how many messages at least.
const OUTSTANDING: u64 = 4;
const OUTSTANDING_MSGS: u64 = 16;

/// A row: one subject, or several of one form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The sums. The name of several subjects has `*` where they differ; the publisher is that of the
    /// one with most messages.
    pub hit: Hit,
    /// Subjects that were counted one by one; there may have been more.
    pub subjects: usize,
}

/// Adds up what belongs together, in no order.
pub fn grouped(hits: &[Hit]) -> Vec<Group> {
    let tokens: Vec<Vec<&[u8]>> = hits
        .iter()
        .map(|hit| hit.subject.split(|byte| *byte == b'.').collect())
        .collect();
    let mut of_series: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, hit) in hits.iter().enumerate() {
        of_series.entry(hit.series).or_default().push(index);
    }
    let whole = |members| Part {
        members,
        ..Part::default()
    };
    let mut parts: Vec<Part> = of_series.into_values().map(whole).collect();
    let mut groups = Vec::new();
    // Step by step: a subject has as many places as its publisher chooses.
    while let Some(part) = parts.pop() {
        let ended = part.divide(hits, &tokens, &mut parts);
        groups.extend(group(hits, &ended, &part.name));
    }
    groups
}

/// The row of these subjects.
fn group(hits: &[Hit], members: &[usize], name: &[u8]) -> Option<Group> {
    let of = || members.iter().map(|index| &hits[*index]);
    let most = of().max_by_key(|hit| hit.msgs)?;
    let sum = |figure: fn(&Hit) -> u64| of().map(figure).sum();
    Some(Group {
        hit: Hit {
            series: most.series,
            // One alone is told as it is.
            subject: match members {
                [_] => most.subject.clone(),
                _ => name.into(),
            },
            msgs: sum(|hit| hit.msgs),
            bytes: sum(|hit| hit.bytes),
            error: sum(|hit| hit.error),
            publisher: most.publisher,
        },
        subjects: members.len(),
    })
}

/// Subjects that are the same in their first places.
#[derive(Default)]
struct Part {
    members: Vec<usize>,
    /// The place where they may differ.
    at: usize,
    /// Their name up to there.
    name: Vec<u8>,
    /// An id is part of it.
    is_behind_id: bool,
}

/// The subjects with one token.
#[derive(Default)]
struct Child {
    members: Vec<usize>,
    /// Their messages that are certain.
    msgs: u64,
}

impl Part {
    /// Divides the subjects by their token at this place, and returns those that end before it.
    fn divide(&self, hits: &[Hit], tokens: &[Vec<&[u8]>], parts: &mut Vec<Self>) -> Vec<usize> {
        let mut ended = Vec::new();
        let mut children: HashMap<&[u8], Child> = HashMap::new();
        let mut variable = Vec::new();
        for index in &self.members {
            match tokens[*index].get(self.at) {
                None => ended.push(*index),
                Some(token) if is_id(token) => variable.push(*index),
                Some(token) => {
                    let child = children.entry(token).or_default();
                    child.members.push(*index);
                    child.msgs += hits[*index].msgs.saturating_sub(hits[*index].error);
                }
            }
        }
        let has_id = !variable.is_empty();
        let average = self.average_if_variable(&children);
        for (token, child) in children {
            match average {
                Some(average) if !stands_out(child.msgs, average) => variable.extend(child.members),
                _ => parts.push(self.with(token, child.members, false)),
            }
        }
        if !variable.is_empty() {
            parts.push(self.with(b"*", variable, has_id));
        }
        ended
    }

    /// The average of the tokens at this place if they are variable.
    fn average_if_variable(&self, children: &HashMap<&[u8], Child>) -> Option<u64> {
        let count = children.len();
        let msgs = || children.values().map(|child| child.msgs);
        let average = msgs().sum::<u64>() / (count.max(1) as u64);
        let few = match self.is_behind_id {
            true => FEW_BEHIND_ID,
            false => FEW,
        };
        let is_even = || msgs().all(|msgs| !stands_out(msgs, average));
        let is_variable = count >= MANY
            || count >= SEVERAL && is_even()
            || count >= few && average <= ONE_OFF_MSGS;
        // The first token says what the subjects are about.
        (self.at > 0 && is_variable).then_some(average)
    }

    fn with(&self, token: &[u8], members: Vec<usize>, is_id: bool) -> Self {
        let mut name = self.name.clone();
        if self.at > 0 {
            name.push(b'.');
        }
        name.extend_from_slice(token);
        Self {
            members,
            at: self.at + 1,
            name,
            is_behind_id: self.is_behind_id || is_id,
        }
    }
}

fn stands_out(msgs: u64, average: u64) -> bool {
    msgs >= OUTSTANDING_MSGS && msgs >= OUTSTANDING.saturating_mul(average)
}

/// Whether a token is an id by its form: a hash in hexadecimal, a UUID, a NUID or what looks like
/// one, or a long number.
fn is_id(token: &[u8]) -> bool {
    let all = |is: fn(&u8) -> bool| token.iter().all(is);
    let some = |is: fn(&u8) -> bool| token.iter().any(is);
    let has_digit = some(u8::is_ascii_digit);
    let is_hash = token.len() >= 16 && all(u8::is_ascii_hexdigit);
    let is_uuid = token.len() == 36
        && token.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let is_nuid = token.len() >= 20
        && all(u8::is_ascii_alphanumeric)
        && some(u8::is_ascii_uppercase)
        && some(u8::is_ascii_lowercase);
    let is_number = token.len() >= 9 && all(u8::is_ascii_digit);
    has_digit && (is_hash || is_uuid || is_nuid) || is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(subject: &str, msgs: u64) -> Hit {
        Hit {
            series: 0,
            subject: subject.as_bytes().into(),
            msgs,
            bytes: 10 * msgs,
            error: 0,
            publisher: msgs,
        }
    }

    /// Names and numbers of messages, the most first.
    fn rows(hits: &[Hit]) -> Vec<(String, u64, usize)> {
        let mut rows: Vec<_> = grouped(hits)
            .into_iter()
            .map(|group| {
                let name = String::from_utf8_lossy(&group.hit.subject).into_owned();
                (name, group.hit.msgs, group.subjects)
            })
            .collect();
        rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        rows
    }

    fn row(name: &str, msgs: u64, subjects: usize) -> (String, u64, usize) {
        (name.into(), msgs, subjects)
    }

    #[test]
    fn what_a_fleet_uses_is_a_row_for_each_form() {
        let mut hits = vec![
            hit("mcollective.broadcast.agent.discovery", 500),
            hit("mcollective.broadcast.agent.rpcutil", 300),
        ];
        for number in 0..300_u64 {
            let hash = format!("{:032x}", number % 3 + 0xabcd_ef01_2345_6789);
            hits.push(hit(
                &format!("mcollective.reply.{hash}.{:032x}", number * 7919 + 1),
                2,
            ));
            hits.push(hit(&format!("mcollective.node.web{number}.example.net"), 5));
            let nuid = format!("Zq{number:04}hKpWJ7x9sTqRvLbM");
            hits.push(hit(&format!("_INBOX.{nuid}.{:03}aBc", number), 1));
            hits.push(hit(&format!("mcollective.reply.node.12{number}.7"), 1));
        }
        assert_eq!(
            rows(&hits),
            [
                row("mcollective.node.*.example.net", 1500, 300),
                row("mcollective.reply.*.*", 600, 300),
                row("mcollective.broadcast.agent.discovery", 500, 1),
                row("_INBOX.*.*", 300, 300),
                row("mcollective.broadcast.agent.rpcutil", 300, 1),
                row("mcollective.reply.node.*.7", 300, 300),
            ]
        );
        let all: u64 = hits.iter().map(|hit| hit.msgs).sum();
        let shown: u64 = rows(&hits).iter().map(|(_, msgs, _)| msgs).sum();
        assert_eq!(all, shown);
    }

    #[test]
    fn what_stands_out_stays_a_row_of_its_own() {
        let mut hits: Vec<Hit> = (0..100)
            .map(|number| hit(&format!("orders.{number}"), 10))
            .collect();
        hits.push(hit("orders.hot", 1000));
        let found = rows(&hits);
        assert_eq!(
            found,
            [row("orders.*", 1000, 100), row("orders.hot", 1000, 1)]
        );
        let publisher = grouped(&hits).iter().map(|group| group.hit.publisher).max();
        assert_eq!(publisher, Some(1000));
    }

    #[test]
    fn few_subjects_with_uneven_traffic_are_told_one_by_one() {
        for hits in [
            (1..=40)
                .map(|rank| hit(&format!("load.{rank}"), 4000 / rank))
                .collect::<Vec<_>>(),
            (0..15)
                .map(|number| hit(&format!("sensor.{number}"), 100))
                .collect(),
            // The first token says what it is about.
            (0..200)
                .map(|number| hit(&format!("app{number}.status"), 3))
                .collect(),
            vec![hit(
                "$SYS.ACCOUNT.UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6.CONNECT",
                9,
            )],
        ] {
            assert_eq!(rows(&hits).len(), hits.len(), "{:?}", rows(&hits));
        }
    }

    /// Counts that are not certain make no subject stand out.
    #[test]
    fn inherited_counts_do_not_stand_out() {
        let hits: Vec<Hit> = (0..100)
            .map(|number| Hit {
                error: 900 + number,
                ..hit(&format!("_R.{number}"), 901 + number)
            })
            .collect();
        let found = rows(&hits);
        assert_eq!((found.len(), &*found[0].0), (1, "_R.*"));
    }

    #[test]
    fn one_subject_is_told_as_it_is() {
        let subject = "_INBOX.Zq0001hKpWJ7x9sTqRvLbM.abc";
        assert_eq!(rows(&[hit(subject, 1)]), [row(subject, 1, 1)]);
    }

    #[test]
    fn accounts_are_apart() {
        let hits: Vec<Hit> = (0..40)
            .map(|number| Hit {
                series: number % 2,
                ..hit(&format!("node.{number}"), 3)
            })
            .collect();
        assert_eq!(rows(&hits), [row("node.*", 60, 20), row("node.*", 60, 20)]);
    }
}
