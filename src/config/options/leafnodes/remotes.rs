//! The list `remotes` in the block `leafnodes`: the hubs whose leafnode this broker is.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use monitor_client::text::without_login;

use super::{LeafnodesOptions, read::read_compression_of};
use crate::{
    config::{
        options::{
            cluster::RouteUrl,
            problems::Problems,
            table::{Block, Key, Kind, Reload, Section, Usual},
            tls::{TLS_BLOCK, read_block, same_tls},
            unsupported::{NO_STREAMS, is_bool, is_false, never, no_effect, refused, unsupported},
        },
        syntax::{Entry, Node, Value},
    },
    protocol::nkey::UserSeed,
    security::{options::TlsOptions, permissions::Pattern, users::GLOBAL_ACCOUNT},
};

/// Remotes of one block, and URLs of one remote.
const REMOTES_MAX: usize = 256;
const URLS_MAX: usize = 64;

/// The port of a URL without one.
const DEFAULT_PORT: u16 = 7422;

/// How a URL is written.
const FORM: &str = "write hubs as nats-leaf://host:port or tls://host:port";

/// One hub, or several brokers of one, whose leafnode this broker is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteOptions {
    /// Where it listens for leafnodes.
    pub urls: Vec<RemoteUrl>,
    /// The account here that joins it.
    pub account: String,
    /// A file with a JWT and the seed that signs for it.
    pub credentials: Option<PathBuf>,
    /// The seed of an nkey to log in with.
    pub nkey: Option<UserSeed>,
    /// TLS; `None`: as the hub asks for it, with the CAs of this host.
    pub tls: Option<TlsOptions>,
    /// Whether this broker is the hub, although it dials.
    pub is_hub: bool,
    /// Subjects that are not received.
    pub deny_imports: Vec<Pattern>,
    /// Subjects that are not sent.
    pub deny_exports: Vec<Pattern>,
    /// Whether the URLs are tried in their order.
    pub no_randomize: bool,
    /// How long the hub's first INFO may take.
    pub first_info_timeout: Duration,
    /// How long connecting may take; `None` is that of the block.
    pub dial_timeout: Option<Duration>,
    /// Whether the hub is not told what other leafnodes want.
    pub isolates: bool,
    /// Whether the hub is asked not to tell of what its other leafnodes want.
    pub asks_for_isolation: bool,
    /// Whether the hub's addresses that it tells of are not dialled.
    pub ignores_discovered: bool,
    /// Whether it is not dialled at all.
    pub disabled: bool,
}

/// Where a hub is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteUrl {
    /// Its address, and who logs in there.
    pub url: RouteUrl,
    /// Whether the URL asks for TLS.
    pub is_tls: bool,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            account: GLOBAL_ACCOUNT.to_owned(),
            credentials: None,
            nkey: None,
            tls: None,
            is_hub: false,
            deny_imports: Vec::new(),
            deny_exports: Vec::new(),
            no_randomize: false,
            first_info_timeout: Duration::from_secs(1),
            dial_timeout: None,
            isolates: false,
            asks_for_isolation: false,
            ignores_discovered: false,
            disabled: false,
        }
    }
}

impl RemoteOptions {
    /// TLS, with the hosts that the URLs name: the certificate of an address that a hub told of is
    /// valid for one of them.
    pub fn tls(&self) -> Option<TlsOptions> {
        let mut tls = self.tls.clone()?;
        tls.known_hosts = self.hosts();
        Some(tls)
    }

    /// The same of a hub that asks for TLS without a block here: the CAs of this host count.
    pub fn usual_tls(&self) -> TlsOptions {
        let mut tls = TlsOptions::new(format!("remote {self}")).for_dialling();
        tls.known_hosts = self.hosts();
        tls
    }

    fn hosts(&self) -> Vec<String> {
        let hosts = self.urls.iter().map(|it| it.url.host.clone());
        hosts.collect()
    }

    /// Whether both are the same, wherever they are in the file.
    pub fn is_same(&self, other: &Self) -> bool {
        let rest = |it: &Self| Self {
            tls: None,
            ..it.clone()
        };
        rest(self) == rest(other) && same_tls(self.tls.as_ref(), other.tls.as_ref())
    }
}

/// The addresses and the account, without who logs in.
impl std::fmt::Display for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls: Vec<String> = self.urls.iter().map(|it| it.url.to_string()).collect();
        write!(f, "{} (account {})", urls.join(", "), self.account)
    }
}

impl RemoteUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong, without a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_tls = match text.split_once("://") {
            None | Some(("nats" | "nats-leaf" | "leaf", _)) => false,
            Some(("tls", _)) => true,
            Some((scheme @ ("ws" | "wss"), rest)) => {
                return Err(format!(
                    "{scheme}://{} is not served: this version of midge reaches hubs without \
                     WebSockets alone; use the hub's port for leafnodes: {FORM}",
                    without_login(rest)
                ));
            }
            Some((scheme, rest)) => {
                let (scheme, rest) = (without_login(scheme), without_login(rest));
                return Err(format!("{scheme}://{rest} is no hub: {FORM}"));
            }
        };
        let url = RouteUrl::parse_with_port(text, DEFAULT_PORT, FORM)?;
        Ok(Self { url, is_tls })
    }
}

