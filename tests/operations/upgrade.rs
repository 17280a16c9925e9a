//! Upgrades: a new process takes over, no connection is refused, and whatever goes wrong, the old
//! process serves on.

mod clients;
mod ports;
mod stops;
mod supervision;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempfile::TempDir;
use test_support::{Broker, Frame, RawClient, http, raw_client, tools, wait_for, wait_until};

/// Clients are closed soon.
const BRIEF: &str = "lame_duck_grace_period: \"1ms\"\nlame_duck_duration: \"30s\"\n";

/// Clients stay until the old process is stopped.
const LONG: &str = "lame_duck_grace_period: \"10m\"\nlame_duck_duration: \"1h\"\n";

/// A program that can be replaced, as a package does it.
struct Program {
    folder: TempDir,
}

impl Program {
    fn midge() -> Self {
        let program = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        program.replace_by_midge();
        program
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("midge")
    }

    fn replace_by_midge(&self) {
        self.replace(|path| std::os::unix::fs::symlink(tools::midge(), path).expect("a link"));
    }

    fn replace_by_script(&self, text: &str) {
        self.replace(|path| write_script(path, text));
    }

    fn replace(&self, write: impl Fn(&Path)) {
        let new = self.folder.path().join("midge.new");
        write(&new);
        fs::rename(new, self.path()).expect("replace the program");
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("write a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make it executable");
}

fn id_of(client: &RawClient) -> String {
    client.info()["server_id"].as_str().expect("an id").into()
}

/// A client that hears of changes of INFO.
fn watcher(broker: &Broker) -> RawClient {
    let mut client = broker.connect();
    client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
    client.sync();
    client
}

/// The same with more subscriptions than are handed over: it stays with the old process.
fn staying(broker: &Broker) -> RawClient {
    let mut client = watcher(broker);
    let subject = "s".repeat(200);
    for number in 0..1000 {
        client.send(format!("SUB {subject}.{number} s{number}\r\n"));
    }
    client.sync();
    client
}

fn subscribe(client: &mut RawClient, subject: &str) {
    client.send(format!("SUB {subject} 1\r\n"));
    client.sync();
}

/// Publishes until a subscriber gets it: interest reaches the other process a moment later.
#[track_caller]
fn reaches(publisher: &mut RawClient, subscriber: &mut RawClient, subject: &str) {
    wait_until(&format!("a message on {subject} arrives"), || {
        publisher.send(format!("PUB {subject} 2\r\nhi\r\n"));
        publisher.sync();
        let frames = subscriber.sync();
        frames.iter().any(|frame| frame.is_message())
    });
}

/// Connects again and again, and counts what is refused.
struct Connecting {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<BTreeSet<String>>,
}

impl Connecting {
    fn start(broker: &Broker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, ends) = (broker.client_addr(), stop.clone());
        let thread = thread::spawn(move || {
            let mut served_by = BTreeSet::new();
            while !ends.load(Ordering::Relaxed) {
                // Panics if it is refused, or closed before its INFO.
                let mut client = RawClient::connect(address);
                served_by.insert(id_of(&client));
                client.send("CONNECT {\"verbose\":false}\r\n");
                client.sync();
            }
            served_by
        });
        Self { stop, thread }
    }

    /// The ids of those that served it.
    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no connection was refused")
    }
}

#[test]
fn a_new_process_takes_over_and_no_connection_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, pid_file) = (folder.path().join("m.sock"), folder.path().join("pid"));
    let config = format!(
        "{LONG}pid_file: {:?}\nmonitor {{ unix: {:?} }}\n",
        pid_file.display(),
        socket.display()
    );
    let mut broker = Broker::midge().config(config).start();
    let mut stays = staying(&broker);
    subscribe(&mut stays, "old.inbox");
    let mut listens = staying(&broker);
    let old_id = id_of(&stays);
    let connecting = Connecting::start(&broker);
    let successor = broker.upgrade();

    // Clients of both processes reach each other.
    let mut newcomer = watcher(&broker);
    let new_id = id_of(&newcomer);
    assert_ne!(new_id, old_id);
    subscribe(&mut newcomer, "new.inbox");
    reaches(&mut newcomer, &mut stays, "old.inbox");
    reaches(&mut stays, &mut newcomer, "new.inbox");

    // The old one's clients are told.
    let told = |frame| raw_client::parse_info(&frame).is_some_and(|info| info["ldm"] == true);
    while !told(listens.next_frame().expect("an INFO before the end")) {}
    assert!(broker.stop().success());
    assert_eq!(connecting.stop(), BTreeSet::from([old_id, new_id.clone()]));

    // All of it is the new one's now.
    assert_eq!(broker.get_json("/varz")["server_id"], new_id);
    assert_eq!(broker.get_json("/varz")["taken_over_from"], broker.pid());
    let over_socket = http::request_unix(&socket, "GET", "/varz").json();
    assert_eq!(over_socket["server_id"], new_id);
    let written = fs::read_to_string(&pid_file).expect("the pid file");
    assert_eq!(written, successor.pid.to_string());
    wait_until("the route between the two is gone", || {
        broker.get_json("/varz")["routes"] == 0
    });
    // A broker without a cluster tells its clients no addresses.
    assert!(watcher(&broker).info().get("connect_urls").is_none());

    // And again.
    let third = broker.upgrade_again(successor.pid.unsigned_abs());
    successor.stop();
    assert_ne!(id_of(&watcher(&broker)), new_id);
    third.stop();
    assert!(!socket.exists());
}

