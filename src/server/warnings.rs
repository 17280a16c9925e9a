//! What of the settings in force a warning is due for: told at the start, and by the
//! reload that brings it about.

use super::Server;

/// The warnings that are due now.
pub(super) fn due(server: &Server) -> Vec<String> {
    let mut due = Vec::new();
    if let Some(guest) = server.guest().filter(|guest| guest.is_unlimited()) {
        due.push(format!(
            "Anybody who can connect to {} {}, without a login. Add an authorization block or \
             permissions, require certificates (tls {{ verify: true }}), or listen on 127.0.0.1",
            server.client_address,
            guest.text()
        ));
    }
    let options = server.options();
    if options.authorization.has_plain_secrets() {
        due.push("Plaintext passwords detected, use nkeys or bcrypt".into());
    }
    if server.monitor_for_strangers().is_some() {
        due.push(
            "The monitoring port is open to other machines without a login: set \"token\", or \
             \"user\" and \"password\", in the block \"monitor\""
                .into(),
        );
    }
    let of_routes = server.cluster.as_ref().map(|cluster| cluster.options());
    let tls = of_routes.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = tls.filter(|tls| tls.insecure) {
        due.push(format!(
            "The certificates of brokers that are dialled are not verified ({}): an attacker \
             between the two can read the routes",
            tls.place
        ));
    }
    due
}
