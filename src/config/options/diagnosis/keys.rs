//! The table of the keys in `diagnosis`.

use std::time::Duration;

use super::subjects;
use crate::config::options::{
    Options,
    keys::non_empty,
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual, field},
};

const TIMERS: &str = "the timers of the diagnosis are set at the start";

/// The keys of the block.
pub(in crate::config::options) static DIAGNOSIS: Block<Options> = Block {
    name: "diagnosis",
    title: "In `diagnosis`",
    place: "\"diagnosis\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                reload: Reload::Restart(TIMERS, field!(diagnosis.interval)),
                ..time(
                    "interval",
                    "\"1s\"",
                    "Time between two checks of the broker.",
                    |it, time| it.diagnosis.interval = time,
                    field!(diagnosis.interval),
                )
            },
            time(
                "appear_after",
                "\"2s\"",
                "How long a symptom must last to become a finding.",
                |it, time| it.diagnosis.appear_after = time,
                field!(diagnosis.appear_after),
            ),
            time(
                "clear_after",
                "\"10s\"",
                "How long a symptom must be gone before its finding clears.",
                |it, time| it.diagnosis.clear_after = time,
                field!(diagnosis.clear_after),
            ),
            time(
                "incident_window",
                "\"10m\"",
                "How long single incidents, such as a refused login, count.",
                |it, time| it.diagnosis.incident_window = time,
                field!(diagnosis.incident_window),
            ),
            time(
                "growth_window",
                "\"5m\"",
                "Time over which growth is measured.",
                |it, time| it.diagnosis.growth_window = time,
                field!(diagnosis.growth_window),
            ),
            time(
                "exhausted_within",
                "\"30m\"",
                "A limit that will be reached sooner than this, at the present growth, is a \
                 finding.",
                |it, time| it.diagnosis.exhausted_within = time,
                field!(diagnosis.exhausted_within),
            ),
            time(
                "queue_full_within",
                "\"1m\"",
                "A client that will be closed sooner than this is a finding: because its queue is \
                 full then at the present growth, or because write_deadline has passed.",
                |it, time| it.diagnosis.queue_full_within = time,
                field!(diagnosis.queue_full_within),
            ),
            time(
                "config_check",
                "\"10s\"",
                "Time between two checks of the configuration file.",
                |it, time| it.diagnosis.config_check = time,
                field!(diagnosis.config_check),
            ),
            time(
                "worker_delay",
                "\"250ms\"",
                "How long work may wait for a thread of the broker.",
                |it, time| it.diagnosis.worker_delay = time,
                field!(diagnosis.worker_delay),
            ),
            time(
                "route_rtt",
                "\"250ms\"",
                "Round trip to another broker of the cluster from which on it is a finding.",
                |it, time| it.diagnosis.route_rtt = time,
                field!(diagnosis.route_rtt),
            ),
            time(
                "route_silence",
                "\"10s\"",
                "How long another broker of the cluster may leave a request unanswered.",
                |it, time| it.diagnosis.route_silence = time,
                field!(diagnosis.route_silence),
            ),
            time(
                "planned_absence",
                "\"10m\"",
                "How long a broker of the cluster may be gone that said that it leaves (lame duck \
                 mode) before it is missing like any other.",
                |it, time| it.diagnosis.planned_absence = time,
                field!(diagnosis.planned_absence),
            ),
            count(
                "route_losses",
                "3",
                "Lost routes to one broker, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.route_losses = unsigned(number),
                field!(diagnosis.route_losses),
            ),
            count(
                "uneven_clients",
                "50",
                "Clients beyond an even share that a member of the cluster may have, if that is less \
                 than a quarter of the share.",
                |it, number| it.diagnosis.uneven_clients = unsigned(number),
                field!(diagnosis.uneven_clients),
            ),
            count(
                "storm_rate",
                "100",
                "Connections opened and closed in one second that are a storm.",
                |it, number| it.diagnosis.storm_rate = unsigned(number),
                field!(diagnosis.storm_rate),
            ),
            percent(
                "ceiling_warning",
                "80",
                "Percent of a limit from which on it is a warning.",
                |it, number| it.diagnosis.ceiling_warning = unsigned(number),
                field!(diagnosis.ceiling_warning),
            ),
            percent(
                "ceiling_critical",
                "95",
                "Percent of a limit from which on it is critical.",
                |it, number| it.diagnosis.ceiling_critical = unsigned(number),
                field!(diagnosis.ceiling_critical),
            ),
            percent(
                "slow_percent",
                "25",
                "Percent of `max_pending` from which on a reader is slow.",
                |it, number| it.diagnosis.slow_percent = unsigned(number),
                field!(diagnosis.slow_percent),
            ),
            percent(
                "payload_percent",
                "80",
                "Percent of `max_payload` from which on a message is large.",
                |it, number| it.diagnosis.payload_percent = unsigned(number),
                field!(diagnosis.payload_percent),
            ),
            count(
                "login_failures",
                "5",
                "Refused logins, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.login_failures = unsigned(number),
                field!(diagnosis.login_failures),
            ),
            count(
                "violations",
                "5",
                "Permission violations, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.violations = unsigned(number),
                field!(diagnosis.violations),
            ),
            count(
                "no_responders",
                "10",
                "Requests to one subject without a responder, within `incident_window`, that are a \
                 finding.",
                |it, number| it.diagnosis.no_responders = unsigned(number),
                field!(diagnosis.no_responders),
            ),
            count(
                "no_interest",
                "1000",
                "Messages to one subject without a subscriber, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.no_interest = unsigned(number),
                field!(diagnosis.no_interest),
            ),
            Key {
                name: "may_be_unheard",
                aliases: &[],
                kind: Kind::Structure {
                    form: "subject or list of subjects",
                    read: subjects::read_may_be_unheard,
                    blocks: &[],
                },
                usual: Usual::Default(
                    "[\"*.broadcast.agent.registration\", \"mcollective.reply.>\", \
                     \"choria.lifecycle.event.>\", \"choria.machine.>\", \
                     \"$KV.CHORIA_SERVICES.>\"]",
                ),
                doc: "Subjects whose messages are no finding if nobody subscribes to them. By \
                      default what nodes of Choria and MCollective publish for listeners that may \
                      be absent.",
                reload: Reload::Live(field!(diagnosis.may_be_unheard)),
            },
            count(
                "leak_subscriptions",
                "1000",
                "Subscriptions that a connection adds steadily, within `growth_window`, that are a leak.",
                |it, number| it.diagnosis.leak_subscriptions = unsigned(number),
                field!(diagnosis.leak_subscriptions),
            ),
            Key {
                name: "reply_subjects",
                aliases: &[],
                kind: Kind::Structure {
                    form: "subject or list of subjects",
                    read: subjects::read_reply_subjects,
                    blocks: &[],
                },
                usual: Usual::Default("[\"_INBOX.>\", \"*.reply.>\"]"),
                doc: "Subjects to which clients subscribe for replies. A connection that holds \
                      `leak_subscriptions` of them without ever getting a message has a leak.",
                reload: Reload::Live(field!(diagnosis.reply_subjects)),
            },
            time(
                "certificate_warning",
                "\"720h\"",
                "A certificate or CA that expires sooner than this is a finding.",
                |it, time| it.diagnosis.certificate_warning = time,
                field!(diagnosis.certificate_warning),
            ),
            time(
                "certificate_critical",
                "\"168h\"",
                "A certificate or CA that expires sooner than this is a critical finding.",
                |it, time| it.diagnosis.certificate_critical = time,
                field!(diagnosis.certificate_critical),
            ),
            time(
                "crl_warning",
                "\"72h\"",
                "A CRL that expires sooner than this is a finding.",
                |it, time| it.diagnosis.crl_warning = time,
                field!(diagnosis.crl_warning),
            ),
            time(
                "crl_critical",
                "\"12h\"",
                "A CRL that expires sooner than this is a critical finding.",
                |it, time| it.diagnosis.crl_critical = time,
                field!(diagnosis.crl_critical),
            ),
            count(
                "handshake_failures",
                "10",
                "TLS handshakes that fail, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.handshake_failures = unsigned(number),
                field!(diagnosis.handshake_failures),
            ),
            count(
                "stale_peers",
                "3",
                "Connections without an answer to pings, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.stale_peers = unsigned(number),
                field!(diagnosis.stale_peers),
            ),
            count(
                "restarts",
                "3",
                "Starts of the broker, within `incident_window`, that are a finding.",
                |it, number| it.diagnosis.restarts = unsigned(number),
                field!(diagnosis.restarts),
            ),
            Key {
                name: "starts_file",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.diagnosis.starts_file = non_empty(text).map(Into::into);
                    Ok(())
                }),
                usual: Usual::Example("\"/var/lib/midge/starts\""),
                doc: "File that remembers the last starts of the broker; if not set, `starts` in the \
              folder that systemd names in STATE_DIRECTORY.",
                reload: Reload::Restart(
                    "a start is recorded in it once",
                    field!(diagnosis.starts_file),
                ),
            },
        ],
    }],
};

const fn time(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, Duration),
    field: FieldAccess<Options>,
) -> Key<Options> {
    Key {
        name,
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::from_millis(10),
            seconds: false,
            set,
        },
        usual: Usual::Default(default),
        doc,
        reload: Reload::Live(field),
    }
}

const fn count(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, i64),
    field: FieldAccess<Options>,
) -> Key<Options> {
    Key {
        name,
        aliases: &[],
        kind: Kind::Integer(1..=i32::MAX as i64, set),
        usual: Usual::Default(default),
        doc,
        reload: Reload::Live(field),
    }
}

const fn percent(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, i64),
    field: FieldAccess<Options>,
) -> Key<Options> {
    Key {
        kind: Kind::Integer(1..=100, set),
        ..count(name, default, doc, set, field)
    }
}

/// A number that the table has bounded from below.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
