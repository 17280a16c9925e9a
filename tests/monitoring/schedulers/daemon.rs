//! A scheduler as a child process in a folder of its own, and the packages it comes from.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use test_support::{tools, wait_for};

/// A running scheduler; it and its workers are killed when dropped.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with its output in `folder`.
    pub(super) fn start(mut command: Command, folder: &Path) -> Self {
        let log = folder.join("output.log");
        let output = fs::File::create(&log).expect("create the log");
        let child = command
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("share the log"))
            .stdout(output)
            // Its workers belong to the same group.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Stops it as an init system would.
    pub(super) fn stop(mut self) {
        self.signal(libc::SIGTERM);
        wait_for("the scheduler ends", || {
            self.child.try_wait().expect("a child of this test")
        });
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits in an i32");
        // SAFETY: kill takes two integers and touches no memory of ours; the child has not
        // been waited for, so its pid cannot belong to another process.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "kill({pid}, {signal}) failed");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).expect("a pid fits in an i32");
        // SAFETY: killpg takes two integers and touches no memory of ours. The group is
        // that of our child; if all of it has ended, there is nothing to kill.
        unsafe { libc::killpg(group, libc::SIGKILL) };
        // An error means that it has been waited for already.
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {} ---\n{log}--- end ---", self.log.display());
        }
    }
}

/// A program of a Debian package, with the libraries that were unpacked beside it.
pub(super) fn program(path: &str, package: &str) -> Command {
    let mut command = Command::new(tools::debian_file(path, package));
    let libraries = tools::test_tools().join(format!("debian/usr/lib/{}", triplet()));
    command.env("LD_LIBRARY_PATH", libraries);
    command
}

/// Debian's name of this architecture in paths.
pub(super) fn triplet() -> String {
    format!("{}-linux-gnu", env::consts::ARCH)
}

/// The folder with the `check_nats` of this build.
pub(super) fn plugin_folder() -> PathBuf {
    let program = tools::check_nats();
    program.parent().expect("a folder of the build").to_owned()
}
