//! Whoever supervises the process: it must learn that another process is the main one now, else it
//! ends that one as a leftover when the old one ends. `hand_over` asks before it starts an upgrade.
//!
//! systemd is told over its notification socket, which it gives to a unit with `NotifyAccess=main`
//! ([`ServiceManager::main_process_is`](crate::service_manager::ServiceManager::main_process_is)).
//! What watches its child only (a container's first process, Upstart, runit) cannot be told.

use std::{env, os::unix::process::parent_id, process};

/// Whether another process may become the main one; `can_tell` is whether there is a service manager
/// that can be told so.
///
///  # Errors
///
/// Why not, and what to do.
pub(super) fn check(can_tell: bool) -> Result<(), String> {
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
    if is_main && !can_tell {
        return Err(
            "systemd would end the new process together with this one, since it cannot be told of \
             it: add NotifyAccess=main to the unit's [Service], and restart the service once; if \
             that is there, the log says at the start what is wrong with NOTIFY_SOCKET"
                .into(),
        );
    }
    Ok(())
}
