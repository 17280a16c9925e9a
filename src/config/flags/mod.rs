//! The command line: flags by the rules of Go's flag package, as nats-server
//! reads them, applied over the configuration file.
//!
//! `-x` and `--x` are the same; a value follows as `-x v` or `-x=v`; a boolean has no value
//! or is written `-x=false`. The last of two equal flags counts. `main` calls [`parse`] and
//! acts on the [`Invocation`].

mod compare;
mod files;
mod list;
mod login;
mod signal;
mod table;
mod tls;
mod values;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

pub use self::{
    compare::Diff,
    signal::{Signal, Target},
};
use self::{
    login::Login,
    table::{Action, Flag, dashed, find_flag, help},
    tls::TlsFlags,
    values::{flag_value, read_bool, read_format, read_signal},
};
use super::{
    explain::Explain,
    nats_context,
    options::{
        ANY_HOST, Diagnostic, Options,
        cluster::{CLUSTER, ClusterOptions},
        keys::TOP,
        load,
        reading::set,
        table::Key,
    },
    syntax::Value,
};
use crate::{COMPATIBLE_VERSION, GIT_COMMIT, VERSION};

/// The action requested by the command line.
#[derive(Debug)]
pub enum Invocation {
    /// Run the broker.
    Run(Box<Options>),
    /// Print this text to stdout and exit with 0.
    Print(String),
    /// The configuration file was tested and is valid: print this text to
    /// stderr and exit with 0.
    TestConfig(String),
    /// The configuration is valid: compare it with what is in force.
    Diff(Box<Diff>),
    /// Show the effective configuration.
    Explain(Box<Explain>),
    /// Send a signal to a running broker.
    Signal {
        /// The signal to send it.
        signal: Signal,
        /// Which one.
        target: Target,
    },
    /// Have a running broker hand over to a new process.
    Upgrade {
        /// Which one.
        target: Target,
    },
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Parsed {
    /// The name the program was started under, for messages.
    pub program: String,
    /// What to do.
    pub invocation: Invocation,
    /// A warning to the operator; the broker starts nevertheless.
    pub warnings: Vec<Diagnostic>,
}

/// A command line or configuration that cannot be followed. Shown as a whole,
/// each line beginning with the name of the program.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    program: String,
    /// One line for each error.
    text: String,
}

impl UsageError {
    /// What is wrong, without the program's name, for a program that runs.
    pub fn reason(&self) -> &str {
        &self.text
    }

    /// The exit code for it: 1 always. nats-server exits with 0 after an unknown
    /// flag, which lets a typing error in a unit file pass for a clean stop.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.text.lines();
        let prefixed: Vec<_> = lines.map(|it| format!("{}: {it}", self.program)).collect();
        f.write_str(&prefixed.join("\n"))
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments, the program's name first, and the configuration file
/// they name. For a reload it is called again with the same arguments.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    parse_with(args, None)
}

/// The same with another configuration file than the arguments name, if there is one.
pub fn parse_with(
    args: impl IntoIterator<Item = OsString>,
    file: Option<&Path>,
) -> Result<Parsed, UsageError> {
    let mut args = args.into_iter();
    let program = program_name(args.next());
    let mut line = CommandLine::default();
    let invocation = read_arguments(args)
        .and_then(|args| match args.first().map(String::as_str) {
            Some("config") => line.read_config_command(args.into_iter().skip(1)),
            _ => line.read(args.into_iter()),
        })
        .and_then(|()| {
            if let Some(file) = file {
                line.config = Some(file.to_string_lossy().into_owned());
            }
            line.invocation(&program)
        })
        .map_err(|text| UsageError {
            program: program.clone(),
            text,
        })?;
    Ok(Parsed {
        program,
        invocation,
        warnings: line.warnings,
    })
}

