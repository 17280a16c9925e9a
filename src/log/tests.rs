use std::{fs, os::unix::fs::PermissionsExt, path::Path, process};

use chrono::{DateTime, Local, Utc};
use tempfile::TempDir;

use super::{record::Level, *};

/// The lines of a file after `events` were logged with these options.
fn logged(options: Options, events: impl FnOnce(&LogHandle)) -> Vec<String> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    run(&path, options, events);
    lines(&path)
}

fn run(path: &Path, options: Options, events: impl FnOnce(&LogHandle)) {
    let options = Options {
        log_file: Some(path.into()),
        ..options
    };
    let handle = LogHandle::new(&options).expect("the log file can be opened");
    let lines = LogSubscriber(handle.0.clone());
    tracing::subscriber::with_default(lines, || events(&handle));
    handle.flush(TIMEOUT);
}

/// Time limit of waiting for a state.
const TIMEOUT: Duration = Duration::from_secs(10);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + TIMEOUT;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a log file");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(Into::into).collect()
}

fn without_time() -> Options {
    Options {
        logtime: false,
        ..Options::default()
    }
}

fn all_levels(_: &LogHandle) {
    tracing::error!(target: FATAL, "f");
    tracing::error!("e");
    tracing::warn!("w");
    tracing::info!("i");
    tracing::debug!("d");
    tracing::trace!("t");
}

fn letters(lines: &[String]) -> Vec<&str> {
    let pid = format!("[{}] ", process::id());
    lines
        .iter()
        .map(|line| line.strip_prefix(&pid).expect("the process id"))
        .collect()
}

#[test]
fn a_line_is_pid_time_level_message() {
    let now = Local::now();
    let lines = logged(Options::default(), |_| tracing::info!("hello {}", 1));
    let pid = format!("[{}] ", process::id());
    let rest = lines[0].strip_prefix(&pid).expect("the process id");
    let (time, message) = rest.split_at("2006/01/02 15:04:05.000000".len());
    assert_eq!(message, " [INF] hello 1");
    let time = chrono::NaiveDateTime::parse_from_str(time, "%Y/%m/%d %H:%M:%S%.6f");
    let time = time.expect("date and time").and_local_timezone(Local);
    let age = now.signed_duration_since(time.earliest().expect("a local time"));
    assert!(age.num_minutes().abs() < 60, "{age}");
}

#[test]
fn utc_is_used_if_asked_for() {
    let options = Options {
        logtime_utc: true,
        ..Options::default()
    };
    let before = Utc::now();
    let lines = logged(options, |_| tracing::info!("hello"));
    let after = Utc::now();
    let time = &letters(&lines)[0][.."2006/01/02 15:04:05.000000".len()];
    let text = |time: DateTime<Utc>| time.format("%Y/%m/%d %H:%M:%S%.6f").to_string();
    assert!(*text(before) <= *time && *time <= *text(after), "{time}");
}

#[test]
fn debug_and_trace_are_switched_apart() {
    let basic = ["[FTL] f", "[ERR] e", "[WRN] w", "[INF] i"];
    for (debug, trace, more) in [
        (false, false, &[][..]),
        (true, false, &["[DBG] d"]),
        (false, true, &["[TRC] t"]),
        (true, true, &["[DBG] d", "[TRC] t"]),
    ] {
        let options = Options {
            debug,
            trace,
            ..without_time()
        };
        let lines = logged(options, all_levels);
        assert_eq!(letters(&lines), [&basic, more].concat());
    }
}

#[test]
fn a_reload_changes_the_levels() {
    let folder = TempDir::new().expect("a temporary folder");
    let second = folder.path().join("second");
    let first = logged(without_time(), |handle| {
        tracing::debug!("unseen");
        let options = Options {
            debug: true,
            log_file: Some(second.clone()),
            ..without_time()
        };
        handle.apply(handle.prepare(&options).expect("the file can be opened"));
        tracing::debug!("seen");
        let broken = Options {
            log_file: Some("/no/such/folder/log".into()),
            ..without_time()
        };
        assert!(handle.prepare(&broken).is_err());
        tracing::debug!("still seen");
    });
    assert!(first.is_empty());
    assert_eq!(letters(&lines(&second)), ["[DBG] seen", "[DBG] still seen"]);
}

