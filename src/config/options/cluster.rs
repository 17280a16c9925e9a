//! The block `cluster` and the flags that stand for it: how this broker meets
//! the others of its cluster.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Options, advertise,
    apply::{harmless, parse_address, port_in_range},
    block::Problems,
    duration::parse_duration,
    permissions::parse_permissions,
    tls::read_block,
    unsupported::{is_usual_write_timeout, is_write_timeout},
};
use crate::{
    config::syntax::{Entry, Node, Value},
    protocol::is_word,
    security::{
        options::TlsOptions,
        permissions::{Permissions, Rules, TemplateValues},
        secret::Secret,
    },
};

/// The longest time between two pings of a route.
pub const PING_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// How long a dialling broker may take to log in, without TLS.
const AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// What it may take more than the handshake, with TLS.
pub(super) const AUTH_TIMEOUT_BEYOND_TLS: Duration = Duration::from_secs(1);

/// The shortest time for a login; shorter ones fail on a busy machine. The
/// legacy Puppet module writes 0.75 s.
const AUTH_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// The other brokers and the way to them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterOptions {
    /// Name of the cluster; `None` makes one up and takes over that of others.
    pub name: Option<String>,
    /// Host the listener for routes binds to.
    pub host: String,
    /// Its port, 0 being any free one; `None`: no cluster.
    pub port: Option<u16>,
    /// User that dialling brokers must name; `None` asks for nothing.
    pub user: Option<String>,
    /// The password that goes with it.
    pub password: Secret,
    /// How long a dialling broker may take to log in, if that is set.
    pub auth_timeout: Option<Duration>,
    /// TLS on routes; `None` for none.
    pub tls: Option<TlsOptions>,
    /// What interest goes out to the others (import, as publishing) and is taken
    /// from them (export, as subscribing).
    pub permissions: Rules,
    /// Brokers that are dialled until they answer.
    pub routes: Vec<RouteUrl>,
    /// `HOST` or `HOST:PORT` told to other brokers instead of the listener's own.
    pub advertise: Option<String>,
    /// Whether clients are told nothing of the other brokers, nor they of us.
    pub no_advertise: bool,
    /// How often a broker that was only heard of is dialled again.
    pub connect_retries: u32,
    /// Whether the time between two tries grows.
    pub connect_backoff: bool,
    /// Time between the pings of a route; `None` is that of clients. At most 30 s.
    pub ping_interval: Option<Duration>,
    /// Unanswered pings before a route is stale; `None` is that of clients.
    pub ping_max: Option<u32>,
    /// How long a route may take nothing; `None` is that of clients.
    pub write_deadline: Option<Duration>,
    /// Which members of a queue group serve what is published here.
    pub queue_policy: QueuePolicy,
}

/// Which members of a queue group serve what is published at this broker, if there
/// are some here and some at other brokers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum QueuePolicy {
    /// All alike, wherever they are.
    #[default]
    Weighted,
    /// Those here, as long as one of them takes messages.
    Local,
}

impl QueuePolicy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "weighted" => Ok(Self::Weighted),
            "local" => Ok(Self::Local),
            _ => Err(format!(
                "\"queue_policy\" must be \"weighted\" or \"local\", not {:?}",
                harmless(text)
            )),
        }
    }
}

/// Where another broker listens for routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The password that goes with it.
    pub password: Secret,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: None,
            host: super::ANY_HOST.into(),
            port: None,
            user: None,
            password: Secret::default(),
            auth_timeout: None,
            tls: None,
            permissions: Rules::default(),
            routes: Vec::new(),
            advertise: None,
            no_advertise: false,
            connect_retries: 0,
            connect_backoff: false,
            ping_interval: None,
            ping_max: None,
            write_deadline: None,
            queue_policy: QueuePolicy::default(),
        }
    }
}

impl ClusterOptions {
    /// How long a dialling broker may take to log in.
    pub fn auth_timeout(&self) -> Duration {
        let tls = self.tls.as_ref();
        let usual = tls.map(|tls| tls.timeout + AUTH_TIMEOUT_BEYOND_TLS);
        self.auth_timeout.or(usual).unwrap_or(AUTH_TIMEOUT)
    }

