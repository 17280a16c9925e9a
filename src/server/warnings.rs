//! Warnings about the settings in force, logged at the start and by a reload that causes them.

use super::Server;

/// The present warnings.
pub(super) fn active(server: &Server) -> Vec<String> {
    let mut active = Vec::new();
    if let Some(guest) = server.guest().filter(|guest| guest.is_unlimited()) {
        active.push(format!(
            "Anybody who can connect to {} {}, without a login. Add an authorization block or \
             permissions, require certificates (tls {{ verify: true }}), or listen on 127.0.0.1",
            server.client_address,
            guest.text()
        ));
    }
    let options = server.options();
    if options.authorization.has_plain_secrets() {
        active.push("Plaintext passwords detected, use nkeys or bcrypt".into());
    }
    if server.open_monitor_address().is_some() {
        active.push(
            "The monitoring port is open to other machines without a login: set \"token\", or \
             \"user\" and \"password\", in the block \"monitor\""
                .into(),
        );
    }
    if let Some(text) = server.unreachable_connections() {
        active.push(format!(
            "{text}; raise LimitNOFILE of the service (ulimit -n)"
        ));
    }
    let of_routes = server.cluster.as_ref().map(|cluster| cluster.options());
    let tls = of_routes.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = tls.filter(|tls| tls.insecure) {
        active.push(format!(
            "The certificates of brokers that are dialled are not verified ({}): an attacker \
             between the two can read the routes",
            tls.place
        ));
    }
    active
}
