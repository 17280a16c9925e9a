//! Icinga 2 with the shipped CheckCommand and services.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use test_support::{tools, wait_until};

use super::{
    broker::{Place, STUCK},
    daemon::{Daemon, plugin_folder, program, triplet},
};

/// What Debian and an operator configure, with intervals of a second. Every result of a
/// check is written to a file: service, kind of state and state, performance data and output,
/// of which the first line is on the same line.
const CONFIG: &str = r#"
const NodeName = "test"
const ZoneName = NodeName
const PluginDir = "$PLUGINS"
const ManubulonPluginDir = PluginDir
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
include <itl>
include <plugins>
template Service "generic-service" {
  max_check_attempts = 5
  check_interval = 1s
  retry_interval = 1s
}
object CheckerComponent "checker" { }
object PerfdataWriter "results" {
  rotation_interval = 1s
  service_perfdata_path = "$FOLDER/results/service"
  service_temp_path = "$FOLDER/results.tmp"
  host_perfdata_path = "$FOLDER/host"
  host_temp_path = "$FOLDER/host.tmp"
  service_format_template = "$service.name$\t$service.state_type$ $service.state$\t$service.perfdata$\t$service.output$"
}
include "$NATS"
object Host "broker" {
  check_command = "dummy"
  address = "127.0.0.1"
  vars.nats = "midge"
  vars.nats_port = $PORT
  vars.nats_monitor_port = $MONITOR
  vars.nats_timeout = 2
}
object Host "monitor" {
  check_command = "dummy"
  address = "127.0.0.1"
}
object Service "NATS fleet" {
  import "nats-service"
  host_name = "monitor"
  vars.nats_srv = "_nats-server._tcp.example.net"
  vars.nats_nameserver = "127.0.0.1:1"
}
"#;

/// An Icinga 2 in a folder of its own.
struct Icinga {
    folder: TempDir,
}

impl Icinga {
    fn configure(place: Place) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        for name in ["results", "lib", "log", "cache", "spool", "run", "conf"] {
            fs::create_dir(path.join(name)).expect("a folder");
        }
        let (client, monitor) = place.ports();
        let shipped = tools::project().join("conf/icinga2/nats.conf");
        let config = CONFIG
            .replace("$PLUGINS", &plugin_folder().display().to_string())
            .replace("$FOLDER", &path.display().to_string())
            .replace("$NATS", &shipped.display().to_string())
            .replace("$PORT", &client.to_string())
            .replace("$MONITOR", &monitor.to_string());
        fs::write(path.join("icinga2.conf"), config).expect("a written file");
        Self { folder }
    }

    /// `icinga2 daemon` with all its folders in the test's.
    fn command(&self) -> Command {
        let binary = format!("usr/lib/{}/icinga2/sbin/icinga2", triplet());
        let mut command = program(&binary, "icinga2-bin");
        let include = tools::debian_file("usr/share/icinga2/include", "icinga2-common");
        let folder = |name: &str| self.folder.path().join(name);
        command.arg("daemon");
        command.arg("-c").arg(folder("icinga2.conf"));
        let mut define = |name: &str, value: &Path| {
            command.arg("-D").arg(format!("{name}={}", value.display()));
        };
        define("IncludeConfDir", &include);
        define("ConfigDir", &folder("conf"));
        define("DataDir", &folder("lib"));
        define("LogDir", &folder("log"));
        define("CacheDir", &folder("cache"));
        define("SpoolDir", &folder("spool"));
        define("InitRunDir", &folder("run"));
        define("RunAsUser", Path::new(&own_name("-un")));
        define("RunAsGroup", Path::new(&own_name("-gn")));
        command
    }

    /// All results so far, the oldest first.
    fn results(&self) -> Vec<String> {
        let folder = fs::read_dir(self.folder.path().join("results")).expect("the results");
        let mut files: Vec<_> = folder.flatten().map(|file| file.path()).collect();
        files.sort();
        let read = |file| fs::read_to_string(file).expect("a file of results");
        let text: String = files.into_iter().map(read).collect();
        let lines = text.lines().filter(|line| line.contains('\t'));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a result after the first `seen` ones.
    fn wait_for(&self, seen: usize, service: &str, state: &str, words: &str, figures: &str) {
        wait_until(&format!("{service}: {state} {words} | {figures}"), || {
            self.results().iter().skip(seen).any(|result| {
                let fields: Vec<&str> = result.split('\t').collect();
                fields[0] == service
                    && fields[1].ends_with(state)
                    && fields[2].contains(figures)
                    && fields[3].contains(words)
            })
        });
    }
}

fn own_name(of: &str) -> String {
    let output = Command::new("id").arg(of).output().expect("run id");
    let name = String::from_utf8(output.stdout).expect("UTF-8");
    name.trim().to_owned()
}

/// The shipped file is valid, and Icinga passes its variables on and sees a broker that
/// serves, has a slow consumer, dies and comes back.
#[test]
fn icinga_follows_a_broker() {
    let place = Place::free();
    let icinga = Icinga::configure(place);
    let verified = icinga.command().arg("-C").output().expect("run icinga2");
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{text}");
    assert!(text.contains("Instantiated 6 Services"), "{text}");
    assert!(!text.contains("warning/"), "{text}");

    let mut broker = place.start();
    let daemon = Daemon::start(icinga.command(), icinga.folder.path());
    icinga.wait_for(0, "NATS", "OK", "NATS OK: 0 connections", "rtt=0.");
    icinga.wait_for(0, "NATS findings", "OK", "NATS OK: ", "findings_warning=0");
    icinga.wait_for(0, "NATS traffic", "OK", "0 msgs/s in", "in_msgs_rate=0");
    icinga.wait_for(0, "NATS slow consumers", "OK", "0 new slow", "slow_new=0");
    // Nobody answers there, but the check was made with the name and without an address.
    icinga.wait_for(
        0,
        "NATS fleet",
        "UNKNOWN",
        "_nats-server._tcp.example.net",
        "",
    );

    let seen = icinga.results().len();
    place.cause_slow_consumer();
    // Icinga notifies for a hard state, which an event is at once.
    let hard = "HARD WARNING";
    icinga.wait_for(seen, "NATS slow consumers", hard, STUCK, "slow_new=1");
    icinga.wait_for(
        seen,
        "NATS findings",
        "WARNING",
        STUCK,
        "findings_warning=1",
    );

    let seen = icinga.results().len();
    broker.kill();
    icinga.wait_for(seen, "NATS", "CRITICAL", "refused", "");
    let seen = icinga.results().len();
    let _broker = place.start();
    icinga.wait_for(
        seen,
        "NATS",
        "OK",
        "NATS OK: 0 connections",
        "slow_consumers=0c",
    );
    assert!(icinga.folder.path().join("lib/check_nats").is_dir());
    icinga.wait_for(seen, "NATS restarts", hard, "restarted", "restarts_new=1");
    daemon.stop();
}
