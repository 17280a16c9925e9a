//! The kernel's statistics of a socket: TCP_INFO.

use std::{mem::size_of_val, os::fd::AsRawFd};

use tokio::net::TcpStream;

use crate::telemetry::slow::SocketStats;

/// Bytes of the system's answer that are read. Their order is part of the
/// system's interface (`struct tcp_info` of linux/tcp.h); newer systems append.
const LEN: usize = 232;

/// TCP_INFO of this socket; `None` where the kernel lacks some of it.
pub(super) fn read(stream: &TcpStream) -> Option<SocketStats> {
    let mut answer = [0_u8; LEN];
    let mut len = size_of_val(&answer) as libc::socklen_t;
    // SAFETY: `answer` is valid for writes of `len` bytes, and both outlive the
    // call; the descriptor is open as long as `stream` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            answer.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result != 0 || (len as usize) < LEN {
        return None;
    }
    let u32_at = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(answer.get(at..at + 8)?.try_into().ok()?));
    Some(SocketStats {
        probes: answer[3],
        unacked: u32_at(24)?,
        rtt: u32_at(68)?,
        retransmits: u32_at(100)?,
        not_sent: u32_at(144)?,
        busy: u64_at(168)?,
        window_limited: u64_at(176)?,
        send_window: u32_at(228)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that does not read closes its window, and the system reports it.
    #[tokio::test]
    async fn a_closed_window_is_reported() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let fresh = read(&stream).expect("TCP_INFO as of Linux 5.4");
        assert!(fresh.send_window > 0);
        assert_eq!((fresh.not_sent, fresh.window_limited), (0, 0));
        let block = [0; 65536];
        while stream.try_write(&block).is_ok() {}
        let stuck = read(&stream).expect("TCP_INFO as of Linux 5.4");
        assert!(stuck.not_sent > 0, "{stuck:?}");
        drop(peer);
    }
}
