//! The plugin's values through the outputs that operators use: each of them passes on
//! every value, and known ones are right at the far end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{free_port, http, tools, wait_for};

use crate::{
    broker::{Broker, Peer},
    collectd::{Collectd, Daemon, Setup, instance},
};

/// Values of a broker with one client that has published [`publish`]'s messages.
const KNOWN: &[(&str, &[f64])] = &[
    ("nats-a/bool-up", &[1.0]),
    ("nats-a/current_connections-clients", &[1.0]),
    ("nats-a/if_packets-total", &[10.0, 7.0]),
    ("nats-a/if_octets-total", &[730.0, 700.0]),
];

/// A broker with known values, and the client that caused them.
fn broker() -> (Broker, Peer) {
    let broker = Broker::start();
    let mut peer = broker.subscribe("a.>");
    peer.publish("a.b", 7, 100);
    peer.publish("nobody", 3, 10);
    (broker, peer)
}

/// A collectd with this output. Its csv plugin says which values there are.
fn start(broker: &Broker, outputs: String) -> Collectd {
    let mut setup = Setup::new(&instance("a", &broker.url(), ""));
    setup.outputs = outputs;
    // RRD files have whole seconds.
    setup.interval = 1.0;
    Collectd::start(&setup)
}

/// Every identifier without its host, after a poll that was complete.
fn identifiers(collectd: &Collectd) -> BTreeSet<String> {
    let lines = collectd.wait_for("second poll", |lines| {
        lines.values("test/nats-a/bool-up").len() > 1
    });
    let puts = lines.puts().into_iter();
    let names = puts.map(|put| put.identifier.split_once('/').expect("a host").1.to_owned());
    names.collect()
}

/// Waits until everything is there that csv has, then compares the known values.
fn check(collectd: &Collectd, what: &str, read: impl Fn() -> BTreeMap<String, Vec<f64>>) {
    let wanted = identifiers(collectd);
    let found = wait_for(what, || {
        let found = read();
        wanted
            .iter()
            .all(|name| found.contains_key(name))
            .then_some(found)
    });
    for (name, values) in KNOWN {
        assert_eq!(found[*name], *values, "{what}: {name}");
    }
}

fn folder() -> TempDir {
    // collectd writes no data below a directory whose name begins with a dot.
    let made = tempfile::Builder::new().prefix("collectd-").tempdir();
    made.expect("a temporary folder")
}

#[test]
fn csv_files() {
    let (broker, _peer) = broker();
    let daemon = Daemon::start(&Setup::new(&instance("a", &broker.url(), "")));
    for (name, values) in KNOWN {
        daemon.wait_for_value(name);
        let (folder, file) = name.split_once('/').expect("two parts");
        let rows = wait_for(name, || last_row(&daemon.data().join(folder), file));
        assert_eq!(rows, *values, "{name}");
    }
}

/// The values of the last row of the file with this name and a date.
fn last_row(folder: &Path, name: &str) -> Option<Vec<f64>> {
    let mut files = fs::read_dir(folder).expect("the values").flatten();
    let file = files.find(|file| {
        let file = file.file_name();
        let date = file.to_str().and_then(|file| file.strip_prefix(name));
        date.is_some_and(|date| date.len() == "-2000-01-01".len())
    });
    let text = fs::read_to_string(file?.path()).expect("a file");
    let row = text.lines().skip(1).last()?;
    let values = row.split(',').skip(1).map(|value| value.parse().ok());
    values.collect()
}

