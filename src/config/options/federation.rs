//! The block `federation`: this broker as the federation broker of its site.

use std::net::SocketAddr;

use monitor_client::text::without_login;

use super::{
    DEFAULT_PORT, Options,
    cluster::RouteUrl,
    keys::non_empty,
    problems::Problems,
    reading::entry_of,
    srv::{SrvUrl, read_nameserver},
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual},
    tls::{TLS_BLOCK, read_block, same_tls},
};
use crate::{
    config::{
        accounts::GLOBAL_ACCOUNT,
        syntax::{Entry, Value},
    },
    security::options::TlsOptions,
};

/// The collective of a fleet that configures none.
const DEFAULT_COLLECTIVE: &str = "mcollective";

/// Addresses and collectives of one block.
const LISTED_MAX: usize = 64;

/// How an address is written.
const FORM: &str = "write brokers as tls://host:port, nats://host:port or srv://record";

/// This broker as a federation broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FederationOptions {
    /// The name by which clients know the site.
    pub name: String,
    /// The brokers that the clients of all sites connect to.
    pub upstream: Vec<Upstream>,
    /// The name server that is asked for SRV records; `None` for those of the system.
    pub nameserver: Option<SocketAddr>,
    /// TLS for them; `None` for none.
    pub tls: Option<TlsOptions>,
    /// The collectives of the site.
    pub collectives: Vec<String>,
    /// The account of the site's nodes; `None` is the global one.
    pub account: Option<String>,
}

/// Where upstream brokers are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Upstream {
    /// At an address.
    Broker(RouteUrl),
    /// Where an SRV record says.
    Srv(SrvUrl),
}

impl FederationOptions {
    /// TLS, with the hosts that `upstream` names.
    pub fn tls(&self) -> Option<TlsOptions> {
        let mut tls = self.tls.clone()?;
        let hosts = self.upstream.iter().filter_map(|upstream| match upstream {
            Upstream::Broker(url) => Some(url.host.clone()),
            Upstream::Srv(_) => None,
        });
        tls.known_hosts = hosts.collect();
        Some(tls)
    }
}

impl Default for FederationOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            upstream: Vec::new(),
            nameserver: None,
            tls: None,
            collectives: vec![DEFAULT_COLLECTIVE.to_owned()],
            account: None,
        }
    }
}

/// Whether both have the same federation.
pub fn is_same(one: &Options, other: &Options) -> bool {
    match (&one.federation, &other.federation) {
        (Some(one), Some(other)) => {
            let rest = |it: &FederationOptions| FederationOptions {
                tls: None,
                ..it.clone()
            };
            rest(one) == rest(other) && same_tls(one.tls.as_ref(), other.tls.as_ref())
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// What a reload compares.
pub(super) const FEDERATION_ACCESS: FieldAccess<Options> = FieldAccess {
    same: is_same,
    copy: |to, from| to.federation.clone_from(&from.federation),
    written: None,
};

/// The keys of the block.
pub(super) static FEDERATION: Block<FederationOptions> = Block {
    name: "federation",
    title: "In `federation`",
    place: "\"federation\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "name",
                aliases: &[],
                kind: Kind::Text(|federation, text| {
                    check_token("name", text)?;
                    federation.name = text.to_owned();
                    Ok(())
                }),
                usual: Usual::Example("\"prod\""),
                doc: "Name of the site, as clients have it in \
                      `plugin.choria.federation.collectives`. The same at all brokers of the site \
                      and at separate federation brokers beside them.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "upstream",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of URLs",
                    read: read_upstream,
                    blocks: &[],
                },
                usual: Usual::Example("[\"tls://central1.example.net:4222\"]"),
                doc: "The brokers that the clients of all sites connect to; one of them is used at \
                      a time. tls://HOST:PORT, nats://USER:PASSWORD@HOST:PORT, or srv://RECORD for \
                      those that a DNS SRV record lists, such as \
                      srv://_mcollective-federation_server._tcp.example.net. Its priorities and \
                      weights say which of them.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "nameserver",
                aliases: &[],
                kind: Kind::Text(|federation, text| {
                    federation.nameserver = read_nameserver(text)?;
                    Ok(())
                }),
                usual: Usual::Example("\"127.0.0.1:8600\""),
                doc: "ADDRESS or ADDRESS:PORT of the name server that is asked for SRV records, in \
                      place of those in /etc/resolv.conf.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "tls",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |federation, entry, problems| {
                        let node = &entry.node;
                        let map = problems.map(node, "tls");
                        let tls = map.map(|map| read_block(map, &node.position, problems));
                        federation.tls = tls.map(TlsOptions::for_dialling);
                    },
                    blocks: &[&TLS_BLOCK],
                },
                usual: Usual::Example("{ puppet: true }"),
                doc: "TLS for the connection to them: the certificate that this broker shows, and \
                      the CA of theirs.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "collectives",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of names",
                    read: read_collectives,
                    blocks: &[],
                },
                usual: Usual::Default("[\"mcollective\"]"),
                doc: "The collectives of the site. Requests to their agents, services and nodes \
                      are passed on, and replies to their clients; nothing else is.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "account",
                aliases: &[],
                kind: Kind::Text(|federation, text| {
                    federation.account = non_empty(text).filter(|name| name != GLOBAL_ACCOUNT);
                    Ok(())
                }),
                usual: Usual::Example("\"choria\""),
                doc: "The account that the nodes of the site are in. By default the one of clients \
                      without another.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// Reads the block.
