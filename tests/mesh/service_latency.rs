//! Latency of exported services, compared with a real nats-server: the same configuration and the
//! same requests must have the same measurements, at one broker and across members.

use serde_json::{Value, json};
use test_support::{
    Broker, Frame, RawClient,
    mesh::{self, Kind, Member, Plan},
    ports::free_port,
    wait_until,
};

const CONFIG: &str = r#"
authorization { timeout: 60 }
accounts {
  SVC {
    users: [ { user: svc, password: p } ]
    exports: [
      { service: "svc.all", latency: { sampling: 100%, subject: "lat.all" } }
      { service: "svc.shared", latency: { sampling: 100, subject: "lat.shared" } }
      { service: "svc.traced", latency: { sampling: headers, subject: "lat.traced" } }
      { service: "svc.plain" }
      { service: "svc.quick", threshold: "50ms", latency: "lat.quick" }
      { service: "svc.any.*", latency: { subject: "lat.any" } }
    ]
  }
  CLIENT {
    users: [ { user: client, password: p } ]
    imports: [
      { service: { account: SVC, subject: "svc.all" }, to: "all" }
      { service: { account: SVC, subject: "svc.shared" }, to: "shared", share: true }
      { service: { account: SVC, subject: "svc.traced" }, to: "traced" }
      { service: { account: SVC, subject: "svc.plain" }, to: "plain" }
      { service: { account: SVC, subject: "svc.quick" }, to: "quick" }
      { service: { account: SVC, subject: "svc.any.x" }, to: "any" }
    ]
  }
  SYS { users: [ { user: admin, password: p } ] }
}
system_account: SYS
"#;

fn log_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = RawClient::connect(broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"l\",\
         \"version\":\"1\",\"name\":\"{user} app\",\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
    ));
    client.sync();
    client
}

/// A measurement without what differs between two runs. Its times must add up.
fn normal(frame: &Frame) -> Value {
    let mut event: Value = serde_json::from_slice(&frame.body).expect("a measurement");
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let rtt = |who: &str| number(&event[who]["rtt"]);
    let [service, system, total] = ["service", "system", "total"].map(|it| number(&event[it]));
    if event["status"] == 200 {
        // The round trips are estimates, so that the service may seem to take no time.
        let sum = service + system + rtt("requestor") + rtt("responder");
        assert!(total == sum || service == 0 || system == 0, "{event}");
        assert!(total > 0, "{event}");
    } else {
        assert_eq!((service, system, total), (0, 0, 0), "{event}");
    }
    let fields = event.as_object_mut().expect("an object");
    for time in ["id", "timestamp", "start", "service", "system", "total"] {
        let value = fields.remove(time);
        assert!(value.is_some(), "{time}: {fields:?}");
    }
    for who in ["requestor", "responder"] {
        if let Some(client) = fields.get_mut(who).and_then(Value::as_object_mut) {
            client.remove("rtt");
            for differing in ["start", "host", "id", "server", "cluster"] {
                if let Some(value) = client.get_mut(differing) {
                    *value = json!("…");
                }
            }
        }
    }
    json!({ "subject": frame.arguments()[0], "event": event })
}

/// The three clients of a service, maybe of several brokers.
struct Stage {
    responder: RawClient,
    listener: RawClient,
    requester: RawClient,
}

impl Stage {
    fn new(of_requester: &Broker, of_responder: &Broker) -> Self {
        let mut stage = Self {
            responder: log_in(of_responder, "svc"),
            listener: log_in(of_requester, "svc"),
            requester: log_in(of_requester, "client"),
        };
        stage.listener.send("SUB lat.> 1\r\n");
        stage.listener.sync();
        for number in 0..50 {
            stage
                .requester
                .send(format!("SUB inbox.{number} {number}\r\n"));
        }
        stage.requester.sync();
        stage
    }

    /// Has the responder serve these, or no longer.
    fn serve(&mut self, does: bool) {
        let line = match does {
            true => "SUB svc.> 1\r\n",
            false => "UNSUB 1\r\n",
        };
        self.responder.send(line);
        self.responder.sync();
    }