#[test]
fn events_of_other_crates_are_not_shown() {
    let lines = logged(without_time(), |_| {
        tracing::info!(target: "hyper::proto", "noise");
        tracing::info!(target: "midget", "noise");
        tracing::info!(target: "midge", "own");
    });
    assert_eq!(letters(&lines), ["[INF] own"]);
}

/// A line break in a client's name must not create a line.
#[test]
fn control_characters_are_escaped() {
    let lines = logged(without_time(), |_| {
        tracing::info!(name = "x", "a\r\n[1] [INF] b\u{1b}[31m");
    });
    let expected = "[INF] a\\r\\n[1] [INF] b\\u{1b}[31m";
    assert_eq!(letters(&lines), [expected]);
}

#[test]
fn the_file_is_appended_to_and_has_restricted_permissions() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    for _ in 0..2 {
        run(&path, without_time(), |_| tracing::info!("x"));
    }
    assert_eq!(lines(&path).len(), 2);
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
}

#[test]
fn a_moved_file_is_opened_again() {
    let folder = TempDir::new().expect("a temporary folder");
    let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
    run(&path, without_time(), |handle| {
        fs::rename(&path, &moved).expect("it can be moved");
        tracing::info!("old");
        assert!(handle.reopen().expect("it can be opened"));
        tracing::info!("new");
    });
    assert_eq!(letters(&lines(&moved)), ["[INF] old"]);
    assert_eq!(letters(&lines(&path)), ["[INF] new"]);
}

#[test]
fn stderr_is_not_reopened() {
    let handle = LogHandle::new(&Options::default()).expect("stderr is always there");
    assert!(!handle.reopen().expect("nothing to do"));
}

#[test]
fn a_full_file_is_rotated_and_old_ones_are_removed() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    let neighbour = folder.path().join("log.2024.notes");
    fs::write(&neighbour, "not a backup").expect("it can be written");
    let options = Options {
        log_size_limit: 200,
        log_max_num: 3,
        ..without_time()
    };
    run(&path, options, |_| {
        for number in 0..50 {
            tracing::info!("line {number} {}", "x".repeat(100));
        }
    });
    let mut logs: Vec<PathBuf> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| *path != neighbour)
        .collect();
    logs.sort();
    assert_eq!(logs.len(), 3);
    assert!(neighbour.exists());
    // The live file sorts first; the newest backup holds the latest full part.
    assert_eq!(logs[0], path);
    let last = lines(&logs[2]);
    let live = lines(&path);
    assert!(live[0].contains("Rotated log, backup saved as"), "{live:?}");
    assert!(live[0].contains(&*logs[2].to_string_lossy()), "{live:?}");
    assert!(last.iter().any(|line| line.contains("line 4")), "{last:?}");
}

/// If renaming fails, the file stays in use and says so once.
#[test]
fn a_failed_rotation_is_reported_and_loses_nothing() {
    let folder = TempDir::new().expect("a temporary folder");
    let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
    let options = Options {
        log_size_limit: 100,
        ..without_time()
    };
    run(&path, options, |_| {
        fs::rename(&path, &moved).expect("it can be moved");
        tracing::info!("{}", "x".repeat(100));
        tracing::info!("next");
    });
    let lines = lines(&moved);
    assert!(
        lines[1].contains("[ERR] Unable to rotate the log"),
        "{lines:?}"
    );
    assert!(lines[2].ends_with("[INF] next"));
    assert_eq!(lines.len(), 3);
}

