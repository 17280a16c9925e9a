//! The service manager that supervises the process: it must be told that another process is the
//! main one now, else it ends that one as a leftover when the old one ends.
//!
//! systemd is told over its notification socket, which it gives to a unit with `NotifyAccess=main`.
//! What watches its child only (a container's first process, upstart, runit) cannot be told.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
            process::parent_id,
        },
    },
    process,
};

/// The variable that names systemd's notification socket.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Whether another process may become the main one.
///
///  # Errors
///
/// Why not, and what to do.
pub(super) fn check() -> Result<(), String> {
    if process::id() == 1 {
        return Err(
            "this process is the first one of its container, which ends with it: replace \
                    the container instead"
                .into(),
        );
    }
    if env::var_os("UPSTART_JOB").is_some() && parent_id() == 1 {
        return Err(
            "Upstart watches this process only, and would start the broker a second time: restart \
             the service instead"
                .into(),
        );
    }
    let is_main = match env::var("SYSTEMD_EXEC_PID") {
        Ok(pid) => pid.parse() == Ok(process::id()),
        Err(_) => env::var_os("INVOCATION_ID").is_some() && parent_id() == 1,
    };
    if is_main && env::var_os(NOTIFY_SOCKET).is_none() {
        return Err(
            "systemd would end the new process together with this one: add NotifyAccess=main to \
             the unit's [Service], and restart the service once"
                .into(),
        );
    }
    Ok(())
}

/// Tells systemd, if it supervises this process, that the process `pid` is the main one.
pub(super) fn tell_main_pid(pid: u32) -> io::Result<()> {
    match env::var_os(NOTIFY_SOCKET) {
        None => Ok(()),
        Some(socket) => tell(socket.as_bytes(), &format!("MAINPID={pid}\n")),
    }
}

fn tell(socket: &[u8], state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    let sender = UnixDatagram::unbound()?;
    // A service manager that hangs must not hold the upgrade.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_process_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("midge-test/{}", process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (
                path.as_os_str().as_bytes().to_vec(),
                SocketAddr::from_pathname(&path).unwrap(),
            ),
            (format!("@{name}").into_bytes(), abstract_address),
        ] {
            let receiver = UnixDatagram::bind_addr(&address).unwrap();
            tell(&socket, "MAINPID=7\n").unwrap();
            let mut text = [0; 64];
            let len = receiver.recv(&mut text).unwrap();
            assert_eq!(&text[..len], b"MAINPID=7\n");
        }
        assert!(tell(folder.path().join("none").as_os_str().as_bytes(), "x").is_err());
    }
}