    fn ask(&mut self, subject: &str, reply: &str, headers: &str) {
        match headers {
            "" => self
                .requester
                .send(format!("PUB {subject} {reply} 2\r\nhi\r\n")),
            headers => {
                let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
                let (header_len, len) = (headers.len(), headers.len() + 2);
                self.requester.send(format!(
                    "HPUB {subject} {reply} {header_len} {len}\r\n{headers}hi\r\n"
                ));
            }
        }
        let frames = self.requester.sync();
        assert!(
            frames.iter().all(|it| !it.line.starts_with(b"-ERR")),
            "{frames:?}"
        );
    }

    /// Answers the next request.
    fn answer(&mut self) {
        let request = self.responder.next_message();
        let words = request.arguments();
        // Subject, sid, reply, sizes.
        self.responder.send(format!("PUB {} 2\r\nok\r\n", words[2]));
    }

    /// A request that is answered; whether the requester gets the reply is checked.
    fn ask_and_answer(&mut self, subject: &str, reply: &str, headers: &str) {
        self.ask(subject, reply, headers);
        self.answer();
        let reply = self.requester.next_message();
        assert_eq!(&reply.body[reply.body.len() - 2..], b"ok");
    }

    fn measured(&mut self) -> Value {
        normal(&self.listener.next_message())
    }
}

const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

/// What is measured at one broker.
fn told(broker: &Broker) -> Vec<Value> {
    let mut stage = Stage::new(broker, broker);
    let mut told = Vec::new();
    stage.serve(true);
    stage.ask_and_answer("all", "inbox.0", "");
    told.push(stage.measured());
    stage.ask_and_answer("shared", "inbox.1", "X: 1");
    told.push(stage.measured());
    // Not measured: the next measurement is another one's.
    stage.ask_and_answer("plain", "inbox.2", "");
    stage.ask_and_answer("traced", "inbox.4", "");
    stage.ask_and_answer("traced", "inbox.5", &format!("{PARENT}-00"));
    stage.ask_and_answer(
        "traced",
        "inbox.6",
        &format!("{PARENT}-01\r\ntracestate: a=b\r\nX: 1"),
    );
    told.push(stage.measured());
    stage.ask_and_answer("traced", "inbox.7", "X-B3-Sampled: 1\r\nX-B3-TraceId: abc");
    told.push(stage.measured());
    stage.ask_and_answer("any", "inbox.8", "");
    told.push(stage.measured());
    // Without a reply subject.
    stage.ask("all", "", "");
    told.push(stage.measured());
    stage.responder.next_message();
    // Not in time.
    stage.ask("quick", "inbox.9", "");
    told.push(stage.measured());
    stage.responder.next_message();
    // Nobody waits for the reply any more.
    stage.ask("all", "inbox.10", "");
    stage.requester.send("UNSUB 10\r\n");
    stage.requester.sync();
    told.push(stage.measured());
    stage.responder.next_message();
    // No responder.
    stage.serve(false);
    stage.ask("all", "inbox.11", "");
    told.push(stage.measured());
    // The requester leaves.
    stage.serve(true);
    stage.ask("all", "inbox.12", "");
    stage.requester = log_in(broker, "client");
    told.push(stage.measured());
    told
}

#[test]
fn a_service_is_measured_as_by_nats_server() {
    let [ours, theirs] =
        [Broker::midge(), Broker::nats_server()].map(|broker| told(&broker.config(CONFIG).start()));
    assert_eq!(ours, theirs, "midge, then nats-server");
    let statuses: Vec<u64> = ours
        .iter()
        .filter_map(|told| told["event"]["status"].as_u64())
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 400, 504, 408, 503, 408]);
}

