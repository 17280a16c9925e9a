//! Runs a script on midge and nats-server: two brokers, the same clients on each, and
//! what each client receives.

use test_support::{Broker, Frame, RawClient, raw_client::parse_info, wire::escape};

/// A broker and its clients.
pub struct Side {
    pub broker: Broker,
    clients: Vec<RawClient>,
}

/// Both brokers with the same configuration and the same clients, one for each
/// user; a user's password is its name.
pub struct Comparison {
    pub midge: Side,
    pub nats: Side,
}

impl Comparison {
    /// Starts both with this configuration; `users` log in.
    pub fn new(config: &str, users: &[&str]) -> Self {
        let side = |broker: Broker| Side {
            clients: users.iter().map(|user| log_in(&broker, user)).collect(),
            broker,
        };
        Self {
            midge: side(Broker::midge().config(config).start()),
            nats: side(Broker::nats_server().config(config).start()),
        }
    }

    /// Runs the script on both and compares what all clients received. A line of the
    /// script is the number of a client and what it sends, without `\r\n`.
    #[track_caller]
    pub fn plays_the_same(&mut self, script: &[(usize, &str)]) -> Vec<String> {
        let ours = self.midge.play(script);
        let theirs = self.nats.play(script);
        assert_eq!(ours, theirs, "midge, then nats-server: {script:?}");
        ours
    }
}

impl Side {
    /// Runs the script; returns what all clients received.
    pub fn play(&mut self, script: &[(usize, &str)]) -> Vec<String> {
        let mut seen = Vec::new();
        for (number, words) in script {
            self.clients[*number].send(format!("{words}\r\n"));
            let mut lines: Vec<String> = self.clients[*number]
                .sync()
                .iter()
                .map(|frame| format!("{number}: {}", text(frame)))
                .collect();
            for (other, client) in self.clients.iter_mut().enumerate() {
                if other != *number {
                    let frames = client.sync();
                    lines.extend(
                        frames
                            .iter()
                            .map(|frame| format!("{other}: {}", text(frame))),
                    );
                }
            }
            // The order among subscriptions is not defined.
            lines.sort();
            seen.extend(lines);
        }
        seen
    }

    /// Publishes and returns the messages that the clients received.
    pub fn publish(&mut self, number: usize, words: &str) -> Vec<String> {
        self.clients[number].send(words);
        let mut frames = vec![(number, self.clients[number].sync())];
        for (other, client) in self.clients.iter_mut().enumerate() {
            if other != number {
                frames.push((other, client.sync()));
            }
        }
        frames
            .iter()
            .flat_map(|(number, frames)| {
                let lines = frames.iter().filter(|frame| frame.is_message());
                lines.map(move |frame| format!("{number}: {}", text(frame)))
            })
            .collect()
    }

    /// One client sends a request, another one replies. Returns what the responder and
    /// the requester receive.
    pub fn answer(
        &mut self,
        number: usize,
        request: (usize, &str),
        answers: &[&str],
    ) -> Vec<String> {
        self.clients[request.0].send(format!("{}\r\n", request.1));
        self.clients[request.0].sync();
        let frame = self.clients[number].next_message();
        let arguments = frame.arguments();
        let sizes = if frame.verb() == b"HMSG" { 2 } else { 1 };
        let reply = &arguments[arguments.len() - sizes - 1];
        for answer in answers {
            self.clients[number].send(format!("PUB {reply} {}\r\n{answer}\r\n", answer.len()));
        }
        let own = self.clients[number].sync();
        let mut seen: Vec<String> = own
            .iter()
            .map(|frame| format!("{number}: {}", text(frame)))
            .collect();
        let frames = self.clients[request.0].sync();
        seen.push(text(&frame));
        seen.extend(
            frames
                .iter()
                .map(|frame| format!("{}: {}", request.0, text(frame))),
        );
        seen
    }
}

/// Connects as a user; with an empty name, without a login.
pub fn log_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    let credentials = match user {
        "" => String::new(),
        user => format!(",\"user\":\"{user}\",\"pass\":\"{user}\""),
    };
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1{credentials}}}\r\n"
    ));
    client.sync();
    // The first PONG is followed by an INFO.
    client.sync();
    client
}

/// A frame without what differs from run to run: reply subjects across accounts, round
/// trip times and sizes that depend on them.
pub fn text(frame: &Frame) -> String {
    if parse_info(frame).is_some() {
        return "INFO".into();
    }
    if !frame.is_message() {
        return format!("{frame:?}");
    }
    let mut arguments = frame.arguments();
    arguments.pop();
    if frame.verb() == b"HMSG" {
        arguments.pop();
    }
    for argument in &mut arguments {
        if argument.starts_with("_R_.") {
            *argument = format!("_R_ of {} tokens", argument.split('.').count());
        }
    }
    let mut body = escape(&frame.body);
    while let Some(at) = body.find("\"rtt\":") {
        let rest = &body[at + 6..];
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        body = format!("{}<rtt>{}", &body[..at], &rest[digits..]);
    }
    format!("{} {} | {body}", escape(frame.verb()), arguments.join(" "))
}
