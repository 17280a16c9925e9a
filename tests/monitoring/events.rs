//! `/eventsz`: events as pages and as server-sent events. Many clients or probes do not
//! push out other events.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use test_support::{Broker, PATIENCE, RawClient, wait_for, wait_until};

/// A storm is more than ten changes within a second.
const CONFIG: &str = "diagnosis { interval: 50ms, storm_rate: 10 }";

/// The events of a page, oldest first.
fn events(broker: &Broker, query: &str) -> Vec<Value> {
    let page = broker.get_json(&format!("/eventsz?{query}"));
    page["events"].as_array().expect("events").clone()
}

fn named_client(broker: &Broker, name: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":{name:?}}}\r\n"
    ));
    client.sync();
    client
}

/// A reader of server-sent events.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(broker: &Broker, query: &str, headers: &str) -> Self {
        // Small, so that little waits in the system: some take 32 MiB.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .set_recv_buffer_size(64 * 1024)
            .expect("a small buffer");
        let address = broker.monitor_addr();
        socket
            .connect(&address.into())
            .expect("the monitoring port");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let host = broker.monitor_addr();
        write!(
            &stream,
            "GET /eventsz?{query} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
             {headers}\r\n"
        )
        .expect("written");
        let mut stream = Self(BufReader::new(stream));
        stream.line_with("retry:");
        stream
    }

    fn line_with(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let len = self.0.read_line(&mut line).expect("more to read");
            assert_ne!(len, 0, "the stream ended before a line with {start}");
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Name and data of the next event.
    fn next(&mut self) -> (String, Value) {
        let name = self.line_with("event:");
        let data = serde_json::from_str(&self.line_with("data:")).expect("JSON");
        (name, data)
    }
}

#[test]
fn a_client_disconnect_event_has_totals() {
    let broker = Broker::midge().config(CONFIG).start();
    let mut client = named_client(&broker, "app-7");
    client.send("SUB a 1\r\nPUB b 5\r\nhello\r\n");
    client.sync();
    drop(client);
    let reported = wait_for("the disconnect is reported", || {
        Some(events(&broker, "type=client.connected,client.closed")).filter(|e| e.len() == 2)
    });
    assert_eq!(reported[0]["type"], "client.connected");
    assert_eq!(reported[1]["type"], "client.closed");
    for event in &reported {
        assert_eq!(event["subject"], "app-7");
        assert_eq!(event["cid"], reported[0]["cid"]);
    }
    let text = reported[1]["text"].as_str().expect("a text");
    for part in ["Client Closed", "1 message (5 bytes) in", "1 subscription,"] {
        assert!(text.contains(part), "{text}");
    }
    let id = reported[0]["id"].as_u64().expect("an id");
    let later = events(&broker, &format!("since={id}&type=client.closed"));
    assert_eq!(later, reported[1..]);
    assert_eq!(broker.get("/eventsz?type=nonsense").status, 400);
    for number in [
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615",
    ] {
        let status = broker.get(&format!("/eventsz?since={number}")).status;
        assert!([200, 400].contains(&status), "{number}");
    }
}

/// A port probe that only connects is counted, logged once, and listed among the last of
/// its kind; many of them push no other connection out of the list.
#[test]
fn bare_connects_leave_one_line_and_a_bounded_list() {
    let broker = Broker::midge().config(CONFIG).start();
    drop(named_client(&broker, "before"));
    let closed = || broker.get_json("/connz?state=closed");
    wait_until("the client is listed as closed", || {
        closed().to_string().contains("\"name\":\"before\"")
    });
    let before = broker.get_json("/eventsz")["last_id"].clone();
    for _ in 0..300 {
        drop(TcpStream::connect(broker.client_addr()).expect("the client port"));
    }
    wait_until("all have been accepted and closed", || {
        let varz = broker.get_json("/varz");
        varz["total_connections"].as_u64() >= Some(302) && varz["connections"] == 0
    });
    wait_until("the last ones are listed", || closed()["total"] == 257);
    assert!(closed().to_string().contains("\"name\":\"before\""));
    assert_eq!(broker.get_json("/eventsz")["last_id"], before);
    broker
        .log()
        .wait_for_count("left without sending anything", 1);
}

#[test]
fn a_connect_storm_is_one_event() {
    let broker = Broker::midge().config(CONFIG).start();
    let clients: Vec<_> = (0..200).map(|_| named_client(&broker, "many")).collect();
    drop(clients);
    let storm = wait_for("the storm is reported", || {
        events(&broker, "type=storm").first().cloned()
    });
    let text = storm["text"].as_str().expect("a text");
    assert!(text.contains("most of them from 127.0.0.1"), "{text}");
    // The events before the storm was detected, and the storm.
    assert!(events(&broker, "").len() <= 40);
    assert_eq!(events(&broker, "type=storm").len(), 1);
}

