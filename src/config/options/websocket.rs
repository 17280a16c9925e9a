//! The block `websocket`: the port where clients connect by WebSocket, as browsers do.
//!
//! The texts of errors begin with those of nats-server.

mod read;

use std::time::Duration;

use super::{
    Options, advertise,
    plan::Plan,
    reading::PORTS,
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual, field},
    tls::{TLS_BLOCK, read_block, same_tls},
    unsupported::{is_empty_text, refused},
    users::{password_key, user_key},
};
use crate::security::{
    options::TlsOptions,
    origins::Origins,
    secret::Secret,
    users::{Authorization, SoleLogin, User},
};

pub(super) use read::read;
use read::{cookie_name, listen_port, non_zero, read_headers, read_login, read_origins};

/// How long a client may take for its handshakes, if that is not configured.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The port for WebSockets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketOptions {
    /// Host it binds to.
    pub host: String,
    /// Its port, 0 being any free one; `None`: there is no listener.
    pub port: Option<u16>,
    /// `HOST` or `HOST:PORT` that clients are told of, instead of the listener's own.
    pub advertise: Option<String>,
    /// Whether it may be without TLS.
    pub no_tls: bool,
    /// Its TLS.
    pub tls: Option<TlsOptions>,
    /// The pages that may connect.
    pub origins: Origins,
    /// How long a client may take until its request is answered, TLS included.
    pub handshake_timeout: Option<Duration>,
    /// Whether messages are compressed for clients that offer it.
    pub compression: bool,
    /// The single user, or the token, of this port.
    pub sole: Option<SoleLogin>,
    /// The user that clients without credentials become, at this port.
    pub no_auth_user: Option<String>,
    /// Time to log in; `None` is that of the client port.
    pub auth_timeout: Option<Duration>,
    /// Cookies that CONNECT is filled from.
    pub cookies: CookieNames,
    /// Header fields of the answer that accepts a client.
    pub headers: Vec<(String, String)>,
    /// Time between the pings of an idle connection; `None` is that of the client port.
    pub ping_interval: Option<Duration>,
}

/// Names of cookies with credentials.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CookieNames {
    /// Of the user.
    pub user: Option<String>,
    /// Of its password.
    pub password: Option<String>,
    /// Of the token.
    pub token: Option<String>,
}

impl CookieNames {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            host: super::ANY_HOST.into(),
            port: None,
            advertise: None,
            no_tls: false,
            tls: None,
            origins: Origins::default(),
            handshake_timeout: None,
            compression: false,
            sole: None,
            no_auth_user: None,
            auth_timeout: None,
            cookies: CookieNames::default(),
            headers: Vec::new(),
            ping_interval: None,
        }
    }
}

impl WebSocketOptions {
    /// How long a client may take until its request is answered.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT)
    }

    /// Whether clients of this port log in otherwise than those of the client port.
    pub fn overrides_logins(&self) -> bool {
        self.sole.is_some() || self.no_auth_user.is_some()
    }

    /// Who may log in at this port, where `clients` may at the client port.
    pub fn authorization(&self, clients: &Authorization) -> Authorization {
        let mut own = clients.clone();
        if self.overrides_logins() {
            own.sole.clone_from(&self.sole);
            own.no_auth_user.clone_from(&self.no_auth_user);
        }
        own.maps_certificates = self.tls.as_ref().is_some_and(|tls| tls.map);
        own
    }
}

/// Rules over more than one key.
///
/// # Errors
///
/// The first one that is broken.
pub(super) fn check(options: &Options) -> Result<(), String> {
    let Some(websocket) = &options.websocket else {
        return Ok(());
    };
    if websocket.tls.is_none() && !websocket.no_tls {
        return Err(
            "websocket requires TLS configuration: write a block tls, or no_tls: true \
                    where the connections are encrypted by other means"
                .into(),
        );
    }
    let users = &options.authorization.users;
    if let Some(guest) = &websocket.no_auth_user {
        let is_guest = |user: &User| user.name == *guest && user.certnames().is_none();
        if users.is_empty() {
            return Err(format!(
                "no_auth_user: {guest:?} present, but users/nkeys are not defined"
            ));
        }
        if !users.iter().any(is_guest) {
            return Err(format!(
                "no_auth_user: {guest:?} not present as user or nkey in authorization block or \
                 account configuration"
            ));
        }
    }
    let sole = match &websocket.sole {
        Some(SoleLogin::User { .. }) => "username",
        Some(SoleLogin::Token(_)) => "token",
        None => return Ok(()),
    };
    match users.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "websocket authentication {sole} not compatible with presence of users/nkeys"
        )),
    }
}

