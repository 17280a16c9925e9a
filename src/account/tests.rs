//! What an account's subscribers, its peers and a reload do to each other.

use std::{
    cell::RefCell,
    fs,
    io::Read,
    net,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::Runtime;

use super::{Account, Accounts};
use crate::{
    config::load,
    connection::{
        CloseReason, Connection, Kind, Subscription,
        budget::Budget,
        buffers::with_buffers,
        test_support::{connection, connection_of, runtime},
    },
    delivery::{Share, SubjectBatch, remote::RemoteInterest, remotes::Reached},
    interest::LocalInterest,
    protocol::message::Message,
};

/// A route whose end has begun takes itself out of the interest, once.
#[test]
fn a_route_that_ends_gets_no_more_announcements() {
    let runtime = runtime();
    let account = Account::new("A");
    let (route, _peer) = connection_of(Kind::Router, &runtime, 1, Budget::own());
    account.interest.attach(&route, &account.sublist);
    route.close(CloseReason::RouteRemoved);
    account.interest.detach(&route);
    account.interest.attach(&route, &account.sublist);
    with_buffers(|buffers| account.interest.want_always(buffers, b"a"));
    assert!(!route.has_pending_interest());
    assert_eq!(Arc::strong_count(&route), 1);
}

/// What is announced to the peer of a route that has all of it pending, and in how many parts.
fn announcements_to(
    runtime: &Runtime,
    interest: &LocalInterest,
    route: &Arc<Connection>,
    mut peer: net::TcpStream,
) -> (Vec<u8>, usize) {
    let reader = std::thread::spawn(move || {
        let (mut lines, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        let end = b"+END\r\n";
        while !lines.ends_with(end) {
            let len = peer.read(&mut buffer).expect("the route");
            lines.extend_from_slice(&buffer[..len]);
        }
        lines
    });
    let mut parts = 0;
    with_buffers(|buffers| {
        let mut budget = usize::MAX;
        parts += 1;
        while interest.announce_more(buffers, route, &mut budget) {
            parts += 1;
        }
        route.send(buffers, b"+END\r\n");
        buffers.flush_touched();
    });
    while !route.outbound().is_empty() {
        // The runtime sees that the socket takes more.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        with_buffers(|buffers| route.flush_blocked(buffers));
    }
    (reader.join().expect("all was announced"), parts)
}

/// A share that a route does not take, as it ends, goes to the members here, whose
/// refusals are announced.
#[test]
fn what_a_route_refuses_is_dealt_here() {
    let runtime = runtime();
    let account = Account::new("A");
    let (route, _peer) = connection_of(Kind::Router, &runtime, 1, Budget::own());
    route.set_announced();
    for (name, weight) in [(&b"crew"[..], 2), (b"other", 1)] {
        let interest = RemoteInterest::new(route.clone(), b"work", Some((name, weight)));
        with_buffers(|buffers| account.add_remote(buffers, Arc::new(interest)));
    }
    let remotes = account.remotes(b"work");
    let names: Vec<&[u8]> = remotes.queues().collect();
    // Everything of one group, the second message of the other.
    let share = |name: &&[u8]| match **name == *b"crew" {
        true => Share::All,
        false => Share::Some(vec![1]),
    };
    let shares: Vec<Share> = names.iter().map(share).collect();
    let source = b"1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n";
    let message = |number: u32| Message {
        tail_start: 6 * number,
        tail_end: 6 * (number + 1),
        reply_len: 0,
        header_len: None,
        total_len: 1,
    };
    let messages = [0, 1, 2].map(message);
    let batch = SubjectBatch {
        subject: b"work",
        source,
        messages: &messages,
        shared: None,
    };
    let deliver = || {
        let dealt = RefCell::new(Vec::new());
        let reached = with_buffers(|buffers| {
            let now = buffers.now();
            let counted = account.over_routes(None);
            remotes.deliver(
                buffers,
                counted,
                &batch,
                &shares,
                now,
                false,
                |_, name, left| {
                    dealt.borrow_mut().push((name.to_vec(), left.clone()));
                    // Somebody takes the first message.
                    left.retain(|index| *index != 0);
                },
            )
        });
        let reached = match reached {
            Reached::All => vec![0, 1, 2],
            Reached::Some(these) => these,
        };
        (reached, dealt.into_inner())
    };
    let (mut reached, dealt) = deliver();
    reached.dedup();
    assert_eq!((reached, dealt.len()), (vec![0, 1, 2], 0), "it takes them");
    route.close(CloseReason::RouteRemoved);
    let (reached, mut dealt) = deliver();
    dealt.sort();
    let all = [
        (b"crew".to_vec(), vec![0, 1, 2]),
        (b"other".to_vec(), vec![1]),
    ];
    assert_eq!((reached, dealt), (vec![0], all.to_vec()));
}

/// A withdrawal is announced however often the rest is announced again.
#[test]
fn a_pending_withdrawal_is_announced_though_all_is_announced_again() {
    let runtime = runtime();
    let (route, peer) = connection_of(Kind::Router, &runtime, 1, Budget::own());
    let (client, _client_peer) = connection(&runtime, 2, Budget::own());
    let account = Account::new("A");
    let interest: &LocalInterest = &account.interest;
    interest.attach(&route, &account.sublist);
    let subscribe =
        |subject: &[u8]| Arc::new(Subscription::new(client.clone(), subject, None, subject));
    let (gone, stays) = (subscribe(b"gone"), subscribe(b"stays"));
    with_buffers(|buffers| {
        account.subscribe(buffers, gone.clone());
        account.subscribe(buffers, stays.clone());
        // No room: what changes from now on is owed.
        let piece = vec![b'+'; 8 * 1024 * 1024];
        let mut appender = route.append().expect("it is open");
        assert!(appender.reserve(piece.len()));
        appender.push(buffers, &piece, b"");
        drop(appender);
        for number in 0.. {
            if route.has_pending_interest() {
                break;
            }
            let subject = format!("{number}.{}", "x".repeat(1000));
            let much = subscribe(subject.as_bytes());
            account.subscribe(buffers, much.clone());
            account.unsubscribe(buffers, &[much]);
        }
        account.unsubscribe(buffers, &[gone]);
    });
    interest.announce_again(&route);
    assert!(!interest.is_at_rest());
    let (lines, _) = announcements_to(&runtime, interest, &route, peer);
    let has = |line: &[u8]| memchr::memmem::rfind(&lines, line);
    assert!(has(b"RS- A gone\r\n") > has(b"RS+ A gone\r\n"));
    assert!(has(b"RS+ A stays\r\n") > has(b"RS- A stays\r\n"));
}

/// What was subscribed before the first route is counted and announced in parts, whatever
/// comes and goes meanwhile.
#[test]
fn what_was_there_before_the_first_route_is_counted_in_parts() {
    const COUNT: usize = 10_000;
    let runtime = runtime();
    let (route, peer) = connection_of(Kind::Router, &runtime, 1, Budget::own());
    let (client, _client_peer) = connection(&runtime, 2, Budget::own());
    let account = Account::new("A");
    let interest: &LocalInterest = &account.interest;
    let subject = |number: usize| format!("s.{number}");
    let subscribe = |number: usize| {
        let subject = subject(number);
        let subject = subject.as_bytes();
        let subscription = Subscription::new(client.clone(), subject, None, subject);
        let subscription = Arc::new(subscription);
        with_buffers(|buffers| account.subscribe(buffers, subscription.clone()));
        subscription
    };
    let before: Vec<_> = (0..COUNT).map(subscribe).collect();
    // Each subject once more: it is wanted until both are gone.
    let again: Vec<_> = (0..COUNT / 2).map(subscribe).collect();
    interest.attach(&route, &account.sublist);
    assert!(route.has_pending_interest());
    let leave = |all: &[Arc<Subscription>], number: usize| {
        with_buffers(|buffers| account.unsubscribe(buffers, &all[number..=number]));
    };
    for round in 0..4 {
        let mut budget = usize::MAX;
        assert!(with_buffers(|buffers| interest.announce_more(
            buffers,
            &route,
            &mut budget
        )));
        for number in (round..COUNT).step_by(8) {
            leave(&before, number);
        }
        subscribe(COUNT + round);
    }
    let (lines, parts) = announcements_to(&runtime, interest, &route, peer);
    assert!(parts > 3, "{parts}");
    let lines = String::from_utf8(lines).expect("text");
    let mut last = std::collections::HashMap::new();
    for line in lines.lines() {
        let mut words = line.split(' ');
        let verb = words.next();
        last.insert(words.nth(1).unwrap_or_default(), verb == Some("RS+"));
    }
    for number in 0..COUNT + 4 {
        let stays = !(COUNT / 2..COUNT).contains(&number) || number % 8 >= 4;
        let wanted = last.get(&*subject(number)).copied().unwrap_or(false);
        assert_eq!(wanted, stays, "{number}");
    }
    // Nothing was counted twice, or by who had left.
    for (number, one) in before.iter().enumerate() {
        if number % 8 >= 4 {
            with_buffers(|buffers| account.unsubscribe(buffers, std::slice::from_ref(one)));
        }
    }
    with_buffers(|buffers| account.unsubscribe(buffers, &again));
    let is_wanted = |number: usize| {
        account
            .sublist
            .lookup(subject(number).as_bytes())
            .plain
            .len()
    };
    assert_eq!((0..COUNT + 4).map(is_wanted).sum::<usize>(), 4);
    interest.detach(&route);
    assert!(!interest.is_at_rest());
    let mut left = Vec::new();
    account.sublist.for_each(|known| left.push(known.clone()));
    with_buffers(|buffers| account.unsubscribe(buffers, &left));
    assert!(interest.is_at_rest());
}

/// Many that have had their last message end together, each in its own account and
/// connection.
#[test]
fn a_subscription_at_its_maximum_ends_with_all_others() {
    let runtime = runtime();
    let accounts = Accounts::default();
    let system = accounts.system().expect("there is one").clone();
    let mut peers = Vec::new();
    let mut expired = Vec::new();
    for (cid, account) in [accounts.global(), &system, accounts.global()]
        .into_iter()
        .enumerate()
    {
        let (client, peer) = connection(&runtime, cid as u64, Budget::own());
        client.identity.lock().account.clone_from(&account.name);
        for number in 0..1000 {
            let sid = number.to_string();
            let one = Subscription::new(client.clone(), b"a", None, sid.as_bytes());
            let one = Arc::new(one);
            client.subscriptions.lock().insert(one.clone());
            with_buffers(|buffers| account.subscribe(buffers, one.clone()));
            if number > 0 {
                expired.push(one);
            }
        }
        peers.push((client, peer));
    }
    with_buffers(|buffers| {
        buffers.expired = expired;
        accounts.drop_expired(buffers);
        assert!(buffers.expired.is_empty());
    });
    for (account, left) in [(accounts.global(), 2), (&system, 1)] {
        assert_eq!(account.sublist.stats().subscriptions, left);
    }
    for (client, _peer) in &peers {
        assert_eq!(client.subscriptions.lock().len(), 1);
    }
}

/// However long a reload takes shadows of imported streams away, accounts are found
/// meanwhile, as they are defined now.
#[test]
fn accounts_are_found_while_a_reload_takes_shadows_away() {
    const COUNT: usize = 1000;
    let runtime = runtime();
    let (client, _peer) = connection(&runtime, 1, Budget::own());
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let options = |imports: &str| {
        let file = folder.path().join("test.conf");
        let text =
            format!("accounts {{ A {{ exports: [ {{ stream: s }} ] }}, B {{ {imports} }} }}");
        fs::write(&file, text).expect("it can be written");
        load(&file, &|_| None).expect("options").0
    };
    let importing = options("imports: [ { stream: { account: A, subject: s } } ]");
    let accounts = Arc::new(Accounts::new(&importing, ""));
    let [exporter, importer] = ["A", "B"].map(|name| accounts.find(name).expect("defined"));
    for number in 0..COUNT {
        let sid = number.to_string();
        let one = Subscription::new(client.clone(), b"s", None, sid.as_bytes());
        with_buffers(|buffers| importer.subscribe(buffers, Arc::new(one)));
    }
    assert_eq!(exporter.sublist.stats().subscriptions, COUNT as u64);
    let mut reload = None;
    // Nothing can be taken out of a list that is looked through.
    exporter.sublist.for_each(|_| {
        if reload.is_some() {
            return;
        }
        let (reloaded, now) = (accounts.clone(), options(""));
        reload = Some(thread::spawn(move || reloaded.redefine(&now, "")));
        let (looked_at, (found, is_found)) = (accounts.clone(), mpsc::channel());
        thread::spawn(move || {
            while looked_at.find("B").is_none_or(|it| it.imports().is_some()) {
                thread::yield_now();
            }
            let _ = found.send(looked_at.find("B").is_some());
        });
        let is_found = is_found.recv_timeout(Duration::from_secs(60));
        assert_eq!(is_found, Ok(true));
    });
    reload.expect("begun").join().expect("reloaded");
    assert_eq!(exporter.sublist.stats().subscriptions, 0);
    assert_eq!(importer.sublist.stats().subscriptions, COUNT as u64);
}
