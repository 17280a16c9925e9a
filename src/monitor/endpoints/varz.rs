//! `/varz`: settings, totals and resources of the broker.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::Utc;
use monitor_client::{
    DiskIoWaitStats, FederationVarz, HubsVarz, KindCounts, LoginsVarz, NodesVarz, TlsGap, TlsVarz,
    Varz,
};
use serde_json::json;

use super::{
    super::Monitor,
    federationz,
    query::Query,
    refusal::Refusal,
    time_text::{self, rfc3339, round_trip},
};
use crate::{
    VERSION,
    broker::registry::Totals,
    connection::tls_listener::TlsListener,
    leafnode::remote::Remote,
    security::{
        options::DEFAULT_TIMEOUT,
        validity::{Validity, ValidityPeriod},
    },
    server::Server,
    telemetry::{
        Kind, MonotonicMillis,
        loss::{LossReason, Lost},
        process,
    },
};

/// The answer. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Varz, Refusal> {
    Ok(build(monitor))
}

/// All values at this moment.
pub fn build(monitor: &Monitor) -> Varz {
    build_of(monitor, &monitor.server.broker.registry.totals())
}

/// All values, with these totals.
pub(in crate::monitor) fn build_of(monitor: &Monitor, totals: &Totals) -> Varz {
    let server = &monitor.server;
    let mut varz = settings(monitor);
    let now = Utc::now();
    let start = time_text::rfc3339(server.start());
    varz.now = time_text::rfc3339(now);
    varz.uptime = time_text::uptime(MonotonicMillis(0).age());
    varz.config_load_time = match server.last_reload() {
        Some(reload) if reload.error.is_none() => time_text::rfc3339(reload.at),
        _ => start.clone(),
    };
    varz.start = start;
    // Shown as 0 where the system does not report it.
    varz.mem = signed(process::resident_bytes().unwrap_or(0));
    varz.cpu = monitor.cpu.percent();
    varz.cores = signed(monitor.settings.cores);
    varz.gomaxprocs = signed(monitor.settings.workers);
    let accounts = server.broker.accounts.all();
    // As with nats-server, the interest of peers counts as well.
    let subscriptions = accounts.iter().map(|account| account.subscriptions());
    varz.subscriptions = subscriptions.sum();
    varz.http_req_stats = monitor.requests.by_path();
    fill_totals(&mut varz, totals);
    let logins = server.broker.telemetry.logins.totals();
    let reasons = logins.refused.into_iter();
    varz.logins = Some(LoginsVarz {
        accepted: logins.accepted,
        refused: reasons
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
        delayed: logins.delayed,
        held: logins.held,
    });
    let federation = federationz::build(monitor);
    let upstream_tls = server.federation().and_then(|it| it.tls.clone());
    // Its one connection begins anew when its certificate is not accepted any more.
    let upstream_tls = upstream_tls.map(|tls| tls_block(&tls, 0));
    let (upstream_end, upstream_tls) = upstream_tls.unzip();
    varz.federation = federation.enabled.then(|| FederationVarz {
        name: federation.name,
        connected: federation.upstream.connected,
        requests: federation.requests.received,
        replies: federation.replies.received,
        refused: federation.requests.refused + federation.replies.refused,
        dropped: federation.replies.dropped,
        pending: federation.upstream.pending,
        nodes_silent: federation.nodes.silent,
        round_trip: federation.round_trips.shortest,
        tls_cert_not_after: upstream_end.flatten(),
        tls: upstream_tls,
    });
    varz.hubs = hubs(server);
    let nodes = server.broker.nodes.view();
    varz.nodes = nodes.enabled.then(|| NodesVarz {
        expected: nodes.nodes.len(),
        present: nodes.present,
        missing: nodes.missing,
    });
    let violations = &server.broker.telemetry.permission_violations;
    varz.permission_violations = Some(violations.load(Ordering::Relaxed));
    if let Some(tls) = server.cluster.as_ref().and_then(|it| it.tls()) {
        let revoked = totals.of[Kind::Router].troubles.revoked;
        let (end, block) = tls_block(&tls, revoked);
        varz.cluster["revoked_closed"] = revoked.into();
        varz.cluster["tls_cert_not_after"] = end.into();
        varz.cluster["tls"] = json!(block);
    }
    if let Some(tls) = &server.leafnodes.tls {
        let revoked = totals.of[Kind::Leafnode].troubles.revoked;
        let (end, block) = tls_block(tls, revoked);
        varz.leaf["revoked_closed"] = revoked.into();
        varz.leaf["tls_cert_not_after"] = end.into();
        varz.leaf["tls"] = json!(block);
    }
    if let Some(tls) = &*server.client_listener.tls.read() {
        varz.tls_timeout = tls.store.current().options.timeout.as_secs_f64();
        let (end, block) = tls_block(tls, totals.of[Kind::Client].troubles.revoked);
        varz.tls_cert_not_after = end;
        varz.tls = Some(block);
    }
    varz
}

