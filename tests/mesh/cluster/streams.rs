//! Streams are stored on the nats-servers of a mesh; a client of midge uses them.

use std::process::Command;

use super::tls;
use test_support::{
    free_port,
    mesh::{self, Kind, Plan},
};
use test_support::{pki::Pki, tools};

#[test]
fn streams_are_used_through_midge() {
    use_streams(None);
}

#[test]
fn streams_are_used_over_routes_with_tls() {
    use_streams(Some(&Pki::new(&["member"])));
}

fn use_streams(pki: Option<&Pki>) {
    let cluster = match pki {
        Some(pki) => format!("name: mesh\n  {}", tls::block(pki, "member", pki, "")),
        None => "name: mesh".to_owned(),
    };
    let ports = [free_port(), free_port(), free_port()];
    let servers: Vec<_> = (0..ports.len())
        .map(|index| {
            let others = ports.iter().copied().filter(|port| *port != ports[index]);
            let name = format!("s{index}");
            let mut plan = Plan::new(Kind::Nats, &name, ports[index], &others.collect::<Vec<_>>());
            plan.cluster.clone_from(&cluster);
            plan.config = format!("jetstream {{ store_dir: \"store-{name}\" }}");
            plan.start()
        })
        .collect();
    let mut midge = Plan::new(Kind::Midge, "midge", free_port(), &ports);
    midge.cluster.clone_from(&cluster);
    let midge = midge.start();
    let mut members: Vec<_> = servers.iter().collect();
    members.push(&midge);
    mesh::wait_for_mesh(&members);
    let output = Command::new(tools::python_with_nats())
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/mesh/cluster/streams.py"
        ))
        .arg(midge.broker.client_url())
        .output()
        .expect("run the program");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text == "ok\n", "{text}{errors}");
}
