//! The crate `nats`, which blocks, and the first `async-nats`, which did the same on threads of its
//! own: their functions have the same names.

use std::future::Future;

macro_rules! client {
    ($module:ident, $library:ident, $headers:ident, $wait:path) => {
        pub mod $module {
            use std::{sync::mpsc::channel, thread, time::Duration};

            use $library::{$headers, Connection, Message, Options, Subscription};

            use crate::{assert_refused, proven, restart_broker, setting};

            pub fn prove() {
                messages();
                proven("messages");
                request();
                proven("request");
                queue_group();
                proven("queue_group");
                headers();
                proven("headers");
                tls();
                proven("tls");
                certificate();
                proven("certificate");
                reconnect();
                proven("reconnect");
            }

            fn connect() -> Connection {
                let options =
                    Options::new().reconnect_delay_callback(|_| Duration::from_millis(50));
                $wait(options.connect(&setting("URL"))).expect("connect")
            }

            fn subscribe(client: &Connection, subject: &str) -> Subscription {
                let subscription = $wait(client.subscribe(subject)).expect("subscribe");
                $wait(client.flush()).expect("flush");
                subscription
            }

            fn next(subscription: &Subscription) -> Message {
                $wait(subscription.next()).expect("a message")
            }

            fn messages() {
                let (client, other) = (connect(), connect());
                let subscription = subscribe(&client, "rust.*");
                for number in 0..100 {
                    $wait(other.publish("rust.a", number.to_string())).expect("publish");
                }
                for number in 0..100 {
                    let message = next(&subscription);
                    assert_eq!(message.subject, "rust.a");
                    assert_eq!(message.data, number.to_string().as_bytes());
                }
            }

            fn request() {
                let (client, other) = (connect(), connect());
                let subscription = subscribe(&client, "double");
                let server = thread::spawn(move || {
                    let message = next(&subscription);
                    let answer = [&message.data[..], &message.data[..]].concat();
                    $wait(message.respond(answer)).expect("respond");
                });
                let answer = $wait(other.request("double", "ab")).expect("an answer");
                assert_eq!(answer.data, b"abab");
                server.join().expect("the server");
            }

            fn queue_group() {
                let clients = [connect(), connect()];
                let publisher = connect();
                let (sender, received) = channel();
                for (member, client) in clients.iter().enumerate() {
                    let subscription =
                        $wait(client.queue_subscribe("work", "workers")).expect("subscribe");
                    $wait(client.flush()).expect("flush");
                    let sender = sender.clone();
                    thread::spawn(move || {
                        while let Some(message) = $wait(subscription.next()) {
                            if sender.send((member, message.data)).is_err() {
                                return;
                            }
                        }
                    });
                }
                for number in 0..200 {
                    $wait(publisher.publish("work", number.to_string())).expect("publish");
                }
                let all: Vec<_> = received.iter().take(200).collect();
                let mut data: Vec<String> = all
                    .iter()
                    .map(|(_, data)| String::from_utf8_lossy(data).into_owned())
                    .collect();
                data.sort();
                let mut expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
                expected.sort();
                assert_eq!(data, expected);
                for member in 0..2 {
                    assert!(
                        all.iter().any(|(at, _)| *at == member),
                        "a member got nothing"
                    );
                }
            }

            fn headers() {
                let client = connect();
                let subscription = subscribe(&client, "headers");
                let sent: $headers = [("Kind", "test")].iter().copied().collect();
                $wait(client.publish_with_reply_or_headers("headers", None, Some(&sent), "body"))
                    .expect("publish");
                let message = next(&subscription);
                assert_eq!(message.data, b"body");
                let headers = message.headers.expect("headers");
                assert!(headers["Kind"].contains("test"), "{headers:?}");
            }

            fn echo(client: &Connection) {
                let subscription = subscribe(client, "echo");
                $wait(client.publish("echo", "hello")).expect("publish");
                assert_eq!(next(&subscription).data, b"hello");
            }

            fn tls() {
                let trusting = Options::new().add_root_certificate(setting("CA"));
                echo(&$wait(trusting.connect(&setting("TLS_URL"))).expect("connect"));
                let other = Options::new()
                    .add_root_certificate(setting("OTHER_CA"))
                    .max_reconnects(1);
                let refused = $wait(other.connect(&setting("TLS_URL")));
                assert_refused(&refused.err().expect("a certificate of another CA"));
            }

            fn certificate() {
                let options = Options::new()
                    .add_root_certificate(setting("CA"))
                    .client_cert(setting("CERT"), setting("KEY"));
                echo(&$wait(options.connect(&setting("VERIFYING_URL"))).expect("connect"));
            }

            fn reconnect() {
                let client = connect();
                let subscription = subscribe(&client, "again");
                restart_broker();
                let publisher = connect();
                let (sender, received) = channel();
                thread::spawn(move || sender.send(next(&subscription).data));
                let data = loop {
                    $wait(publisher.publish("again", "after")).expect("publish");
                    if let Ok(data) = received.recv_timeout(Duration::from_millis(20)) {
                        break data;
                    }
                };
                assert_eq!(data, b"after");
            }
        }
    };
}

client!(nats_0_9, nats_0_9, Headers, std::convert::identity);
client!(nats_0_24, nats_0_24, HeaderMap, std::convert::identity);
client!(async_nats_0_10, async_nats_0_10, Headers, super::wait);

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}