/// The settings in force, and what is fixed from the start.
fn settings(monitor: &Monitor) -> Varz {
    let server = &monitor.server;
    let options = server.options();
    let info = server.broker.info.read();
    Varz {
        server_id: server.id.clone(),
        server_name: server.name.clone(),
        version: info.version.clone(),
        midge: Some(VERSION.into()),
        taken_over_from: server.taken_over_from(),
        proto: info.proto,
        git_commit: info.git_commit.clone(),
        go: info.go.clone(),
        host: info.host.clone(),
        port: info.port,
        auth_required: server.client_listener.authentication.read().is_required(),
        connect_urls: info.connect_urls.clone(),
        auth_timeout: server.broker.limits.current().auth_timeout.as_secs_f64(),
        max_connections: match options.max_connections {
            // No clients may connect, as nats-server writes it.
            0 => -1,
            max => max,
        },
        max_subscriptions: (options.max_subscriptions > 0)
            .then(|| signed(options.max_subscriptions)),
        ping_interval: nanoseconds(options.ping_interval),
        ping_max: i64::from(options.ping_max),
        // Without TLS the default, as nats-server has it.
        tls_timeout: DEFAULT_TIMEOUT.as_secs_f64(),
        http_host: monitor.settings.host.clone(),
        http_port: if options.https {
            0
        } else {
            monitor.settings.port.into()
        },
        https_port: if options.https {
            monitor.settings.port.into()
        } else {
            0
        },
        http_base_path: monitor.settings.base_path.clone(),
        tls_required: info.tls_required,
        tls_verify: info.tls_verify,
        max_control_line: signed(options.max_control_line),
        max_payload: signed(options.max_payload),
        max_pending: signed(options.max_pending),
        write_deadline: nanoseconds(options.write_deadline),
        config_digest: options.config_digest.clone(),
        tags: options.server_tags.clone(),
        metadata: options.server_metadata.clone(),
        cluster: cluster(server),
        system_account: server.broker.accounts.system_name(),
        gateway: json!({}),
        leaf: leaf(server),
        mqtt: json!({}),
        websocket: websocket(server),
        ws_connect_urls: server
            .broker
            .websocket
            .read()
            .as_ref()
            .map_or_else(Vec::new, |it| it.connect_urls.clone()),
        jetstream: json!({}),
        ..Varz::default()
    }
}

/// The settings of the cluster; empty without one.
fn cluster(server: &Server) -> serde_json::Value {
    let Some(cluster) = &server.cluster else {
        return json!({});
    };
    let address = cluster.node.address;
    let options = cluster.options();
    let mut block = json!({
        "name": cluster.name().text,
        "addr": address.ip().to_string(),
        "cluster_port": address.port(),
        "auth_timeout": options.auth_timeout().as_secs_f64(),
        // One route to each broker, for all accounts.
        "pool_size": -1,
    });
    let timeout = options
        .tls
        .as_ref()
        .map_or(DEFAULT_TIMEOUT, |tls| tls.timeout);
    block["tls_timeout"] = timeout.as_secs_f64().into();
    if options.tls.is_some() {
        block["tls_required"] = true.into();
        block["tls_verify"] = true.into();
    }
    let wanted = cluster.wanted_routes();
    if !wanted.is_empty() {
        let urls = wanted.iter().map(ToString::to_string);
        block["urls"] = urls.collect::<Vec<_>>().into();
    }
    block
}

