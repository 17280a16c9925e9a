//! A mesh made from the unchanged file that the legacy Puppet module writes.

use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};
use test_support::{pki::Pki, wait_until};

/// The file of the member `index`, as the module's template renders it. The module uses
/// one port for all members; here each has its own.
fn rendered(pki: &Pki, index: usize, ports: &[u16]) -> String {
    let files = format!(
        "    cert_file: \"{}\"\n    key_file: \"{}\"\n    ca_file: \"{}\"\n    verify: true\n    \
         timeout: 2\n",
        pki.text(&format!("n{index}.pem")),
        pki.text(&format!("n{index}.key")),
        pki.text("ca.pem")
    );
    let others = ports.iter().enumerate().filter(|(at, _)| *at != index);
    let routes: String = others
        .map(|(_, port)| format!("    nats-route://routes:S3cret@localhost:{port}\n"))
        .collect();
    format!(
        "net: \"::\"\nport: 4222\nmonitor_port: 8222\ndebug: false\ntrace: false\n\ntls {{\n\
         {files}}}\n\ncluster {{\n  port: {}\n  no_advertise: true\n\n  tls {{\n{files}  }}\n\n  \
         authorization {{\n    user: routes\n    password: S3cret\n    timeout: 0.75\n  }}\n\n  \
         routes = [\n{routes}  ]\n}}\n\nmax_payload: 1048576\nmax_pending_size: 10485760\n\
         max_connections: 65536\nwrite_deadline: \"2s\"\n",
        ports[index]
    )
}

fn members(pki: &Pki, kinds: [Kind; 3]) -> Vec<Member> {
    let ports = [free_port(), free_port(), free_port()];
    let start = |(index, kind): (usize, Kind)| {
        let plan = Plan::new(kind, &format!("n{index}"), ports[index], &[]);
        let mut text = rendered(pki, index, &ports);
        if kind != Kind::Midge {
            // An old name that only gnatsd knows; everything else is as rendered.
            text = text.replace("max_pending_size", "max_pending");
        }
        plan.start_with(text)
    };
    let members: Vec<Member> = kinds.into_iter().enumerate().map(start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

/// Without a cluster name the members agree on one, of any kind.
#[test]
fn the_rendered_file_forms_a_mesh() {
    let pki = Pki::new(&["n0", "n1", "n2"]);
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats29, Kind::Midge],
        [Kind::Nats29, Kind::Midge, Kind::Nats],
    ] {
        let members = members(&pki, kinds);
        let name = |member: &Member| member.broker.connect().info()["cluster"].clone();
        wait_until(&format!("{kinds:?}: one name"), || {
            let first = name(&members[0]);
            first.is_string() && members.iter().all(|member| name(member) == first)
        });
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        for member in &members {
            assert_eq!(member.peers().len(), 2, "{kinds:?}");
        }
    }
}
