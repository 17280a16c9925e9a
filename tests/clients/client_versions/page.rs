//! docs/clients.md, made from the list that the test runs.

use test_support::generated::assert_up_to_date;

use super::list::{FEATURES, Listed, listed};

const HEAD: &str = "\
# Client libraries

Clients of nats-server are clients of midge, old ones too. `tests/clients/client_versions.rs` tries these versions beside
a real nats-server 2.15, with which each of them does the same; this page is made from its list
(`tests/clients/versions/clients.txt`). The current async-nats, nats.js, nats.py and C client are tried with more of
their functions by `tests/clients/libraries.rs`, Choria's and MCollective's by other tests.

- **publish, subscribe**: exact subjects and wildcards, in order. **request**: one request, one answer. **queue group**:
  each message to one member, all members get some.
- **reconnect**: by itself, after the broker was killed and started again; its subscriptions work as before.
- **TLS**: the broker's certificate is checked, and one of another CA refused. **certificate**: the client shows one of
  its own to a broker with `verify: true`.
- \"-\": the client has no such function, or it works with no broker here; the remark says why. They run with Python
  3.11 and Node.js 20, the C client is Debian's.

";

#[test]
fn the_page_of_clients_is_up_to_date() {
    assert_up_to_date("docs/clients.md", &page());
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page += "| from | client | version |";
    FEATURES
        .iter()
        .for_each(|(_, head)| page += &format!(" {head} |"));
    page += " remark |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    listed().iter().for_each(|client| page += &row(client));
    page
}

fn row(client: &Listed) -> String {
    let registry = match client.registry {
        "pip" => "PyPI",
        "crates" => "crates.io",
        "debian" => "Debian",
        other => other,
    };
    let cells = FEATURES.map(|(feature, _)| match client.runs() {
        false => "not run",
        true if client.lacks.contains(&feature) => "-",
        true => "yes",
    });
    format!(
        "| {registry} | `{}` | {} | {} | {} |\n",
        client.package,
        client.version,
        cells.join(" | "),
        client.remark
    )
}