#[test]
fn unixsock() {
    let (broker, _peer) = broker();
    let folder = folder();
    let socket = folder.path().join("socket");
    let collectd = start(
        &broker,
        format!(
            "LoadPlugin unixsock\n<Plugin unixsock>\nSocketFile \"{}\"\nSocketPerms \"0600\"\n\
             SocketGroup \"{}\"\n</Plugin>\n",
            socket.display(),
            own_group(),
        ),
    );
    let wanted = identifiers(&collectd);
    let listed: BTreeSet<String> = ask(&socket, "LISTVAL")
        .iter()
        .filter_map(|line| Some(line.split_once(" test/")?.1.to_owned()))
        .collect();
    assert!(
        wanted.is_subset(&listed),
        "{listed:?} lacks some of {wanted:?}"
    );
    let clients = "GETVAL \"test/nats-a/current_connections-clients\"";
    assert_eq!(ask(&socket, clients), ["value=1.000000e+00"]);
    // Nothing moves now, and what is a total elsewhere is a rate here.
    let packets = "GETVAL \"test/nats-a/if_packets-total\"";
    assert_eq!(
        ask(&socket, packets),
        ["rx=0.000000e+00", "tx=0.000000e+00"]
    );
}

/// The lines that follow the one with the number of lines.
fn ask(socket: &Path, question: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(socket).expect("collectd's socket");
    writeln!(stream, "{question}").expect("sent");
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    let head = lines.next().expect("an answer");
    let count = head.split(' ').next().and_then(|count| count.parse().ok());
    lines
        .take(count.unwrap_or_else(|| panic!("{question}: {head}")))
        .collect()
}

#[test]
fn write_prometheus() {
    let (broker, _peer) = broker();
    let port = free_port();
    let collectd = start(
        &broker,
        format!(
            "LoadPlugin write_prometheus\n<Plugin write_prometheus>\nHost \"127.0.0.1\"\n\
             Port \"{port}\"\n</Plugin>\n"
        ),
    );
    let names = metric_names(&identifiers(&collectd));
    check(&collectd, "metrics", || {
        let answer = http::get(([127, 0, 0, 1], port).into(), "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let metrics: BTreeMap<&str, f64> = answer
            .body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, rest) = line.split_once("} ")?;
                Some((name, rest.split(' ').next()?.parse().ok()?))
            })
            .collect();
        let found = names.iter().filter_map(|(identifier, names)| {
            let values = names.iter().map(|name| metrics.get(name.as_str()).copied());
            Some((identifier.clone(), values.collect::<Option<_>>()?))
        });
        found.collect()
    });
}

/// What write_prometheus calls the values of each identifier: the beginning of a line.
fn metric_names(identifiers: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    let types = fs::read_to_string("/usr/share/collectd/types.db").expect("collectd's types");
    let sources = |kind: &str| -> Vec<String> {
        let line = types
            .lines()
            .find(|line| line.split_whitespace().next() == Some(kind));
        let line = line.unwrap_or_else(|| panic!("{kind} is not in types.db"));
        let sources = line.split_whitespace().skip(1).map(|source| {
            let fields: Vec<&str> = source.trim_end_matches(',').split(':').collect();
            let name = match fields[0] {
                "value" => String::new(),
                name => format!("_{name}"),
            };
            let total = if fields[1] == "GAUGE" { "" } else { "_total" };
            format!("{name}{total}")
        });
        sources.collect()
    };
    let names = identifiers.iter().map(|identifier| {
        let (plugin, value) = identifier.split_once('/').expect("two parts");
        let instance = plugin.strip_prefix("nats-").expect("an instance");
        let (kind, labels) = match value.split_once('-') {
            Some((kind, name)) => (kind, format!("nats=\"{instance}\",type=\"{name}\"")),
            None => (value, format!("nats=\"{instance}\"")),
        };
        let names = sources(kind)
            .into_iter()
            .map(|source| format!("collectd_nats_{kind}{source}{{{labels},instance=\"test\""));
        (identifier.clone(), names.collect())
    });
    names.collect()
}

#[test]
fn write_http() {
    let (broker, _peer) = broker();
    let received = Arc::new(Mutex::new(BTreeMap::new()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let all = Arc::clone(&received);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let body = read_post(&stream);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let values: Vec<Value> = serde_json::from_str(&body).expect("a list of values");
            all.lock()
                .expect("no panic there")
                .extend(values.iter().map(named));
        }
    });
    let collectd = start(
        &broker,
        format!(
            "LoadPlugin write_http\n<Plugin write_http>\n<Node \"test\">\nURL \"http://{address}/\"\n\
             Format \"JSON\"\nBufferSize 4096\n</Node>\n</Plugin>\n"
        ),
    );
    check(&collectd, "posted values", || {
        received.lock().expect("no panic there").clone()
    });
}