/// The text of `--version`. Under the name nats-server it is that broker's, for scripts
/// that parse it.
pub fn version_text(program: &str) -> String {
    if program == "nats-server" {
        return format!("{program}: v{COMPATIBLE_VERSION}\n");
    }
    let commit = match GIT_COMMIT {
        "" => "unknown",
        commit => commit,
    };
    format!(
        "{program}: v{VERSION} (nats-server {COMPATIBLE_VERSION} compatible, commit {commit})\n"
    )
}

/// The last part of the path the program was started by.
fn program_name(argument: Option<OsString>) -> String {
    let path = PathBuf::from(argument.unwrap_or_default());
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.map_or_else(|| "midge".into(), Into::into)
}

fn read_arguments(args: impl Iterator<Item = OsString>) -> Result<Vec<String>, String> {
    args.map(|arg| {
        arg.into_string()
            .map_err(|arg| format!("the argument {} is not UTF-8 text", arg.display()))
    })
    .collect()
}

/// What a flag of the cluster does.
enum SetCluster {
    /// Has its text read.
    Text(fn(&mut Options, &str) -> Result<(), String>, String),
    /// Sets a key of the block.
    Key(&'static Key<ClusterOptions>, Value),
}

impl SetCluster {
    fn apply(&self, options: &mut Options) -> Result<(), String> {
        match self {
            Self::Text(read, text) => read(options, text),
            Self::Key(key, value) => {
                set(key, options.cluster_mut(), key.name, value).map(|_warning| ())
            }
        }
    }
}

/// The given value.
#[derive(Default)]
struct CommandLine {
    config: Option<String>,
    help: bool,
    login: Login,
    set: Vec<(&'static Key<Options>, Value, String)>,
    cluster: Vec<(SetCluster, String)>,
    /// The configuration is to be explained, or a key of it.
    explain: Option<Option<String>>,
    /// The settings of the command `nats` are wanted.
    nats_context: bool,
    diff: bool,
    against: Option<String>,
    json: bool,
    signal: Option<String>,
    test: bool,
    tls: TlsFlags,
    version: bool,
    warnings: Vec<Diagnostic>,
}

impl CommandLine {
    fn read(&mut self, mut args: impl Iterator<Item = String>) -> Result<(), String> {
        while let Some(arg) = args.next() {
            if arg == "--" {
                return args.next().map_or(Ok(()), |word| self.word(&word));
            }
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                return self.word(&arg);
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let flag = known_flag(name, &arg)?;
            let value = match value {
                Some(value) => value,
                None if flag.is_boolean() => "true".into(),
                None => args
                    .next()
                    .ok_or_else(|| format!("the flag {} needs a value", dashed(name)))?,
            };
            self.flag(flag, &dashed(name), value)?;
        }
        Ok(())
    }

    /// The first argument that is no flag; what follows it is not read.
    fn word(&mut self, word: &str) -> Result<(), String> {
        match word.to_ascii_lowercase().as_str() {
            "help" => self.help = true,
            "version" => self.version = true,
            _ => return Err(format!("unrecognized command: {word:?}")),
        }
        Ok(())
    }

    fn flag(&mut self, flag: &Flag, name: &str, value: String) -> Result<(), String> {
        let switch = match flag.is_boolean() {
            true => read_bool(name, &value)?,
            false => true,
        };
        match flag.action {
            Action::Cluster(read) => {
                let set = SetCluster::Text(read, value);
                self.cluster.push((set, name.into()));
            }
            Action::ClusterKey(key) => {
                if let Some(key) = CLUSTER.find(key) {
                    let value = flag_value(&key.kind, name, &value)?;
                    self.cluster
                        .push((SetCluster::Key(key, value), name.into()));
                }
            }
            Action::Against => (self.diff, self.against) = (true, Some(value)),
            Action::Config => self.config = Some(value),
            Action::Diff => self.diff = switch,
            Action::Format => self.json = read_format(name, &value)?,
            Action::Help => self.help = switch,
            Action::Ignored(reason) if switch => self.warnings.push(Diagnostic {
                position: None,
                text: format!("the flag {name} has no effect: {reason}"),
            }),
            Action::Ignored(_) => {}
            Action::Set(keys) => {
                for key in keys.iter().filter_map(|key| TOP.find(key)) {
                    let value = flag_value(&key.kind, name, &value)?;
                    self.set.push((key, value, name.into()));
                }
            }
            Action::Login(part) => self.login.set(part, value),
            Action::Signal => self.signal = Some(value),
            Action::Test => self.test = switch,
            Action::Tls(part) if flag.is_boolean() => self.tls.set(part, switch.to_string()),
            Action::Tls(part) => self.tls.set(part, value),
            Action::Version => self.version = switch,
        }
        Ok(())
    }