    /// Whether a dialling broker is let in by the user that its certificate names,
    /// without a password: `verify_and_map`.
    pub fn maps_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.map)
    }

    /// The password that is sent to brokers that the configuration does not name. Of a
    /// hash only the routes that are written say what it is a hash of.
    pub fn password_for_others(&self) -> Secret {
        if !self.password.is_hash() {
            return self.password.clone();
        }
        let mut routes = self.routes.iter();
        let known = routes.find(|route| Some(&route.user) == self.user.as_ref());
        known.map_or_else(Secret::default, |route| route.password.clone())
    }

    /// Whether brokers that the configuration does not name cannot be logged in to,
    /// because the password is a hash and nothing says what it is a hash of.
    pub fn lacks_plain_password(&self) -> bool {
        self.user.is_some()
            && self.password.is_hash()
            && !self.maps_certificates()
            && self.password_for_others().is_empty()
    }

    /// What interest goes over routes; `None` is all.
    pub fn permissions(&self) -> Option<Arc<Permissions>> {
        if self.permissions == Rules::default() {
            return None;
        }
        let nobody = TemplateValues {
            user: "",
            certname: "",
        };
        // Without templates it cannot fail; templates are refused when it is read.
        self.permissions.for_login(nobody).ok().map(Arc::new)
    }

    /// TLS on routes, with the hosts that the routes name.
    pub fn tls(&self) -> Option<TlsOptions> {
        let mut tls = self.tls.clone()?;
        tls.known_hosts = self.routes.iter().map(|url| url.host.clone()).collect();
        Some(tls)
    }
}

/// Without user and password: those are secrets.
impl fmt::Display for RouteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl RouteUrl {
    /// Reads `scheme://user:password@host:port`. A password may stand as it is:
    /// the last `@` ends it. What is percent-encoded is decoded.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong and shows no secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (login, address),
            None => ("", rest),
        };
        let address = address.trim_end_matches('/');
        let shown = harmless(address);
        let (host, port) = parse_address(address).map_err(|_| {
            format!("{shown:?} is not HOST:PORT: write routes as nats-route://host:port")
        })?;
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let (Some(port), false) = (port, host.is_empty()) else {
            return Err(format!("{shown:?} is not HOST:PORT of another broker"));
        };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Ok(Self {
            host,
            port,
            user: percent_decoded(user),
            password: secret(&percent_decoded(password))?,
        })
    }
}

/// A password that this broker sends, so that it must be plain.
fn secret(text: &str) -> Result<Secret, String> {
    let why = "the password of a route is sent to the other broker, so that it must be the plain \
               text and no bcrypt hash";
    Secret::plain(text).map_err(|_| why.to_owned())
}

/// What cannot be decoded stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Reads the block.
pub(super) fn read(options: &mut Options, node: &Node, problems: &mut Problems) {
    let Some(block) = problems.map(node, "cluster") else {
        return;
    };
    let cluster = options.cluster_mut();
    for entry in block.entries_as_written() {
        match entry.key.to_ascii_lowercase().as_str() {
            "authorization" => read_authorization(cluster, entry, problems),
            "routes" => read_routes(cluster, entry, problems),
            "tls" => cluster.tls = read_tls(entry, problems),
            "permissions" => read_permissions(cluster, entry, problems),
            name => match set(cluster, name, &entry.node.value) {
                Ok(None) => {}
                Ok(Some(warning)) => problems.warn(&entry.position, warning),
                Err(Fault::Unknown) => problems.unknown_key(entry, "\"cluster\""),
                Err(Fault::Wrong(text)) => problems.error(&entry.position, text),
            },
        }
    }
    if cluster.maps_certificates()
        && cluster.user.is_none()
        && let Some(entry) = block.get("tls")
    {
        let text =
            "\"verify_and_map\" lets no broker in without a user in \"authorization\", which \
                    their certificates are to name"
                .to_owned();
        problems.warn(&entry.position, text);
    }
    if cluster.lacks_plain_password()
        && let Some(entry) = block.get("authorization")
    {
        let text = "the password is a hash, and no route shows the user with its plain password: \
                    this broker cannot log in to brokers that it only hears of, and the mesh may \
                    stay incomplete; write the password in plain, or name every broker in \"routes\""
            .to_owned();
        problems.warn(&entry.position, text);
    }
    if cluster.port.is_none()
        && !cluster.routes.is_empty()
        && let Some(entry) = block.get("routes")
    {
        let text = "the cluster needs a port: set \"listen\" or \"port\" in it";
        problems.error(&entry.position, text);
    }
}