#[test]
fn the_old_process_closes_its_clients_and_ends() {
    let mut broker = Broker::midge().config(BRIEF).start();
    let mut clients = [staying(&broker), staying(&broker), staying(&broker)];
    broker.upgrade();
    for client in &mut clients {
        client.read_to_end();
    }
    assert!(broker.wait_exit().success());
    broker.connect();
}

/// Users of a test; the password of both is "s3cret", of one as a hash.
const USERS: &str = r#"
authorization {
  users = [
    { user: plain, password: "s3cret" }
    { user: hashed, password: "HASH" }
    {
      user: service
      password: "s3cret"
      permissions: { subscribe: "ask", publish: "nothing", allow_responses: true }
    }
  ]
}
"#;

fn login(broker: &Broker, user: &str, options: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"s3cret\",\"name\":\"of-{user}\",{options}}}\r\n"
    ));
    client.sync();
    client
}

/// The control lines of these frames, but pings of the broker.
fn lines(frames: Vec<Frame>) -> Vec<String> {
    let frames = frames.into_iter().filter(|frame| frame.line != b"PING");
    frames
        .map(|frame| String::from_utf8_lossy(&frame.line).into_owned())
        .collect()
}

/// The texts of the messages among these frames.
fn texts(frames: &[Frame]) -> Vec<String> {
    let messages = frames.iter().filter(|frame| frame.is_message());
    messages
        .map(|frame| String::from_utf8_lossy(&frame.body).into_owned())
        .collect()
}