/// The settings of the port for WebSockets; empty without one.
fn websocket(server: &Server) -> serde_json::Value {
    let Some(own) = &server.websocket else {
        return json!({});
    };
    let Some(port) = &own.listener.websocket else {
        return json!({});
    };
    let options = &port.options;
    let mut block = json!({
        "host": options.host,
        "port": own.address.port(),
        "handshake_timeout": nanoseconds(options.handshake_timeout()),
    });
    let texts = [
        ("advertise", &options.advertise),
        ("no_auth_user", &options.no_auth_user),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            block[name] = text.as_str().into();
        }
    }
    if let Some(timeout) = options.auth_timeout {
        block["auth_timeout"] = timeout.as_secs_f64().into();
    }
    let flags = [
        ("no_tls", options.no_tls),
        ("same_origin", options.origins.same),
        ("compression", options.compression),
        ("tls_map", options.tls.as_ref().is_some_and(|tls| tls.map)),
    ];
    for (name, flag) in flags {
        if flag {
            block[name] = true.into();
        }
    }
    if !options.origins.allowed.is_empty() {
        let origins = options.origins.allowed.iter().map(ToString::to_string);
        block["allowed_origins"] = origins.collect::<Vec<_>>().into();
    }
    if let Some(tls) = &*own.listener.tls.read() {
        let pinned = &tls.store.current().options.pinned_certs;
        if !pinned.is_empty() {
            block["tls_pinned_certs"] = json!(pinned);
        }
        // Connections that were closed for their certificate are counted for all clients together.
        let (end, tls) = tls_block(tls, 0);
        block["tls_cert_not_after"] = end.into();
        block["tls"] = json!(tls);
    }
    block
}

/// The hubs in short; `None` if this broker is no leafnode.
fn hubs(server: &Server) -> Option<HubsVarz> {
    let mut views = server.leafnodes.remotes.views();
    views.retain(|view| !view.disabled);
    let connected = views.iter().filter(|view| view.cid.is_some()).count();
    (!views.is_empty()).then(|| HubsVarz {
        configured: views.len(),
        connected,
        missing: views.len() - connected,
    })
}

/// The settings of the port for leafnodes and of hubs; empty without any.
fn leaf(server: &Server) -> serde_json::Value {
    let leafnodes = &server.leafnodes;
    let options = &leafnodes.options;
    let mut block = json!({});
    if let Some(address) = leafnodes.node.address {
        let tls = options.tls.as_ref();
        let timeout = tls.map_or(DEFAULT_TIMEOUT, |tls| tls.timeout);
        block = json!({
            "host": options.host,
            "port": address.port(),
            "auth_timeout": options.auth_timeout().as_secs_f64(),
            "tls_timeout": timeout.as_secs_f64(),
        });
        if let Some(tls) = tls {
            block["tls_required"] = true.into();
            if tls.verify {
                block["tls_verify"] = true.into();
            }
        }
    }
    let remotes = leafnodes.remotes.all();
    if !remotes.is_empty() {
        let remotes = remotes.iter().map(|it| remote(it));
        block["remotes"] = remotes.collect();
    }
    block
}

/// A hub: the settings as nats-server shows them, and how its connection is, which only midge shows.
fn remote(remote: &Remote) -> serde_json::Value {
    let (options, view) = (&remote.options, remote.view());
    let mut block = json!({
        "local_account": options.account,
        "urls": view.urls,
        "connected": view.cid.is_some(),
        "since": rfc3339(view.since.time_of_day()),
        "attempts": view.attempts,
        "connects": view.connects,
    });
    if let Some(tls) = &options.tls {
        block["tls_timeout"] = tls.timeout.as_secs_f64().into();
    }
    let lists = [
        ("exports", &options.deny_exports),
        ("imports", &options.deny_imports),
    ];
    for (name, subjects) in lists {
        if !subjects.is_empty() {
            let texts = subjects.iter().map(|it| it.subject.clone());
            block["deny"][name] = texts.collect();
        }
    }
    if view.disabled {
        block["disabled"] = true.into();
    }
    let texts = [
        ("url", view.url),
        ("name", view.name),
        ("last_error", view.last_error),
        ("rtt", view.rtt.map(round_trip).unwrap_or_default()),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            block[name] = text.into();
        }
    }
    if let Some(cid) = view.cid {
        block["cid"] = cid.into();
    }
    block
}

