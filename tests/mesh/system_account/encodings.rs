//! Answers are compressed as the request asks for it, and as nats-server does it.

use std::io::Read;

use serde_json::Value;
use test_support::{Frame, RawClient};

use super::{Side, fields};

/// Sends a request with headers, and returns the reply's `Content-Encoding`, if it has headers, and
/// its payload as sent.
fn ask_with(client: &mut RawClient, subject: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
    let headers = format!("NATS/1.0\r\n{headers}\r\n");
    client.send(format!(
        "SUB inbox.* 77\r\nHPUB {subject} inbox.1 {} {}\r\n{headers}{body}\r\n",
        headers.len(),
        headers.len() + body.len(),
    ));
    let frame = client.next_message();
    client.send("UNSUB 77\r\n");
    client.sync();
    parts(&frame)
}

fn parts(frame: &Frame) -> (String, Vec<u8>) {
    if frame.verb() != b"HMSG" {
        return (String::new(), frame.body.clone());
    }
    let arguments = frame.arguments();
    let len: usize = arguments[arguments.len() - 2].parse().expect("a length");
    let (headers, payload) = frame.body.split_at(len);
    let headers = String::from_utf8_lossy(headers);
    let lines = headers.lines();
    let encoding = lines.filter_map(|line| line.split_once("Content-Encoding:"));
    let encoding: Vec<_> = encoding.map(|(_, value)| value.trim().to_owned()).collect();
    (encoding.concat(), payload.to_vec())
}

fn decoded(encoding: &str, payload: &[u8]) -> Value {
    let mut plain = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(payload).read_to_end(&mut plain),
        "snappy" => snap::read::FrameDecoder::new(payload).read_to_end(&mut plain),
        _ => {
            let mut payload = payload;
            payload.read_to_end(&mut plain)
        }
    }
    .unwrap_or_else(|error| panic!("{encoding}: {error}"));
    serde_json::from_slice(&plain).expect("JSON")
}

#[test]
fn answers_are_compressed_as_asked_for() {
    let [mut ours, mut theirs] = Side::both();
    for (topic, headers, body) in [
        ("SERVER.PING.CONNZ", "Accept-Encoding: snappy\r\n", "{}"),
        ("SERVER.PING.CONNZ", "Accept-Encoding: gzip\r\n", ""),
        ("SERVER.PING.VARZ", "Accept-Encoding: gzip, s2\r\n", "{}"),
        ("SERVER.PING.VARZ", "Accept-Encoding: deflate\r\n", "{}"),
        ("SERVER.PING.VARZ", "Other: snappy\r\n", "{}"),
        ("SERVER.PING.STATSZ", "Accept-Encoding: snappy\r\n", "{}"),
        ("SERVER.PING.IDZ", "Accept-Encoding: snappy\r\n", "{}"),
        ("ACCOUNT.A.CONNS", "Accept-Encoding: snappy\r\n", "{}"),
        ("ACCOUNT.A.STATZ", "Accept-Encoding: gzip\r\n", "{}"),
        ("SERVER.PING.SUBSZ", "Accept-Encoding: gzip\r\n", "[]"),
        (
            "SERVER.PING.ACCOUNTZ",
            "Accept-Encoding: gzip\r\n",
            "{\"account\":\"nobody\"}",
        ),
    ] {
        let subject = format!("$SYS.REQ.{topic}");
        let [ours, theirs] = [&mut ours, &mut theirs].map(|side| {
            let (encoding, payload) = ask_with(&mut side.system, &subject, headers, body);
            let answer = decoded(&encoding, &payload);
            (
                encoding,
                fields(&answer["data"]),
                answer["error"]["code"].clone(),
            )
        });
        assert_eq!(ours.0, theirs.0, "{topic} {headers}");
        assert_eq!(ours.2, theirs.2, "{topic} {headers}");
        let named: Vec<_> = ours.1.keys().collect();
        assert_eq!(
            named.len() > 1,
            theirs.1.len() > 1,
            "{topic} {headers} {named:?}"
        );
    }
}

/// The answer about one's own account, which each member of a mesh gives, is compressed as well.
#[test]
fn clients_of_an_account_get_compressed_answers() {
    for mut side in Side::both() {
        let subject = "$SYS.REQ.ACCOUNT.PING.CONNZ";
        let headers = "Accept-Encoding: snappy\r\n";
        let (encoding, payload) = ask_with(&mut side.client, subject, headers, "{}");
        assert_eq!(encoding, "snappy");
        let answer = decoded(&encoding, &payload);
        assert_eq!(answer["data"]["total"], 1, "{answer}");
    }
}

/// What there is not, in a form in which tools that collect everything go on.
#[test]
fn profiles_and_variables_of_a_go_program_are_no_errors() {
    let [mut ours, mut theirs] = Side::both();
    for (topic, body) in [
        ("EXPVARZ", "{}"),
        ("PROFILEZ", "{\"name\":\"heap\",\"debug\":1}"),
        ("PROFILEZ", "{}"),
        ("IPQUEUESZ", "{}"),
        ("RAFTZ", "{}"),
        ("JSZ", "{}"),
    ] {
        let subject = format!("$SYS.REQ.SERVER.PING.{topic}");
        let mut errors = [&mut ours, &mut theirs].map(|side| {
            let answer = super::ask(&mut side.system, &subject, body).expect("an answer");
            assert!(answer["data"].is_object(), "{topic}: {answer}");
            (answer["error"].clone(), answer["data"]["error"].clone())
        });
        if topic == "IPQUEUESZ" || topic == "RAFTZ" {
            // A queue or a group may be called like that.
            errors = Default::default();
        }
        assert_eq!(errors[0], errors[1], "{topic} {body}");
    }
    let profile = super::ask(
        &mut ours.system,
        "$SYS.REQ.SERVER.PING.PROFILEZ",
        "{\"name\":\"heap\"}",
    );
    let text = profile.expect("an answer")["data"]["profile"].clone();
    let text = text.as_str().expect("a text").to_owned();
    let text = data_encoding::BASE64
        .decode(text.as_bytes())
        .expect("base64");
    let text = String::from_utf8(text).expect("a text");
    assert!(text.contains("no such profiles"), "{text}");
}

/// The answer to a client about itself names the broker's tags and metadata, as all others do.
#[test]
fn every_answer_says_what_the_broker_is() {
    let config = format!(
        "server_tags: [\"Az:1\"]\nserver_metadata {{ owner: ops }}\n{}",
        super::CONFIG
    );
    for builder in [
        test_support::Broker::midge(),
        test_support::Broker::nats_server(),
    ] {
        let mut side = Side::new(builder.config(config.clone()).start());
        let answer = super::ask(&mut side.client, "$SYS.REQ.USER.INFO", "").expect("an answer");
        let other = super::ask(&mut side.system, "$SYS.REQ.SERVER.PING.VARZ", "");
        for answer in [answer, other.expect("an answer")] {
            assert_eq!(answer["server"]["tags"][0], "az:1", "{answer}");
            assert_eq!(answer["server"]["metadata"]["owner"], "ops", "{answer}");
        }
        let changed = config.replace("Az:1", "az:2");
        side.broker.reload(&changed);
        test_support::wait_until("the new tag is in force", || {
            let answer = super::ask(&mut side.client, "$SYS.REQ.USER.INFO", "");
            answer.expect("an answer")["server"]["tags"][0] == "az:2"
        });
    }
}
