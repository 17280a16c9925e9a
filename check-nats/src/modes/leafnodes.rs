//! Mode `leafnodes`: whether the hubs of a leafnode are connected, and who has joined this broker as a
//! leafnode. Of a nats-server, which does not say how each remote is, the connections to hubs are held
//! against the remotes of its configuration.

use monitor_client::{Kind, LeafInfo, Leafz, Varz, text::go_duration};

use super::{
    Check, Failure,
    need::{Need, must, of},
};
use crate::{
    deadline::Step,
    metric::{HUBS_MISSING, LEAFNODE_RTT, LEAFNODES},
    text::{duration, plural, quoted},
};

/// Hubs that the first line names.
const NAMED_MAX: usize = 5;

pub(super) static NEEDS: &[Need] = &[
    of(
        "/leafz",
        Step::Leafz,
        &[
            must("server_id", Kind::Text),
            must("leafnodes", Kind::Count),
        ],
    ),
    of("/varz", Step::Varz, &[must("server_id", Kind::Text)]),
];

/// The hubs of a broker.
struct Hubs {
    configured: usize,
    missing: usize,
    /// The missing ones, as far as they are known.
    names: Vec<String>,
}

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let answer: Leafz = check.ask("/leafz")?;
    let hubs = match answer.remotes.is_empty() {
        false => of_midge(&answer),
        true => of_configuration(&answer, &check.ask("/varz")?),
    };
    let report = &mut check.report;
    let joined = answer.leafs.iter().filter(|leaf| !leaf.is_spoke).count();
    let named = match hubs.names.is_empty() {
        true => String::new(),
        false => format!(": {}", hubs.names.join(", ")),
    };
    match hubs.configured {
        0 => {
            report.watch(HUBS_MISSING.label, 0.0, None, "no hub is configured");
        }
        configured => {
            let phrase = format!(
                "{} of {} not connected{named}",
                hubs.missing,
                plural(configured as f64, "hub")
            );
            let limit = Some(configured as f64);
            report.state(HUBS_MISSING.label, hubs.missing as f64, limit, &phrase);
        }
    }
    let phrase = format!("{} joined", plural(joined as f64, "leafnode"));
    report.state(LEAFNODES.label, joined as f64, None, &phrase);
    let slowest = answer.leafs.iter().filter_map(rtt).max_by(f64::total_cmp);
    if let Some(slowest) = slowest {
        let phrase = format!("longest round trip {}", duration(slowest));
        report.watch(LEAFNODE_RTT.label, slowest, None, &phrase);
    }
    for leaf in &answer.leafs {
        let what = match leaf.is_spoke {
            true => "hub",
            false => "leafnode",
        };
        let text = format!(
            "{what} {} in account {}, from {}:{}, round trip {}",
            quoted(&leaf.name),
            quoted(&leaf.account),
            quoted(&leaf.ip),
            leaf.port,
            rtt(leaf).map_or_else(|| "unknown".to_owned(), duration)
        );
        report.detail(2, &text);
    }
    for hub in answer.remotes.iter().filter(|hub| !hub.disabled) {
        if !hub.connected {
            let text = format!(
                "hub {} of account {}: not connected for {}: {}",
                quoted(&hub.url),
                quoted(&hub.account),
                duration(hub.age),
                quoted(&hub.last_error)
            );
            report.detail(1, &text);
        }
    }
    Ok(())
}

fn rtt(leaf: &LeafInfo) -> Option<f64> {
    go_duration(&leaf.rtt).ok().map(|rtt| rtt.as_secs_f64())
}

fn of_midge(answer: &Leafz) -> Hubs {
    let enabled: Vec<_> = answer.remotes.iter().filter(|hub| !hub.disabled).collect();
    let missing = enabled.iter().filter(|hub| !hub.connected);
    let names = missing.clone().take(NAMED_MAX);
    Hubs {
        configured: enabled.len(),
        missing: missing.clone().count(),
        names: names
            .map(|hub| match &*hub.last_error {
                "" => quoted(&hub.url),
                error => format!("{} ({})", quoted(&hub.url), quoted(error)),
            })
            .collect(),
    }
}

fn of_configuration(answer: &Leafz, varz: &Varz) -> Hubs {
    let configured = varz.leaf["remotes"].as_array().map_or(0, Vec::len);
    let connected = answer.leafs.iter().filter(|leaf| leaf.is_spoke).count();
    Hubs {
        configured,
        missing: configured.saturating_sub(connected),
        names: Vec::new(),
    }
}
