//! `-t --diff`, which compares a configuration with another one, `config explain`, which shows it, and
//! `config nats-context`, which makes settings for the command `nats` out of it. All read file and
//! flags as a start does.

use std::path::PathBuf;

use super::{CommandLine, Invocation, SetCluster};
use crate::config::{
    explain::explain,
    options::{Options, table::Reload},
    syntax,
};

/// A comparison of two configurations.
#[derive(Debug)]
pub struct Diff {
    /// The file that is compared.
    pub file: PathBuf,
    /// What it says, with the command line.
    pub options: Options,
    /// What it is compared with; `None`: with the running broker.
    pub against: Option<Options>,
    /// Whether the answer is JSON.
    pub json: bool,
}

impl CommandLine {
    /// What these options are to be compared with.
    pub(super) fn compared(&mut self, options: Options) -> Result<Invocation, String> {
        let against = match &self.against {
            Some(other) => {
                let config = self.config.replace(other.clone());
                let against = self.options()?;
                self.config = config;
                Some(against)
            }
            None => None,
        };
        Ok(Invocation::Diff(Box::new(Diff {
            file: self.config.clone().unwrap_or_default().into(),
            options,
            against,
            json: self.json,
        })))
    }

    /// `config explain [KEY]` or `config nats-context`, and the flags of a start.
    pub(super) fn read_config_command(
        &mut self,
        args: impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let mut args = args.peekable();
        match args.next().as_deref() {
            Some("explain") => self.explain = Some(args.next_if(|arg| !arg.starts_with('-'))),
            Some("nats-context") => self.nats_context = true,
            _ => {
                return Err(
                    "unrecognized command: write config explain [KEY] [options] or config \
                     nats-context [options]"
                        .into(),
                );
            }
        }
        self.read(args)
    }

    /// The settings, or those of a key.
    pub(super) fn explain(&mut self, key: Option<&str>) -> Result<Invocation, String> {
        let options = self.options()?;
        let environment = |name: &str| std::env::var(name).ok();
        let map = match &self.config {
            Some(path) => {
                let read = syntax::parse_file(path.as_ref(), &environment);
                Some(read.map_err(|error| error.to_string())?)
            }
            None => None,
        };
        let mut flags: Vec<(String, String)> = Vec::new();
        for (key, _, flag) in &self.set {
            let sets = match key.reload {
                Reload::As(name) => name,
                _ => key.name,
            };
            flags.push((sets.to_owned(), flag.clone()));
        }
        for (set, flag) in &self.cluster {
            let name = match set {
                SetCluster::Key(key, _) => key.name,
                SetCluster::Text(..) if flag == "--routes" => "routes",
                SetCluster::Text(..) => "host",
            };
            flags.push((format!("cluster {name}"), flag.clone()));
        }
        if !self.tls.is_empty() {
            flags.push(("tls".into(), "--tls…".into()));
        }
        if !self.login.is_empty() {
            flags.push(("authorization".into(), "--user, --pass or --auth".into()));
        }
        let json = self.json;
        explain(&options, map.as_ref(), &flags, key, json)
            .map(|it| Invocation::Explain(Box::new(it)))
    }
}
