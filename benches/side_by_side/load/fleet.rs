//! A fleet as in Choria: idle nodes, a broadcast from time to time, and an answer from every node.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use super::{
    Stage,
    memory::{REST, kib_each},
};
use crate::{
    clock::now_ns,
    endpoint::{Endpoint, Stream},
    failure::{During, Failure, Result, fail},
    inbox::{Expect, Inbox},
    publisher::{NUMBER, Publisher, filler},
    sample::{Metric, Sample, measure},
    sys::Epoll,
    wire::{TIMEOUT, connect, connect_all},
};

/// Bytes of the broadcast and of each answer.
const BROADCAST: usize = 1024;
const ANSWER: usize = 2048;

/// Subscriptions of a node: broadcasts by agent, and two of its own.
const AGENTS: usize = 6;

/// Minimum number of measured rounds.
const ROUNDS_MIN: usize = 3;

const SCRATCH: usize = 256 * 1024;

/// The subscriptions of a node.
pub(super) fn setup(node: usize) -> Vec<u8> {
    let agents = (0..AGENTS).map(|agent| format!("SUB fleet.agent.{agent} {}\r\n", agent + 1));
    let own = format!(
        "SUB fleet.node.{node} {}\r\nSUB fleet.reply.node.{node}.> {}\r\n",
        AGENTS + 1,
        AGENTS + 2
    );
    agents.chain([own]).collect::<String>().into_bytes()
}

/// Measures the memory of idle nodes, then rounds; per round.
pub(super) fn run(stage: &Stage, nodes: usize) -> Result<Sample> {
    thread::sleep(REST);
    let before = stage.memory()?;
    let mut fleet = Fleet::open(stage.sender_endpoint(), stage.connections(nodes))?;
    thread::sleep(REST);
    let idle = stage.memory()?;
    fleet.round()?;
    let work = || {
        let start = Instant::now();
        let mut latencies_ns = Vec::new();
        while latencies_ns.len() < ROUNDS_MIN || start.elapsed().as_secs_f64() < stage.seconds {
            latencies_ns.push(fleet.round()?);
        }
        Ok((latencies_ns, start.elapsed().as_secs_f64()))
    };
    let ((latencies_ns, seconds), usage) = measure(&stage.clocks(), work)?;
    Ok(Sample::of_units(latencies_ns.len() as u64, seconds, usage)
        .with_memory(idle)
        .with(
            Metric::ConnectionKib,
            kib_each(before, idle, fleet.nodes.len()),
        )
        .with_latencies(latencies_ns))
}

/// Nodes and a requester, served by one thread.
pub(super) struct Fleet {
    pub(super) nodes: Vec<Inbox>,
    publisher: Publisher,
    requester: Inbox,
    answer: Vec<u8>,
    answer_at: usize,
    epoll: Epoll,
    scratch: Vec<u8>,
}

impl Fleet {
    /// Connects them.
    pub(super) fn open(broker: &Endpoint, count: usize) -> Result<Self> {
        let epoll = Epoll::new().during("epoll")?;
        let header = format!("MSG fleet.agent.0 1 fleet.reply {BROADCAST}\r\n");
        let node = |stream: Stream| {
            let header = header.clone();
            Inbox::new(stream, Expect::All { header }, BROADCAST)
        };
        let streams = connect_all(broker, count, setup)?;
        let nodes: Vec<Inbox> = streams.into_iter().map(node).collect();
        for (token, node) in nodes.iter().enumerate() {
            epoll.add(&node.stream, token).during("epoll")?;
        }
        let requester = connect(broker, b"SUB fleet.reply 1\r\n")?;
        epoll.add(&requester, count).during("epoll")?;
        let header = format!("MSG fleet.reply 1 {ANSWER}\r\n");
        let head = format!("PUB fleet.reply {ANSWER}\r\n");
        let mut answer = head.clone().into_bytes();
        answer.extend(filler(ANSWER));
        answer.extend(b"\r\n");
        Ok(Self {
            nodes,
            publisher: Publisher::new(
                connect(broker, b"")?,
                "fleet.agent.0 fleet.reply",
                BROADCAST,
                1,
            ),
            requester: Inbox::new(requester, Expect::AnyOrder { header }, ANSWER),
            answer,
            answer_at: head.len(),
            epoll,
            scratch: vec![0; SCRATCH],
        })
    }

    /// One broadcast, until the answer of every node has arrived once; returns the duration in ns.
    pub(super) fn round(&mut self) -> Result<u64> {
        let begun = now_ns();
        self.publisher.send_chunk()?;
        let start = Instant::now();
        while self.requester.numbers.len() < self.nodes.len() {
            self.serve()?;
            if start.elapsed() > TIMEOUT {
                fail!(
                    "only {} of {} nodes answered",
                    self.requester.numbers.len(),
                    self.nodes.len()
                );
            }
        }
        let took = now_ns() - begun;
        let mut answered = std::mem::take(&mut self.requester.numbers);
        answered.sort_unstable();
        match answered.iter().copied().eq(0..self.nodes.len() as u64) {
            true => Ok(took),
            false => fail!("a node's answer came twice"),
        }
    }

    /// Waits briefly, and answers or counts what was received.
    fn serve(&mut self) -> Result<()> {
        for token in self.epoll.wait(Duration::from_millis(10)).during("epoll")? {
            let Some(node) = self.nodes.get_mut(token) else {
                self.requester.read(&mut self.scratch)?;
                continue;
            };
            let before = node.received;
            let who = |failure: Failure| failure.prefixed(format_args!("node {token}"));
            node.read(&mut self.scratch).map_err(who)?;
            for _ in before..node.received {
                let number = (token as u64).to_le_bytes();
                self.answer[self.answer_at..self.answer_at + NUMBER].copy_from_slice(&number);
                node.stream.write_all(&self.answer).during("answering")?;
            }
        }
        Ok(())
    }
}
