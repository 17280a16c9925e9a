use std::{
    os::unix::process::CommandExt,
    process::{Child, Command},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;

#[test]
fn stars_stand_for_any_characters() {
    for (pattern, name, expected) in [
        ("*.pid", "a.pid", true),
        ("*.pid", ".pid", true),
        ("*.pid", "a.pid.old", false),
        ("nats-*.pid", "nats-1.pid", true),
        ("nats-*.pid", "midge-1.pid", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c", false),
        ("*", "x", true),
        ("ab*b", "ab", false),
    ] {
        assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
    }
}

/// What operators of nats-server write means what it means there: a star behind
/// nothing or digits is about processes, whatever files there are.
#[test]
fn texts_are_ids_their_begins_or_files() {
    for (text, expected) in [
        ("", Target::Only),
        ("12", Target::Pid(12)),
        ("*", Target::Pids("".into())),
        ("12*", Target::Pids("12".into())),
        ("/run/midge.pid", Target::PidFile("/run/midge.pid".into())),
        ("/run/nats*.pid", Target::PidFiles("/run/nats*.pid".into())),
        ("nats-*.pid", Target::PidFiles("nats-*.pid".into())),
        ("./*", Target::PidFiles("./*".into())),
    ] {
        assert_eq!(Target::from_text(text), expected, "{text}");
    }
}

/// A process under a name that no other one has, killed at the end.
struct Sleeper(Child);

impl Sleeper {
    fn start(name: &str) -> Sleeper {
        let child = Command::new("sleep").arg0(name).arg("600").spawn();
        let sleeper = Sleeper(child.expect("sleep starts"));
        let base = name.rsplit('/').next().expect("a name");
        // The system shows the arguments only a moment after the start.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_named(sleeper.pid(), base) {
            assert!(Instant::now() < deadline, "{name} does not show up");
            std::thread::yield_now();
        }
        sleeper
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process id")
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_none()
    }

    fn signal_that_ended_it(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        self.0.wait().expect("a child can be waited for").signal()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_name(test: &str) -> String {
    format!("signal-test-{test}-{}", process::id())
}

/// As [`send`], with brokers known by this name alone: what the tests start next to
/// each other has their file for a moment.
fn send_by(name: &str, signal: Signal, target: &Target) -> Result<(), Vec<SignalError>> {
    Brokers { name, file: None }.send(signal, target)
}

#[test]
fn the_only_process_of_a_name_is_signalled() {
    let name = own_name("one");
    let sleeper = Sleeper::start(&format!("/some/where/{name}"));
    send_by(&name, Signal::Term, &Target::Only).expect("one process has the name");
    assert_eq!(sleeper.signal_that_ended_it(), Some(libc::SIGTERM));
}

/// A broker is also what runs the same file under another name, such as that of a
/// link.
#[test]
fn a_process_of_the_same_file_is_one_of_the_brokers() {
    let sleeper = Sleeper::start(&own_name("link"));
    let file = program_of(&sleeper.pid().to_string());
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("pid");
    fs::write(&path, sleeper.pid().to_string()).expect("room for a file");
    let name = &own_name("other");
    assert!(Brokers { name, file: None }.broker_of(&path).is_err());
    let own = Brokers { name, file };
    assert_eq!(own.broker_of(&path).expect("it is one"), sleeper.pid());
    assert!(own.brokers().expect("a list").contains(&sleeper.pid()));
}

#[test]
fn two_processes_of_a_name_are_listed_and_left_alone() {
    let name = own_name("two");
    let sleepers = [Sleeper::start(&name), Sleeper::start(&name)];
    let errors = send_by(&name, Signal::Stop, &Target::Only).expect_err("two have the name");
    for sleeper in &sleepers {
        let pid = sleeper.pid().to_string();
        assert!(errors[0].to_string().contains(&pid), "{errors:?}");
    }
}

#[test]
fn a_name_nobody_has_is_an_error() {
    for target in ["", "*", "1*"] {
        let target = Target::from_text(target);
        let errors = send_by(&own_name("none"), Signal::Quit, &target).expect_err("nobody");
        assert!(matches!(errors[..], [SignalError::NotRunning(..)]));
    }
}

/// `stop=*` ends the brokers, and nothing else whose id is in some file here.
#[test]
fn a_star_is_for_all_brokers_and_digits_before_it_for_some() {
    let name = own_name("star");
    let mut sleepers = [
        Sleeper::start(&name),
        Sleeper::start(&name),
        Sleeper::start(&own_name("no-broker")),
    ];
    let pid = sleepers[0].pid().to_string();
    let begins = Target::from_text(&format!("{pid}*"));
    send_by(&name, Signal::Term, &begins).expect("it is there");
    assert!(!sleepers[0].0.wait().expect("it ends").success());
    assert!(sleepers[1].is_running());
    send_by(&name, Signal::Stop, &Target::from_text("*")).expect("one is there");
    assert!(!sleepers[1].0.wait().expect("it ends").success());
    assert!(sleepers[2].is_running());
}

/// Other files beside the pid files are reported, and every broker is signalled all the
/// same.
#[test]
fn brokers_of_matching_files_are_signalled_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let name = own_name("glob");
    let mut sleepers = [
        Sleeper::start(&name),
        Sleeper::start(&name),
        Sleeper::start(&own_name("glob-no-broker")),
    ];
    let file = |name: &str| folder.path().join(format!("{name}.pid"));
    // nats-server refuses a pid file with a line end; it is allowed here.
    fs::write(file("m"), format!("{}\n", sleepers[0].pid())).expect("room");
    fs::write(file("n"), sleepers[1].pid().to_string()).expect("room");
    fs::write(file("a"), sleepers[2].pid().to_string()).expect("room");
    fs::write(file("b"), "1 and more\n".repeat(1_000_000)).expect("room");
    fs::create_dir(file("c")).expect("room");
    let pipe = Command::new("mkfifo").arg(file("d")).status();
    assert!(pipe.expect("mkfifo runs").success());
    let pattern = file("*").display().to_string();
    let errors = send_by(&name, Signal::Term, &Target::from_text(&pattern));
    let errors = errors.expect_err("some are no pid files");
    assert!(
        matches!(
            errors[..],
            [
                SignalError::NoBroker(..),
                SignalError::BadPidFile(_),
                SignalError::Read(..),
                SignalError::Read(..)
            ]
        ),
        "{errors:?}"
    );
    assert!(!sleepers[0].0.wait().expect("it ends").success());
    assert!(!sleepers[1].0.wait().expect("it ends").success());
    assert!(sleepers[2].is_running());
    let none = folder.path().join("*.none").display().to_string();
    assert!(send_by(&name, Signal::Stop, &Target::from_text(&none)).is_err());
    for single in ["a", "d"] {
        let target = Target::from_text(&file(single).display().to_string());
        assert!(send_by(&name, Signal::Stop, &target).is_err(), "{single}");
    }
    assert!(sleepers[2].is_running());
}

/// kill(0) and kill(-1) would hit every process of the group or the user.
#[test]
fn groups_of_processes_are_never_signalled() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("pid").display().to_string();
    for pid in ["0", "-1"] {
        fs::write(&file, pid).expect("room for a file");
        for target in [pid, &file] {
            let errors = send_by("midge", Signal::Stop, &Target::from_text(target));
            let errors = errors.expect_err("it is nobody's id");
            assert!(matches!(errors[..], [SignalError::BadPid(_)]), "{pid}");
        }
    }
}
