//! NRPE on the broker's host, with the shipped commands.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use test_support::{broker::is_listening, free_address, tools, wait_for, wait_until};

use super::{
    broker::{Place, STUCK},
    daemon::{Daemon, program},
    shipped,
};

/// A running NRPE.
pub(super) struct Nrpe {
    address: SocketAddr,
    _daemon: Daemon,
}

impl Nrpe {
    /// Starts one that checks the broker at `place`; its files are in `folder`.
    pub(super) fn start(folder: &Path, place: Place) -> Self {
        let address = free_address();
        // Its user must be able to run the plugin and to keep state.
        fs::set_permissions(folder, Permissions::from_mode(0o777)).expect("an open folder");
        fs::copy(tools::check_nats(), folder.join("check_nats")).expect("a copy");
        let state = folder.join("state").display().to_string();
        let commands = shipped::file("nagios/nrpe.cfg", folder)
            .replace("/check_nats ", &format!("/check_nats {} ", place.options()))
            .replace(shipped::STATE_FOLDER, &state);
        let (user, group) = ordinary_user();
        let config = format!(
            "server_address=127.0.0.1\nserver_port={}\nallowed_hosts=127.0.0.1\n\
             nrpe_user={user}\nnrpe_group={group}\npid_file={}\nlog_file={}\n{commands}",
            address.port(),
            folder.join("nrpe.pid").display(),
            folder.join("nrpe.log").display(),
        );
        let path = folder.join("nrpe.cfg");
        fs::write(&path, config).expect("write the configuration");
        let mut command = program("usr/sbin/nrpe", "nagios-nrpe-server");
        command.arg("-f").arg("-c").arg(path);
        let daemon = Daemon::start(command, folder);
        wait_until("NRPE listens", || is_listening(address));
        Self {
            address,
            _daemon: daemon,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Exit code and output of a check of this command.
    fn check(&self, command: &str) -> (i32, String) {
        self.check_with(&[], command)
    }

    /// The same with options of check_nrpe.
    fn check_with(&self, options: &[&str], command: &str) -> (i32, String) {
        let output = Command::new(check_nrpe())
            .args(options)
            .args(["-H", "127.0.0.1", "-p", &self.port().to_string()])
            .args(["-c", command])
            .output()
            .expect("run check_nrpe");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code().expect("an exit code"), text)
    }
}

/// Who this test is or, because NRPE refuses to be root, nobody.
fn ordinary_user() -> (u32, u32) {
    const NOBODY: (u32, u32) = (65_534, 65_534);
    // SAFETY: these take nothing and only return numbers.
    match unsafe { (libc::getuid(), libc::getgid()) } {
        (0, _) => NOBODY,
        own => own,
    }
}

/// NRPE's client.
pub(super) fn check_nrpe() -> PathBuf {
    tools::debian_file("usr/lib/nagios/plugins/check_nrpe", "nagios-nrpe-plugin")
}

/// Each shipped command passes state and performance data on; the state of the last run is
/// kept where the file says.
#[test]
fn nrpe_runs_the_shipped_commands() {
    let place = Place::free();
    let _broker = place.start();
    let folder = tempfile::tempdir().expect("a folder");
    let nrpe = Nrpe::start(folder.path(), place);
    let commands = shipped::nrpe_commands();
    for (name, _) in &commands {
        let (code, text) = nrpe.check(name);
        assert_eq!(code, 0, "{name}: {text}");
        assert!(
            text.starts_with("NATS OK: ") && text.contains(" | "),
            "{name}: {text}"
        );
    }
    assert!(folder.path().join("state").is_dir());
    place.cause_slow_consumer();
    let (code, text) = nrpe.check("check_nats_slow");
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(STUCK) && text.contains(" | slow_new=1;"),
        "{text}"
    );
    // The packets of NRPE 2 have room for 1023 bytes.
    let text = wait_for("the finding is there", || {
        let (code, text) = nrpe.check_with(&["-2"], "check_nats_explain");
        (code == 1).then_some(text)
    });
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.contains(STUCK) && first.contains(" | findings_critical=0"),
        "{text}"
    );
}