/// Identifier and values of a value in collectd's JSON.
fn named(value: &Value) -> (String, Vec<f64>) {
    let text = |key: &str| value[key].as_str().expect(key);
    let with = |name: &str, instance: &str| match text(instance) {
        "" => text(name).to_owned(),
        instance => format!("{}-{instance}", text(name)),
    };
    let plugin = with("plugin", "plugin_instance");
    let values = value["values"].as_array().expect("values");
    // Not a number is null in JSON.
    let values = values
        .iter()
        .map(|value| value.as_f64().unwrap_or(f64::NAN));
    (
        format!("{plugin}/{}", with("type", "type_instance")),
        values.collect(),
    )
}

/// The body of a POST.
fn read_post(stream: impl Read) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = String::new();
    reader
        .take(length)
        .read_to_string(&mut body)
        .expect("a whole body");
    body
}

/// From one collectd to another, encrypted.
#[test]
fn network() {
    let (broker, _peer) = broker();
    let folder = folder();
    let passwords = folder.path().join("passwords");
    fs::write(&passwords, "fleet: secret\n").expect("a written file");
    let port = free_port();
    let mut central = Setup::new("");
    central.polls = false;
    central.outputs = format!(
        "LoadPlugin network\n<Plugin network>\n<Listen \"127.0.0.1\" \"{port}\">\n\
         SecurityLevel \"Encrypt\"\nAuthFile \"{}\"\n</Listen>\n</Plugin>\n",
        passwords.display()
    );
    let central = Collectd::start(&central);
    let (relay, datagrams) = relay(port);
    let collectd = start(
        &broker,
        format!(
            "LoadPlugin network\n<Plugin network>\n<Server \"127.0.0.1\" \"{relay}\">\n\
             SecurityLevel \"Encrypt\"\nUsername \"fleet\"\nPassword \"secret\"\n</Server>\n</Plugin>\n"
        ),
    );
    let wanted = identifiers(&collectd);
    let lines = central.wait_for("all values", |lines| {
        let values = |name| lines.values(&format!("test/{name}"));
        wanted.iter().all(|name| !values(name).is_empty())
    });
    for (name, values) in KNOWN {
        assert_eq!(lines.values(&format!("test/{name}"))[0], *values, "{name}");
    }
    for datagram in datagrams.try_iter() {
        let text = String::from_utf8_lossy(&datagram);
        assert!(text.contains("fleet"), "no name of a user: {text}");
        assert!(
            !text.contains("nats") && !text.contains("if_packets"),
            "{text}"
        );
    }
}

/// Passes datagrams on to `port`, and returns them.
fn relay(port: u16) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let own = socket.local_addr().expect("bound").port();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = socket.recv(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], ("127.0.0.1", port));
            // The test may be over.
            let _ = sender.send(buffer[..length].to_vec());
        }
    });
    (own, receiver)
}

