//! Several brokers in one call: clusters of midge and nats-server that are complete, that
//! lack a member or routes, and that a DNS server lists.

mod members;
mod messages;
mod options;
mod output;
mod srv;

use std::{collections::BTreeSet, net::Ipv4Addr};

use test_support::{Broker, BrokerBuilder, free_port, mesh::Kind, wait_until};

use super::plugin::{PluginOutput, judge};

/// Brokers at 127.0.0.1, 127.0.0.2 and so on, all with the same ports, as on hosts of their own.
struct Cluster {
    brokers: Vec<Broker>,
    port: u16,
    monitoring_port: u16,
}

/// How a broker differs from the others.
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
    /// One cluster whose members all have the same configuration file.
    fn start(kinds: &[Kind]) -> Self {
        let cluster = Self::start_with(kinds, &[]);
        cluster.wait_for_routes();
        cluster
    }

    /// The same, but for some members; the routes are not waited for.
    fn start_with(kinds: &[Kind], differences: &[Difference]) -> Self {
        let [port, monitoring_port, route_port] = [free_port(), free_port(), free_port()];
        let routes: Vec<String> = (0..kinds.len())
            .map(|number| format!("nats-route://{}:{route_port}", address(number)))
            .collect();
        let start = |(number, kind): (usize, &Kind)| {
            let difference = differences.iter().find(|other| other.number == number);
            let (cluster, config) = difference.map_or(("", ""), |d| (d.cluster, d.config));
            let text = format!(
                "cluster {{\n name: mesh\n routes: [ {} ]\n {cluster}\n}}\n{config}\n",
                routes.join(", ")
            );
            builder(*kind)
                .host(address(number))
                .port(port)
                .monitoring_port(monitoring_port)
                .config(text)
                .flag("--cluster")
                .flag(format!("nats://{}:{route_port}", address(number)))
                .flag("--name")
                .flag(format!("n{}", number + 1))
                .start()
        };
        Self {
            brokers: kinds.iter().enumerate().map(start).collect(),
            port,
            monitoring_port,
        }
    }

    fn wait_for_routes(&self) {
        for (number, broker) in self.brokers.iter().enumerate() {
            wait_until(&format!("n{} has all routes", number + 1), || {
                let routez = broker.get_json("/routez");
                let routes = routez["routes"].as_array().cloned().unwrap_or_default();
                let ids: BTreeSet<String> =
                    routes.iter().map(|route| route["remote_id"].to_string()).collect();
                ids.len() == self.brokers.len() - 1
            });
        }
    }

    /// Runs the plugin for all of them.
    fn check(&self, arguments: &[&str]) -> PluginOutput {
        let (port, monitoring_port) = (self.port.to_string(), self.monitoring_port.to_string());
        let hosts: Vec<String> = (0..self.brokers.len())
            .map(|number| address(number).to_string())
            .collect();
        let mut all = vec!["-p", &port, "-m", &monitoring_port];
        for host in &hosts {
            all.extend(["-H", host]);
        }
        all.extend(arguments);
        judge(&all)
    }
}

fn builder(kind: Kind) -> BrokerBuilder {
    match kind {
        Kind::Midge => Broker::midge(),
        Kind::Nats => Broker::nats_server(),
        Kind::Nats29 => Broker::nats_server_29(),
    }
}

fn address(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number + 1).expect("few brokers");
    Ipv4Addr::new(127, 0, 0, last)
}

/// The line of the long output about the broker at an address.
#[track_caller]
fn line_of<'a>(result: &'a PluginOutput, broker: &str) -> &'a str {
    let start = format!("{broker} ");
    let line = result.output.lines().skip(1).find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("no line of {broker}: {}", result.output))
}
