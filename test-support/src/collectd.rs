//! Runs a real collectd with the plugin, in a temporary directory and without privileges:
//! its configuration, its log and its shutdown.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use tempfile::TempDir;

use crate::{PATIENCE, wait_until};

/// Where Debian installs collectd; other systems have it on the path.
const INSTALLED: &str = "/usr/sbin/collectd";

/// The settings of a collectd run.
pub struct Setup {
    /// Seconds between polls.
    pub interval: f64,
    /// `<Plugin nats>` blocks; may be empty.
    pub blocks: String,
    /// Whether rates are written instead of totals.
    pub rates: bool,
    /// Further plugins with their blocks.
    pub outputs: String,
    /// Whether it loads the plugin.
    pub polls: bool,
    /// Additional environment variables.
    pub environment: Vec<(&'static str, String)>,
    /// A program and its arguments that runs collectd, such as valgrind; empty for none.
    pub under: Vec<String>,
}

impl Setup {
    /// Polls once a second, so that a poll may take half a second: also on a busy machine.
    pub fn new(blocks: &str) -> Self {
        Self {
            interval: 1.0,
            blocks: blocks.to_owned(),
            rates: false,
            outputs: String::new(),
            polls: true,
            environment: Vec::new(),
            under: Vec::new(),
        }
    }
}

/// One `<Instance>` in its own block.
pub fn instance(name: &str, url: &str, options: &str) -> String {
    block(name, &format!("URL \"{url}\"\n{options}"))
}

/// One `<Instance>` in its own block with these options alone.
pub fn block(name: &str, options: &str) -> String {
    format!("<Plugin nats>\n<Instance \"{name}\">\n{options}\n</Instance>\n</Plugin>\n")
}

/// A collectd in the foreground whose values and log lines are collected.
/// Killed when dropped.
pub struct Collectd {
    child: Child,
    output: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
    _dir: TempDir,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Collectd {
    /// Runs until [`Self::stop`].
    pub fn start(setup: &Setup) -> Self {
        Self::spawn(setup, "-f")
    }

    /// Runs until values of all these identifiers were written.
    pub fn run_for(setup: &Setup, identifiers: &[&str]) -> (ExitStatus, Lines) {
        let collectd = Self::start(setup);
        let there = |lines: &Lines| {
            let mut missing = identifiers.iter().filter(|id| lines.values(id).is_empty());
            missing.next().is_none()
        };
        collectd.wait_for("complete poll", there);
        collectd.stop()
    }

    /// Reads the configuration and polls once. Only for log tests: collectd discards what
    /// its write threads have not processed by then.
    pub fn test_configuration(setup: &Setup) -> (ExitStatus, Lines) {
        Self::spawn(setup, "-T").finish()
    }

    fn spawn(setup: &Setup, mode: &str) -> Self {
        let dir = temporary_folder();
        let config = write_config(dir.path(), setup, "stdout", "stderr");
        let mut child = command(setup)
            .arg(mode)
            .arg("-C")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("stdbuf: {error}: install coreutils and collectd-core"));
        let output = Arc::new(Output::default());
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &output),
            collect(child.stderr.take().expect("piped"), &output),
        ];
        Self {
            child,
            output,
            readers,
            _dir: dir,
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Lines {
        Lines(self.output.lines.lock().expect("no panic there").clone())
    }

    /// Waits until `ready` is true for the lines so far.
    pub fn wait_for(&self, what: &str, ready: impl Fn(&Lines) -> bool) -> Lines {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().expect("no panic there");
        loop {
            let now = Lines(lines.clone());
            if ready(&now) {
                return now;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {now:#?}");
            lines = self
                .output
                .grown
                .wait_timeout(lines, left)
                .expect("no panic there")
                .0;
        }
    }

    /// Waits for `count` lines with `text`.
    pub fn wait_for_lines(&self, text: &str, count: usize) -> Lines {
        self.wait_for(text, |lines| lines.with(text).len() >= count)
    }

    /// Waits for `count` lines with `text` among very many lines, which [`Self::wait_for`] would copy
    /// each time. `counted` has the number of lines looked at and found so far.
    pub fn wait_for_many(&self, text: &str, count: usize, counted: &mut (usize, usize)) {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().expect("no panic there");
        loop {
            let (looked_at, found) = counted;
            let new = lines[*looked_at..].iter();
            *found += new.filter(|line| line.contains(text)).count();
            *looked_at = lines.len();
            if *found >= count {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{found} of {count} lines with {text}");
            lines = self
                .output
                .grown
                .wait_timeout(lines, left)
                .expect("no panic there")
                .0;
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it and returns the exit status and all lines.
    pub fn stop(self) -> (ExitStatus, Lines) {
        terminate(self.pid());
        self.finish()
    }

    fn finish(mut self) -> (ExitStatus, Lines) {
        let status = wait_for_exit(&mut self.child);
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic there");
        }
        let lines = self.output.lines.lock().expect("no panic there");
        (status, Lines(lines.clone()))
    }
}

impl Drop for Collectd {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A collectd in the background. Killed when dropped.
pub struct Daemon {
    dir: TempDir,
}

impl Daemon {
    /// Starts it and waits until the first process has exited.
    pub fn start(setup: &Setup) -> Self {
        let dir = temporary_folder();
        let data = dir.path().join("data");
        let log = dir.path().join("log");
        let config = write_config(dir.path(), setup, &quoted(&data), &quoted(&log));
        let status = command(setup)
            .arg("-C")
            .arg(config)
            .status()
            .unwrap_or_else(|error| panic!("stdbuf: {error}: install coreutils and collectd-core"));
        let daemon = Self { dir };
        assert!(status.success(), "{}", daemon.log());
        daemon
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The folder of the csv files of this host.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data/test")
    }

    /// Waits until values of this identifier have been written.
    pub fn wait_for_value(&self, identifier: &str) {
        let (plugin, name) = identifier.split_once('/').expect("two parts");
        let folder = self.data().join(plugin);
        wait_until(identifier, || {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut names = files.filter_map(|file| file.file_name().into_string().ok());
            names.any(|file| file.starts_with(name))
        });
    }

    /// Stops it and returns its log.
    pub fn stop(self) -> String {
        let pid = self.pid().expect("a PID file");
        terminate(pid);
        // collectd removes the file as its last step.
        wait_until("end of the daemon", || self.pid().is_none());
        self.log()
    }

    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.path().join("collectd.pid")).ok()?;
        text.trim().parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            terminate(pid);
        }
    }
}

/// Lines of values and of the log, in order of arrival.
#[derive(Debug)]
pub struct Lines(Vec<String>);

impl Lines {
    /// The lines that contain `text`.
    pub fn with(&self, text: &str) -> Vec<&str> {
        let lines = self.0.iter().map(String::as_str);
        lines.filter(|line| line.contains(text)).collect()
    }

    /// The log lines of the plugin.
    pub fn log(&self) -> Vec<&str> {
        self.with("nats plugin: ")
    }

    /// Every value written, in order.
    pub fn puts(&self) -> Vec<Put> {
        self.0.iter().filter_map(|line| Put::parse(line)).collect()
    }

    /// The values written under one identifier such as `test/nats-a/bool-up`.
    pub fn values(&self, identifier: &str) -> Vec<Vec<f64>> {
        let puts = self.puts().into_iter();
        let wanted = puts.filter(|put| put.identifier == identifier);
        wanted.map(|put| put.values).collect()
    }
}

/// One line of collectd's csv plugin: `PUTVAL identifier interval=s time:value:…`.
#[derive(Debug)]
pub struct Put {
    /// Such as `test/nats-a/bool-up`.
    pub identifier: String,
    /// Seconds since 1970.
    pub time: String,
    /// One per data source of the type.
    pub values: Vec<f64>,
}

impl Put {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("PUTVAL ")?.split(' ');
        let identifier = words.next()?.trim_matches('"').to_owned();
        let (time, values) = words.next_back()?.split_once(':')?;
        let values = values.split(':').map(|value| value.parse().ok());
        Some(Self {
            identifier,
            time: time.to_owned(),
            values: values.collect::<Option<_>>()?,
        })
    }
}

/// The plugin as built by cargo, in the directory of this test's profile.
pub fn plugin() -> PathBuf {
    let test = env::current_exe().expect("this test has a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/test");
    let library = profile.join("libnats.so");
    let built = fs::metadata(&library).and_then(|library| library.modified());
    let Ok(built) = built else {
        panic!(
            "{} is missing: run `cargo build -p collectd-plugin`",
            library.display()
        );
    };
    // What cargo made it from; files of its unit tests are not among them.
    let list = library.with_extension("d");
    let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{list:?}: {error}"));
    let (_, sources) = list.split_once(": ").expect("a list of sources");
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let project = fs::canonicalize(project).expect("the project's folder");
    for source in sources
        .split_whitespace()
        .filter(|source| Path::new(source).starts_with(&project))
    {
        let changed = fs::metadata(source).and_then(|source| source.modified());
        assert!(
            changed.is_ok_and(|changed| changed <= built),
            "{} is older than {source}: run `cargo build -p collectd-plugin`",
            library.display(),
        );
    }
    library
}

/// Without stdbuf, values on standard output would be buffered in blocks for a pipe.
fn command(setup: &Setup) -> Command {
    let installed = Path::new(INSTALLED).exists();
    let mut command = Command::new("stdbuf");
    command.arg("-oL").args(&setup.under);
    command.arg(if installed { INSTALLED } else { "collectd" });
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(name);
    }
    command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// collectd refuses symbolic links and requires the plugin's name as the file name.
fn write_config(dir: &Path, setup: &Setup, data: &str, log: &str) -> PathBuf {
    let plugins = dir.join("plugins");
    fs::create_dir(&plugins).expect("a folder");
    fs::copy(plugin(), plugins.join("nats.so")).expect("the plugin copied");
    let Setup {
        interval,
        blocks,
        rates,
        outputs,
        polls,
        ..
    } = setup;
    let load = match polls {
        true => format!("PluginDir {}\nLoadPlugin nats\n{blocks}", quoted(&plugins)),
        false => String::new(),
    };
    let dir_text = quoted(dir);
    let config = format!(
        "BaseDir {dir_text}\nPIDFile {}\nHostname \"test\"\nFQDNLookup false\n\
         Interval {interval}\n\
         LoadPlugin logfile\n<Plugin logfile>\nLogLevel info\nFile {log}\n\
         PrintSeverity true\n</Plugin>\n\
         LoadPlugin csv\n<Plugin csv>\nDataDir {data}\nStoreRates {rates}\n</Plugin>\n\
         {outputs}{load}",
        quoted(&dir.join("collectd.pid")),
    );
    let path = dir.join("collectd.conf");
    fs::write(&path, config).expect("the configuration written");
    path
}

/// collectd writes no data below a directory whose name begins with a dot.
fn temporary_folder() -> TempDir {
    let made = tempfile::Builder::new().prefix("collectd-").tempdir();
    made.expect("a temporary folder")
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn collect(pipe: impl Read + Send + 'static, output: &Arc<Output>) -> thread::JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            output.lines.lock().expect("no panic there").push(line);
            output.grown.notify_all();
        }
    })
}

fn terminate(pid: u32) {
    let status = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "kill -TERM {pid}"
    );
}

fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("end of collectd", || {
        status = child.try_wait().expect("a child of this test");
        status.is_some()
    });
    status.expect("it has ended")
}