/// What a reload changes in the block: the TLS of a port that has it. The rest needs a restart.
pub(super) fn plan(plan: &mut Plan<'_, Options>) {
    let (old, new) = (plan.old, plan.new);
    let had_tls = |options: &Options| {
        let block = options.websocket.as_ref();
        block.map(|block| block.tls.is_some())
    };
    let is_same = had_tls(old) == had_tls(new);
    let mut needs_restart = !is_same;
    plan.merged.websocket.clone_from(&old.websocket);
    if let (Some(old), Some(new), true) = (&old.websocket, &new.websocket, is_same) {
        let tls = plan.inner("websocket", &WEBSOCKET, old, new).tls;
        let rest = |it: &WebSocketOptions| WebSocketOptions {
            tls: None,
            ..it.clone()
        };
        needs_restart = rest(old) != rest(new);
        let old = old.clone();
        plan.merged.websocket = Some(WebSocketOptions { tls, ..old });
    }
    if needs_restart {
        let why = "the port for WebSockets is opened at the start";
        plan.waits("websocket", why, (String::new(), String::new()));
    }
}

/// The keys of the block.
pub(super) static WEBSOCKET: Block<WebSocketOptions> = Block {
    name: "websocket",
    title: "In `websocket`",
    place: "\"websocket\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                kind: Kind::Address(|it, host, port| {
                    if let Some(host) = host.filter(|host| !host.is_empty()) {
                        it.host = host;
                    }
                    it.port = listen_port(port);
                }),
                ..key(
                    "listen",
                    Usual::Example("\"0.0.0.0:8443\""),
                    "Address of the listener: PORT or HOST:PORT, in place of `host` and `port`.",
                )
            },
            Key {
                aliases: &["net"],
                kind: Kind::Text(|it, text| {
                    it.host = text.to_owned();
                    Ok(())
                }),
                ..key(
                    "host",
                    Usual::Default("\"0.0.0.0\""),
                    "Address on which the listener binds.",
                )
            },
            Key {
                kind: Kind::Integer(PORTS, |it, port| it.port = listen_port(port)),
                ..key(
                    "port",
                    Usual::Example("8443"),
                    "Port of the listener; -1 is any free one, 0 is no listener.",
                )
            },
            Key {
                kind: Kind::Text(|it, text| {
                    it.advertise = advertise::read(text)?;
                    Ok(())
                }),
                ..key(
                    "advertise",
                    Usual::Example("\"broker.example.net:443\""),
                    "HOST or HOST:PORT that clients learn as the address of this broker.",
                )
            },
            Key {
                kind: Kind::Bool(|it, value| it.no_tls = value),
                ..key(
                    "no_tls",
                    Usual::Default("false"),
                    "`true`: without a block `tls` the port is not encrypted. Only behind a proxy \
                     that does it, or for tests.",
                )
            },
            Key {
                kind: Kind::Structure {
                    form: "block",
                    read: |it, entry, problems| {
                        let map = problems.map(&entry.node, "tls");
                        it.tls = map.map(|map| read_block(map, &entry.node.position, problems));
                    },
                    blocks: &[&TLS_BLOCK],
                },
                reload: Reload::Live(FieldAccess {
                    same: |one, other| same_tls(one.tls.as_ref(), other.tls.as_ref()),
                    ..field!(hidden tls)
                }),
                ..key(
                    "tls",
                    Usual::Example("{ cert_file: \"cert.pem\", key_file: \"key.pem\" }"),
                    "TLS of this port, as in `tls` at the top. It begins before the request.",
                )
            },
            Key {
                kind: Kind::Bool(|it, value| it.origins.same = value),
                ..key(
                    "same_origin",
                    Usual::Default("false"),
                    "Whether a web page may connect only to the host and port that it comes from.",
                )
            },
            Key {
                aliases: &[
                    "allowed_origin",
                    "allow_origins",
                    "allow_origin",
                    "origins",
                    "origin",
                ],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: read_origins,
                    blocks: &[],
                },
                ..key(
                    "allowed_origins",
                    Usual::Example("[\"https://www.example.net\"]"),
                    "Where web pages that connect may come from; anywhere if not set.",
                )
            },
            Key {
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |it, time| it.handshake_timeout = non_zero(time),
                },
                ..key(
                    "handshake_timeout",
                    Usual::Default("\"10s\""),
                    "Time that a client may take for TLS and its request together.",
                )
            },
            Key {
                aliases: &["compress"],
                kind: Kind::Bool(|it, value| it.compression = value),
                ..key(
                    "compression",
                    Usual::Default("false"),
                    "Whether messages are compressed for clients that offer it.",
                )
            },
            Key {
                aliases: &["authentication"],
                kind: Kind::Structure {
                    form: "block",
                    read: read_login,
                    blocks: &[&LOGIN],
                },
                ..key(
                    "authorization",
                    Usual::Example("{ user: \"web\", password: \"s3cret\" }"),
                    "The one user, or a token, of this port, in place of that of the client port. \
                     Not beside lists of users.",
                )
            },
            Key {
                kind: Kind::Text(|it, text| {
                    it.no_auth_user = super::keys::non_empty(text);
                    Ok(())
                }),
                ..key(
                    "no_auth_user",
                    Usual::Example("\"guest\""),
                    "The user as which clients of this port without credentials are logged in, in \
                     place of that of the client port.",
                )
            },
            Key {
                kind: Kind::Text(|it, text| {
                    it.cookies.user = cookie_name(text)?;
                    Ok(())
                }),
                ..key(
                    "user_cookie",
                    Usual::Example("\"nats_user\""),
                    "Name of a cookie that has the user, if CONNECT has none.",
                )
            },
            Key {
                kind: Kind::Text(|it, text| {
                    it.cookies.password = cookie_name(text)?;
                    Ok(())
                }),
                ..key(
                    "pass_cookie",
                    Usual::Example("\"nats_password\""),
                    "The same for the password.",
                )
            },
            Key {
                kind: Kind::Text(|it, text| {
                    it.cookies.token = cookie_name(text)?;
                    Ok(())
                }),
                ..key(
                    "token_cookie",
                    Usual::Example("\"nats_token\""),
                    "The same for the token.",
                )
            },
            refused(
                "jwt_cookie",
                &[],
                is_empty_text,
                "needs operator mode, which is not supported by this version of midge: trusted \
                 operators or trusted keys configuration is required for JWT authentication via \
                 cookie",
            ),
            Key {
                kind: Kind::Structure {
                    form: "block of strings",
                    read: read_headers,
                    blocks: &[],
                },
                ..key(
                    "headers",
                    Usual::Example("{ \"X-Frame-Options\": \"DENY\" }"),
                    "Header fields of the answer that accepts a client.",
                )
            },
            Key {
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |it, time| it.ping_interval = non_zero(time),
                },
                ..key(
                    "ping_interval",
                    Usual::Example("\"1m\""),
                    "Time between the pings of an idle connection of this port; that of the client \
                     port if not set.",
                )
            },
        ],
    }],
};

