//! The manual page `collectd-nats(5)` and the table of docs/collectd.md, made from the tables of
//! options and metrics. The tests fail if one of them is out of date.

mod page;

use std::{fmt::Write, fs};

use test_support::generated::assert_up_to_date;

use crate::{
    config::OPTIONS,
    metrics::{Figure, Group, METRICS, Metric, Own, Source},
};

const PAGE: &str = "conf/man/collectd-nats.5";
const GUIDE: &str = "docs/collectd.md";

/// The lines of the guide around its table.
const BEGIN: &str = "<!-- made from the table of metrics -->\n";
const END: &str = "<!-- end -->\n";

/// Groups in the order of the manual: how each is enabled, and what applies to all of its metrics.
const SECTIONS: &[(Group, &str, &str)] = &[
    (
        Group::Basic,
        "Always",
        "nats-server reports them as well, except where midge is named.",
    ),
    (
        Group::Findings,
        "With ReportFindings (the default)",
        "Only midge has findings: docs/findings.md says what each of them and each severity means.",
    ),
    (
        Group::Latency,
        "With ReportLatency (the default)",
        "Only from midge.",
    ),
    (
        Group::Routes,
        "With ReportRoutes (the default)",
        "Only if the broker is a member of a cluster. NAME is the name of the other member; its \
         host, if it has no configured name or was never connected, and with nats-server before \
         2.10.",
    ),
    (
        Group::Ceilings,
        "With ReportCeilings (the default)",
        "Only from midge. NAME is fds, connections, subscriptions, queues, memory or pending; \
         what has no limit is absent.",
    ),
    (
        Group::Connections,
        "With TopConnections (3 by default)",
        "RANK is 1 to the number of the option. The ranks are the same series in each poll; the \
         clients behind them change.",
    ),
    (
        Group::Accounts,
        "With ReportAccounts",
        "NAME is the name of the account.",
    ),
    (
        Group::Memory,
        "With ReportMemory",
        "Only from midge; /memz says what each CAUSE is.",
    ),
    (
        Group::Limits,
        "With ReportLimits",
        "Settings of the broker: they change with a reload only.",
    ),
    (
        Group::Legacy,
        "With LegacyNames",
        "The plugin is curl_json and the plugin instance gnatsd. The types are those of the old \
         configuration, although some are wrong: they are for continuing old data files, not for \
         new graphs.",
    ),
];

/// The metrics of a group, as identifier, meaning and origin.
fn rows(group: Group) -> impl Iterator<Item = (String, &'static str, String)> {
    let metrics = METRICS.iter().filter(move |metric| metric.group == group);
    metrics.map(|metric| (name(metric), metric.doc, origin(metric)))
}

fn name(metric: &Metric) -> String {
    let parts = [metric.kind, metric.type_instance, placeholder(metric)];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// What stands for the names in the identifiers of a metric of many; empty for one of one value.
fn placeholder(metric: &Metric) -> &'static str {
    match &metric.source {
        Source::Each(list, _) => list.placeholder,
        Source::Members(members) => members.placeholder,
        Source::Ranked(_) => "RANK",
        Source::Own(_) | Source::Answer(..) | Source::Findings(_) => "",
    }
}

fn origin(metric: &Metric) -> String {
    match &metric.source {
        Source::Own(Own::Healthy) => "/healthz, /explainz".to_owned(),
        Source::Own(Own::Uptime) => "/varz: now \u{2212} start".to_owned(),
        Source::Own(Own::Up | Own::ResponseTime | Own::PollTime) => "the plugin's own".to_owned(),
        Source::Answer(endpoint, of) => format!("{}: {}", endpoint.path(), figure(of)),
        Source::Each(list, Figure::One) => format!("{}: {}", list.endpoint.path(), list.key),
        Source::Each(list, of) => {
            format!("{}: {}: {}", list.endpoint.path(), list.key, figure(of))
        }
        Source::Members(members) => format!("{}: {}", members.endpoint.path(), members.key),
        Source::Findings(_) => "/explainz: findings".to_owned(),
        Source::Ranked(ranked) => {
            let figure = figure(&ranked.figure);
            format!("{}: {}: {figure}", ranked.endpoint.path(), ranked.list)
        }
    }
}