/// Why a value is not set.
enum Fault {
    /// There is no such key; it may stand there as a variable.
    Unknown,
    /// The key does not take it, in words.
    Wrong(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

/// Sets one value. Returns a warning if there is one.
fn set(cluster: &mut ClusterOptions, name: &str, value: &Value) -> Result<Option<String>, Fault> {
    match name {
        "name" => {
            cluster.name = match text(name, value)? {
                "" => None,
                text => Some(cluster_name(text)?),
            };
        }
        "listen" => match value {
            Value::Integer(port) => cluster.port = listen_port(*port)?,
            _ => set_listen(cluster, text(name, value)?)?,
        },
        "host" | "net" => cluster.host = text(name, value)?.into(),
        "port" => cluster.port = listen_port(integer(name, value)?)?,
        "advertise" | "cluster_advertise" => {
            let text = text(name, value)?;
            cluster.advertise = match text {
                "" => None,
                text => advertise::split(text).map(|_| Some(text.to_owned()))?,
            };
        }
        "no_advertise" => cluster.no_advertise = boolean(name, value)?,
        "connect_retries" => cluster.connect_retries = count(name, value)?,
        "connect_backoff" => cluster.connect_backoff = boolean(name, value)?,
        "ping_interval" => {
            let interval = time(name, value)?;
            cluster.ping_interval = Some(interval);
            if interval > PING_INTERVAL_MAX {
                return Ok(Some(format!(
                    "{name:?} of routes is {PING_INTERVAL_MAX:?} at most, which is taken"
                )));
            }
            return Ok(bare_seconds(name, value));
        }
        "ping_max" => cluster.ping_max = Some(count(name, value)?),
        "write_deadline" => {
            cluster.write_deadline = Some(time(name, value)?);
            return Ok(bare_seconds(name, value));
        }
        "queue_policy" => cluster.queue_policy = QueuePolicy::parse(text(name, value)?)?,
        "write_timeout" if is_write_timeout(value) => {
            return Ok((!is_usual_write_timeout(value)).then(|| {
                "\"write_timeout\" has no effect: a route that takes nothing within \
                 write_deadline is closed"
                    .into()
            }));
        }
        // One connection carries all accounts, uncompressed: both are agreed
        // upon with every peer, whatever it would like.
        "pool_size" => {
            integer(name, value)?;
        }
        "accounts" => {
            let is_text = |item: &Node| matches!(item.value, Value::String(_));
            return match value {
                Value::String(_) => Ok(None),
                Value::Array(items) if items.iter().all(is_text) => Ok(None),
                other => Err(wrong(name, "a list of names", other).into()),
            };
        }
        "compression" => match value {
            Value::Bool(false) => return Ok(None),
            Value::String(mode) if matches!(&**mode, "off" | "disabled" | "accept") => {
                return Ok(None);
            }
            Value::Bool(_) | Value::Map(_) | Value::String(_) => {
                if let Value::Map(map) = value
                    && let Some(entry) = map.entries().find(|entry| !is_of_compression(entry))
                {
                    return Err(format!("unknown key {:?} in {name:?}", entry.key).into());
                }
                return Ok(Some(
                    "routes are not compressed; agreed upon with every peer".into(),
                ));
            }
            other => return Err(wrong(name, "a boolean, a mode or a block", other).into()),
        },
        _ => return Err(Fault::Unknown),
    }
    Ok(None)
}

/// A number of seconds is easily taken for another unit.
fn bare_seconds(name: &str, value: &Value) -> Option<String> {
    matches!(value, Value::Integer(_)).then(|| {
        format!("{name:?} should be a duration with its unit, such as \"10s\": it counts seconds")
    })
}

/// Whether it belongs into a block `compression`.
fn is_of_compression(entry: &Entry) -> bool {
    let known = ["mode", "rtt_thresholds", "thresholds", "rtts", "rtt"];
    known.contains(&&*entry.key.to_ascii_lowercase())
}

/// What an `authorization` of clients has beside a user.
const NOT_OF_ROUTES: [&str; 8] = [
    "auth_callout",
    "auth_hook",
    "default_permission",
    "default_permissions",
    "permissions",
    "proxy_required",
    "token",
    "users",
];

fn read_authorization(cluster: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    let Some(map) = problems.map(&entry.node, "authorization") else {
        return;
    };
    for entry in map.entries_as_written() {
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => {
                if let Some(user) = problems.text(entry) {
                    cluster.user = Some(user.to_owned());
                }
            }
            "pass" | "password" => {
                if let Some(password) = problems.text(entry) {
                    let password =
                        Secret::new(password).map_err(|why| format!("the password {why}"));
                    let password = problems.noted(&entry.position, password);
                    cluster.password = password.unwrap_or_default();
                }
            }
            "timeout" => {
                if let Some(timeout) = problems.seconds(entry) {
                    cluster.auth_timeout = Some(timeout.max(AUTH_TIMEOUT_MIN));
                }
            }
            name if NOT_OF_ROUTES.contains(&name) => {
                let text = format!(
                    "{name:?} is not possible here: routes log in with one user and password"
                );
                problems.error(&entry.position, text);
            }
            _ => problems.unknown_key(entry, "authorization"),
        }
    }
}

fn read_permissions(cluster: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    let Some(rules) = parse_permissions(&entry.node, problems) else {
        return;
    };
    if rules.responses.is_some() {
        let text = "a cluster's permissions have no \"allow_responses\"";
        problems.error(&entry.position, text);
    }
    let patterns = [&rules.publish, &rules.subscribe];
    let has_queue = patterns.iter().any(|rules| {
        let allow = rules.allow.iter().flatten();
        allow
            .chain(&rules.deny)
            .any(|pattern| pattern.queue.is_some())
    });
    if has_queue {
        let text = "a cluster's permissions are of subjects, without queue groups";
        problems.error(&entry.position, text);
    }
    if rules.has_templates() {
        let text = "a cluster's permissions have no templates: brokers are no users";
        problems.error(&entry.position, text);
    }
    cluster.permissions = rules;
}

/// Both sides of a route show a certificate, whatever the block says.
fn read_tls(entry: &Entry, problems: &mut Problems) -> Option<TlsOptions> {
    let map = problems.map(&entry.node, "tls")?;
    let mut tls = read_block(map, &entry.node.position, problems);
    tls.verify = true;
    Some(tls)
}

fn read_routes(cluster: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    let urls = problems.texts(&entry.node, "routes").unwrap_or_default();
    cluster.routes.clear();
    for (url, position) in urls {
        if url.trim_end_matches('/').ends_with(":0") {
            let text = "a route to port 0 leads nowhere: it is left out";
            problems.warn(position, text);
            continue;
        }
        cluster
            .routes
            .extend(problems.noted(position, RouteUrl::parse(url)));
    }
}

/// `HOST:PORT`, or a URL that may hold user and password, as the flags
/// `--cluster` and `--cluster_listen` have it.
pub(in crate::config) fn set_listen_url(options: &mut Options, text: &str) -> Result<(), String> {
    let cluster = options.cluster_mut();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let address = match rest.rsplit_once('@') {
        Some((login, address)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            cluster.user = Some(percent_decoded(user));
            cluster.password = Secret::new(&percent_decoded(password))
                .map_err(|why| format!("the password {why}"))?;
            address
        }
        None => rest,
    };
    match address.parse() {
        Ok(port) => cluster.port = listen_port(port)?,
        Err(_) => set_listen(cluster, address)?,
    }
    Ok(())
}

/// Routes as the flag has them: URLs with commas between.
pub(in crate::config) fn set_routes(options: &mut Options, text: &str) -> Result<(), String> {
    let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    let routes: Result<Vec<_>, String> = urls.map(RouteUrl::parse).collect();
    options.cluster_mut().routes = routes?;
    Ok(())
}

/// A key of the block as a flag sets it.
pub(in crate::config) fn set_flag(
    options: &mut Options,
    name: &str,
    value: &Value,
) -> Result<(), String> {
    match set(options.cluster_mut(), name, value) {
        Ok(_) => Ok(()),
        Err(Fault::Wrong(text)) => Err(text),
        Err(Fault::Unknown) => Err(format!("\"cluster\" has no key {name:?}")),
    }
}

fn set_listen(cluster: &mut ClusterOptions, text: &str) -> Result<(), String> {
    let (host, port) = parse_address(text.trim_end_matches('/'))?;
    if !host.is_empty() {
        cluster.host = host;
    }
    cluster.port = listen_port(port)?;
    Ok(())
}

fn cluster_name(name: &str) -> Result<String, String> {
    match is_word(name) {
        false => {
            Err("a cluster's name must not be empty or contain blanks or control characters".into())
        }
        true => Ok(name.into()),
    }
}

/// Port 0 is no cluster, -1 any free port.
fn listen_port(port: i64) -> Result<Option<u16>, String> {
    Ok(match port_in_range(port)? {
        0 => None,
        port => Some(u16::try_from(port).unwrap_or(0)),
    })
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(name, "a string; put it into quotes", other)),
    }
}

