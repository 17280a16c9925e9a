//! Nagios 4 with Debian's configuration and the shipped services, directly and through
//! NRPE.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use tempfile::TempDir;
use test_support::{tools, wait_until};

use super::{
    broker::{Place, STUCK},
    daemon::{Daemon, plugin_folder, program},
    nrpe::{Nrpe, check_nrpe},
    shipped,
};

/// What an operator adds, and in place of the commands that ping hosts and send mail some
/// that do nothing.
const HOSTS: &str = "
define host {
    use             midge-broker,linux-server
    host_name       direct
    address         127.0.0.1
    _NATS_OPTIONS   $OPTIONS -t 2 --state-dir $FOLDER/state
}
define host {
    use             midge-broker-nrpe,linux-server
    host_name       through-nrpe
    address         127.0.0.1
}
define command {
    command_name    check-host-alive
    command_line    /bin/true
}
define command {
    command_name    notify-service-by-email
    command_line    /bin/true
}
define command {
    command_name    notify-host-by-email
    command_line    /bin/true
}
define command {
    command_name    check_nrpe
    command_line    $CHECK_NRPE -H $HOSTADDRESS$ -p $PORT -c $ARG1$
}
";

/// The hosts.
const DIRECT: &str = "direct";
const THROUGH_NRPE: &str = "through-nrpe";

/// A Nagios in a folder of its own.
struct Nagios {
    folder: TempDir,
}

