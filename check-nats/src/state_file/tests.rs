//! A state file is private, used by one run at a time, and never trusted.

use std::{
    os::unix::fs::{PermissionsExt, symlink},
    time::SystemTime,
};

use super::*;
use crate::baseline::Look;

fn state_file() -> (tempfile::TempDir, StateFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile {
        path: folder.path().join(format!("{}x.json", file_prefix())),
        is_default: false,
        folder: folder.path().into(),
    };
    (folder, file)
}

fn state() -> State {
    let mut state = State::default();
    state.remember(Look {
        server_id: "N1".into(),
        ..Look::default()
    });
    state
}

fn write(file: &StateFile) -> Result<(), String> {
    let lock = file.try_lock()?.expect("nobody else has it");
    file.write(&state(), &lock)
}

#[test]
fn written_is_read_back_and_private() {
    let (folder, file) = state_file();
    assert_eq!(file.read(), Ok(None));
    write(&file).unwrap();
    write(&file).unwrap();
    assert_eq!(file.read(), Ok(Some(state())));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "the state and its lock");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn one_run_at_a_time_uses_it() {
    let (_folder, file) = state_file();
    let lock = file.try_lock().unwrap();
    assert!(lock.is_some());
    assert!(file.try_lock().unwrap().is_none());
    drop(lock);
    assert!(file.try_lock().unwrap().is_some());
}

#[test]
fn garbage_is_reported_and_replaced() {
    for garbage in [&b""[..], b"{}", b"[1]", b"\xff\xfe", &[b' '; 70_000]] {
        let (_folder, file) = state_file();
        fs::write(&file.path, garbage).unwrap();
        let error = file.read().unwrap_err();
        assert!(error.contains("x.json not used: "), "{error}");
        write(&file).unwrap();
        assert_eq!(file.read(), Ok(Some(state())));
    }
}

/// Neither the link nor what it points to is used or changed.
#[test]
fn a_symlink_is_not_followed() {
    let (folder, file) = state_file();
    let target = folder.path().join("target");
    fs::write(&target, "{}").unwrap();
    symlink(&target, &file.path).unwrap();
    assert!(file.read().unwrap_err().contains("symbolic link"));
    write(&file).unwrap();
    assert!(fs::symlink_metadata(&file.path).unwrap().is_file());
    assert_eq!(fs::read(&target).unwrap(), b"{}");
    let lock = file.path.with_extension("lock");
    fs::remove_file(&lock).unwrap();
    symlink(&target, &lock).unwrap();
    assert!(file.try_lock().unwrap_err().contains("lock file "));
}

#[test]
fn what_is_no_file_is_reported() {
    let (_folder, file) = state_file();
    fs::create_dir(&file.path).unwrap();
    assert!(file.read().unwrap_err().contains("not a regular file"));
    assert!(write(&file).unwrap_err().contains("not written"));
}

#[test]
fn old_files_of_other_checks_are_removed() {
    let (folder, file) = state_file();
    let old = SystemTime::now() - FORGOTTEN_AFTER - Duration::from_secs(60);
    let make = |name: &str, at: SystemTime| {
        let path = folder.path().join(name);
        File::create(&path).unwrap().set_modified(at).unwrap();
        path
    };
    let ours = |name: &str| format!("{}{name}", file_prefix());
    let gone = [
        make(&ours("a.json"), old),
        make(&ours("a.lock"), old),
        make(&ours("b.1234.new"), old),
    ];
    let kept = [
        make(&ours("c.json"), SystemTime::now()),
        // In use: a run does not change its lock file.
        make(&ours("c.lock"), old),
        make("check_nats-other.json", old),
        make("something", old),
    ];
    write(&file).unwrap();
    for path in gone {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in kept {
        assert!(path.exists(), "{}", path.display());
    }
}