fn integer(name: &str, value: &Value) -> Result<i64, String> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => Err(wrong(name, "an integer, without quotes", other)),
    }
}

fn count(name: &str, value: &Value) -> Result<u32, String> {
    u32::try_from(integer(name, value)?).map_err(|_| format!("{name:?} must not be negative"))
}

fn boolean(name: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(wrong(name, "true or false, without quotes", other)),
    }
}

/// A duration, or seconds as a number.
fn time(name: &str, value: &Value) -> Result<Duration, String> {
    let seconds = match value {
        Value::String(text) => return parse_duration(text),
        Value::Integer(seconds) => *seconds,
        other => return Err(wrong(name, "seconds or a duration such as \"2s\"", other)),
    };
    let seconds = u64::try_from(seconds);
    let time = seconds.map_err(|_| format!("{name:?} must not be negative"))?;
    Ok(Duration::from_secs(time))
}

fn wrong(name: &str, expected: &str, found: &Value) -> String {
    format!("{name:?} must be {expected}, not {}", found.type_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> (String, u16, String, String) {
        let url = RouteUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (
            url.host,
            url.port,
            url.user,
            url.password.reveal().to_owned(),
        )
    }

    #[test]
    fn routes_as_people_write_them() {
        let expect = |host: &str, port, user: &str, password: &str| {
            (host.to_owned(), port, user.to_owned(), password.to_owned())
        };
        assert_eq!(
            url("nats-route://routes:s3cret@nats1.example.net:4223"),
            expect("nats1.example.net", 4223, "routes", "s3cret")
        );
        assert_eq!(url("nats://[::1]:6222/"), expect("::1", 6222, "", ""));
        assert_eq!(url("host:1"), expect("host", 1, "", ""));
        assert_eq!(url("tls://u:p%40x@h:1"), expect("h", 1, "u", "p@x"));
        assert_eq!(
            url("nats://u:a@b:c/d%@h:1"),
            expect("h", 1, "u", "a@b:c/d%")
        );
        for bad in ["", "host", "nats://:1", "host:0", "host:x", "host:70000"] {
            assert!(RouteUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn queue_policies_by_name() {
        let parse = |text| QueuePolicy::parse(text);
        assert_eq!(parse("weighted"), Ok(QueuePolicy::Weighted));
        assert_eq!(parse("local"), Ok(QueuePolicy::Local));
        assert!(parse("Local").is_err_and(|error| error.contains("Local")));
    }

    #[test]
    fn no_secret_is_shown() {
        let url = RouteUrl::parse("nats://u:geheim@h:1").expect("it is a URL");
        assert!(!format!("{url:?} {url}").contains("geheim"));
        for wrong in ["nats://u:geheim@h", "nats://u:geheim", "u:geheim@h:geheim"] {
            let error = RouteUrl::parse(wrong).expect_err("no port");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
