//! A host that `puppet apply` sets up below a temporary folder: all its files are there, and its
//! service is started by the init script.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use test_support::{HttpResponse, http, tools, wait_until};

use super::{INSTALLED_MODULES, run};

/// Exit codes of `puppet apply --detailed-exitcodes`.
pub(crate) const UNCHANGED: i32 = 0;
pub(crate) const CHANGED: i32 = 2;
pub(crate) const FAILED: i32 = 4;

/// The ports of all hosts; each host has an address of its own.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) cluster: u16,
    pub(crate) monitor: u16,
}

pub(crate) struct Host {
    /// The folder that its files are in.
    pub(crate) root: PathBuf,
    pub(crate) address: Ipv4Addr,
    pub(crate) ports: Ports,
    /// Puppet code that is applied beside the class `nats`.
    pub(crate) beside: String,
}

impl Host {
    /// A host with this fqdn and these modules beside `nats` and `stdlib`.
    pub(crate) fn new(folder: &Path, address: Ipv4Addr, ports: Ports, modules: &[&str]) -> Self {
        let root = folder.join(address.to_string());
        let host = Self {
            root,
            address,
            ports,
            beside: String::new(),
        };
        for made in [
            "agent",
            "bin",
            "collectd.d",
            "default",
            "facts",
            "init.d",
            "modules",
            "nrpe.d",
            "plugins",
            "sbin",
            "sudoers.d",
        ] {
            fs::create_dir_all(host.path(made)).expect("a folder");
        }
        symlink(installed_module(folder), host.path("modules/nats")).expect("a link");
        for name in ["stdlib"].iter().chain(modules) {
            let installed = Path::new(INSTALLED_MODULES).join(name);
            assert!(
                installed.is_dir(),
                "this test needs {} (run tests/run, which installs it)",
                installed.display()
            );
            symlink(installed, host.path("modules").join(name)).expect("a link");
        }
        let fact = format!(
            "Facter.add(:networking) {{ has_weight 1000; setcode {{ {{ 'fqdn' => '{address}' }} }} }}"
        );
        fs::write(host.path("facts/networking.rb"), fact).expect("write the fact");
        host
    }

    /// A path of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Applies the class `nats` with these parameters; the exit code must be the expected one.
    /// Returns Puppet's output.
    pub(crate) fn apply(&self, parameters: &str, expected: i32) -> String {
        let manifest = self.path("site.pp");
        fs::write(&manifest, self.manifest(parameters)).expect("write the manifest");
        let (code, written) = run(Command::new("puppet")
            // Puppet 8 is as strict by default.
            .args(["apply", "--strict=error", "--strict_variables"])
            .args(["--detailed-exitcodes", "--color=false", "--confdir"])
            .arg(self.path("agent"))
            .arg("--vardir")
            .arg(self.path("agent/var"))
            .arg("--modulepath")
            .arg(self.path("modules"))
            .arg(&manifest)
            .env("FACTERLIB", self.path("facts")));
        assert_eq!(code, Some(expected), "{}: {written}", self.address);
        written
    }

    /// Everything that is different in a folder of a test: paths, the user, and that the service
    /// manager is the init script alone.
    fn manifest(&self, parameters: &str) -> String {
        let Self {
            address,
            ports,
            beside,
            ..
        } = self;
        let root = self.root.display();
        let [user, group] = ["-un", "-gn"].map(|flag| {
            let (_, name) = run(Command::new("id").arg(flag));
            name.trim().to_owned()
        });
        let settings = format!("MIDGE_SETTINGS={root}/default/midge");
        let script = format!("env {settings} {root}/init.d/midge");
        format!(
            "{beside}
            class {{ 'nats':
              binpath => '{root}/sbin/midge', top_path => '{root}/bin/midge-top',
              man_dir => '{root}/man', completions_dir => '{root}/completions',
              logrotate_dir => '{root}/logrotate.d',
              configdir => '{root}/midge', piddir => '{root}/run', service_type => 'init',
              init_dir => '{root}/init.d', defaults_dir => '{root}/default',
              user => '{user}', group => '{group}', manage_user => false, manage_group => false,
              ssldir => '{root}/ssl', tls_timeout => 20, cluster_tls_timeout => 20,
              listen_address => '{address}', monitor_address => '{address}',
              client_port => {client}, cluster_port => {cluster},
              collectd_plugin_dir => '{root}/plugins', collectd_conf_dir => '{root}/collectd.d',
              nagios_plugin_dir => '{root}/plugins', nrpe_conf_dir => '{root}/nrpe.d',
              sudoers_dir => '{root}/sudoers.d',
              nrpe_user => '{user}', nrpe_state_dir => '{root}/checks',
              {parameters}
            }}
            File <| |> {{ owner => '{user}', group => '{group}' }}
            Service <| title == 'midge' |> {{
              provider => base, start => '{script} start', stop => '{script} stop',
              status => '{script} status', restart => '{script} restart',
            }}
            Exec <| title == 'nats reload' or title == 'nats upgrade' |> {{
              environment => ['{settings}'],
            }}
            ",
            client = ports.client,
            cluster = ports.cluster,
        )
    }