/// Like a full disk, /dev/full accepts no byte.
#[test]
fn lost_lines_are_counted_and_reported_when_the_log_works_again() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    run(&path, without_time(), |handle| {
        tracing::info!("lost");
        tracing::info!("lost");
        handle.flush(TIMEOUT);
        let state = handle.state();
        assert_eq!(state.lost, 2);
        assert!(state.failure.expect("a reason").contains("No space left"));
        fs::remove_file(&path).expect("the link goes");
        assert!(handle.reopen().expect("it can be opened"));
        // Reported without a further line.
        wait_until("the loss is logged", || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        assert!(handle.state().failure.is_none());
        tracing::info!("there");
    });
    let expected = [
        "[ERR] 2 lines of the log could not be written",
        "[INF] there",
    ];
    assert_eq!(letters(&lines(&path)), expected);
}

/// A pipe that nobody reads does not block logging, the queue is limited, and a newly opened log is
/// written.
#[test]
fn a_blocked_destination_does_not_block_logging() {
    let folder = TempDir::new().expect("a temporary folder");
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("log"));
    let made = process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let held_open = fs::OpenOptions::new().read(true).write(true).open(&pipe);
    let reader = held_open.expect("the pipe has a reader that does not read");
    let options = Options {
        log_file: Some(pipe.clone()),
        ..without_time()
    };
    let handle = LogHandle::new(&options).expect("the pipe can be opened");
    let subscriber = LogSubscriber(handle.0.clone());
    tracing::subscriber::with_default(subscriber, || {
        let text = "x".repeat(1000);
        for number in 0..10_000 {
            tracing::info!("{number} {text}");
        }
        let state = handle.state();
        assert!(state.busy_since.is_some());
        assert!(
            state.lost > 1000 && state.waiting <= 4 * 1024 * 1024,
            "{state:?}"
        );
        handle.flush(Duration::from_millis(1));
        let to_file = Options {
            log_file: Some(file.clone()),
            ..without_time()
        };
        handle.apply(handle.prepare(&to_file).expect("the file can be opened"));
        tracing::info!("there");
        wait_until("written", || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains("there"))
        });
        assert!(handle.state().busy_since.is_none());
        // The number of blocked destinations is limited.
        let added = (0..100).take_while(|_| match handle.prepare(&options) {
            Ok(prepared) => {
                handle.apply(prepared);
                tracing::info!("{}", text.repeat(100));
                true
            }
            Err(_) => false,
        });
        assert!((1..20).contains(&added.count()));
        // A refused log leaves no file behind.
        let refused = folder.path().join("refused");
        let options = Options {
            log_file: Some(refused.clone()),
            ..without_time()
        };
        assert!(handle.prepare(&options).is_err());
        assert!(!refused.exists());
    });
    drop(reader);
}

/// Reopening the file may take long: a reload that has changed the log meanwhile stays in force.
#[test]
fn a_late_reopening_does_not_undo_a_reload() {
    let folder = TempDir::new().expect("a temporary folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    run(&old, without_time(), |handle| {
        let shared = &handle.0;
        let destination = shared.current.read().destination.clone();
        let style = shared.current.read().style.clone();
        let late = Current::open(destination, &style, &shared.losses);
        let late = late.expect("it can be opened");
        let options = Options {
            log_file: Some(new.clone()),
            ..without_time()
        };
        handle.apply(handle.prepare(&options).expect("the file can be opened"));
        shared.replace_writer(late);
        tracing::info!("there");
    });
    assert_eq!(letters(&lines(&new)), ["[INF] there"]);
    assert!(lines(&old).is_empty());
}