fn figure(figure: &Figure) -> String {
    match figure {
        Figure::Keys([rx, tx]) => format!("rx: {rx}, tx: {tx}"),
        Figure::Percent(used, limit) => format!("{used}, {limit}"),
        Figure::Sampled(key, _) => (*key).to_owned(),
        other => other.keys().join(", "),
    }
}

/// The table of the guide.
fn table() -> String {
    let mut table = String::new();
    for (group, heading, about) in SECTIONS {
        let _ = write!(
            table,
            "\n### {heading}\n\n{about}\n\n| type and type instance | meaning | from |\n|---|---|---|\n"
        );
        for (name, doc, origin) in rows(*group) {
            let _ = writeln!(table, "| `{name}` | {doc} | `{origin}` |");
        }
    }
    table + "\n"
}

#[test]
fn the_manual_page_is_up_to_date() {
    assert_up_to_date(PAGE, &page::page());
}

#[test]
fn the_tables_in_the_docs_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/collectd.md");
    let guide = fs::read_to_string(path).expect("the guide");
    let (before, rest) = guide.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    assert_up_to_date(GUIDE, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

#[test]
fn each_group_has_its_section() {
    for metric in METRICS {
        let sections = SECTIONS.iter().filter(|section| section.0 == metric.group);
        assert_eq!(sections.count(), 1, "{metric:?}");
    }
}

/// The synopsis and the installed example show every option.
#[test]
fn examples_show_every_option() {
    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/collectd/nats.conf");
    let example = std::fs::read_to_string(EXAMPLE).expect(EXAMPLE);
    for option in OPTIONS {
        for text in [page::HEAD, &example] {
            assert!(
                text.contains(&format!("{} ", option.name)),
                "{}",
                option.name
            );
        }
    }
}

/// What the graphs leave out, because another value of the same graph says it.
const NOT_DRAWN: &[&str] = &[
    "uptime",
    // A part of the total.
    "if_packets-clients",
    "if_octets-clients",
    "total_events-slow_consumers_clients",
    "total_events-slow_consumers_routes",
    "total_events-slow_consumers_gateways",
    "total_events-slow_consumers_leafs",
    // Their messages, members, parts or percents are drawn.
    "total_bytes-lost-REASON",
    "current_connections-routes",
    "gauge-findings",
    "count-ceiling_used-NAME",
    "count-ceiling_limit-NAME",
    "bytes-ceiling_used-NAME",
    "bytes-ceiling_limit-NAME",
    // Of accounts, what is delivered and lost.
    "current_connections-account-NAME",
    "pubsub-account-NAME",
    "if_octets-account-NAME",
    "total_events-account_slow_consumers-NAME",
    "total_events-account_no_interest-NAME",
];

/// The script that draws the recorded values draws all that say something of their own.
#[test]
fn the_graphs_show_every_value() {
    const SCRIPT: &str = include_str!("../../conf/collectd/nats-graph");
    let drawn = |name: &str| {
        let place = METRICS.iter().find(|metric| self::name(metric) == name);
        let place = place.map_or("", placeholder);
        let file = match name.strip_suffix(place).filter(|_| !place.is_empty()) {
            Some(begin) => format!("{begin}*"),
            None => name.to_owned(),
        };
        SCRIPT.contains(&format!("|{file}|"))
    };
    let without = [Group::Limits, Group::Legacy];
    for (group, ..) in SECTIONS {
        for (name, ..) in rows(*group).filter(|_| !without.contains(group)) {
            let is_left_out = NOT_DRAWN.contains(&name.as_str());
            assert_ne!(drawn(&name), is_left_out, "{name}");
        }
    }
}