#[test]
fn an_event_stream_sends_new_events_and_replays_old_ones() {
    let broker = Broker::midge().config(CONFIG).start();
    let mut stream = Stream::open(&broker, "type=client.connected", "");
    let _first = named_client(&broker, "first");
    let (name, data) = stream.next();
    assert_eq!(
        (&*name, &data["subject"]),
        ("client.connected", &Value::from("first"))
    );
    let id = data["id"].as_u64().expect("an id");
    drop(stream);

    let _second = named_client(&broker, "second");
    let mut stream = Stream::open(&broker, "", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(stream.next().1["subject"], "second");

    // Event ids of an earlier run: the client learns that numbering restarts.
    let mut stream = Stream::open(&broker, "", "Last-Event-ID: 1000\r\n");
    let (name, data) = stream.next();
    assert_eq!(
        (&*name, &data["reason"]),
        ("gap", &Value::from("restarted"))
    );
    assert_eq!(stream.next().1["id"], 1);
}

/// A client that connects too late learns how many events it missed, and the number of
/// clients is limited.
#[test]
fn discarded_events_are_reported_as_a_gap() {
    // Names of a kilobyte fill the memory for events quickly.
    let broker = Broker::midge()
        .config("diagnosis { storm_rate: 1000000 }")
        .start();
    let name = "n".repeat(1000);
    for _ in 0..4 {
        let clients: Vec<_> = (0..500).map(|_| named_client(&broker, &name)).collect();
        drop(clients);
    }
    wait_until("early events are discarded", || {
        broker.get_json("/eventsz?since=1&limit=1")["missed"] != 0
    });
    let mut stream = Stream::open(&broker, "since=1", "");
    let (name, data) = stream.next();
    assert_eq!(
        (&*name, &data["reason"]),
        ("gap", &Value::from("forgotten"))
    );
    let missed = data["missed"].as_u64().expect("a number");
    assert!(missed > 0);
    assert!(stream.next().1["id"].as_u64() >= Some(missed + 2));

    let mut readers = vec![stream];
    while readers.len() < 16 {
        readers.push(Stream::open(&broker, "", ""));
    }
    let host = broker.monitor_addr();
    let request = format!(
        "GET /eventsz HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nConnection: \
         close\r\n\r\n"
    );
    let refused = || test_support::http::send(host, &request).status == 503;
    assert!(refused());
    assert_eq!(broker.get("/eventsz").status, 200);
    readers.pop();
    wait_until("the slot is free", || {
        let stream = TcpStream::connect(host).expect("the monitoring port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        (&stream).write_all(request.as_bytes()).expect("written");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("a status line");
        line.contains("200")
    });
}

/// One event for each failed login, as it happens.
#[test]
fn each_failed_login_is_one_event() {
    let config = format!("{CONFIG}\nauthorization {{ user: u, password: p }}");
    let broker = Broker::midge().config(config).start();
    let mut stream = Stream::open(&broker, "type=auth.failed", "");
    for number in 0..20 {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"user\":\"stranger-{number}\",\"pass\":\"wrong\"}}\r\n"
        ));
        client.read_to_end();
    }
    for number in 0..20 {
        let (name, data) = stream.next();
        let text = data["text"].as_str().expect("a text");
        assert_eq!(
            (&*name, &data["subject"]),
            ("auth.failed", &"127.0.0.1".into())
        );
        assert!(text.contains(&format!("\"stranger-{number}\"")), "{text}");
    }
    assert_eq!(events(&broker, "type=auth.failed").len(), 20);
}

/// A client that does not read uses one slot but no memory, and learns what it missed
/// when it continues.
#[test]
fn a_slow_event_reader_gets_a_gap_and_uses_no_memory() {
    let config = "diagnosis { storm_rate: 1000000 }\nmax_closed_clients: 10";
    let broker = Broker::midge().config(config).start();
    let mut stream = Stream::open(&broker, "", "");
    let memory = || broker.get_json("/varz")["mem"].as_u64().expect("bytes");
    let name = "n".repeat(1000);
    // Two events of a kilobyte each: the log holds four megabytes of them.
    let fill = || (0..2500).for_each(|_| drop(named_client(&broker, &name)));
    fill();
    let before = memory();
    fill();
    fill();
    let grown = memory().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more");
    // Each read waits for the next event, so nothing else has to.
    let missed = (0..15_000).find_map(|_| {
        let (name, data) = stream.next();
        (name == "gap").then(|| data["missed"].as_u64().expect("a number"))
    });
    let missed = missed.expect("the gap is reported");
    assert!(missed > 1000, "{missed}");
    // It continues with the retained events.
    let (name, _) = stream.next();
    assert!(name.starts_with("client."), "{name}");
}