/// The keys of `authorization` in it.
static LOGIN: Block<Login> = Block {
    name: "websocket authorization",
    title: "In `authorization` of `websocket`",
    place: "authorization",
    sections: &[Section {
        title: "",
        keys: &[
            user_key("web", "The user.", |it, user| {
                it.user = super::keys::non_empty(user);
                Ok(())
            }),
            password_key(
                "\"s3cret\"",
                "Its password, plain or a bcrypt hash.",
                |it, password| it.password = password,
            ),
            Key {
                name: "token",
                aliases: &[],
                kind: Kind::Secret(|it, token| {
                    it.token = Some(token).filter(|token| !token.is_empty());
                }),
                usual: Usual::Example("\"s3cret\""),
                doc: "A token instead, plain or a bcrypt hash.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "timeout",
                aliases: &[],
                kind: Kind::Seconds(|it, time| it.timeout = non_zero(time)),
                usual: Usual::Default("2"),
                doc: "Time to log in; that of the client port if not set.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// The values of that block.
#[derive(Default)]
struct Login {
    user: Option<String>,
    password: Secret,
    token: Option<Secret>,
    timeout: Option<Duration>,
}

/// A row, with a kind that is to be replaced.
const fn key(name: &'static str, usual: Usual, doc: &'static str) -> Key<WebSocketOptions> {
    Key {
        name,
        aliases: &[],
        kind: Kind::Bool(|_, _| {}),
        usual,
        doc,
        reload: Reload::WithBlock,
    }
}