/// `/accountz` has the settings, and `/latencyz` and `/metrics` the figures.
#[test]
fn monitoring_shows_settings_and_figures() {
    let settings = |broker: &Broker| {
        let list = |account: &str, list: &str| {
            let answer = broker.get_json(&format!("/accountz?acc={account}"));
            let list = answer["account_detail"][list].as_array().cloned();
            let mut all: Vec<Value> = list
                .expect("a list")
                .iter()
                .filter(|it| {
                    it["subject"]
                        .as_str()
                        .is_some_and(|it| it.starts_with("svc."))
                })
                .map(|it| json!([it["subject"], it["local_subject"], it["latency"]]))
                .collect();
            all.sort_by_key(Value::to_string);
            all
        };
        [list("SVC", "exports"), list("CLIENT", "imports")]
    };
    let midge = Broker::midge().config(CONFIG).start();
    let nats = Broker::nats_server().config(CONFIG).start();
    let [exports, imports] = settings(&midge);
    // nats-server 2.15.1 shows the settings of imports alone.
    assert_eq!(imports, settings(&nats)[1], "midge, then nats-server");
    let shown = |subject: &str| exports.iter().find(|it| it[0] == subject).map(|it| &it[2]);
    let all = json!({ "sampling": 100, "results": "lat.all" });
    assert_eq!(shown("svc.all"), Some(&all));
    let traced = json!({ "sampling": "headers", "results": "lat.traced" });
    assert_eq!(shown("svc.traced"), Some(&traced));
    assert_eq!(shown("svc.plain"), Some(&Value::Null));
    let mut stage = Stage::new(&midge, &midge);
    stage.serve(true);
    for number in 0..3 {
        stage.ask_and_answer("all", &format!("inbox.{number}"), "");
        stage.measured();
    }
    stage.ask("all", "", "");
    stage.measured();
    let latencyz = midge.get_json("/latencyz");
    let service = &latencyz["by_service"][0];
    assert_eq!(service["account"], "SVC");
    assert_eq!(service["service"], "svc.all");
    assert_eq!(service["requests"], json!({ "200": 3, "400": 1 }));
    assert_eq!(service["latency"]["count"], 3);
    assert_eq!(service["latency"]["last_minute"]["count"], 3);
    let metrics = midge.get("/metrics").body;
    for line in [
        "midge_service_latency_seconds_count{account=\"SVC\",service=\"svc.all\"} 3",
        "midge_service_requests_total{account=\"SVC\",service=\"svc.all\",status=\"400\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // What is no longer exported is forgotten in time, what is not measured never appears.
    assert_eq!(latencyz["by_service"].as_array().map(Vec::len), Some(1));
}

/// Too many requests at once: the further ones are answered and not measured.
#[test]
fn a_bounded_number_of_requests_is_measured_at_the_same_time() {
    let broker = Broker::midge().config(CONFIG).start();
    let mut stage = Stage::new(&broker, &broker);
    stage.serve(true);
    stage.requester.send("SUB many.* m\r\n");
    let count = 1500;
    for number in 0..count {
        stage
            .requester
            .send(format!("PUB all many.{number} 2\r\nhi\r\n"));
    }
    stage.requester.sync();
    for _ in 0..count {
        stage.answer();
    }
    for _ in 0..count {
        stage.requester.next_message();
    }
    stage.ask_and_answer("all", "inbox.0", "");
    wait_until("all are counted", || {
        let latencyz = broker.get_json("/latencyz");
        latencyz["by_service"][0]["requests"]["200"] == 1025
    });
}

/// Requester and listener at the first member, responder at the last.
fn told_by_mesh(kinds: [Kind; 2]) -> Vec<Value> {
    let ports = [free_port(), free_port()];
    let members: Vec<Member> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            let mut plan = Plan::new(*kind, &format!("n{index}"), ports[index], &ports);
            plan.config = CONFIG.into();
            plan.start()
        })
        .collect();
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    let mut stage = Stage::new(&members[0].broker, &members[1].broker);
    stage.serve(true);
    wait_until("interest is known", || members[0].knows("svc.>"));
    let mut told = Vec::new();
    // The way back of replies is announced with the first request.
    stage.ask_and_answer("plain", "inbox.0", "");
    for (number, subject) in ["all", "shared", "any"].iter().enumerate() {
        stage.ask_and_answer(subject, &format!("inbox.{}", number + 1), "");
        let measured = stage.measured();
        assert_eq!(measured["event"]["status"], 200, "{measured}");
        told.push(measured);
    }
    stage.ask_and_answer("traced", "inbox.4", "");
    stage.ask("quick", "inbox.5", "");
    told.push(stage.measured());
    stage.responder.next_message();
    stage.ask("all", "inbox.6", "");
    stage.requester.send("UNSUB 6\r\n");
    stage.requester.sync();
    told.push(stage.measured());
    told
}

#[test]
fn a_service_is_measured_across_members_of_both_kinds() {
    use Kind::{Midge, Nats};
    let theirs = told_by_mesh([Nats, Nats]);
    for kinds in [[Midge, Midge], [Midge, Nats], [Nats, Midge]] {
        assert_eq!(
            told_by_mesh(kinds),
            theirs,
            "{kinds:?}, then nats-servers alone"
        );
    }
}