/// TLS of a listener, and when its certificate ends.
fn tls_block(tls: &TlsListener, revoked_closed: u64) -> (Option<String>, TlsVarz) {
    let material = tls.store.current();
    let Validity {
        certificate,
        ca,
        crl,
    } = &material.validity;
    let handshakes = tls.view();
    let failed = handshakes.failed.iter();
    let now = Utc::now();
    let name = |period: &ValidityPeriod| period.name.clone();
    let end = |period: &ValidityPeriod| time_text::rfc3339(period.until);
    // Four digits are ten seconds; 0 has no sign.
    let days_left = |period: &ValidityPeriod| (period.days_left(now) * 1e4).round() / 1e4 + 0.0;
    let gaps = material.gaps.iter();
    let block = TlsVarz {
        cert_name: certificate.as_ref().map(name),
        cert_days_left: certificate.as_ref().map(days_left),
        ca_not_after: ca.as_ref().map(end),
        ca_name: ca.as_ref().map(name),
        ca_days_left: ca.as_ref().map(days_left),
        crl_next_update: crl.as_ref().map(end),
        crl_name: crl.as_ref().map(name),
        crl_days_left: crl.as_ref().map(days_left),
        refused_files: tls.store.refused().map(|error| error.to_string()),
        gaps: gaps
            .map(|gap| TlsGap {
                critical: gap.severe,
                file: gap.file_text(),
                text: gap.text.clone(),
            })
            .collect(),
        revoked: material.revocations.len() as u64,
        revoked_closed,
        handshakes: handshakes.full + handshakes.resumed,
        resumed: handshakes.resumed,
        unfinished: handshakes.unfinished as u64,
        failures: failed.clone().map(|(_, count)| count).sum(),
        failed: failed
            .map(|(cause, count)| (cause.name().to_owned(), *count))
            .collect(),
        handshake_seconds: handshakes.times.sum(),
        handshake_slowest: handshakes.slowest.as_secs_f64(),
    };
    (certificate.as_ref().map(end), block)
}

fn fill_totals(varz: &mut Varz, totals: &Totals) {
    let (of_clients, of_routes) = (&totals.of[Kind::Client], &totals.of[Kind::Router]);
    let (clients, all) = (of_clients.traffic, totals.traffic());
    varz.connections = signed(of_clients.connections);
    varz.routes = signed(of_routes.connections);
    varz.remotes = signed(of_routes.connections);
    varz.leafnodes = signed(totals.of[Kind::Leafnode].connections);
    varz.total_connections = totals.accepted;
    varz.in_msgs = signed(all.in_msgs);
    varz.in_bytes = signed(all.in_bytes);
    varz.out_msgs = signed(all.out_msgs);
    varz.out_bytes = signed(all.out_bytes);
    varz.in_client_msgs = signed(clients.in_msgs);
    varz.in_client_bytes = signed(clients.in_bytes);
    varz.out_client_msgs = signed(clients.out_msgs);
    varz.out_client_bytes = signed(clients.out_bytes);
    varz.written_msgs = Some(all.written_msgs);
    varz.written_bytes = Some(all.written_bytes);
    let by_reason = |count: fn(Lost) -> u64| {
        let reasons = LossReason::ALL.into_iter();
        let named = reasons.map(|reason| (reason.name().into(), count(all.loss.of(reason))));
        Some(named.collect())
    };
    varz.dropped_msgs = by_reason(|lost| lost.msgs);
    varz.dropped_bytes = by_reason(|lost| lost.bytes);
    varz.slow_consumers = signed(totals.failed(|of| of.slow_consumers));
    varz.stale_connections = Some(signed(totals.failed(|of| of.stale_connections)));
    let (of_clients, of_routes) = (of_clients.troubles, of_routes.troubles);
    let of_leafs = totals.of[Kind::Leafnode].troubles;
    varz.stalled_clients = Some(signed(totals.stalls));
    varz.slow_consumer_stats = Some(KindCounts {
        clients: of_clients.slow_consumers,
        routes: of_routes.slow_consumers,
        leafs: of_leafs.slow_consumers,
        ..KindCounts::default()
    });
    varz.stale_connection_stats = Some(KindCounts {
        clients: of_clients.stale_connections,
        routes: of_routes.stale_connections,
        leafs: of_leafs.stale_connections,
        ..KindCounts::default()
    });
    varz.disk_io_wait_stats = Some(DiskIoWaitStats::default());
}

fn nanoseconds(duration: Duration) -> i64 {
    signed(duration.as_nanos())
}

/// The number as the signed one of the answer's type.
pub(in crate::monitor) fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
