//! What the broker answers in the system account: its subjects, and what a request to one of them
//! asks.
//!
//! Peers are told of exactly these subjects ([`subjects`]), so that a request to any other one has
//! no responders in the whole mesh, and its sender is told at once.

use crate::account::Account;

/// The request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// Such as `VARZ`.
    pub topic: String,
    /// The account that is asked about; of the broker without.
    pub account: Option<String>,
    /// Whether every broker that receives it answers; one that the body does not select
    /// stays silent.
    pub is_ping: bool,
}

/// Topics of `$SYS.REQ.SERVER.PING.` and of `$SYS.REQ.SERVER.<id>.`.
const SERVER_TOPICS: &[&str] = &[
    "ACCOUNTZ",
    "CONNZ",
    "EXPVARZ",
    "GATEWAYZ",
    "HEALTHZ",
    "IDZ",
    "IPQUEUESZ",
    "JSZ",
    "LEAFZ",
    "PROFILEZ",
    "RAFTZ",
    "ROUTEZ",
    "STATSZ",
    "SUBSZ",
    "VARZ",
];

/// Topics of `$SYS.REQ.SERVER.<id>.` alone: they do something.
const SERVER_ACTIONS: &[&str] = &["KICK", "LDM", "RELOAD"];

/// Topics of `$SYS.REQ.SERVER.<id>.` alone that members of the cluster ask each other.
const MEMBER_TOPICS: &[&str] = &["NODESZ"];

/// How many subscribers a subject has, asked within the system account.
const SUBSCRIBERS: &str = "$SYS.DEBUG.SUBSCRIBERS";

/// The same, asked by a member of the cluster that was asked.
pub const SUBSCRIBERS_HERE: &str = "$SYS.REQ.ACCOUNT.NSUBS";

/// Prefix of the topics of `$SYS.REQ.SERVER.<id>.` for a member's answer to a count
/// request; the number of the request follows.
pub const COUNTED: &str = "NSUBS.";

/// Prefix of the subjects, in the system account, of what the broker of a responder has measured;
/// [`latency_token`] of the requester's broker follows.
pub const LATENCY_HALF: &str = "$SYS.LATENCY.M2.";

/// The topic of such a message.
pub const LATENCY_TOPIC: &str = "LATENCY";

/// What names the broker of this id in reply subjects that are measured.
pub fn latency_token(server_id: &str) -> &str {
    server_id.get(..16).unwrap_or(server_id)
}

/// Topics of `$SYS.REQ.ACCOUNT.<account>.`.
const ACCOUNT_TOPICS: &[&str] = &["CONNS", "CONNZ", "INFO", "JSZ", "LEAFZ", "STATZ", "SUBSZ"];

impl Query {
    /// What a message to `subject` in `account` asks of the broker of this id;
    /// `None` if nothing. Outside of the system account one may ask about
    /// one's own account only.
    pub fn parse(subject: &[u8], account: &Account, server_id: &str) -> Option<Self> {
        let subject = std::str::from_utf8(subject).ok()?;
        if account.is_system && subject == SUBSCRIBERS {
            return Some(Self {
                topic: "SUBSCRIBERS".to_owned(),
                account: Some(account.name.clone()),
                is_ping: false,
            });
        }
        if account.is_system && subject.strip_prefix(LATENCY_HALF) == Some(latency_token(server_id))
        {
            return Some(Self {
                topic: LATENCY_TOPIC.to_owned(),
                account: None,
                is_ping: false,
            });
        }
        let rest = subject.strip_prefix("$SYS.REQ.")?;
        if !account.is_system {
            let topic = match rest {
                "ACCOUNT.PING.CONNZ" | "SERVER.PING.CONNZ" => "CONNZ",
                "ACCOUNT.PING.STATZ" => "STATZ",
                _ => return None,
            };
            return Some(Self {
                topic: topic.to_owned(),
                account: Some(account.name.clone()),
                is_ping: true,
            });
        }
        let tokens: Vec<&str> = rest.split('.').collect();
        let (topic, account, is_ping) = match *tokens {
            ["ACCOUNT", "NSUBS"] => ("NSUBS", None, false),
            ["SERVER", id, "NSUBS", number] if id == server_id => {
                return Some(Self {
                    topic: format!("{COUNTED}{number}"),
                    account: None,
                    is_ping: false,
                });
            }
            ["SERVER", "PING"] => ("STATSZ", None, true),
            ["SERVER", "PING", topic] if SERVER_TOPICS.contains(&topic) => (topic, None, true),
            ["SERVER", id, topic] if id == server_id => {
                let known = SERVER_TOPICS
                    .iter()
                    .chain(SERVER_ACTIONS)
                    .chain(MEMBER_TOPICS);
                known.into_iter().find(|known| **known == topic)?;
                (topic, None, false)
            }
            ["ACCOUNT", "PING", "STATZ"] => ("STATZ", None, true),
            ["ACCOUNT", name, topic] if ACCOUNT_TOPICS.contains(&topic) => {
                (topic, Some(name.to_owned()), false)
            }
            _ => return None,
        };
        Some(Self {
            topic: topic.to_owned(),
            account,
            is_ping,
        })
    }
}