pub(super) fn read(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut federation = FederationOptions::default();
    let before = problems.errors.len();
    let node = &entry.node;
    let Some(block) = FEDERATION.read_node(&mut federation, node, "federation", problems) else {
        return;
    };
    if federation.name.is_empty() && problems.errors.len() == before {
        let text = "\"federation\" needs the \"name\" of the site";
        problems.error(&entry.position, text);
    }
    if federation.upstream.is_empty() && problems.errors.len() == before {
        let text = "\"federation\" needs \"upstream\": the brokers that the clients of all sites \
                    connect to";
        problems.error(&entry.position, text);
    }
    if federation.tls.is_none()
        && let Some(upstream) = entry_of(block, &["upstream"])
        && asks_for_tls(&upstream.node.value)
    {
        let text = "tls:// in \"upstream\" needs a block \"tls\" beside it: write tls { … } in \
                    \"federation\", or nats:// for a connection without TLS";
        problems.error(&upstream.position, text);
    }
    options.federation = Some(federation);
}

/// Rules over more than this block: its account is there.
///
/// # Errors
///
/// What is wrong.
pub(super) fn check(options: &Options) -> Result<(), String> {
    let federation = options.federation.as_ref();
    let Some(name) = federation.and_then(|it| it.account.as_ref()) else {
        return Ok(());
    };
    let is_system = !options.no_system_account && *name == options.system_account;
    if is_system {
        return Err(format!(
            "the \"account\" of \"federation\" is {name:?}, the system account: nodes are in \
             another one"
        ));
    }
    match options.accounts.iter().any(|account| account.name == *name) {
        true => Ok(()),
        false => Err(format!(
            "the \"account\" of \"federation\" is {name:?}, which is not in \"accounts\""
        )),
    }
}

fn asks_for_tls(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| asks_for_tls(&item.value)),
        Value::String(text) => text.starts_with("tls://"),
        _ => false,
    }
}

fn read_upstream(federation: &mut FederationOptions, entry: &Entry, problems: &mut Problems) {
    let urls = problems.texts(&entry.node, "upstream").unwrap_or_default();
    federation.upstream.clear();
    for (url, position) in urls {
        let upstream = problems.noted(position, parse_upstream(url));
        federation.upstream.extend(upstream);
    }
    if federation.upstream.len() > LISTED_MAX {
        let text = format!("\"upstream\" names more than {LISTED_MAX} brokers");
        problems.error(&entry.position, text);
    }
}

fn parse_upstream(url: &str) -> Result<Upstream, String> {
    if let Some(record) = SrvUrl::parse(url) {
        return record.map(Upstream::Srv);
    }
    match url.split_once("://") {
        None | Some(("tls" | "nats", _)) => {}
        Some((scheme, rest)) => {
            let scheme = without_login(scheme);
            let rest = without_login(rest);
            return Err(format!("{scheme}://{rest} is no broker: {FORM}"));
        }
    }
    RouteUrl::parse_with_port(url, DEFAULT_PORT, FORM).map(Upstream::Broker)
}

fn read_collectives(federation: &mut FederationOptions, entry: &Entry, problems: &mut Problems) {
    let names = problems.texts(&entry.node, "collectives");
    let Some(names) = names else {
        return;
    };
    federation.collectives.clear();
    for (name, position) in names {
        if problems
            .noted(position, check_token("collectives", name))
            .is_some()
        {
            federation.collectives.push(name.to_owned());
        }
    }
    if !(1..=LISTED_MAX).contains(&federation.collectives.len()) {
        let text = format!("\"collectives\" needs a name, and has {LISTED_MAX} at most");
        problems.error(&entry.position, text);
    }
}

/// A name that is one token of a subject.
fn check_token(key: &str, text: &str) -> Result<(), String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !text.is_empty() && text.len() <= 128 && text.chars().all(is_fit) {
        true => Ok(()),
        false => Err(format!(
            "{key:?} in \"federation\" is of letters, digits, - and _; it is not {:?}",
            without_login(text)
        )),
    }
}
