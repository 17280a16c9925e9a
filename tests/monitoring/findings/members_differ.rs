//! Findings about members that differ in what should be the same.

use std::sync::atomic::Ordering;

use super::{
    appears, clears,
    proxy::Way,
    routes::{checks, plan, plans, start},
    stays_silent, text, thresholds,
};
use test_support::{
    free_port,
    mesh::{self, Kind},
};

#[test]
pub fn members_with_different_limits_are_reported() {
    let mut plans = plans(&[Kind::Midge, Kind::Nats], "");
    plans[1].config += "max_payload: 512KB\n";
    let mut members = start(&plans);
    let finding = appears(&members[0].broker, "members-differ");
    assert_eq!(finding["subject"], "n1");
    assert!(text(&finding).contains("max_payload"), "{finding}");
    plans[1].config.clear();
    members[1].broker.kill();
    members[1] = plans[1].start();
    clears(&members[0].broker, "members-differ");
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    stays_silent(&members[0].broker, "members-differ");
}

/// A midge announces reloaded settings to its peers over the existing routes.
#[test]
fn a_reload_clears_different_limits() {
    let mut plans = plans(&[Kind::Midge, Kind::Midge], "");
    let alike = plans[1].config.clone();
    plans[1].config += "max_payload: 512KB\n";
    let members = start(&plans);
    for (member, other) in [(0, "n1"), (1, "n0")] {
        let finding = appears(&members[member].broker, "members-differ");
        assert_eq!(finding["subject"], other);
    }
    plans[1].config = alike;
    members[1].reload(&plans[1].text());
    for member in &members {
        clears(&member.broker, "members-differ");
    }
}

/// A package that was installed on one member only.
#[test]
fn a_member_of_another_version_is_reported() {
    let ports = [free_port(), free_port()];
    let near = plan(Kind::Midge, "n0", ports[0], &[], "").start();
    let way = Way::to(ports[0], 0);
    way.forth.version_replaced.store(true, Ordering::Relaxed);
    let plan = plan(Kind::Midge, "n1", ports[1], &[way.port], "");
    let mut far = plan.start();
    let finding = appears(&near.broker, "members-differ");
    assert_eq!(
        (&finding["subject"], &finding["severity"]),
        (&"n1".into(), &"info".into())
    );
    assert!(text(&finding).contains("it is midge 99999"), "{finding}");
    stays_silent(&far.broker, "members-differ");
    checks(&near.broker, 2, 0);
    way.forth.version_replaced.store(false, Ordering::Relaxed);
    far.broker.kill();
    far = plan.start();
    clears(&near.broker, "members-differ");
    mesh::wait_for_mesh(&[&near, &far]);
    stays_silent(&near.broker, "members-differ");
}

/// A nats-server has an account that midge gets later: earlier interest in it works from
/// then on, and the finding clears.
#[test]
fn an_account_missing_on_other_members_is_reported_until_a_reload_adds_it() {
    let mut plans = plans(&[Kind::Midge, Kind::Nats], "");
    let accounts = "accounts { A { users: [{user: a, password: a}] } }\nno_auth_user: a";
    plans[1].config += accounts;
    let members = start(&plans);
    let mut subscriber = members[1].client();
    subscriber.send("SUB news 1\r\n");
    subscriber.sync();
    let finding = appears(&members[0].broker, "members-differ");
    assert_eq!(
        (&finding["subject"], &finding["severity"]),
        (&"n1".into(), &"warning".into())
    );
    let reported = "it has 1 subscription in accounts that this broker does not define (\"A\")";
    assert!(text(&finding).contains(reported), "{finding}");
    assert!(!members[0].knows("news"));
    plans[0].config += accounts;
    members[0].reload(&plans[0].text());
    assert!(members[0].knows("news"));
    members[0].client().send("PUB news 2\r\nhi\r\n");
    assert_eq!(subscriber.next_message().body, b"hi");
    clears(&members[0].broker, "members-differ");
    stays_silent(&members[0].broker, "members-differ");
    // The finding also clears when the account is removed.
    plans[0].config = thresholds("");
    members[0].reload(&plans[0].text());
    assert!(!members[0].knows("news"));
    appears(&members[0].broker, "members-differ");
}