/// The subjects of a member's system account that its peers must know of, so
/// that they pass requests on to the broker of this id.
pub fn subjects(server_id: &str) -> Vec<String> {
    let to_all = SERVER_TOPICS.iter();
    let to_all = to_all.map(|topic| format!("$SYS.REQ.SERVER.PING.{topic}"));
    let to_one = SERVER_TOPICS
        .iter()
        .chain(SERVER_ACTIONS)
        .chain(MEMBER_TOPICS);
    let to_one = to_one.map(|topic| format!("$SYS.REQ.SERVER.{server_id}.{topic}"));
    let about_account = ACCOUNT_TOPICS.iter();
    let about_account = about_account.map(|topic| format!("$SYS.REQ.ACCOUNT.*.{topic}"));
    let others = [
        SUBSCRIBERS_HERE.to_owned(),
        "$SYS.REQ.SERVER.PING".to_owned(),
        format!("$SYS.REQ.SERVER.{server_id}.{COUNTED}*"),
        format!("{LATENCY_HALF}{}", latency_token(server_id)),
    ];
    let others = others.into_iter();
    others
        .chain(to_all)
        .chain(to_one)
        .chain(about_account)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;

    #[test]
    fn peers_know_what_is_answered_and_nothing_else() {
        let mut system = Account::new("$SYS");
        system.is_system = true;
        let known = subjects("N1");
        for pattern in &known {
            let subject = pattern.replace('*', "A");
            let asked = Query::parse(subject.as_bytes(), &system, "N1");
            assert!(asked.is_some(), "{subject}");
        }
        for unknown in [
            "$SYS.REQ.SERVER.PING.NOPE",
            "$SYS.REQ.SERVER.PING.KICK",
            "$SYS.REQ.SERVER.N1.NOPE",
            "$SYS.REQ.ACCOUNT.A.NOPE",
            "$SYS.REQ.ACCOUNT.A.CLAIMS.LOOKUP",
        ] {
            let covers =
                |pattern: &String| subject::matches(pattern.as_bytes(), unknown.as_bytes());
            assert!(!known.iter().any(covers), "{unknown}");
            assert_eq!(Query::parse(unknown.as_bytes(), &system, "N1"), None);
        }
    }

    #[test]
    fn requests_and_their_topics() {
        let mut system = Account::new("$SYS");
        system.is_system = true;
        let asked = |subject: &str, account: &Account| {
            let ask = Query::parse(subject.as_bytes(), account, "N1")?;
            Some((ask.topic, ask.account))
        };
        let all = |topic: &str| Some((topic.to_owned(), None));
        let about = |topic: &str, account: &str| Some((topic.to_owned(), Some(account.to_owned())));
        for (subject, expected) in [
            ("$SYS.REQ.SERVER.PING", all("STATSZ")),
            ("$SYS.REQ.SERVER.PING.VARZ", all("VARZ")),
            ("$SYS.REQ.SERVER.N1.KICK", all("KICK")),
            ("$SYS.REQ.ACCOUNT.A.INFO", about("INFO", "A")),
            ("$SYS.DEBUG.SUBSCRIBERS", about("SUBSCRIBERS", "$SYS")),
            ("$SYS.REQ.ACCOUNT.NSUBS", all("NSUBS")),
            ("$SYS.REQ.SERVER.N1.NSUBS.3", all("NSUBS.3")),
            ("$SYS.REQ.SERVER.PING.KICK", None),
            ("$SYS.REQ.SERVER.N1.NODESZ", all("NODESZ")),
            ("$SYS.REQ.SERVER.PING.NODESZ", None),
            ("$SYS.REQ.SERVER.N2.VARZ", None),
            ("$SYS.REQ.SERVER.PING.NOPE", None),
            ("$SYS.REQ.SERVER", None),
        ] {
            assert_eq!(asked(subject, &system), expected, "{subject}");
        }
        let other = Account::new("A");
        assert_eq!(
            asked("$SYS.REQ.SERVER.PING.CONNZ", &other),
            about("CONNZ", "A")
        );
        assert_eq!(
            asked("$SYS.REQ.ACCOUNT.PING.STATZ", &other),
            about("STATZ", "A")
        );
        for subject in [
            "$SYS.REQ.SERVER.PING",
            "$SYS.REQ.SERVER.PING.VARZ",
            "$SYS.REQ.ACCOUNT.B.CONNZ",
            "$SYS.REQ.SERVER.N1.KICK",
            "$SYS.DEBUG.SUBSCRIBERS",
            "$SYS.REQ.ACCOUNT.NSUBS",
            "$SYS.REQ.SERVER.N1.NSUBS.3",
        ] {
            assert_eq!(asked(subject, &other), None, "{subject}");
        }
    }
}