/// The keys of an item of `remotes`.
pub(in crate::config) static REMOTE: Block<RemoteOptions> = Block {
    name: "leafnodes remote",
    title: "In an item of `remotes` of `leafnodes`",
    place: "a remote",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "urls",
                aliases: &["url"],
                kind: Kind::Structure {
                    form: "URL or list of URLs",
                    read: read_urls,
                    blocks: &[],
                },
                usual: Usual::Example("[\"nats-leaf://site:PASSWORD@hub1.example.net:7422\"]"),
                doc: "The hub's ports for leafnodes, of which one is used at a time: \
                      nats-leaf://USER:PASSWORD@HOST:PORT, or tls://HOST:PORT. A user without a \
                      password is also sent as token. Without a port it is 7422.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "account",
                aliases: &["local"],
                kind: Kind::Text(|remote, text| {
                    if !text.is_empty() {
                        remote.account = text.to_owned();
                    }
                    Ok(())
                }),
                usual: Usual::Example("SITES"),
                doc: "The account here that joins the hub; without one that of clients without an \
                      account. Which account of the hub it joins is up to the login there.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "credentials",
                aliases: &["creds"],
                kind: Kind::Text(|remote, text| {
                    remote.credentials = Some(PathBuf::from(text)).filter(|_| !text.is_empty());
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/hub.creds\""),
                doc: "File with a JWT and a seed, for a hub in operator mode. It is read at each \
                      connection.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "nkey",
                aliases: &["seed"],
                kind: Kind::Text(|remote, text| {
                    let seed = UserSeed::parse(text);
                    remote.nkey = Some(seed.map_err(|why| format!("\"nkey\" {why}"))?);
                    Ok(())
                }),
                usual: Usual::Example("SU…"),
                doc: "Seed of the nkey that this broker logs in with.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "tls",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |remote, entry, problems| {
                        let node = &entry.node;
                        let map = problems.map(node, "tls");
                        let tls = map.map(|map| read_block(map, &node.position, problems));
                        remote.tls = tls.map(TlsOptions::for_dialling);
                    },
                    blocks: &[&TLS_BLOCK],
                },
                usual: Usual::Example("{ puppet: true }"),
                doc: "TLS for the connection: the CA of the hub's certificate, and the certificate \
                      that this broker shows, which only a hub that verifies leafnodes needs. A hub that asks for TLS gets it without this block as well, with \
                      the CAs of this host.",
                reload: Reload::WithBlock,
            },
            subjects_key(
                "deny_imports",
                &["deny_import"],
                |remote, entry, problems| {
                    remote.deny_imports = read_subjects(entry, problems);
                },
                "Subjects that are not received from the hub; it is asked not to send them.",
            ),
            subjects_key(
                "deny_exports",
                &["deny_export"],
                |remote, entry, problems| {
                    remote.deny_exports = read_subjects(entry, problems);
                },
                "Subjects that are not sent to the hub.",
            ),
            flag(
                "hub",
                &[],
                |remote, value| remote.is_hub = value,
                "`true`: this broker is the hub on this connection, although it dials.",
            ),
            flag(
                "no_randomize",
                &["dont_randomize"],
                |remote, value| remote.no_randomize = value,
                "`true`: try the URLs in their order.",
            ),
            time_key(
                "first_info_timeout",
                Usual::Default("\"1s\""),
                |remote, time| {
                    if !time.is_zero() {
                        remote.first_info_timeout = time;
                    }
                },
                "Time for the hub's first line.",
            ),
            time_key(
                "dial_timeout",
                Usual::Example("\"5s\""),
                |remote, time| remote.dial_timeout = Some(time).filter(|time| !time.is_zero()),
                "Time for connecting, in place of the block's.",
            ),
            flag(
                "isolate_leafnode_interest",
                &["isolate"],
                |remote, value| remote.isolates = value,
                "`true`: do not tell the hub what leafnodes of this broker subscribe to.",
            ),
            flag(
                "request_isolation",
                &[],
                |remote, value| remote.asks_for_isolation = value,
                "`true`: ask the hub not to tell what its other leafnodes subscribe to.",
            ),
            flag(
                "ignore_discovered_servers",
                &[],
                |remote, value| remote.ignores_discovered = value,
                "`true`: dial only the URLs here, and not what the hub tells of its cluster.",
            ),
            flag(
                "disabled",
                &[],
                |remote, value| remote.disabled = value,
                "`true`: do not connect.",
            ),
            Key {
                name: "compression",
                aliases: &[],
                kind: Kind::Structure {
                    form: "boolean, mode or block",
                    read: |_, entry, problems| read_compression_of(entry, problems),
                    blocks: &[],
                },
                usual: Usual::Default("\"off\""),
                doc: "leafnode connections are not compressed; midge agrees on that with every peer",
                reload: Reload::Nothing,
            },
            no_effect(
                "ws_compression",
                &["ws_compress", "websocket_compress", "websocket_compression"],
                OF_WEBSOCKETS,
            ),
            no_effect("ws_no_masking", &["websocket_no_masking"], OF_WEBSOCKETS),
            no_effect(
                "jetstream_cluster_migrate",
                &["js_cluster_migrate"],
                crate::config::options::table::NoEffect {
                    expected: "a boolean or a block",
                    accepts: |value| matches!(value, Value::Bool(_) | Value::Map(_)),
                    asks_for_nothing: is_false,
                    reason: NO_STREAMS,
                },
            ),
            refused(
                "proxy",
                &[],
                never,
                unsupported!(
                    "hubs are reached without a proxy: remove the block, or name a hub that can be \
                     reached directly"
                ),
            ),
        ],
    }],
};

