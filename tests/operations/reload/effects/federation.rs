//! The federation of a site.

use test_support::{Broker, RawClient, wait_until};

use super::{Effect, Scene};

pub const EFFECTS: &[Effect] = &[("federation", federation)];

/// Subscriptions to the requests of a site at an upstream broker.
fn serving(central: &Broker, site: &str) -> usize {
    let subject = format!("choria.federation.{site}.federation");
    let answer = central.get_json(&format!("/subsz?subs=1&test={subject}"));
    answer["subscriptions_list"].as_array().map_or(0, Vec::len)
}

/// It begins, serves another site at another upstream broker, and ends; what does not change the
/// block does not touch its connection.
#[test]
fn federation() {
    let centrals = [Broker::midge().start(), Broker::midge().start()];
    let block = |name: &str, central: &Broker| {
        let url = central.client_url();
        format!("federation {{ name: {name}, upstream: {url:?} }}")
    };
    let mut scene = Scene::new("", "");
    scene.reload(&block("one", &centrals[0]), "");
    wait_until("it begins", || serving(&centrals[0], "one") == 1);
    let connects = || centrals[0].get_json("/varz")["total_connections"].clone();
    let before = connects();
    scene.reload(&format!("{}\ndebug: true", block("one", &centrals[0])), "");
    assert_eq!(connects(), before);
    assert_eq!(serving(&centrals[0], "one"), 1);

    scene.reload(&block("two", &centrals[1]), "");
    wait_until("the other one begins", || serving(&centrals[1], "two") == 1);
    wait_until("the one before ends", || serving(&centrals[0], "one") == 0);
    let mut node = RawClient::connect_quietly(scene.member.broker.client_addr());
    node.send("SUB mcollective.node.web1 1\r\n");
    node.sync();
    let mut client = RawClient::connect_quietly(centrals[1].client_addr());
    let request = r#"{"headers":{"reply-to":"mcollective.reply.a","federation":{"req":"1","target":["mcollective.node.web1"]}}}"#;
    let len = request.len();
    client.send(format!(
        "PUB choria.federation.two.federation {len}\r\n{request}\r\n"
    ));
    node.next_message();

    scene.reload("", "");
    wait_until("it ends", || serving(&centrals[1], "two") == 0);
    let answer = scene.member.broker.get_json("/federationz");
    assert_eq!(answer["enabled"], false);
}