#[test]
fn connected_clients_are_handed_over_with_all_that_they_have() {
    let users = USERS.replace("HASH", &bcrypt::hash("s3cret", 4).expect("a hash"));
    let mut broker = Broker::midge().config(format!("{LONG}{users}")).start();
    let mut publisher = login(&broker, "plain", "\"verbose\":false");
    let mut reader = login(&broker, "hashed", "\"verbose\":false,\"protocol\":1");
    reader.send("SUB data 1\r\nSUB few 2\r\nUNSUB 2 3\r\nSUB part worker 3\r\n");
    reader.sync();
    let mut verbose = login(&broker, "plain", "\"verbose\":true");
    let mut service = login(&broker, "service", "\"verbose\":false");
    service.send("SUB ask 1\r\n");
    service.sync();
    publisher.send("SUB answer 9\r\nPUB few 1\r\n1\r\nPUB ask answer 2\r\n??\r\n");
    publisher.sync();
    assert_eq!(texts(&reader.sync()), ["1"]);
    assert_eq!(texts(&service.sync()), ["??"]);
    // The half of a message.
    publisher.send("PUB part 10\r\n01234");
    let cid = reader.info()["client_id"].clone();
    let old_id = id_of(&reader);

    broker.upgrade();
    assert!(broker.wait_exit().success());

    publisher.send("56789\r\nPUB few 1\r\n2\r\nPUB few 1\r\n3\r\nPUB few 1\r\n4\r\n");
    publisher.sync();
    let frames = reader.sync();
    assert_eq!(texts(&frames), ["0123456789", "2", "3"]);
    let news = frames.iter().filter_map(raw_client::parse_info).next_back();
    let news = news.expect("an INFO of the new process");
    assert_ne!(news["server_id"], old_id);
    assert_eq!(news["client_id"], cid);
    service.send("PUB answer 2\r\n!!\r\n");
    assert_eq!(lines(service.sync()), [""; 0]);
    assert_eq!(texts(&publisher.sync()), ["!!"]);
    verbose.send("SUB data 1\r\n");
    assert_eq!(lines(verbose.sync()), ["+OK"]);

    // It is shown as before.
    let shown = broker.get_json(&format!("/connz?auth=1&subs=1&cid={cid}"));
    let shown = &shown["connections"][0];
    assert_eq!(shown["name"], "of-hashed");
    assert_eq!(shown["authorized_user"], "hashed");
    assert_eq!(
        shown["subscriptions_list"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(broker.get_json("/varz")["connections"], 4);
    // A later client gets another id.
    let later = login(&broker, "plain", "\"verbose\":false");
    assert!(later.info()["client_id"].as_u64() > cid.as_u64());
}

/// A request to a service of another account waits for its answer while both clients are moved: the
/// old process, which knows whose it is, stays for it.
#[test]
fn a_reply_from_another_account_reaches_its_requester() {
    let accounts = r#"
accounts {
  A { users: [{ user: a, password: "s3cret" }], exports: [{ service: help }] }
  B { users: [{ user: b, password: "s3cret" }], imports: [{ service: { account: A, subject: help } }] }
}
"#;
    let mut broker = Broker::midge().config(format!("{LONG}{accounts}")).start();
    let mut service = login(&broker, "a", "\"verbose\":false");
    service.send("SUB help 1\r\n");
    service.sync();
    let mut requester = login(&broker, "b", "\"verbose\":false");
    requester.send("SUB inbox 1\r\nPUB help inbox 2\r\n??\r\n");
    requester.sync();
    let request = service.next_message();
    broker.upgrade();
    // Behind the subject and the subscription's id.
    let reply = request.arguments()[2].clone();
    service.send(format!("PUB {reply} 2\r\n!!\r\n"));
    service.sync();
    assert_eq!(requester.next_message().body, b"!!");
    assert!(broker.wait_exit().success());
}

/// Publishers and readers, of which each reader checks that it gets everything once and in order.
struct Traffic {
    ends: Arc<AtomicBool>,
    publishers: Vec<thread::JoinHandle<u32>>,
    readers: Vec<thread::JoinHandle<Vec<u32>>>,
}

impl Traffic {
    fn start(publishers: Vec<RawClient>, readers: Vec<RawClient>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let count = publishers.len();
        let read = |mut client: RawClient| {
            subscribe(&mut client, "data");
            thread::spawn(move || read_in_order(client, count))
        };
        let readers = readers.into_iter().map(read).collect();
        let publish = |(number, client): (usize, RawClient)| {
            let ends = ends.clone();
            thread::spawn(move || publish_until(&ends, client, number))
        };
        let publishers = publishers.into_iter().enumerate().map(publish).collect();
        Self {
            ends,
            publishers,
            readers,
        }
    }

    /// Ends it, and compares.
    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        let sent = self.publishers.into_iter();
        let sent: Vec<u32> = sent
            .map(|thread| thread.join().expect("a publisher"))
            .collect();
        for (number, count) in sent.iter().enumerate() {
            assert!(*count > 0, "publisher {number} has published nothing");
        }
        for reader in self.readers {
            assert_eq!(reader.join().expect("a reader"), sent);
        }
    }
}

fn publish_until(ends: &AtomicBool, mut client: RawClient, number: usize) -> u32 {
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let text = format!("{number}.{count}");
            client.send(format!("PUB data {}\r\n{text}\r\n", text.len()));
            count += 1;
        }
        client.sync();
    }
    client.send(format!("PUB data 5\r\n{number}.end\r\n"));
    client.sync();
    count
}

/// Reads until each of the publishers has ended; how many messages came from each.
fn read_in_order(mut client: RawClient, publishers: usize) -> Vec<u32> {
    let mut next = vec![0; publishers];
    let mut ended = 0;
    while ended < publishers {
        let text = client.next_message().body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (of, number) = text.split_once('.').expect("two parts");
        let of: usize = of.parse().expect("the number of a publisher");
        match number {
            "end" => ended += 1,
            number => {
                assert_eq!(number, next[of].to_string(), "of publisher {of}");
                next[of] += 1;
            }
        }
    }
    next
}

#[test]
fn no_message_is_lost_or_doubled_and_none_overtakes_another() {
    let mut broker = Broker::midge().config(LONG).start();
    let clients = || (0..3).map(|_| watcher(&broker)).collect();
    let traffic = Traffic::start(clients(), clients());
    let second = broker.upgrade();
    assert!(broker.wait_exit().success());
    let third = broker.upgrade_again(second.pid.unsigned_abs());
    wait_until("the second process ends", || !second.is_running());
    traffic.end();
    assert!(third.is_running());
}

