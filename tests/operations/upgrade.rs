//! Upgrades: a new process takes over, no connection is refused, and whatever goes wrong, the old
//! process serves on.

mod clients;
mod handed;
mod hung;
mod ports;
mod queues;
mod stops;
mod supervision;
mod traffic;

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
use test_support::{Broker, RawClient, http, raw_client, tools, wait_for, wait_until};

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
