//! A member never sends more than its peer accepts, with different limits on both sides:
//! many queue groups, long subjects, bulk interest. Peers that fail or do not read are
//! reported and do not hold up the others.

mod interest;
mod peers;
mod queue_groups;

use std::time::Duration;

use test_support::{
    RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    raw_client::Next,
    wait_until,
};

/// Timeout for bulk interest on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Members of a mesh, each with its own configuration lines.
fn start(kinds: &[(Kind, &str)]) -> Vec<Member> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let plan = |(index, (kind, config)): (usize, &(Kind, &str))| {
        let mut others = ports.clone();
        others.remove(index);
        let mut plan = Plan::new(*kind, &format!("n{index}"), ports[index], &others);
        plan.config = (*config).into();
        plan.start()
    };
    let members: Vec<Member> = kinds.iter().enumerate().map(plan).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

/// Ids of a member's routes; a new route has a new id.
fn route_ids(member: &Member) -> Vec<u64> {
    let routez = member.broker.get_json("/routez");
    let routes = routez["routes"].as_array().expect("routes");
    let mut ids: Vec<u64> = routes.iter().filter_map(|it| it["rid"].as_u64()).collect();
    ids.sort_unstable();
    ids
}

/// Publishes to `subject` until `reader` receives it: what the reader sent before is then
/// known to the publisher's broker. Other messages are ignored.
fn wait_for_way(publisher: &mut RawClient, reader: &mut RawClient, subject: &str) {
    reader.send(format!("SUB {subject} way\r\n"));
    reader.sync();
    wait_until(
        &format!("the other member has interest in {subject}"),
        || {
            publisher.send(format!("PUB {subject} 0\r\n\r\n"));
            publisher.sync();
            matches!(
                reader.poll_frame(Duration::from_millis(100)),
                Next::Frame(_)
            )
        },
    );
    reader.send("UNSUB way\r\n");
    reader.sync();
}

/// Names of queue groups, each of `len` bytes.
fn groups(count: usize, len: usize) -> Vec<String> {
    let pad = len.saturating_sub(5);
    (0..count)
        .map(|it| format!("{it:05}{}", "q".repeat(pad)))
        .collect()
}
