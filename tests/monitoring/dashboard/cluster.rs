//! The mesh on the page: a standalone broker, three and five members, missing members,
//! members with different settings, slow members, and members without a route to each
//! other.

use serde_json::json;

use test_support::Broker;
use test_support::browser::Browser;
use test_support::{
    free_port,
    mesh::{Kind, Member, Plan, wait_for_mesh},
};

fn open(browser: &mut Browser, broker: &Broker) {
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
}

/// Waits until this number of elements match a selector.
fn wait_for_count(browser: &mut Browser, selector: &str, count: usize) {
    let found = format!("document.querySelectorAll({selector:?}).length");
    browser.wait_for(&format!("{found} === {count}"));
}

/// `n0` to `n4`; the last one is a nats-server with a larger max_payload.
fn members(count: usize) -> Vec<Member> {
    let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
    let start = |index: usize| {
        let mut others = ports.clone();
        others.remove(index);
        let kind = if index == 4 { Kind::Nats } else { Kind::Midge };
        let mut plan = Plan::new(kind, &format!("n{index}"), ports[index], &others);
        if kind == Kind::Nats {
            plan.config = "max_payload: 2MB".into();
        }
        plan.start()
    };
    let members: Vec<Member> = (0..count).map(start).collect();
    wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

#[test]
fn a_standalone_broker_is_shown_as_such() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    open(&mut browser, &broker);
    browser.wait_for("document.querySelector('#cluster .empty')?.checkVisibility() === true");
    assert_eq!(
        browser.evaluate("document.querySelector('#cluster .mesh').checkVisibility()"),
        json!(false)
    );
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
}

#[test]
fn routes_between_members_are_drawn_and_a_missing_member_is_shown() {
    for count in [3, 5] {
        let mut members = members(count);
        let mut browser = Browser::start();
        open(&mut browser, &members[0].broker);
        wait_for_count(&mut browser, "#cluster tbody .member", count);
        wait_for_count(&mut browser, "#cluster td.cell.ok", count * (count - 1));
        wait_for_count(&mut browser, "#cluster .edge.ok", count * (count - 1) / 2);
        let differing = usize::from(count == 5);
        wait_for_count(&mut browser, "#cluster .node.warning", differing);
        wait_for_count(&mut browser, "#cluster .state .badge.warning", differing);

        members[1].broker.kill();
        wait_for_count(&mut browser, "#cluster .node.critical", 1);
        // All others report that they have no route to it; it does not answer any more.
        wait_for_count(&mut browser, "#cluster td.cell.apart", count - 1);
        wait_for_count(&mut browser, "#cluster td.cell.unknown", count - 1);
        wait_for_count(&mut browser, "#cluster .edge.apart", count - 1);
        let missed = "[...document.querySelectorAll('#cluster tbody tr')].find((row) => \
                      row.querySelector('.member').textContent.endsWith('n1')).textContent";
        browser.wait_for(&format!("{missed}.includes('missing for')"));
        browser.wait_for("document.querySelector('#findings').textContent.includes('n1')");
        assert_eq!(
            browser.evaluate("document.querySelector('#cluster .count').textContent"),
            json!(format!("mesh: {} of {count} there", count - 1))
        );
        assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
    }
}

/// States that need proxies and stopped processes (see the tests of the findings) are
/// drawn from a recorded answer of `/clusterz`.
#[test]
fn asymmetric_routes_and_slow_members_are_distinguished() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    open(&mut browser, &broker);
    browser.wait_for("document.querySelector('#cluster .empty')?.checkVisibility() === true");
    let sight = |name: &str, connected: bool, pending: u64| json!({"id": name, "name": name, "connected": connected, "configured": true, "rtt": connected.then_some(0.002), "pending": pending});
    let member = |name: &str, sees: [serde_json::Value; 2]| json!({"id": name, "name": name, "address": "", "own": name == "a", "connected": name != "a", "since": "2026-11-25T12:00:00Z", "max_payload": 1_048_576, "sees": sees});
    // c has no route to b, which has one to c; c is slow for a, and b has many bytes
    // pending for a.
    let answer = json!({
        "cluster": "mesh", "expected": 3, "present": 3,
        "members": [
            member("a", [sight("c", true, 0), sight("b", true, 0)]),
            member("c", [sight("a", true, 0), sight("b", false, 0)]),
            member("b", [sight("a", true, 5_000_000), sight("c", true, 0)]),
        ],
        "disagreements": [{"code": "route-slow", "subject": "c", "text": "it has not answered for 3 s"}],
    });
    let drawn = browser.evaluate(&format!(
        "showCluster({answer}); [...document.querySelectorAll('#cluster tbody tr')].map((row) => \
         [...row.querySelectorAll('.member, .badge, .cell')].map((cell) => cell.textContent + ' ' + \
         cell.className.replace(/cell|badge|member/, '')).join(', ').replace(/\\s+/g, ' '))"
    ));
    assert_eq!(
        drawn,
        json!([
            "1 a , this broker ok, itself, 2.0 ms ok, 2.0 ms warning",
            "2 b , there ok, 2.0 ms warning, itself, 2.0 ms ok",
            "3 c , slow warning, 2.0 ms ok, blind warning one-way, itself",
        ])
    );
    let edges = browser.evaluate(&format!(
        "showCluster({answer}); [...document.querySelectorAll('#cluster .edge')].map((edge) => \
         edge.getAttribute('class') + ': ' + edge.textContent)"
    ));
    assert_eq!(
        edges,
        json!([
            "edge warning: b has a route to a, round trip 2.0 ms, 4.77 MiB wait: slow"
                .replace("2.0 ms", "2.0\u{a0}ms")
                .replace("4.77 MiB", "4.77\u{a0}MiB"),
            "edge warning: a has a route to c, round trip 2.0\u{a0}ms: slow",
            "edge warning one-way: b has a route to c, but c has none to b",
        ])
    );
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
}
