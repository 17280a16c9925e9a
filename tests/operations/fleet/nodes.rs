//! The nodes: one `mcollectived` each, with facts, classes and a certificate; and the settings
//! of `mco`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::tools;

use super::ca::Ca;

/// How many nodes a fleet has.
pub(super) const NODES: usize = 6;

/// The certname of the operator.
const OPERATOR: &str = "alice.mcollective";

pub(super) struct Fleet {
    folder: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    process: Child,
    log: PathBuf,
}

/// The certnames of all nodes. They have dots, which separate tokens of a subject.
pub(super) fn names() -> BTreeSet<String> {
    (0..NODES).map(name).collect()
}

/// The certnames of those whose number has this remainder.
pub(super) fn every(divisor: usize, remainder: usize) -> BTreeSet<String> {
    let chosen = (0..NODES).filter(|index| index % divisor == remainder);
    chosen.map(name).collect()
}

fn name(index: usize) -> String {
    format!("node{index}.example.net")
}

impl Fleet {
    /// Starts the nodes. Each has all servers (`HOST:PORT`) and begins with another one. With a
    /// password `mco` logs in as the user `operator`, else it shows its certificate only.
    pub(super) fn start(ca: &Ca, servers: &[String], password: Option<&str>) -> Self {
        let folder = tempfile::Builder::new().prefix("fleet-").tempdir();
        let mut fleet = Self {
            folder: folder.expect("a folder"),
            nodes: Vec::new(),
        };
        let list: Vec<String> = names().into_iter().collect();
        fs::write(fleet.path("nodes"), list.join("\n")).expect("write the list of nodes");
        for index in 0..NODES {
            let node = fleet.start_node(ca, index, servers);
            fleet.nodes.push(node);
        }
        let ssl_dir = ca.issue(OPERATOR, "localhost");
        let login = password.map_or(String::new(), |password| {
            format!("plugin.nats.user = operator\nplugin.nats.pass = {password}\n")
        });
        for first in 0..servers.len() {
            for (addressing, direct) in [("direct", "yes"), ("broadcast", "no")] {
                let text = settings(OPERATOR, &ssl_dir, &rotated(servers, first))
                    + &format!(
                        "logger_type = file\nlogfile = {}\nloglevel = info\ncolor = 0\n\
                         direct_addressing = {direct}\n{login}",
                        fleet.path("mco.log").display()
                    );
                fs::write(fleet.path(&format!("{addressing}{first}.cfg")), text)
                    .expect("write the settings of mco");
            }
        }
        fleet
    }

    fn start_node(&self, ca: &Ca, index: usize, servers: &[String]) -> Node {
        let name = name(index);
        let path = |ending: &str| self.path(&format!("{name}.{ending}"));
        let ssl_dir = ca.issue(&name, "localhost");
        let facts = json!({
            "role": if index.is_multiple_of(2) { "web" } else { "db" },
            "number": index,
        });
        fs::write(path("json"), facts.to_string()).expect("write the facts");
        fs::write(path("classes"), format!("base\nthird{}\n", index % 3)).expect("write classes");
        let text = settings(&name, &ssl_dir, &rotated(servers, index % servers.len()))
            + &format!(
                "daemonize = 0\ndirect_addressing = yes\nlogger_type = file\nlogfile = {log}\n\
                 loglevel = info\nfactsource = json\nplugin.json = {facts}\n\
                 classesfile = {classes}\nregistration = agentlist\nregisterinterval = 2\n",
                log = path("log").display(),
                facts = path("json").display(),
                classes = path("classes").display(),
            );
        fs::write(path("cfg"), text).expect("write the settings of a node");
        let process = ruby("usr/sbin/mcollectived", "mcollective")
            .args(["--no-daemonize", "--config"])
            .arg(path("cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start mcollectived");
        Node {
            process,
            log: path("log"),
        }
    }

    /// A path in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A list of all nodes, for `mco --nodes`.
    pub(super) fn list(&self) -> String {
        self.path("nodes").display().to_string()
    }

    /// `mco` with the settings `direct0.cfg` and the like: how requests are addressed, and which
    /// server it tries first.
    pub(super) fn mco(&self, settings: &str, arguments: &[&str]) -> Command {
        let mut command = ruby("usr/bin/mco", "mcollective-client");
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path(&format!("{settings}.cfg")))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // Failures do not matter here: it has ended, or ends now.
            let _ = node.process.kill();
            let _ = node.process.wait();
            if std::thread::panicking() {
                let log = fs::read_to_string(&node.log).unwrap_or_default();
                eprintln!("--- {} ---\n{log}--- end ---", node.log.display());
            }
        }
    }
}

/// Whether the brokers' answers to `/connz?subs=1` show every node with its subscriptions.
pub(super) fn all_subscribed(answers: &[Value]) -> bool {
    let connections = answers.iter().filter_map(|it| it["connections"].as_array());
    let complete = connections.flatten().filter(|connection| {
        let name = connection["name"].as_str().unwrap_or_default();
        let subjects = connection["subscriptions_list"].as_array();
        let has = |subject: &str| subjects.is_some_and(|all| all.iter().any(|it| it == subject));
        has(&format!("mcollective.node.{name}"))
            && has("mcollective.broadcast.agent.discovery")
            && has("mcollective.broadcast.agent.rpcutil")
    });
    let complete: BTreeSet<_> = complete.filter_map(|it| it["name"].as_str()).collect();
    complete.len() == NODES
}

/// The lines that nodes and `mco` have in common.
fn settings(identity: &str, ssl_dir: &Path, servers: &str) -> String {
    let ssl_dir = ssl_dir.display();
    format!(
        "main_collective = mcollective\ncollectives = mcollective\nlibdir = {}:{}\n\
         identity = {identity}\nconnector = nats\nsecurityprovider = psk\nplugin.psk = s3cret\n\
         plugin.nats.servers = {servers}\nplugin.nats.ca = {ssl_dir}/certs/ca.pem\n\
         plugin.nats.cert = {ssl_dir}/certs/{identity}.pem\n\
         plugin.nats.key = {ssl_dir}/private_keys/{identity}.pem\n",
        tools::project()
            .join("tests/operations/fleet/plugins")
            .display(),
        library().display(),
    )
}

fn rotated(servers: &[String], first: usize) -> String {
    let mut servers = servers.to_vec();
    servers.rotate_left(first);
    servers.join(",")
}

/// A program of MCollective, which need not be installed.
fn ruby(program: &str, package: &str) -> Command {
    let mut command = Command::new("ruby");
    command
        .env("RUBYLIB", library())
        .env("LC_ALL", "C.UTF-8")
        .arg(tools::debian_file(program, package));
    command
}

fn library() -> PathBuf {
    let folder = "usr/lib/ruby/vendor_ruby";
    let file = tools::debian_file(&format!("{folder}/mcollective.rb"), "mcollective-common");
    file.parent().expect("a folder").to_owned()
}
