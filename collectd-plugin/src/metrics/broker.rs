//! The broker as `/varz` describes it: what every answer must have to be accepted.

use serde_json::Value as Json;

use super::read::time;

/// Keys that an answer must have, as texts.
const TEXTS: [&str; 4] = ["server_id", "version", "start", "now"];

/// Keys that an answer must have, as numbers from 0.
const COUNTS: [&str; 3] = ["connections", "in_msgs", "out_msgs"];

/// Values that every broker reports: if one is absent, that is logged.
const EXPECTED: [&str; 7] = [
    "cpu",
    "in_bytes",
    "mem",
    "out_bytes",
    "slow_consumers",
    "subscriptions",
    "total_connections",
];

/// What is present in the block `cluster` of a member.
const CLUSTER: &str = "cluster.cluster_port";

/// A broker.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    /// Its id, new at each start.
    pub(crate) server_id: String,
    /// Its name.
    pub(crate) server_name: String,
    /// Its version.
    pub(crate) version: String,
    /// When it started, as it reported it.
    pub(crate) start: String,
    /// Seconds since then; `None` if its clock was set back before the start or a time is not
    /// RFC 3339.
    pub(crate) uptime: Option<f64>,
    /// Whether it is a member of a cluster.
    pub(crate) is_member: bool,
    /// Keys of [`EXPECTED`] that it does not report.
    pub(crate) missing: Vec<&'static str>,
}

impl Broker {
    /// The keys of `/varz` that it needs.
    pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
        let needed = TEXTS.into_iter().chain(COUNTS).chain(EXPECTED);
        needed.chain(["server_name", CLUSTER])
    }

    /// Reads an answer of `/varz`.
    ///
    ///  # Errors
    ///
    /// It is not that of a broker: which key is missing or wrong.
    pub(crate) fn read(varz: &Json) -> Result<Self, String> {
        let is_text = |found: &Json| found.as_str().is_some_and(|text| !text.is_empty());
        let is_count = |found: &Json| found.as_f64().is_some_and(|number| number >= 0.0);
        for key in TEXTS {
            check(varz, key, is_text, "a text")?;
        }
        for key in COUNTS {
            check(varz, key, is_count, "a number from 0")?;
        }
        let mut needed = TEXTS.into_iter().chain(COUNTS);
        if let Some(key) = needed.find(|key| varz.get(key).is_none()) {
            return Err(format!("no \"{key}\""));
        }
        let text = |key: &str| varz[key].as_str().unwrap_or_default().to_owned();
        let (start, now) = (text("start"), text("now"));
        let missing = EXPECTED.into_iter().filter(|key| varz.get(key).is_none());
        Ok(Self {
            server_id: text("server_id"),
            server_name: text("server_name"),
            version: text("version"),
            uptime: uptime(&start, &now),
            start,
            is_member: super::read::at(varz, CLUSTER).is_some(),
            missing: missing.collect(),
        })
    }
}

/// Whether a value, if it is there, is right.
fn check(
    varz: &Json,
    key: &str,
    is_right: impl Fn(&Json) -> bool,
    expected: &str,
) -> Result<(), String> {
    match varz.get(key).filter(|found| !is_right(found)) {
        Some(found) => Err(format!("\"{key}\" is {found}, not {expected}")),
        None => Ok(()),
    }
}

fn uptime(start: &str, now: &str) -> Option<f64> {
    let seconds = (time(now)? - time(start)?).as_seconds_f64();
    (seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// The smallest acceptable answer, plus these keys.
    pub(crate) fn varz(more: Json) -> Json {
        let mut varz = json!({
            "server_id": "N", "version": "2", "start": "2026-01-01T00:00:00Z",
            "now": "2026-01-01T00:00:00Z", "connections": 1, "in_msgs": 1, "out_msgs": 2,
        });
        let (Json::Object(all), Json::Object(more)) = (&mut varz, more) else {
            panic!("objects");
        };
        all.extend(more);
        varz
    }

    #[test]
    fn what_is_not_reported_is_missing() {
        let broker = Broker::read(&varz(json!({"mem": 1, "cpu": 0, "server_name": "b"})));
        let broker = broker.expect("a sparse answer");
        assert_eq!(broker.server_name, "b");
        assert!(!broker.is_member);
        let missing = [
            "in_bytes",
            "out_bytes",
            "slow_consumers",
            "subscriptions",
            "total_connections",
        ];
        assert_eq!(broker.missing, missing);
        let member = Broker::read(&varz(json!({"cluster": {"cluster_port": 6222}})));
        assert!(member.expect("an answer").is_member);
    }

    #[test]
    fn uptime_uses_the_brokers_own_clock() {
        for (start, now, expected) in [
            (
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00.5Z",
                Some(86_400.5),
            ),
            (
                "2026-01-01T00:00:00-05:00",
                "2026-01-01T05:00:09.000000001Z",
                Some(9.000_000_001),
            ),
            ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", None),
            ("yesterday", "2026-01-01T00:00:00Z", None),
        ] {
            let broker = Broker::read(&varz(json!({"start": start, "now": now})));
            assert_eq!(broker.expect("an answer").uptime, expected, "{start} {now}");
        }
    }

    #[test]
    fn answers_of_something_else_are_rejected() {
        for (varz, reason) in [
            (json!({}), "no \"server_id\""),
            (json!({"status": "ok"}), "no \"server_id\""),
            (varz(json!({"server_id": 5})), "\"server_id\" is 5"),
            (varz(json!({"server_id": ""})), "\"server_id\" is \"\""),
            (varz(json!({"connections": -5})), "\"connections\" is -5"),
            (varz(json!({"in_msgs": null})), "\"in_msgs\" is null"),
            (varz(json!({"out_msgs": true})), "\"out_msgs\" is true"),
        ] {
            let error = Broker::read(&varz).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
        for key in TEXTS.into_iter().chain(COUNTS) {
            let mut varz = varz(json!({}));
            varz.as_object_mut().expect("an object").remove(key);
            let error = Broker::read(&varz).expect_err(key);
            assert_eq!(error, format!("no \"{key}\""));
        }
    }
}
