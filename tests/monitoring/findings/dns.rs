//! Findings about SRV records.

use test_support::{
    dns::Dns,
    free_port,
    mesh::{self, Kind, Plan},
};

use super::{appears, clears, routes, stays_silent, text};

const NAME: &str = "_mcollective-broker._tcp.example.net";

/// A broker that has never found another is worse than one whose record is gone later.
#[test]
pub fn a_record_that_is_not_there_is_reported_until_it_is() {
    let ports = [free_port(), free_port()];
    let mut dns = Dns::start(NAME, &[]);
    let mut first = routes::plan(Kind::Midge, "n0", ports[0], &[], "");
    first.cluster += &format!(
        "\n  srv_domain: example.net\n  nameserver: \"{}\"",
        dns.address
    );
    let first = first.start();
    let finding = appears(&first.broker, "srv-failing");
    assert_eq!(
        (&finding["severity"], &finding["subject"]),
        (&"critical".into(), &NAME.into())
    );
    for words in [
        "there is none",
        "no broker is known",
        &dns.address.to_string(),
    ] {
        assert!(text(&finding).contains(words), "{words}: {finding}");
    }
    let second = Plan::new(Kind::Midge, "n1", ports[1], &[]).start();
    dns.list(NAME, &[("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])]);
    mesh::wait_for_mesh(&[&first, &second]);
    clears(&first.broker, "srv-failing");
    stays_silent(&first.broker, "srv-failing");
    dns.stop();
    let finding = appears(&first.broker, "srv-failing");
    assert_eq!(finding["severity"], "warning");
    assert!(
        text(&finding).contains("stays in use (2 brokers)"),
        "{finding}"
    );
    dns.list(NAME, &[("127.0.0.1", ports[1])]);
    clears(&first.broker, "srv-failing");
}