const OF_WEBSOCKETS: crate::config::options::table::NoEffect =
    crate::config::options::table::NoEffect {
        expected: "a boolean",
        accepts: is_bool,
        asks_for_nothing: is_bool,
        reason: "hubs are reached without WebSockets",
    };

const fn flag(
    name: &'static str,
    aliases: &'static [&'static str],
    set: fn(&mut RemoteOptions, bool),
    doc: &'static str,
) -> Key<RemoteOptions> {
    Key {
        name,
        aliases,
        kind: Kind::Bool(set),
        usual: Usual::Default("false"),
        doc,
        reload: Reload::WithBlock,
    }
}

const fn time_key(
    name: &'static str,
    usual: Usual,
    set: fn(&mut RemoteOptions, Duration),
    doc: &'static str,
) -> Key<RemoteOptions> {
    Key {
        name,
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: true,
            set,
        },
        usual,
        doc,
        reload: Reload::WithBlock,
    }
}

const fn subjects_key(
    name: &'static str,
    aliases: &'static [&'static str],
    read: fn(&mut RemoteOptions, &Entry, &mut Problems),
    doc: &'static str,
) -> Key<RemoteOptions> {
    Key {
        name,
        aliases,
        kind: Kind::Structure {
            form: "subject or list of subjects",
            read,
            blocks: &[],
        },
        usual: Usual::Example("[\"private.>\"]"),
        doc,
        reload: Reload::WithBlock,
    }
}

fn read_urls(remote: &mut RemoteOptions, entry: &Entry, problems: &mut Problems) {
    let urls = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    if urls.len() > URLS_MAX {
        let text = format!("{:?} of a remote has more than {URLS_MAX} items", entry.key);
        return problems.error(&entry.position, text);
    }
    for (url, position) in urls {
        let url = problems.noted(position, RemoteUrl::parse(url));
        remote.urls.extend(url);
    }
}

fn read_subjects(entry: &Entry, problems: &mut Problems) -> Vec<Pattern> {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    let patterns = texts.into_iter().filter_map(|(text, position)| {
        let pattern = Pattern::parse(text, false);
        let pattern = pattern.map_err(|why| format!("invalid {} of a remote: {why}", entry.key));
        problems.noted(position, pattern)
    });
    patterns.collect()
}

/// Reads the list.
pub(super) fn read_remotes(
    leafnodes: &mut LeafnodesOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    let items = problems.list(&entry.node, "remotes").unwrap_or_default();
    if items.len() > REMOTES_MAX {
        let text = format!("\"remotes\" has more than {REMOTES_MAX} items");
        return problems.error(&entry.position, text);
    }
    let mut known = BTreeSet::new();
    for item in items {
        let Some(remote) = problems.unless_wrong(|problems| read_remote(item, problems)) else {
            continue;
        };
        // The same login of the same account at the same brokers, as nats-server compares it.
        let login = |it: &RemoteUrl| (it.url.to_string(), it.url.user.clone());
        let urls: Vec<_> = remote.urls.iter().map(login).collect();
        let key = remote.nkey.as_ref().map(UserSeed::public_key);
        let same = (
            urls,
            remote.account.clone(),
            remote.credentials.clone(),
            key,
        );
        if !known.insert(same) {
            problems.error(&item.position, format!("duplicate remote {remote}"));
        }
        leafnodes.remotes.push(remote);
    }
}

fn read_remote(item: &Node, problems: &mut Problems) -> RemoteOptions {
    let mut remote = RemoteOptions::default();
    let before = problems.errors.len();
    REMOTE.read_node(&mut remote, item, "remote", problems);
    if problems.errors.len() > before {
        return remote;
    }
    if remote.urls.is_empty() {
        let text = format!("a remote needs \"urls\": {FORM}");
        problems.error(&item.position, text);
    }
    if remote.credentials.is_some() && remote.nkey.is_some() {
        let text = "a remote has either \"credentials\" or \"nkey\"";
        problems.error(&item.position, text);
    }
    remote
}
