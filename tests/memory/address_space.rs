//! A process whose address space is limited (`ulimit -v`).

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    MIB,
    support::{Broker, RawClient, tools, wait_until},
};

/// Kibibytes of the limit.
const LIMIT_KIB: usize = 500_000;

/// Readers that are stuck are cut before the process has no memory left, where nobody
/// set `max_memory`.
#[test]
fn stuck_readers_are_cut_before_the_address_space_is_used_up() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = folder.path().join("limited");
    let script = format!(
        "#!/bin/sh\nulimit -v {LIMIT_KIB} || exit 1\nexec {:?} \"$@\"\n",
        tools::midge().display()
    );
    fs::write(&program, script).expect("write the script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("may be run");
    let mut broker = Broker::program(&program)
        .config("diagnosis { interval: 100ms }\nmax_pending: 400MB")
        .start();
    let memz = broker.get_json("/memz");
    let ceilings = memz["ceilings"].as_array().cloned().unwrap_or_default();
    let queues = ceilings.iter().find(|known| known["name"] == "queues");
    if let Some(queues) = queues {
        let limit = queues["limit"].as_f64().expect("a number");
        assert!(limit < (LIMIT_KIB * 1024 / 2) as f64, "{queues}");
    }
    let mut readers: Vec<RawClient> = (0..30).map(|_| broker.connect()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.send(format!("SUB much.{number} 1\r\n"));
        reader.sync();
    }
    let mut publisher = broker.connect();
    for round in 0..200 {
        for number in 0..30 {
            let size = if round % 2 == 0 { 1000 } else { 100_000 };
            let one = format!("PUB much.{number} {size}\r\n{}\r\n", "x".repeat(size));
            publisher.send(one.repeat(200_000 / size));
        }
        publisher.sync();
        assert!(!broker.has_exited(), "{}", broker.log());
    }
    let varz = broker.get_json("/varz");
    assert!(varz["slow_consumers"].as_u64() > Some(5), "{varz}");
    drop(readers);
    wait_until("the broker is as before", || {
        broker.connect().sync();
        broker.get_json("/varz")["mem"].as_u64() < Some(100 * MIB)
    });
}