/// A writer that was blocked while it reported losses reports only its own, if another one has
/// reported the others meanwhile.
#[test]
fn a_loss_is_reported_once_by_several_writers() {
    let losses = Arc::new(Losses::default());
    let style = Arc::new(Style::new(&without_time(), false));
    let line = |text: &str| Record::new(style.clone(), Level::Info, text);
    let folder = TempDir::new().expect("a temporary folder");
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("log"));
    let made = process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let held_open = fs::OpenOptions::new().read(true).write(true).open(&pipe);
    let mut reader = held_open.expect("the pipe has a reader");
    let destination = |path: &Path| Destination::File {
        path: path.into(),
        rotation: Rotation::default(),
    };
    let open = |path: &Path| Current::open(destination(path), &style, &losses).expect("it opens");
    let hanging = open(&pipe);
    hanging.writer.begin(None);
    losses.add(5, LossCause::QueueFull);
    // More than the pipe holds, in one write with the notice.
    hanging.writer.put(line(&"x".repeat(200_000)));
    wait_until("hangs", || hanging.writer.busy_since().is_some());
    let other = open(&file);
    other.writer.begin(None);
    losses.add(2, LossCause::QueueFull);
    other.writer.put(line("there"));
    wait_until("written", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("there"))
    });
    drop(hanging.writer);
    let mut buffer = vec![0; 100_000];
    use io::Read;
    let mut text = String::new();
    while !text.ends_with("x\n") {
        let len = reader.read(&mut buffer).expect("the pipe");
        text += &String::from_utf8_lossy(&buffer[..len]);
    }
    assert!(
        text.contains("5 lines of the log could not"),
        "{}",
        &text[..200]
    );
    other.writer.put(line("more"));
    other.writer.flush(TIMEOUT);
    let lines = lines(&file);
    let notices = lines
        .iter()
        .filter(|line| line.contains("could not be written"));
    assert_eq!(notices.count(), 1, "{lines:?}");
    assert!(lines[0].contains("2 lines of the log"), "{lines:?}");
    assert_eq!(losses.totals().0, 7);
}

/// A reload while many lines are queued must not mix them.
#[test]
fn lines_keep_their_order_when_the_log_changes() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    let options = Options {
        log_size_limit: 3000,
        ..without_time()
    };
    run(&path, options.clone(), |handle| {
        let options = Options {
            log_file: Some(path.clone()),
            ..options
        };
        for number in 0..400 {
            tracing::info!("line {number:03}");
            match number % 100 {
                30 => assert!(handle.reopen().expect("it can be opened")),
                60 => handle.apply(handle.prepare(&options).expect("it can be opened")),
                _ => {}
            }
        }
    });
    let mut files: Vec<PathBuf> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    // The live file sorts first and is the last.
    files.rotate_left(1);
    let all: Vec<String> = files.iter().flat_map(|file| lines(file)).collect();
    let numbers: Vec<&str> = all
        .iter()
        .filter_map(|line| line.split_once("line "))
        .map(|it| it.1)
        .collect();
    let expected: Vec<String> = (0..400).map(|number| format!("{number:03}")).collect();
    assert_eq!(numbers, expected);
}

/// A log server that cannot be reached yet gets the lines once it can, and until then stderr does;
/// a change of other settings opens no second connection.
#[test]
fn a_log_server_stays_the_destination_while_it_is_unreachable() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("socket");
    let options = |debug| Options {
        debug,
        remote_syslog: Some(crate::config::options::RemoteSyslog::Unix(path.clone())),
        ..without_time()
    };
    let handle = LogHandle::new(&options(false)).expect("it starts");
    tracing::subscriber::with_default(LogSubscriber(handle.0.clone()), || {
        tracing::info!("nobody hears it");
        handle.flush(TIMEOUT);
        let state = handle.state();
        assert!(
            matches!(state.destination, Destination::Service(_)),
            "{state:?}"
        );
        assert!(state.failure.is_some());
        let writer = handle.0.current.read().writer.clone();
        handle.apply(handle.prepare(&options(true)).expect("nothing to open"));
        assert!(Arc::ptr_eq(&writer, &handle.0.current.read().writer));
        let server = std::os::unix::net::UnixDatagram::bind(&path).expect("a server");
        server.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let mut buffer = [0; 512];
        // Reported without a further line.
        let len = server.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let lost = handle.state().lost;
        assert!(
            text.ends_with("[ERR] 1 line of the log went to stderr") || lost > 0,
            "{text}"
        );
        tracing::debug!("there");
        wait_until("heard", || {
            let len = server.recv(&mut buffer).expect("a message");
            buffer[..len].ends_with(b"[DBG] there")
        });
        assert!(handle.state().failure.is_none());
    });
}
