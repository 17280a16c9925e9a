//! Logins, TLS handshakes and certificates.

use super::{Metric, counter, gauge, histogram};
use crate::monitor::metrics::sample::Labels;

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    counter(
        "midge_logins_accepted",
        "",
        "Accepted logins of clients.",
        |now, to| to.add(now.varz.logins.as_ref().map_or(0, |logins| logins.accepted)),
    ),
    counter(
        "midge_logins_refused",
        "",
        "Logins of clients that were refused, by reason.",
        |now, to| {
            for (reason, count) in now.varz.logins.iter().flat_map(|logins| &logins.refused) {
                to.add_for("reason", reason, *count);
            }
        },
    ),
    counter(
        "midge_logins_delayed",
        "",
        "Refused logins whose answer was delayed because their source had many refused before.",
        |now, to| to.add(now.varz.logins.as_ref().map_or(0, |logins| logins.delayed)),
    ),
    counter(
        "midge_logins_held",
        "",
        "Logins, right or wrong, whose check was delayed because their source had many refused \
         before.",
        |now, to| to.add(now.varz.logins.as_ref().map_or(0, |logins| logins.held)),
    ),
    counter(
        "midge_permission_violations",
        "",
        "Publishes and subscriptions of clients that were refused for lack of a permission.",
        |now, to| to.add(now.varz.permission_violations.unwrap_or(0)),
    ),
    gauge(
        "midge_before_login_connections",
        "",
        "Connections that have not logged in, by port. For monitoring these are all connections; \
         long_handshake are TLS handshakes of clients and routes with a lot of data.",
        |now, to| {
            for port in &now.places {
                to.add_for("port", port.name, port.taken);
            }
        },
    ),
    gauge(
        "midge_before_login_max",
        "",
        "Limit of these connections, by port: beyond it, the one that has been silent longest is \
         closed.",
        |now, to| {
            for port in &now.places {
                to.add_for("port", port.name, port.max);
            }
        },
    ),
    counter(
        "midge_before_login_dropped",
        "",
        "Connections closed before the login, by port and reason: silent while the port was full, \
         too late, or no file descriptor left.",
        |now, to| {
            for port in &now.places {
                let dropped = [
                    ("silent", port.silent),
                    ("late", port.late),
                    ("no_descriptors", port.refused),
                ];
                for (why, count) in dropped {
                    to.add_labelled(
                        vec![("port", port.name.into()), ("reason", why.into())],
                        count,
                    );
                }
            }
        },
    ),
    gauge(
        "midge_password_checks_waiting",
        "",
        "Logins that wait for their password check.",
        |now, to| to.add(now.passwords.waiting),
    ),
    gauge(
        "midge_password_check_wait_seconds",
        "seconds",
        "How long the oldest of these has waited.",
        |now, to| to.add(now.passwords.longest.as_secs_f64()),
    ),
    counter(
        "midge_tls_handshakes",
        "",
        "Completed TLS handshakes, by listener and by whether they resumed a session.",
        |now, to| {
            for (listener, tls) in &now.tls {
                let full = tls.handshakes.saturating_sub(tls.resumed);
                for (resumed, count) in [("false", full), ("true", tls.resumed)] {
                    to.add_labelled(of_listener(listener, "resumed", resumed), count);
                }
            }
        },
    ),
    counter(
        "midge_tls_handshakes_failed",
        "",
        "TLS handshakes that failed, by listener and cause.",
        |now, to| {
            for (listener, tls) in &now.tls {
                for (cause, count) in &tls.failed {
                    to.add_labelled(of_listener(listener, "cause", cause), *count);
                }
            }
        },
    ),
    gauge(
        "midge_tls_handshakes_unfinished",
        "",
        "TLS handshakes under way, of all listeners.",
        |now, to| {
            // They share the threads that compute them, and so the count.
            if let Some((_, tls)) = now.tls.first() {
                to.add(tls.unfinished);
            }
        },
    ),
    histogram(
        "midge_tls_handshake_seconds",
        "Duration of completed TLS handshakes, including waiting for the peer, by listener.",
        |now, to| {
            for (listener, times) in &now.handshakes {
                to.add_times(vec![("listener", (*listener).into())], times);
            }
        },
    ),
    gauge(
        "midge_tls_revoked_certificates",
        "",
        "Certificates that the current CRL revokes, by listener.",
        |now, to| {
            for (listener, tls) in &now.tls {
                to.add_for("listener", listener, tls.revoked);
            }
        },
    ),
    counter(
        "midge_tls_revoked_closed",
        "",
        "Connections closed because their certificate was revoked while they were open, by kind of \
         connection.",
        |now, to| {
            for (listener, tls) in &now.tls {
                to.add_for("kind", listener, tls.revoked_closed);
            }
        },
    ),
    gauge(
        "midge_tls_gaps",
        "",
        "Mismatches between the TLS files in use, by listener; see the finding tls-gaps.",
        |now, to| {
            for (listener, tls) in &now.tls {
                to.add_for("listener", listener, tls.gaps.len());
            }
        },
    ),
    gauge(
        "midge_tls_expiry_time_seconds",
        "seconds",
        "When the broker's certificate, CA and CRL expire, by listener, in Unix time.",
        |now, to| {
            for (listener, what, end) in &now.tls_ends {
                to.add_labelled(of_listener(listener, "what", what), *end);
            }
        },
    ),
];

fn of_listener(listener: &str, name: &'static str, of: &str) -> Labels {
    vec![("listener", listener.to_owned()), (name, of.to_owned())]
}