/// The same where some clients stay with the old process.
#[test]
fn clients_that_stay_lose_no_message() {
    let broker = Broker::midge().config(LONG).start();
    let clients = || vec![staying(&broker), watcher(&broker), watcher(&broker)];
    let traffic = Traffic::start(clients(), clients());
    broker.upgrade();
    let mut newcomer = watcher(&broker);
    newcomer.sync();
    traffic.end();
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let program = Program::midge();
    let broker = Broker::program(program.path()).config(BRIEF).start();
    let mut client = watcher(&broker);
    subscribe(&mut client, "inbox");
    let id = id_of(&client);
    let connecting = Connecting::start(&broker);
    for (text, why) in [
        ("exit 3", "exit status: 3"),
        ("exec sleep 600 0<&- 1>&- 2>&-", "does not take part"),
        (
            "printf '\\0\\0\\0\\005nonse' >&0; exec sleep 600",
            "its message cannot be read",
        ),
        (
            "printf '\\377\\377\\377\\377' >&0; exec sleep 600",
            "its message cannot be read",
        ),
        (
            "printf '\\0\\0\\0\\011\"Serving\"' >&0; exec sleep 600",
            "it reported \"Serving\" when something else was due",
        ),
        ("kill -9 $$", "signal: 9"),
        ("exec sleep 600", "not become ready within"),
    ] {
        program.replace_by_script(text);
        fails(&broker, why);
    }
    fs::remove_file(program.path()).expect("remove the program");
    fails(&broker, "cannot be started");
    program.replace(|path| fs::write(path, "no program").expect("write"));
    fails(&broker, "cannot be started");
    program.replace_by_midge();

    // The configuration is not valid any more, or needs what cannot be had.
    let file = broker.folder().join("broker.conf");
    fs::write(&file, "max_payload: many\n").expect("write the configuration");
    fails(&broker, "max_payload");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_port = taken.local_addr().expect("its address").port();
    let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:{taken_port}\" }}\n");
    fs::write(&file, format!("{BRIEF}{cluster}")).expect("write the configuration");
    fails(&broker, "router port");
    fs::write(&file, BRIEF).expect("write the configuration");

    let mut publisher = watcher(&broker);
    assert_eq!(id_of(&publisher), id);
    reaches(&mut publisher, &mut client, "inbox");
    assert_eq!(connecting.stop(), BTreeSet::from([id.clone()]));
    assert_eq!(broker.processes().len(), 1, "{:?}", broker.processes());
    broker.log().wait_for_count("the upgrade failed", 11);

    // In the end it works.
    broker.upgrade();
    assert_ne!(id_of(&watcher(&broker)), id);
}

/// Asks for an upgrade, which must fail for this reason.
#[track_caller]
fn fails(broker: &Broker, why: &str) {
    let output = broker.ask_for_upgrade(broker.pid());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{why}: {output:?}");
    assert!(text.contains("serves on"), "{why}: {text}");
    assert!(text.contains(why), "{why}: {text}");
}

#[test]
fn a_new_process_that_is_killed_as_it_begins_to_serve_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("pid");
    let config = format!("{BRIEF}pid_file: {:?}\n", pid_file.display());
    let broker = Broker::midge().config(config).start();
    let own = broker.pid().to_string();
    let mut client = watcher(&broker);
    let id = id_of(&client);
    thread::scope(|scope| {
        let asking = scope.spawn(|| broker.ask_for_upgrade(broker.pid()));
        let new = wait_for("the new process writes its id", || {
            let written = fs::read_to_string(&pid_file).unwrap_or_default();
            written
                .parse()
                .ok()
                .filter(|pid: &i32| written != own && *pid > 0)
        });
        test_support::Successor { pid: new }.signal(libc::SIGKILL);
        let output = asking.join().expect("the request");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    });
    client.sync();
    assert_eq!(id_of(&watcher(&broker)), id);
    assert_eq!(fs::read_to_string(&pid_file).expect("the pid file"), own);
    broker.upgrade();
}

#[test]
fn both_processes_stop_when_the_new_one_is_stopped() {
    let mut broker = Broker::midge().config(LONG).start();
    let mut client = staying(&broker);
    let successor = broker.upgrade();
    client.sync();
    let output = broker.ask_for_upgrade(broker.pid());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("has taken over already"), "{text}");
    let output = broker.ask_for_upgrade(successor.pid.unsigned_abs());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("still has clients"), "{text}");
    successor.stop();
    assert!(broker.wait_exit().success());
}

#[test]
fn the_old_process_is_stopped_by_sigterm_in_its_lame_duck_mode() {
    let mut broker = Broker::midge().config(LONG).start();
    let _client = staying(&broker);
    let successor = broker.upgrade();
    assert!(broker.stop().success());
    assert!(successor.is_running());
}

#[test]
fn a_changed_configuration_is_the_new_processs() {
    let broker = Broker::midge().config(LONG).start();
    let mut client = staying(&broker);
    assert_eq!(client.info()["max_payload"], 1_048_576);
    fs::write(
        broker.folder().join("broker.conf"),
        format!("{LONG}max_payload: 1000\nserver_name: \"other\"\n"),
    )
    .expect("write the configuration");
    broker.upgrade();
    let mut newcomer = watcher(&broker);
    assert_eq!(newcomer.info()["max_payload"], 1000);
    subscribe(&mut client, "inbox");
    reaches(&mut newcomer, &mut client, "inbox");
}