/// The files that rrdtool reads, and the pictures that the shipped script makes of them.
#[test]
fn rrdtool_files_and_graphs() {
    let (broker, _peer) = broker();
    let data = folder();
    let collectd = start(
        &broker,
        format!(
            "LoadPlugin rrdtool\n<Plugin rrdtool>\nDataDir \"{}\"\n</Plugin>\n",
            data.path().display()
        ),
    );
    let files = data.path().join("test/nats-a");
    let wanted = identifiers(&collectd);
    check(&collectd, "RRD files", || {
        let present = wanted
            .iter()
            .filter(|name| rrd_file(data.path(), name).exists());
        let found = present
            .filter_map(|name| Some((name.clone(), last_update(&rrd_file(data.path(), name))?)));
        found.collect()
    });

    let pictures = data.path().join("pictures");
    let script = tools::project().join("conf/collectd/nats-graph");
    let output = Command::new(&script)
        .arg(&files)
        .arg(&pictures)
        .output()
        .expect("run the script");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
    let page = fs::read_to_string(pictures.join("index.html")).expect("the page");
    let names: Vec<&str> = page
        .split("src=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    for wanted in [
        "findings.png",
        "latency.png",
        "rtt.png",
        "answers.png",
        "messages.png",
        "bytes.png",
        "slow.png",
        "lost.png",
        "clients.png",
        "ceilings.png",
        "memory.png",
    ] {
        assert!(names.contains(&wanted), "{wanted}: {names:?}");
    }
    for name in names {
        let picture = fs::read(pictures.join(name)).expect("a picture");
        assert!(picture.starts_with(b"\x89PNG"), "{name}");
    }
}

/// Each graph of the script finds its values in files of their types, whether this broker records
/// them or not.
#[test]
fn every_graph_can_be_drawn() {
    const SCRIPT: &str = include_str!("../../conf/collectd/nats-graph");
    let types = fs::read_to_string("/usr/share/collectd/types.db").expect("collectd's types");
    let (data, pictures) = (folder(), folder());
    let mut graphs = BTreeSet::new();
    for line in SCRIPT.lines() {
        if let Some(graph) = line
            .strip_prefix("graph ")
            .filter(|rest| !rest.starts_with("NAME"))
        {
            graphs.insert(graph.split(' ').next().expect("a name").to_owned());
        }
        let value = line.trim().trim_end_matches('\\').trim().trim_matches('\'');
        let parts: Vec<&str> = value.split('|').collect();
        let ["AREA" | "LINE" | "COUNT", file, ..] = parts[..] else {
            continue;
        };
        let kind = file.split('-').next().expect("a type");
        let of_kind = types
            .lines()
            .find(|line| line.split_whitespace().next() == Some(kind));
        let sources = of_kind.unwrap_or_else(|| panic!("{kind} is no type: {line}"));
        let path = data
            .path()
            .join(file.replace('*', "x"))
            .with_extension("rrd");
        let mut create = Command::new("rrdtool");
        create.arg("create").arg(path).args(["--step", "10"]);
        for source in sources.split_whitespace().skip(1) {
            let fields: Vec<&str> = source.trim_end_matches(',').split(':').collect();
            create.arg(format!(
                "DS:{}:{}:20:{}:{}",
                fields[0], fields[1], fields[2], fields[3]
            ));
        }
        create.args(["RRA:AVERAGE:0.1:1:100", "RRA:MAX:0.1:1:100"]);
        let created = create
            .status()
            .unwrap_or_else(|error| panic!("rrdtool: {error}"));
        assert!(created.success(), "{line}");
    }
    let output = Command::new(tools::project().join("conf/collectd/nats-graph"))
        .args([data.path(), pictures.path()])
        .output()
        .expect("run the script");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
    assert!(graphs.len() > 20, "{graphs:?}");
    for graph in graphs {
        let picture = fs::read(pictures.path().join(format!("{graph}.png")));
        let picture = picture.unwrap_or_else(|error| panic!("{graph}: {error}"));
        assert!(picture.starts_with(b"\x89PNG"), "{graph}");
    }
}

fn rrd_file(data: &Path, name: &str) -> std::path::PathBuf {
    data.join("test").join(format!("{name}.rrd"))
}

/// The values last written.
fn last_update(file: &Path) -> Option<Vec<f64>> {
    let output = Command::new("rrdtool").arg("lastupdate").arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("rrdtool: {error}: install rrdtool"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (_, values) = text.lines().last()?.split_once(": ")?;
    let values = values.split(' ').map(|value| match value {
        "U" => Some(f64::NAN),
        value => value.parse().ok(),
    });
    values.collect()
}

fn own_group() -> String {
    let output = Command::new("id").arg("-gn").output().expect("run id");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}