    fn invocation(&mut self, program: &str) -> Result<Invocation, String> {
        if self.version {
            return Ok(Invocation::Print(version_text(program)));
        }
        if self.help {
            return Ok(Invocation::Print(help(program)));
        }
        if let Some(text) = &self.signal {
            return read_signal(text);
        }
        if let Some(key) = self.explain.take() {
            return self.explain(key.as_deref());
        }
        if self.nats_context {
            return nats_context::context(&self.options()?).map(Invocation::Print);
        }
        if (self.diff || self.json) && !self.test {
            return Err("--diff, --against and --format go with -t".into());
        }
        let options = self.options()?;
        if !self.test {
            return Ok(Invocation::Run(Box::new(options)));
        }
        let Some(file) = &self.config else {
            return Err(
                "must specify [-c, --config] option to check configuration file syntax".into(),
            );
        };
        files::check_credentials(&options)?;
        if let Some(missing) = options.monitor.missing_folder() {
            self.warnings.push(Diagnostic {
                position: None,
                text: missing,
            });
        }
        if self.diff {
            return self.compared(options);
        }
        let digest = &options.config_digest;
        Ok(Invocation::TestConfig(format!(
            "{program}: configuration file {file} is valid ({digest})\n"
        )))
    }

    /// The file, or the defaults, with the flags laid over it.
    fn options(&mut self) -> Result<Options, String> {
        let mut options = Options::default();
        if let Some(path) = &self.config {
            let environment = |name: &str| std::env::var(name).ok();
            let (from_file, warnings) =
                load(path.as_ref(), &environment).map_err(|errors| errors.to_string())?;
            options = from_file;
            self.warnings.extend(warnings);
        }
        for (key, value, flag) in &self.set {
            set(key, &mut options, key.name, value)
                .map_err(|text| format!("flag {flag}: {text}"))?;
        }
        options.settle();
        options.check_log()?;
        self.tls.apply(&mut options)?;
        self.login.apply(&mut options)?;
        for (set, flag) in &self.cluster {
            set.apply(&mut options)
                .map_err(|text| format!("flag {flag}: {text}"))?;
        }
        if let Some(cluster) = &mut options.cluster {
            cluster.settle();
        }
        if let Some(cluster) = &options.cluster
            && cluster.port.is_none()
            && !(cluster.routes.is_empty() && cluster.srv_routes.is_empty())
        {
            return Err("routes need a port for the cluster: --cluster nats://HOST:PORT".into());
        }
        if options.https && options.tls.is_none() {
            return Err("https needs a certificate: add a block tls".into());
        }
        self.check_tls(&mut options)?;
        options.check_certificate_users()?;
        if let Some(nodes) = &options.nodes {
            nodes.check_file()?;
        }
        if options.host_is_safe_default && options.asks_who_clients_are() {
            options.host = ANY_HOST.into();
            options.host_is_safe_default = false;
        }
        Ok(options)
    }
}

fn known_flag(name: &str, arg: &str) -> Result<&'static Flag, String> {
    if let Some(flag) = find_flag(name) {
        return Ok(flag);
    }
    // Only the name: the value may be a secret.
    let name = arg.split('=').next().unwrap_or_default();
    Err(format!("unknown flag {name}; --help lists the flags"))
}

#[cfg(test)]
mod completions;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;
