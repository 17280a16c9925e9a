//! `/federationz`: this broker as the federation broker of its site.

use monitor_client::{
    FederationNodes, FederationRoundTrips, FederationSilentNode, FederationTraffic,
    FederationUpstream, Federationz,
};

use super::{super::Monitor, query::Query, refusal::Refusal, time_text::rfc3339};
use crate::{
    account::GLOBAL_ACCOUNT,
    config::options::federation::Upstream,
    federation::{
        Federation,
        figures::{Counts, Direction, Figures, UpstreamState},
        round_trips::RoundTripsView,
        session::PENDING_MAX,
    },
};

/// The answer. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Federationz, Refusal> {
    Ok(build(monitor))
}

/// The present values.
pub(in crate::monitor) fn build(monitor: &Monitor) -> Federationz {
    let server = &monitor.server;
    let answer = Federationz {
        server_id: server.id.clone(),
        server_name: server.name.clone(),
        now: monitor.now_text(),
        ..Federationz::default()
    };
    let Some(federation) = server.federation() else {
        return answer;
    };
    let Federation {
        options, figures, ..
    } = &*federation;
    let configured = options.upstream.iter().map(|upstream| match upstream {
        Upstream::Broker(url) => url.to_string(),
        Upstream::Srv(srv) => srv.to_string(),
    });
    let account = options.account.as_deref().unwrap_or(GLOBAL_ACCOUNT);
    Federationz {
        enabled: true,
        name: options.name.clone(),
        account: account.to_owned(),
        collectives: options.collectives.clone(),
        configured: configured.collect(),
        upstream: FederationUpstream {
            connects: figures.connects.value(),
            complaints: figures.complaints.value(),
            ..upstream(figures.upstream())
        },
        requests: traffic(figures.of(Direction::Requests)),
        replies: traffic(figures.of(Direction::Replies)),
        round_trips: round_trips(&figures.round_trips()),
        nodes: nodes(figures),
        ..answer
    }
}

fn upstream(state: UpstreamState) -> FederationUpstream {
    let since = match &state.connected {
        Some(connected) => connected.since,
        None => state.lost_at,
    };
    let answer = FederationUpstream {
        since: rfc3339(since.time_of_day()),
        age: since.age().as_secs_f64(),
        pending_max: PENDING_MAX as u64,
        failures: state.failures,
        error: state.error,
        error_at: state
            .error_at
            .map_or_else(String::new, |at| rfc3339(at.time_of_day())),
        ..FederationUpstream::default()
    };
    let Some(connected) = state.connected else {
        return answer;
    };
    let connection = &connected.connection;
    FederationUpstream {
        connected: true,
        tls_version: connection
            .tls()
            .map_or_else(String::new, |tls| tls.version.to_owned()),
        rtt: connection.rtt().map(|rtt| rtt.as_secs_f64()),
        pending: connection.outbound().backlog().pending as u64,
        address: connected.address,
        server_name: connected.server_name,
        version: connected.version,
        ..answer
    }
}

fn traffic(counts: &Counts) -> FederationTraffic {
    FederationTraffic {
        received: counts.received.value(),
        received_bytes: counts.received_bytes.value(),
        published: counts.published.value(),
        published_bytes: counts.published_bytes.value(),
        without_receiver: counts.without_receiver.value(),
        dropped: counts.dropped.value(),
        dropped_bytes: counts.dropped_bytes.value(),
        refused: counts.refused_in_all(),
        refused_by_reason: counts
            .refused()
            .map(|(refusal, count)| (refusal.name().to_owned(), count))
            .collect(),
    }
}

fn round_trips(view: &RoundTripsView) -> FederationRoundTrips {
    FederationRoundTrips {
        count: view.all.count(),
        p50: view.all.quantile(0.5),
        p90: view.all.quantile(0.9),
        p99: view.all.quantile(0.99),
        shortest: view.shortest.map(|time| time.as_secs_f64()),
        usual: view.usual.map(|time| time.as_secs_f64()),
        last_at: view
            .last_at
            .map_or_else(String::new, |at| rfc3339(at.time_of_day())),
    }
}

fn nodes(figures: &Figures) -> FederationNodes {
    let (answers, view) = (&figures.answers, figures.silent_nodes.view());
    let silent = view.named.into_iter().map(|node| FederationSilentNode {
        name: node.name,
        cid: node.cid,
        requests: node.requests,
        since: rfc3339(node.since.time_of_day()),
        denied: node.denied,
    });
    FederationNodes {
        requests: answers.to_all.value(),
        requests_answered: answers.answered.value(),
        requests_unreadable: answers.unreadable.value(),
        asked: view.asked,
        unanswered: view.unanswered,
        silent: view.silent,
        denied: view.denied,
        silent_nodes: silent.collect(),
    }
}