    /// The process of its broker.
    pub(crate) fn pid(&self) -> Option<i32> {
        read_pid(&self.path("run/midge.pid"))
    }

    /// Runs its init script, which must succeed.
    pub(crate) fn service(&self, action: &str) {
        let (code, written) = run(Command::new(self.path("init.d/midge"))
            .arg(action)
            .env("MIDGE_SETTINGS", self.path("default/midge")));
        assert_eq!(code, Some(0), "{action} {}: {written}", self.address);
    }

    /// Whether its broker runs.
    pub(crate) fn runs(&self) -> bool {
        self.pid().is_some_and(|pid| is_ours(pid, &self.root))
    }

    /// Where clients connect to.
    pub(crate) fn client_addr(&self) -> SocketAddr {
        SocketAddr::from((self.address, self.ports.client))
    }

    /// An answer of its monitoring port.
    pub(crate) fn get(&self, path: &str) -> HttpResponse {
        http::get(SocketAddr::from((self.address, self.ports.monitor)), path)
    }

    /// The same as JSON.
    pub(crate) fn get_json(&self, path: &str) -> Value {
        self.get(path).json()
    }

    /// Its files below these folders.
    pub(crate) fn files(&self, folders: &[&str]) -> Vec<PathBuf> {
        let entries = folders
            .iter()
            .filter_map(|folder| fs::read_dir(self.path(folder)).ok());
        entries
            .flatten()
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    /// The configuration of a real collectd that writes values to the folder `values`, up to
    /// the line that includes other files.
    pub(crate) fn collectd_conf(&self) -> String {
        let root = self.root.display();
        format!(
            "BaseDir \"{root}\"\nPIDFile \"{root}/collectd.pid\"\nHostname \"host\"\n\
             FQDNLookup false\nInterval 0.5\nLoadPlugin logfile\n<Plugin logfile>\n\
             File \"{root}/collectd.log\"\n</Plugin>\nLoadPlugin csv\n<Plugin csv>\n\
             DataDir \"{root}/values\"\n</Plugin>\nPluginDir \"{root}/plugins\"\n"
        )
    }

    /// Waits until collectd has recorded that the broker is up.
    pub(crate) fn wait_for_values(&self) {
        let folder = self.path("values/host/nats-local");
        wait_until(&format!("values of {}", self.address), || {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut files = files.map(|file| file.path());
            let up = files.find(|file| file.to_string_lossy().contains("bool-up"));
            let text = up.and_then(|file| fs::read_to_string(file).ok());
            text.is_some_and(|text| text.lines().any(|line| line.ends_with(",1.000000")))
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for file in ["run/midge.pid", "collectd.pid"] {
            if let Some(pid) = read_pid(&self.path(file)).filter(|pid| is_ours(*pid, &self.root)) {
                // SAFETY: kill takes two integers and touches no memory of ours.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("midge.log")).unwrap_or_default();
            eprintln!("--- log of {} ---\n{log}--- end of log ---", self.address);
        }
    }
}

/// Whether a process was started with a path below this folder. A pid file may be old.
fn is_ours(pid: i32, root: &Path) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).contains(&*root.to_string_lossy())
}

/// The module with the programs of this build and all else that it copies to hosts, as
/// `make install-puppet` lays it into this folder.
fn installed_module(folder: &Path) -> PathBuf {
    let modules = folder.join("modules");
    if !modules.exists() {
        let built = tools::midge().with_file_name("");
        let (code, written) = run(Command::new("make")
            .current_dir(tools::project())
            .args(["--silent", "install-puppet"])
            .arg(format!(
                "BUILT={}",
                built.display().to_string().trim_end_matches('/')
            ))
            .arg(format!("MODULES={}", modules.display())));
        assert_eq!(code, Some(0), "{written}");
    }
    modules.join("nats")
}

fn read_pid(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
