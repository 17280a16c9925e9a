use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::*;

/// What is logged in `events` with these options, as the lines of a file.
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
    let lines = Lines(handle.0.clone());
    tracing::subscriber::with_default(lines, || events(&handle));
    handle.flush(PATIENCE);
}

/// How long a test waits for what it is sure to see.
const PATIENCE: Duration = Duration::from_secs(10);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
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

/// A client's name with a line end in it must not forge a line.
#[test]
fn control_characters_are_escaped() {
    let lines = logged(without_time(), |_| {
        tracing::info!(name = "x", "a\r\n[1] [INF] b\u{1b}[31m");
    });
    let expected = "[INF] a\\r\\n[1] [INF] b\\u{1b}[31m name=\"x\"";
    assert_eq!(letters(&lines), [expected]);
}

#[test]
fn the_file_is_appended_to_and_closed_to_others() {
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

/// A folder on which renaming fails: the file goes on and says so, once.
#[test]
fn a_failed_rotation_is_told_and_nothing_is_lost() {
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

/// /dev/full takes no byte, as a full disk.
#[test]
fn lost_lines_are_counted_and_told_once_the_log_can_be_written() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    run(&path, without_time(), |handle| {
        tracing::info!("lost");
        tracing::info!("lost");
        handle.flush(PATIENCE);
        let look = handle.look();
        assert_eq!(look.lost, 2);
        assert!(look.failure.expect("a reason").contains("No space left"));
        fs::remove_file(&path).expect("the link goes");
        assert!(handle.reopen().expect("it can be opened"));
        // Told by itself, without a further line.
        wait_until("told", || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        assert!(handle.look().failure.is_none());
        tracing::info!("there");
    });
    let expected = [
        "[ERR] 2 lines of the log could not be written",
        "[INF] there",
    ];
    assert_eq!(letters(&lines(&path)), expected);
}

/// A pipe that nobody reads: whoever logs goes on, what waits is bounded, and
/// a log that is opened anew is written.
#[test]
fn a_place_that_takes_nothing_holds_up_nobody() {
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
    let subscriber = Lines(handle.0.clone());
    tracing::subscriber::with_default(subscriber, || {
        let text = "x".repeat(1000);
        for number in 0..10_000 {
            tracing::info!("{number} {text}");
        }
        let look = handle.look();
        assert!(look.busy_since.is_some());
        assert!(
            look.lost > 1000 && look.waiting <= 4 * 1024 * 1024,
            "{look:?}"
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
        assert!(handle.look().busy_since.is_none());
        // Places that hang are not added to without end.
        let added = (0..100).take_while(|_| match handle.prepare(&options) {
            Ok(prepared) => {
                handle.apply(prepared);
                tracing::info!("{}", text.repeat(100));
                true
            }
            Err(_) => false,
        });
        assert!((1..20).contains(&added.count()));
        // What is refused leaves no file behind.
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

/// Opening the file again may take as long as the disk likes: a reload that named
/// another one meanwhile holds.
#[test]
fn a_file_that_is_opened_again_late_does_not_undo_a_reload() {
    let folder = TempDir::new().expect("a temporary folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    run(&old, without_time(), |handle| {
        let shared = &handle.0;
        let place = shared.current.read().place.clone();
        let late = Current::open(place, &shared.style, &shared.losses);
        let late = late.expect("it can be opened");
        let options = Options {
            log_file: Some(new.clone()),
            ..without_time()
        };
        handle.apply(handle.prepare(&options).expect("the file can be opened"));
        shared.renew(late);
        tracing::info!("there");
    });
    assert_eq!(letters(&lines(&new)), ["[INF] there"]);
    assert!(lines(&old).is_empty());
}

/// One that hangs while it tells of losses, and comes back when another has told of
/// those since, tells of its own alone.
#[test]
fn a_loss_is_told_once_by_one_of_several_writers() {
    let losses = Arc::new(Losses::default());
    let style = Arc::new(Style::of(&without_time()));
    let folder = TempDir::new().expect("a temporary folder");
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("log"));
    let made = process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let held_open = fs::OpenOptions::new().read(true).write(true).open(&pipe);
    let mut reader = held_open.expect("the pipe has a reader");
    let place = |path: &Path| Place::File {
        path: path.into(),
        limit: 0,
        max_files: 0,
    };
    let open = |path: &Path| Current::open(place(path), &style, &losses).expect("it opens");
    let hanging = open(&pipe);
    hanging.writer.begin(None);
    losses.add(5, LossCause::NoRoom);
    // More than the pipe holds, in one write with the notice.
    hanging.writer.put("x".repeat(200_000) + "\n");
    wait_until("hangs", || hanging.writer.busy_since().is_some());
    let other = open(&file);
    other.writer.begin(None);
    losses.add(2, LossCause::NoRoom);
    other.writer.put("there\n".into());
    wait_until("written", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("there"))
    });
    drop(hanging.writer);
    let mut told = vec![0; 100_000];
    use io::Read;
    let mut text = String::new();
    while !text.ends_with("x\n") {
        let len = reader.read(&mut told).expect("the pipe");
        text += &String::from_utf8_lossy(&told[..len]);
    }
    assert!(
        text.contains("5 lines of the log could not"),
        "{}",
        &text[..200]
    );
    other.writer.put("more\n".into());
    other.writer.flush(PATIENCE);
    let lines = lines(&file);
    let notices = lines
        .iter()
        .filter(|line| line.contains("could not be written"));
    assert_eq!(notices.count(), 1, "{lines:?}");
    assert!(lines[0].contains("2 lines of the log"), "{lines:?}");
    assert_eq!(losses.so_far().0, 7);
}

/// A reload while the log is full of half-written things must not mix lines.
#[test]
fn lines_keep_their_order_over_a_change() {
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

/// A log server that is not there yet gets what comes when it is, and until then
/// stderr does; a change of other settings makes no other connection.
#[test]
fn a_log_server_stays_the_place_of_the_log_while_it_is_gone() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("socket");
    let options = |debug| Options {
        debug,
        remote_syslog: Some(crate::config::options::RemoteSyslog::Unix(path.clone())),
        ..without_time()
    };
    let handle = LogHandle::new(&options(false)).expect("it starts");
    tracing::subscriber::with_default(Lines(handle.0.clone()), || {
        tracing::info!("nobody hears it");
        handle.flush(PATIENCE);
        let look = handle.look();
        assert!(matches!(look.place, Place::Syslog(_)), "{look:?}");
        assert!(look.failure.is_some());
        let writer = handle.0.current.read().writer.clone();
        handle.apply(handle.prepare(&options(true)).expect("nothing to open"));
        assert!(Arc::ptr_eq(&writer, &handle.0.current.read().writer));
        let server = std::os::unix::net::UnixDatagram::bind(&path).expect("a server");
        server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut buffer = [0; 512];
        // Told by itself, without a further line.
        let len = server.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let lost = handle.look().lost;
        assert!(
            text.ends_with("[ERR] 1 lines of the log went to stderr") || lost > 0,
            "{text}"
        );
        tracing::debug!("there");
        wait_until("heard", || {
            let len = server.recv(&mut buffer).expect("a message");
            buffer[..len].ends_with(b"[DBG] there")
        });
        assert!(handle.look().failure.is_none());
    });
}
