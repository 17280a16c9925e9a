//! Subjects that were mapped to an unexpected destination.

use std::collections::BTreeMap;

use crate::{both, client, publish, subjects};
use test_support::{
    Broker, free_port,
    mesh::{self, Kind, Plan},
    tools,
};

/// Number of messages received for each subject, of those that are published.
fn arrivals(broker: &Broker, published: &[String]) -> BTreeMap<String, usize> {
    let mut client = client(broker, "both ends");
    client.send("SUB > 1\r\n");
    for subject in published {
        client.send(publish(subject, 1));
    }
    let mut counts = BTreeMap::new();
    for subject in subjects(&client.sync()) {
        *counts.entry(subject).or_default() += 1;
    }
    counts
}

/// Partitions by one token seemed to depend on another token. Only the named tokens
/// count: the same value is always in the same partition, all partitions are used, and
/// both brokers compute the same one.
#[test]
fn nats_server_3660_partitions_depend_on_the_named_tokens_only() {
    let config = "mappings = {\n  \"one.*.*\": \"one.$1.$2.{{partition(4,1)}}\"\n  \
                  \"two.*.*\": \"two.$1.$2.{{partition(4,2)}}\"\n  \
                  \"all.*.*\": \"all.$1.$2.{{partition(4,1,2)}}\"\n}\n";
    let published: Vec<String> = ["one", "two", "all"]
        .iter()
        .flat_map(|kind| {
            let pairs = (0..40).flat_map(|a| (0..3).map(move |b| (a, b)));
            pairs.map(move |(a, b)| format!("{kind}.id{a}.x{b}"))
        })
        .collect();
    let [here, there] = both().map(|builder| {
        let broker = builder.config(config).start();
        arrivals(&broker, &published)
    });
    assert_eq!(here, there);
    assert_eq!(here.len(), published.len());
    let mut by_word: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for subject in here.keys() {
        let words: Vec<&str> = subject.split('.').collect();
        let key = match words[0] {
            "one" => words[1],
            "two" => words[2],
            _ => continue,
        };
        let partitions = by_word.entry(format!("{} {key}", words[0])).or_default();
        partitions.push(words[3].to_owned());
    }
    for (key, partitions) in &by_word {
        assert!(
            partitions.iter().all(|it| *it == partitions[0]),
            "{key}: {partitions:?}"
        );
    }
    for kind in ["one", "all"] {
        let used: std::collections::BTreeSet<&str> = here
            .keys()
            .filter(|subject| subject.starts_with(kind))
            .filter_map(|subject| subject.rsplit('.').next())
            .collect();
        assert_eq!(used.len(), 4, "{kind}: {used:?}");
    }
}

/// A partial mapping was completed by a second one later, and the rest still went to the
/// original subject. A reload must apply exactly what the file contains.
#[test]
fn nats_server_3618_a_changed_weight_applies_after_a_reload() {
    let config = |more: &str| {
        format!("mappings = {{ shop: [ {{ dest: old.shop, weight: 40% }} {more} ] }}\n")
    };
    let published = vec!["shop".to_owned(); 2000];
    for builder in both() {
        let is_midge = builder.program_path() == tools::midge();
        let broker = builder.config(config("")).start();
        let counts = arrivals(&broker, &published);
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["old.shop", "shop"]);
        broker.reload(&config(", { dest: new.shop, weight: 60% }"));
        let counts = arrivals(&broker, &published);
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["new.shop", "old.shop"]);
        // Far outside of random variation, on either side.
        assert!((900..1500).contains(&counts["new.shop"]), "{counts:?}");
        // A nats-server keeps a mapping that was removed from the file.
        if is_midge {
            broker.reload("max_payload: 5000\n");
            let counts = arrivals(&broker, &published);
            assert_eq!(counts.keys().collect::<Vec<_>>(), ["shop"]);
        }
    }
}

/// One file for all clusters configures a destination for each. A broker must use the one
/// for its own cluster.
#[test]
fn nats_server_4175_a_mapping_may_be_for_one_cluster() {
    let mappings = "mappings = { where: [ { dest: where.east, cluster: east, weight: 100% }, { dest: \
                    where.west, cluster: west, weight: 100% } ] }";
    for kind in [Kind::Midge, Kind::Nats] {
        for cluster in ["east", "west", "north"] {
            let mut plan = Plan::new(kind, "n0", free_port(), &[]);
            plan.cluster = format!("name: {cluster}");
            plan.config = mappings.into();
            let member: mesh::Member = plan.start();
            let counts = arrivals(&member.broker, &vec!["where".to_owned(); 20]);
            let expected = match cluster {
                "north" => "where".to_owned(),
                cluster => format!("where.{cluster}"),
            };
            assert_eq!(counts, BTreeMap::from([(expected, 20)]), "{kind:?}");
        }
    }
}
