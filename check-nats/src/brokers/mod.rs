//! Several brokers in one call: which ones, how each is checked beside the others, and one report
//! about all of them.
//!
//! [`supervise`](crate::supervise) checks each broker on a thread of its own, as if it were the
//! only one. What a mode compares between them is collected in [`Shared`] meanwhile, and
//! judged when all have ended ([`merge`]), so one that hangs delays no other. `output` draws
//! the result.

mod exchange;
mod merged;
pub mod names;
pub mod parallel;
pub mod words;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use clap::ArgMatches;

pub use self::{
    exchange::{Arrivals, Exchange, Slowest},
    merged::merge,
};
use crate::{modes::Member, target::Target};
use srv_records::{Srv, parse_nameserver};

/// Most brokers of one call: each has a thread and a few connections.
pub const BROKERS_MAX: usize = 64;

/// The brokers of a run.
#[derive(Clone, Debug)]
pub enum Brokers {
    /// One, in the form of output that names no broker.
    One(Box<Target>),
    /// Those of several `-H` or `-u`.
    Several(Vec<Target>),
    /// Those that a DNS SRV record lists.
    Srv {
        /// The record.
        srv: Srv,
        /// How each of them is reached, but for host and port.
        access: Box<Target>,
    },
}

impl Brokers {
    /// The brokers that the command line names: each `-H` is one, or each `-u` without `-H`, or
    /// those of `--srv`; the same one twice counts once.
    ///
    /// # Errors
    /// A sentence that names the option and what to write.
    pub fn new(matches: &ArgMatches) -> Result<Self, String> {
        let all = |name: &str| -> Vec<&String> {
            matches
                .get_many(name)
                .map_or_else(Vec::new, Iterator::collect)
        };
        let (hosts, urls) = (all("hostname"), all("url"));
        let nameserver = matches.get_one::<String>("nameserver").map(String::as_str);
        if let Some(name) = matches.get_one::<String>("srv") {
            if !hosts.is_empty() || !urls.is_empty() || matches.contains_id("socket") {
                return Err("--srv names the brokers: leave out -H, -u and --socket".into());
            }
            let nameserver = nameserver.map(parse_nameserver).transpose();
            let nameserver = nameserver.map_err(|why| format!("--nameserver {why}"))?;
            return Ok(Self::Srv {
                srv: Srv::new(name, nameserver).map_err(|why| format!("--srv {why}"))?,
                access: Box::new(Target::new(matches, None, None)?),
            });
        }
        if nameserver.is_some() {
            return Err("--nameserver belongs to --srv".into());
        }
        if hosts.len() > 1 && (!urls.is_empty() || matches.contains_id("socket")) {
            return Err(
                "-u and --socket are the monitoring port of one broker: with several -H \
                        give -m"
                    .into(),
            );
        }
        let url = urls.last().map(|url| url.as_str());
        let mut targets: Vec<Target> = Vec::new();
        let mut add = |host: Option<&str>, url: Option<&str>| {
            let target = Target::new(matches, host, url)?;
            let place = same_host(&target.name());
            if targets
                .iter()
                .all(|known| same_host(&known.name()) != place)
            {
                targets.push(target);
            }
            Ok::<(), String>(())
        };
        match hosts.is_empty() && urls.len() > 1 {
            true => urls.iter().try_for_each(|url| add(None, Some(url)))?,
            false if hosts.is_empty() => add(None, url)?,
            false => hosts.iter().try_for_each(|host| add(Some(host), url))?,
        }
        match targets.len() {
            1 => Ok(Self::One(Box::new(targets.remove(0)))),
            count if count > BROKERS_MAX => Err(format!(
                "{count} brokers: at most {BROKERS_MAX} in one call"
            )),
            _ => Ok(Self::Several(targets)),
        }
    }

    /// Whether each has a monitoring port of its own, as far as that is known before a look-up.
    ///
    /// # Errors
    /// A sentence that names the two and what to write.
    pub fn check_monitoring(&self) -> Result<(), String> {
        match self {
            Self::Several(targets) => refuse_shared_monitoring(targets)
                .map_err(|why| format!("{why}: give the -u of each, without -H")),
            Self::One(_) | Self::Srv { .. } => Ok(()),
        }
    }

    /// Whether there may be more than one.
    pub fn are_several(&self) -> bool {
        !matches!(self, Self::One(_))
    }
}

/// The place (`HOST`, `HOST:PORT`, a URL or `unix:PATH`) with its host in lower case: the names of
/// a host are the same in both.
fn same_host(place: &str) -> String {
    let (scheme, rest) = match place.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if place.starts_with("unix:") => return place.to_owned(),
        None => ("", place),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.to_ascii_lowercase())
}

/// Refuses brokers at one host: their monitoring port would be the same, so what it says of one
/// would be taken for the other.
///
/// # Errors
/// Which two, and where they are asked.
fn refuse_shared_monitoring(targets: &[Target]) -> Result<(), String> {
    match shared_monitoring(targets).first() {
        Some((_, why)) => Err(why.clone()),
        None => Ok(()),
    }
}

/// The brokers whose monitoring port is that of another one too, by their numbers, each with a
/// sentence about the two.
pub fn shared_monitoring(targets: &[Target]) -> Vec<(usize, String)> {
    let mut at_place: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, target) in targets.iter().enumerate() {
        let place = same_host(&target.monitor_place());
        at_place.entry(place).or_default().push(number);
    }
    let shared = at_place.values().filter(|numbers| numbers.len() > 1);
    let mut found: Vec<(usize, String)> = shared
        .flat_map(|numbers| {
            let [one, other] = [numbers[0], numbers[1]].map(|number| targets[number].name());
            let place = targets[numbers[0]].monitor_place();
            let why = format!("{one} and {other} have one monitoring port, {place}");
            numbers.iter().map(move |number| (*number, why.clone()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// What the checks of the brokers share while they run.
pub struct Shared {
    names: Vec<String>,
    members: Mutex<Vec<Option<Member>>>,
    /// Messages between them, in mode `roundtrip`.
    pub exchange: Exchange,
}

/// The place of one check among those of several brokers.
#[derive(Clone)]
pub struct Among {
    /// Its number in [`Shared::names`].
    pub number: usize,
    /// What all share.
    pub shared: Arc<Shared>,
}

impl Shared {
    /// For the brokers of these names.
    pub fn new(names: Vec<String>) -> Self {
        Self {
            members: Mutex::new(names.iter().map(|_| None).collect()),
            exchange: Exchange::new(names.len()),
            names,
        }
    }

    /// The names of the brokers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The brokers as they describe themselves, in mode `cluster`; `None` for one that has
    /// not answered.
    pub fn with_members<T>(&self, look: impl FnOnce(&mut Vec<Option<Member>>) -> T) -> T {
        look(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
