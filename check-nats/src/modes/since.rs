//! What modes have in common that compare with the last run: the state file, a second sample
//! in place of it, and alerts that are held.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Check, Failure, Status};
use crate::{
    baseline::{Look, Span, State},
    state_file::{Lock, StateFile},
};

/// Time between two attempts to get the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Takes a sample, compares it with the one of the last run (or with a second one after
/// `--sample`) and leaves it for the next run. `judge` gets `None` if there is nothing to
/// compare with, which is stated then. It fails only before it has stated what happened: then
/// nothing is left, and the next run finds it. Who was behind it is asked afterwards, in a part
/// of the time left ([`super::need::for_names`]), so that what was stated is never stated again.
///
/// # Errors
/// What `sample` and `judge` fail with. The state cannot be used, or another run does so:
/// unknown.
pub(super) fn run<T>(
    check: &mut Check,
    sample: impl Fn(&mut Check) -> Result<(T, Look), Failure>,
    judge: impl FnOnce(&mut Check, &T, Option<&Span>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(time) = check.options.sample {
        let mut state = State::default();
        state.remember(sample(check)?.1);
        check.sleep(time)?;
        let (answer, look) = sample(check)?;
        let span = state.span(&look);
        return compare(check, &answer, span, judge);
    }
    // A broker that does not answer is worse news than a folder that cannot be written.
    let kept = Kept::open(check);
    let (answer, look) = match (sample(check), &kept) {
        (Ok(sampled), _) => sampled,
        // All the time was spent on waiting for another run.
        (Err(_), Err(waited)) if check.begin_state_file().is_err() => return Err(waited.clone()),
        (Err(failure), _) => return Err(failure),
    };
    let mut kept = kept?;
    let span = match &kept.trouble {
        Some(why) => Err(why.clone()),
        None => kept.state.span(&look),
    };
    compare(check, &answer, span, judge)?;
    kept.hold(check);
    kept.leave(check, look)
}

fn compare<T>(
    check: &mut Check,
    answer: &T,
    span: Result<Span, String>,
    judge: impl FnOnce(&mut Check, &T, Option<&Span>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Err(why) = &span {
        let text = format!("no baseline yet ({why})");
        check.report.say(Status::Ok, &text);
    }
    judge(check, answer, span.as_ref().ok())
}

/// The state of this check while the run has it.
struct Kept {
    file: StateFile,
    /// `None` for a run that only looks.
    lock: Option<Lock>,
    state: State,
    /// Why there is no usable state.
    trouble: Option<String>,
}

impl Kept {
    fn open(check: &Check) -> Result<Self, Failure> {
        check.begin_state_file()?;
        let options = &check.options.state;
        let file = StateFile::new(options, &check.target.monitor_place());
        let lock = match options.is_updated {
            true => Some(lock(check, &file)?),
            false => None,
        };
        let (state, trouble) = match file.read() {
            Ok(state) => (state.unwrap_or_default(), None),
            Err(why) => (State::default(), Some(why)),
        };
        Ok(Self {
            file,
            lock,
            state,
            trouble,
        })
    }

    /// States the alerts of earlier runs that are held, and holds those of this run.
    fn hold(&mut self, check: &mut Check) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let hold = check.options.state.hold;
        let earlier = self.state.held(now, hold);
        if !hold.is_zero() {
            self.state.hold(now, check.report.statements());
        }
        for (status, text) in earlier {
            check.report.say(status, &text);
        }
    }

    /// Leaves the look for the next run.
    fn leave(mut self, check: &Check, look: Look) -> Result<(), Failure> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        // A run that is late was reported as such: what it found must be found again.
        check.begin_state_file()?;
        self.state.remember(look);
        self.file.write(&self.state, lock).map_err(Failure::unknown)
    }
}

/// Waits until no other run uses the state.
fn lock(check: &Check, file: &StateFile) -> Result<Lock, Failure> {
    file.make_folder().map_err(Failure::unknown)?;
    loop {
        check.begin_state_file().map_err(|late| Failure {
            text: format!("{}: another run has {file}", late.text),
            ..late
        })?;
        if let Some(lock) = file.try_lock().map_err(Failure::unknown)? {
            return Ok(lock);
        }
        thread::sleep(LOCK_PAUSE);
    }
}
