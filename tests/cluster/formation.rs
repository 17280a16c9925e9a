//! How meshes come together and stay together.

use crate::{
    mesh::{self, Kind, Plan},
    support::wait_until,
};

/// A member that restarts is found again, with its subscriptions.
#[test]
fn a_restarted_member_is_back() {
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Nats]);
    for index in 0..members.len() {
        let ports: Vec<u16> = members.iter().map(|member| member.route_port).collect();
        let kind = [Kind::Midge, Kind::Midge, Kind::Nats][index];
        let mut gone = members.remove(index);
        gone.broker.kill();
        for member in &members {
            wait_until("the lost member is noticed", || {
                !member.peers().contains(&gone.name)
            });
        }
        let others: Vec<u16> = ports
            .iter()
            .copied()
            .filter(|port| *port != gone.route_port)
            .collect();
        let back = Plan::new(kind, &gone.name, gone.route_port, &others).start();
        members.insert(index, back);
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    }
}
