//! Account traffic over a mesh, against nats-servers in the same mesh: who gets
//! what, with which subject and reply, and what is counted where.

use crate::{mesh::Kind, troupe::Troupe};

const MESHES: [[Kind; 2]; 4] = [
    [Kind::Nats, Kind::Nats],
    [Kind::Midge, Kind::Midge],
    [Kind::Midge, Kind::Nats],
    [Kind::Nats, Kind::Midge],
];

const SERVICE: &str = "
  A { users: [ { user: a, password: a } ], imports: [ { service: { account: B, subject: svc } } ] }
  B { users: [ { user: b, password: b } ], exports: [ { service: svc, accounts: [A] } ] }
";

#[test]
fn a_reply_reaches_the_inbox_wherever_it_is() {
    for kinds in MESHES {
        let mut troupe = Troupe::new(&kinds, SERVICE, &[(0, "b"), (0, "a"), (1, "a")]);
        troupe.says(0, "SUB svc 1");
        troupe.says(1, "SUB _INBOX.x.r 7");
        let reply = troupe.last_reply((2, "PUB svc _INBOX.x.r 4\r\nhelp"), 0);
        let seen = troupe.says(0, &format!("PUB {} 2\r\nok", reply.expect("a reply")));
        println!("{kinds:?} {seen:?} {:#?}", troupe.counted());
    }
}

#[test]
fn streams_beside_services() {
    let accounts = "
  A { users: [ { user: a, password: a } ]
      imports: [ { service: { account: B, subject: svc } }, { stream: { account: B, subject: \">\" } } ] }
  B { users: [ { user: b, password: b } ], exports: [ { service: svc }, { stream: \">\" } ] }
";
    for kinds in MESHES {
        let mut troupe = Troupe::new(&kinds, accounts, &[(0, "b"), (0, "a"), (1, "a"), (1, "b")]);
        troupe.says(0, "SUB svc q 1");
        troupe.says(1, "SUB svc q 2");
        let here = troupe.says_often(1, "PUB svc 1\r\nx");
        let there = troupe.says_often(2, "PUB svc 1\r\nx");
        let own = troupe.says_often(0, "PUB svc 1\r\nx");
        let far = troupe.says_often(3, "PUB svc 1\r\nx");
        println!("{kinds:?} a {here:?}\n a far {there:?}\n b {own:?}\n b far {far:?}");
    }
}

#[test]
fn self_import() {
    let accounts = "
  A { users: [ { user: a, password: a } ]
      exports: [ { service: svc } ]
      imports: [ { service: { account: A, subject: svc } } ] }
";
    for kinds in [MESHES[0], MESHES[1]] {
        let mut troupe = Troupe::new(&kinds, accounts, &[(0, "a"), (0, "a"), (1, "a")]);
        troupe.says(0, "SUB svc 1");
        troupe.says(1, "SUB in.> 2");
        let here = troupe.says(1, "PUB svc in.1 1\r\nx");
        let there = troupe.says(2, "PUB svc in.2 1\r\nx");
        println!("{kinds:?} {here:?}\n {there:?}");
    }
}
