//! Expensive batches: many subscriptions on one subject, requests without responders.
//! Their publishers share the broker's threads with all other clients. The tests run more
//! batches at the same time than there are threads; none waits for the end of another,
//! and the order of messages is kept.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::TcpStream,
    thread,
    time::Duration,
};

use test_support::{Broker, Frame, RawClient};

/// Timeout for all of them on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Number of parallel batches: more than the broker has threads.
fn batches() -> usize {
    threads() + 2
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Asserts that at some moment more batches were in progress than there are threads.
/// `marks` are the batches that had started or continued and, with `true`, those that
/// were finished.
fn assert_shared(marks: impl IntoIterator<Item = (usize, bool)>) {
    let (mut open, mut most) = (BTreeSet::new(), 0);
    for (batch, is_over) in marks {
        match is_over {
            true => open.remove(&batch),
            false => open.insert(batch),
        };
        most = most.max(open.len());
    }
    assert!(
        most > threads(),
        "{most} batches at a time, on {} threads",
        threads()
    );
}

/// A client's input, read in large pieces; with a long timeout for a busy machine.
fn reader(client: &RawClient) -> BufReader<&TcpStream> {
    let stream = client.stream();
    stream.set_read_timeout(Some(LONG)).expect("a bound");
    BufReader::with_capacity(1 << 20, stream)
}

/// Reads a message of a subscriber: its subscription and its payload.
fn read_message(stream: &mut impl BufRead) -> (String, String) {
    let mut line = String::new();
    while line.is_empty() || line.starts_with("PING") {
        line.clear();
        stream.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the broker has closed");
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "MSG", "{line}");
    let len: usize = words[3].parse().expect("a number");
    let mut payload = vec![0; len + 2];
    stream.read_exact(&mut payload).expect("a payload");
    payload.truncate(len);
    let payload = String::from_utf8(payload).expect("text");
    (words[2].to_owned(), payload)
}

/// The next frame that is not the broker's own PING.
fn next(client: &mut RawClient) -> Frame {
    loop {
        let frame = client.next_frame().expect("the connection is open");
        if frame.line != b"PING" {
            return frame;
        }
    }
}

/// A batch for very many subscriptions is delivered in turns. Each subscription gets all
/// messages in order, and all copies of a message are delivered before the next message.
#[test]
fn a_batch_with_large_fan_out_does_not_block_others() {
    const SUBSCRIPTIONS: usize = 1000;
    const MESSAGES: usize = 700;
    let broker = Broker::midge().start();
    let mut subscriber = broker.connect();
    let lines = (0..SUBSCRIPTIONS).map(|sid| format!("SUB many {sid}\r\n"));
    subscriber.send(lines.collect::<String>());
    subscriber.sync();
    let mut publishers: Vec<RawClient> = (0..batches()).map(|_| broker.connect()).collect();
    for publisher in &mut publishers {
        publisher.sync();
    }
    let batch = |number: usize| {
        let message = |it| format!("PUB many 9\r\n{number:04} {it:04}\r\n");
        (0..MESSAGES).map(message).collect::<String>()
    };
    let batches: Vec<String> = (0..publishers.len()).map(batch).collect();
    for (publisher, batch) in publishers.iter_mut().zip(batches) {
        publisher.send(batch);
    }
    let mut stream = reader(&subscriber);
    let mut copies = vec![0; publishers.len()];
    let mut marks = Vec::new();
    for _ in 0..publishers.len() * MESSAGES * SUBSCRIPTIONS {
        let (_, payload) = read_message(&mut stream);
        let (number, message) = payload.split_once(' ').expect("two numbers");
        let number: usize = number.parse().expect("a number");
        let message: usize = message.parse().expect("a number");
        assert_eq!(message, copies[number] / SUBSCRIPTIONS, "of {number}");
        copies[number] += 1;
        let is_over = copies[number] == MESSAGES * SUBSCRIPTIONS;
        if marks.last() != Some(&(number, is_over)) {
            marks.push((number, is_over));
        }
    }
    assert_shared(marks);
}

/// Requests without responders are answered in turns too: all of them, in order and
/// before anything that the client sent after them.
#[test]
fn requests_without_responders_do_not_block_others() {
    const SUBSCRIPTIONS: usize = 1000;
    const REQUESTS: usize = 3000;
    const REPLIES: usize = 100;
    let broker = Broker::midge().start();
    let mut watcher = broker.connect();
    watcher.send("SUB begun 0\r\nSUB over 1\r\n");
    watcher.sync();
    let mut askers: Vec<RawClient> = (0..batches()).map(|_| broker.connect()).collect();
    for (number, asker) in askers.iter_mut().enumerate() {
        asker.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
        let lines = (0..SUBSCRIPTIONS).map(|sid| format!("SUB r.{number}.* {sid}\r\n"));
        asker.send(lines.collect::<String>());
        asker.sync();
    }
    let batch = |number: usize| {
        let request = |it| format!("PUB x r.{number}.{} 0\r\n\r\n", it % REPLIES);
        let requests = (0..REQUESTS).map(request).collect::<String>();
        let mark = |name| format!("PUB {name} 4\r\n{number:04}\r\n");
        mark("begun") + &requests + &mark("over") + "PING\r\n"
    };
    let batches: Vec<String> = (0..askers.len()).map(batch).collect();
    for (asker, batch) in askers.iter_mut().zip(batches) {
        asker.send(batch);
    }
    let mut stream = reader(&watcher);
    let marks: Vec<(usize, bool)> = (0..2 * askers.len())
        .map(|_| {
            let (sid, number) = read_message(&mut stream);
            (number.parse().expect("a number"), sid == "1")
        })
        .collect();
    for (number, asker) in askers.iter_mut().enumerate() {
        for request in 0..REQUESTS {
            let answer = next(asker);
            assert!(answer.is_message(), "{request}: {answer:?}");
            let reply = format!("r.{number}.{}", request % REPLIES);
            assert_eq!(answer.arguments()[0], reply);
        }
        assert_eq!(next(asker).line, b"PONG");
    }
    assert_shared(marks);
}
