//! Logins, TLS handshakes and certificates.

use super::{Metric, counter, gauge, histogram};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    counter(
        "midge_logins_accepted",
        "",
        "Logins of clients that were needed and right.",
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
        "Refused logins whose source had so many before that the answer waited.",
        |now, to| to.add(now.varz.logins.as_ref().map_or(0, |logins| logins.delayed)),
    ),
    counter(
        "midge_logins_held",
        "",
        "Logins, right or wrong, whose source had so many refused before that they waited until \
         they were looked at.",
        |now, to| to.add(now.varz.logins.as_ref().map_or(0, |logins| logins.held)),
    ),
    gauge(
        "midge_before_login_connections",
        "",
        "Connections that have not logged in, by port; of monitoring all, as nobody logs in there; \
         long_handshake are TLS handshakes of clients and routes with much to say.",
        |now, to| {
            for port in &now.places {
                to.add_for("port", port.name, port.taken);
            }
        },
    ),
    gauge(
        "midge_before_login_max",
        "",
        "How many of these there may be, by port: beyond that the longest silent one is cut.",
        |now, to| {
            for port in &now.places {
                to.add_for("port", port.name, port.max);
            }
        },
    ),
    counter(
        "midge_before_login_dropped",
        "",
        "Connections cut before the login, by port and why: silent while the port was full, too \
         late, or no file descriptors to spare.",
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
        "Logins that wait for their passwords to be compared with a hash.",
        |now, to| to.add(now.passwords.waiting),
    ),
    gauge(
        "midge_password_check_wait_seconds",
        "seconds",
        "How long the one that waits longest has waited.",
        |now, to| to.add(now.passwords.longest.as_secs_f64()),
    ),
    counter(
        "midge_tls_handshakes",
        "",
        "TLS handshakes of clients that were finished, by whether they went on from an earlier \
         session.",
        |now, to| {
            if let Some(tls) = &now.varz.tls {
                to.add_for(
                    "resumed",
                    "false",
                    tls.handshakes.saturating_sub(tls.resumed),
                );
                to.add_for("resumed", "true", tls.resumed);
            }
        },
    ),
    counter(
        "midge_tls_handshakes_failed",
        "",
        "TLS handshakes of clients that failed, by cause.",
        |now, to| {
            for (cause, count) in now.varz.tls.iter().flat_map(|tls| &tls.failed) {
                to.add_for("cause", cause, *count);
            }
        },
    ),
    gauge(
        "midge_tls_handshakes_unfinished",
        "",
        "TLS handshakes of clients under way.",
        |now, to| {
            if let Some(tls) = &now.varz.tls {
                to.add(tls.unfinished);
            }
        },
    ),
    histogram(
        "midge_tls_handshake_seconds",
        "What the finished ones took, waiting for the peer included.",
        |now, to| {
            if let Some(times) = &now.handshakes {
                to.add_times(Vec::new(), times);
            }
        },
    ),
    gauge(
        "midge_tls_revoked_certificates",
        "",
        "Certificates that the CRL in force revokes.",
        |now, to| {
            if let Some(tls) = &now.varz.tls {
                to.add(tls.revoked);
            }
        },
    ),
    counter(
        "midge_tls_revoked_closed",
        "",
        "Connections closed because their certificate was revoked meanwhile, by kind of \
         connection.",
        |now, to| {
            if let Some(tls) = &now.varz.tls {
                to.add_for("kind", "client", tls.revoked_closed);
            }
            if let Some(count) = now.varz.cluster["revoked_closed"].as_u64() {
                to.add_for("kind", "route", count);
            }
        },
    ),
    gauge(
        "midge_tls_expiry_time_seconds",
        "seconds",
        "When the broker's certificate, its CA's and its CRL end, in Unix time.",
        |now, to| {
            for (what, end) in &now.tls_ends {
                to.add_for("what", what, *end);
            }
        },
    ),
];
