//! Ports for programs that do not choose theirs: members of a mesh before they are started,
//! brokers that are started again, peers that nobody listens for. Programs that can name the
//! port they took (`-1`, port 0) need none.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// A port that is free now and that nothing else here gets before a broker uses it: below
/// the range for outgoing connections, and given out once by this process.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let ports = FIRST_PORT..first_outgoing_port();
    // Another process that asks begins elsewhere.
    let next = NEXT.get_or_init(|| AtomicU16::new(random() % ports.len() as u16));
    for _ in 0..ports.len() {
        let offset = next.fetch_add(1, Ordering::Relaxed) % ports.len() as u16;
        let port = ports.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {ports:?}");
}

/// The loopback address with a [`free_port`].
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// The first port that [`free_port`] may give.
const FIRST_PORT: u16 = 10_000;

/// Where the system's range of ports for outgoing connections begins: 32768 on most, 16000
/// on some.
fn first_outgoing_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.expect("the range of ports for outgoing connections");
    let first = range
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    // The range that a system names is not always the one it uses.
    first.map_or(16_000, |first: u16| first.min(16_000))
}

fn random() -> u16 {
    use std::hash::{BuildHasher, Hasher};
    let state = std::collections::hash_map::RandomState::new();
    (state.build_hasher().finish() >> 8) as u16
}
