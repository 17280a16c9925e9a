//! Several brokers in one call: clusters of midge and nats-server that are complete, that
//! lack a member or routes, and that a DNS server lists.

mod configured;
mod members;
mod messages;
mod options;
mod output;
mod srv;

use std::{collections::BTreeSet, net::SocketAddr};

use test_support::{Broker, BrokerBuilder, free_address, free_port, mesh::Kind, wait_until};

use super::plugin::{PluginOutput, judge};

/// The members of a cluster, and how the plugin is called for all of them.
struct Cluster {
    brokers: Vec<Broker>,
    /// Their names in the plugin's output.
    names: Vec<String>,
    arguments: Vec<String>,
}

/// How a broker's configuration differs from that of the others.
#[derive(Default)]
struct Difference {
    /// Number of the broker.
    number: usize,
    /// More lines of its block `cluster`.
    cluster: &'static str,
    /// More lines of its configuration.
    config: &'static str,
}

impl Cluster {
    /// Brokers at 127.0.0.1, 127.0.0.2 and so on, all with the same ports, as on hosts of their
    /// own; with a route between any two.
    fn start(kinds: &[Kind]) -> Self {
        let cluster = Self::start_with(kinds, &[]);
        cluster.wait_for_routes();
        cluster
    }

    /// The same, but for some members; the routes are not waited for.
    fn start_with(kinds: &[Kind], differences: &[Difference]) -> Self {
        let [port, monitoring_port, route_port] = [free_port(), free_port(), free_port()];
        let names: Vec<String> = (1..=kinds.len()).map(|n| format!("127.0.0.{n}")).collect();
        let routes: Vec<SocketAddr> = names.iter().map(|name| at(name, route_port)).collect();
        let start = |(number, kind): (usize, &Kind)| {
            let name = &names[number];
            let own = format!("http: \"{name}:{monitoring_port}\"");
            let listen = format!("listen: \"{name}:{route_port}\"");
            let text = config(&routes, &own, &listen, difference(differences, number));
            builder(*kind)
                .host(name.parse().expect("an address"))
                .port(port)
                .without_monitoring_flag()
                .config(text)
                .start()
        };
        let mut arguments = vec!["-p".into(), port.to_string()];
        arguments.extend(["-m".into(), monitoring_port.to_string()]);
        arguments.extend(names.iter().flat_map(|name| ["-H".into(), name.clone()]));
        Self {
            brokers: kinds.iter().enumerate().map(start).collect(),
            names,
            arguments,
        }
    }

    /// Brokers at any ports of 127.0.0.1, with the same file but for the differences. What each
    /// must have for itself are flags.
    fn start_with_one_file(kinds: &[Kind], differences: &[Difference]) -> Self {
        let routes: Vec<SocketAddr> = kinds.iter().map(|_| free_address()).collect();
        let start = |(number, kind): (usize, &Kind)| {
            let listen = "listen: \"127.0.0.1:1\"";
            let text = config(&routes, "", listen, difference(differences, number));
            builder(*kind)
                .config(text)
                .flag("--cluster")
                .flag(format!("nats://{}", routes[number]))
                .start()
        };
        let brokers: Vec<Broker> = kinds.iter().enumerate().map(start).collect();
        let urls = brokers
            .iter()
            .flat_map(|broker| ["-u".into(), broker.monitor_url()]);
        let cluster = Self {
            arguments: urls.collect(),
            names: brokers
                .iter()
                .map(|broker| broker.monitor_addr().to_string())
                .collect(),
            brokers,
        };
        cluster.wait_for_routes();
        cluster
    }

    fn wait_for_routes(&self) {
        for (number, broker) in self.brokers.iter().enumerate() {
            wait_until(&format!("n{} has all routes", number + 1), || {
                let routez = broker.get_json("/routez");
                let routes = routez["routes"].as_array().cloned().unwrap_or_default();
                let ids: BTreeSet<String> = routes
                    .iter()
                    .map(|route| route["remote_id"].to_string())
                    .collect();
                ids.len() == self.brokers.len() - 1
            });
        }
    }

    /// Runs the plugin for all of them.
    fn check(&self, arguments: &[&str]) -> PluginOutput {
        judge(&self.arguments(arguments))
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let own = self.arguments.iter().map(String::as_str);
        own.chain(more.iter().copied()).collect()
    }
}

fn difference(differences: &[Difference], number: usize) -> (&str, &str) {
    let difference = differences.iter().find(|other| other.number == number);
    difference.map_or(("", ""), |difference| {
        (difference.cluster, difference.config)
    })
}

fn config(
    routes: &[SocketAddr],
    own: &str,
    listen: &str,
    (cluster, config): (&str, &str),
) -> String {
    let routes: Vec<String> = routes
        .iter()
        .map(|at| format!("nats-route://{at}"))
        .collect();
    format!(
        "{own}\n{config}\ncluster {{\n name: mesh\n {listen}\n routes: [ {} ]\n {cluster}\n}}\n",
        routes.join(", ")
    )
}

fn at(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse().expect("an address"), port)
}

fn builder(kind: Kind) -> BrokerBuilder {
    match kind {
        Kind::Midge => Broker::midge(),
        Kind::Nats => Broker::nats_server(),
        Kind::Nats29 => Broker::nats_server_29(),
    }
}

/// The line of the long output about the broker at an address.
#[track_caller]
fn line_of<'a>(result: &'a PluginOutput, broker: &str) -> &'a str {
    let start = format!("{broker} ");
    let line = result
        .output
        .lines()
        .skip(1)
        .find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("no line of {broker}: {}", result.output))
}