impl Nagios {
    /// Writes its configuration: Debian's, the shipped files, and hosts for the broker at
    /// `place`.
    fn configure(place: Place, nrpe: &Nrpe) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::create_dir_all(path.join("spool/checkresults")).expect("a folder");
        fs::create_dir_all(path.join("rw")).expect("a folder");
        let objects = path.join("objects");
        fs::create_dir(&objects).expect("a folder");
        for name in ["templates.cfg", "timeperiods.cfg", "contacts.cfg"] {
            fs::copy(debian(&format!("objects/{name}")), objects.join(name)).expect("a copy");
        }
        let write = |path: &Path, text: &str| fs::write(path, text).expect("a written file");
        for name in ["nats.cfg", "nats-nrpe.cfg"] {
            let text = shipped::file(&format!("nagios/{name}"), &plugin_folder());
            write(&objects.join(name), &text);
        }
        let hosts = HOSTS
            .replace("$OPTIONS", &place.options())
            .replace("$FOLDER", &path.display().to_string())
            .replace("$CHECK_NRPE", &check_nrpe().display().to_string())
            .replace("$PORT", &nrpe.port().to_string());
        write(&objects.join("hosts.cfg"), &hosts);
        write(&path.join("nagios.cfg"), &main_config(path));
        Self { folder }
    }

    fn command(&self) -> Command {
        program("usr/sbin/nagios4", "nagios4-core")
    }

    /// What Nagios says about its configuration.
    fn verify(&self) -> String {
        let output = self
            .command()
            .arg("-v")
            .arg(self.folder.path().join("nagios.cfg"))
            .output()
            .expect("run nagios4");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn start(&self) -> Daemon {
        let mut command = self.command();
        command.arg(self.folder.path().join("nagios.cfg"));
        Daemon::start(command, self.folder.path())
    }

    /// Waits until `status.dat` shows the service of each of these hosts in this state, with
    /// these words in its first line and in its performance data.
    fn wait_for(&self, hosts: &[&str], name: &str, state: &str, words: &str, figures: &str) {
        for host in hosts {
            wait_until(
                &format!("{host}: {name}: {state} {words} | {figures}"),
                || {
                    let services = services(&self.read("status.dat"));
                    let mut services = services.iter();
                    services.any(|service| {
                        let is =
                            |key: &str, value: &str| service.get(key).is_some_and(|v| v == value);
                        let has = |key: &str, word: &str| {
                            service.get(key).is_some_and(|text| text.contains(word))
                        };
                        is("host_name", host)
                            && is("service_description", name)
                            && is("current_state", state)
                            && has("plugin_output", words)
                            && has("performance_data", figures)
                    })
                },
            );
        }
    }

    /// Waits until the log shows that somebody was told at the first result of a service of
    /// each of these hosts, though the next one is OK again.
    fn wait_for_notifications(&self, hosts: &[&str], name: &str, words: &str) {
        for host in hosts {
            let alert = format!("SERVICE ALERT: {host};{name};WARNING;HARD;1;");
            let notification = format!("SERVICE NOTIFICATION: nagiosadmin;{host};{name};WARNING;");
            for beginning in [alert, notification] {
                wait_until(&format!("{beginning}…{words}"), || {
                    let log = self.read("nagios.log");
                    log.lines()
                        .any(|line| line.contains(&beginning) && line.contains(words))
                });
            }
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

/// Debian's main configuration for this folder and this user. A minute is a second, and
/// what is seen is written every second.
fn main_config(folder: &Path) -> String {
    let debian = fs::read_to_string(debian("nagios.cfg")).expect("Debian's configuration");
    let kept = debian.lines().filter(|line| {
        let outside = ["cfg_file=", "cfg_dir=", "resource_file="];
        !outside.iter().any(|key| line.starts_with(key))
    });
    let mut config = kept.collect::<Vec<_>>().join("\n");
    let folder = folder.display().to_string();
    for place in ["/var/lib/nagios4", "/var/log/nagios4", "/var/run/nagios4"] {
        config = config.replace(place, &folder);
    }
    // SAFETY: these take nothing and only return numbers.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    format!(
        "{config}\ncfg_dir={folder}/objects\nnagios_user={user}\nnagios_group={group}\n\
         query_socket={folder}/query\ntemp_path={folder}\nuse_syslog=0\ncheck_for_updates=0\n\
         interval_length=1\nstatus_update_interval=1\ncheck_result_reaper_frequency=1\n\
         max_service_check_spread=1\nservice_inter_check_delay_method=n\n"
    )
}

fn debian(name: &str) -> std::path::PathBuf {
    tools::debian_file(&format!("etc/nagios4/{name}"), "nagios4-common")
}

/// The `servicestatus` blocks of `status.dat`.
fn services(text: &str) -> Vec<BTreeMap<String, String>> {
    let blocks = text.split("servicestatus {").skip(1);
    blocks
        .map(|block| {
            let lines = block.lines().take_while(|line| line.trim() != "}");
            lines
                .filter_map(|line| line.trim().split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        })
        .collect()
}

/// A broker that serves, has a slow consumer, hangs, dies and comes back, as Nagios sees
/// it.
#[test]
fn nagios_follows_a_broker() {
    let place = Place::free();
    let folder = tempfile::tempdir().expect("a folder");
    let nrpe = Nrpe::start(folder.path(), place);
    let nagios = Nagios::configure(place, &nrpe);
    let verified = nagios.verify();
    assert!(
        verified.contains("Total Warnings: 0") && verified.contains("Total Errors:   0"),
        "{verified}"
    );

    let mut broker = place.start();
    let daemon = nagios.start();
    let both = &[DIRECT, THROUGH_NRPE][..];
    nagios.wait_for(both, "NATS", "0", "NATS OK: 0 connections", "rtt=0.");
    nagios.wait_for(
        both,
        "NATS findings",
        "0",
        "NATS OK: ",
        "findings_warning=0",
    );
    nagios.wait_for(both, "NATS traffic", "0", "0 msgs/s in", "in_msgs_rate=0 ");
    nagios.wait_for(
        both,
        "NATS slow consumers",
        "0",
        "0 new slow",
        "slow_new=0;",
    );

    place.cause_slow_consumer();
    nagios.wait_for_notifications(both, "NATS slow consumers", STUCK);
    nagios.wait_for(both, "NATS findings", "1", STUCK, "findings_warning=1");
    nagios.wait_for(
        both,
        "NATS slow consumers",
        "0",
        "0 new slow",
        "slow_consumers=1c",
    );

    // A broker that hangs.
    broker.signal(libc::SIGSTOP);
    nagios.wait_for(&[DIRECT], "NATS", "2", "no answer", "rtt=U");
    broker.signal(libc::SIGCONT);
    nagios.wait_for(&[DIRECT], "NATS", "0", "NATS OK: ", "rtt=0.");

    broker.kill();
    nagios.wait_for(both, "NATS", "2", "refused", "rtt=U");
    let _broker = place.start();
    nagios.wait_for(
        both,
        "NATS",
        "0",
        "NATS OK: 0 connections",
        "slow_consumers=0c",
    );
    nagios.wait_for_notifications(both, "NATS restarts", "restarted");
    daemon.stop();
}
