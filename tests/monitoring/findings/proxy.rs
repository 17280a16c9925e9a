//! A proxy between two members.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A proxy to a member that can hold back one direction, like a network that drops or
/// delays it.
pub(super) struct Way {
    pub(super) port: u16,
    pub(super) forth: Arc<Direction>,
    pub(super) back: Arc<Direction>,
}

#[derive(Default)]
pub(super) struct Direction {
    pub(super) held: AtomicBool,
    pub(super) delay_ms: AtomicU64,
    /// Whether a midge should appear to have another version.
    pub(super) version_replaced: AtomicBool,
}

impl Way {
    /// Listens at `port`; 0 is any port.
    pub(super) fn to(target: u16, port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let way = Self {
            port: listener.local_addr().expect("its address").port(),
            forth: Arc::default(),
            back: Arc::default(),
        };
        let (forth, back) = (way.forth.clone(), way.back.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
                    continue;
                };
                pass_on(&near, &far, &forth);
                pass_on(&far, &near, &back);
            }
        });
        way
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream, direction: &Arc<Direction>) {
    let mut from = from.try_clone().expect("a second handle");
    let mut to = to.try_clone().expect("a second handle");
    let direction = direction.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        loop {
            let len = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            while direction.held.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            let delay = direction.delay_ms.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(delay));
            if direction.version_replaced.load(Ordering::Relaxed) {
                replace_version(&mut buffer[..len]);
            }
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        // The other direction may have closed them already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// Replaces the version in an INFO with another of the same length.
fn replace_version(bytes: &mut [u8]) {
    let reported = format!("\"midge\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let found = bytes
        .windows(reported.len())
        .position(|some| some == reported.as_bytes());
    if let Some(at) = found {
        let version = &mut bytes[at + "\"midge\":\"".len()..at + reported.len() - 1];
        version.fill(b'9');
    }
}
