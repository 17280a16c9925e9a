//! The interface to collectd: its C types, the callbacks, and all `unsafe` code.
//!
//! collectd calls [`module_register`] after loading the library, then the configuration callback
//! for each `<Plugin nats>` block, then, possibly after a fork, the init callback, then the read
//! callbacks from its reader threads. A panic never leaves a callback, since it would abort
//! collectd.

#[cfg(test)]
mod tests;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::{self, AssertUnwindSafe},
    slice,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use monitor_client::text::{cut, is_unsafe};

use crate::{
    config::{self, Instances, Item, Scalar},
    daemon::{Daemon, Level, Notification, Severity, Value, ValueList},
    poll::Poller,
};

/// collectd's declarations, generated from its headers.
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]
mod c {
    include!(concat!(env!("OUT_DIR"), "/collectd.rs"));
}

const NAME: &CStr = c"nats";

/// The result of a callback that failed.
const FAILED: c_int = -1;

/// Nanoseconds per second.
const NANOS: u128 = 1_000_000_000;

/// Limit of a log line in collectd, in bytes.
const LINE_LIMIT: usize = 1000;

/// Limit of a value in a notification's metadata, in bytes.
const METADATA_LIMIT: usize = 1024;

/// The instances of all blocks so far; the init callback takes them.
static INSTANCES: Mutex<Instances> = Mutex::new(Instances::new());

/// Called by collectd after loading the library; registers the callbacks.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn module_register() {
    catch_panic((), || {
        // The default hook would write to a closed stderr and load debug information.
        panic::set_hook(Box::new(|info| {
            Collectd.log(Level::Error, &format!("internal error: {info}"));
        }));
        // SAFETY: the name is a C string that collectd copies; the callbacks
        // have the types that the headers declare and live as long as collectd.
        let results = unsafe {
            [
                c::plugin_register_complex_config(NAME.as_ptr(), Some(configure)),
                c::plugin_register_init(NAME.as_ptr(), Some(init)),
            ]
        };
        if results != [0, 0] {
            Collectd.log(Level::Error, "collectd refused the callbacks");
        }
    });
}

/// Reads one `<Plugin nats>` block. With a result other than 0 collectd would not start, so that
/// nothing on this host were monitored: what is wrong is logged, and costs its instance only.
extern "C" fn configure(item: *mut c::oconfig_item_t) -> c_int {
    catch_panic((), || {
        // SAFETY: collectd passes its own tree, which it keeps unchanged during the call.
        let block = unsafe { read_item(item) };
        let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
        instances.add_block(&block, &Collectd);
    });
    0
}

/// Registers a read callback for each instance. With a result other than 0 collectd would unload
/// the plugin with all of them.
extern "C" fn init() -> c_int {
    catch_panic((), || {
        let instances = {
            let mut configured = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *configured, Instances::new())
        };
        for instance in instances.finish(&Collectd) {
            let label = instance.label();
            let registered = Poller::new(instance, &Collectd)
                .map_err(|error| error.to_string())
                .and_then(register_read);
            if let Err(reason) = registered {
                config::refuse(&label, &reason, &Collectd);
            }
        }
    });
    0
}

/// Hands the poller to collectd, which frees it with [`free`], even if it refuses it.
fn register_read(poller: Poller) -> Result<(), String> {
    // collectd refuses a second one of a name: instances that write the same values.
    let instance = poller.instance();
    let host = instance.host.clone().unwrap_or_else(own_host);
    let name = c_string(&format!("nats/{host}/{}", instance.name));
    // 0 means the interval of the plugin.
    let interval = instance.interval.map_or(0, cdtime);
    let data = c::user_data_t {
        data: Box::into_raw(Box::new(poller)).cast(),
        free_func: Some(free),
    };
    // SAFETY: collectd copies the strings and the pair of pointers; `data` is
    // what `read` and `free` expect.
    let status = unsafe {
        c::plugin_register_complex_read(
            NAME.as_ptr(),
            name.as_ptr(),
            Some(read),
            interval,
            &raw const data,
        )
    };
    match status {
        0 => Ok(()),
        code => Err(format!(
            "collectd refused to read it, code {code}: is there another instance of this name and \
             host?"
        )),
    }
}

/// Polls one instance.
extern "C" fn read(data: *mut c::user_data_t) -> c_int {
    catch_panic(FAILED, || {
        // SAFETY: `data` is the copy of what `register_read` passed, so its
        // pointer is a live `Poller`; collectd never runs one read twice at a
        // time and frees it only when no read runs.
        let poller = unsafe { (*data).data.cast::<Poller>().as_mut() };
        match poller {
            Some(poller) => c_int::from(!poller.poll(&Collectd)),
            None => FAILED,
        }
    })
}

/// Drops the poller of a read callback.
extern "C" fn free(poller: *mut c_void) {
    catch_panic((), || {
        // SAFETY: the pointer comes from `Box::into_raw` in `register_read`, and
        // collectd calls this once for it.
        drop(unsafe { Box::from_raw(poller.cast::<Poller>()) });
    });
}

/// Runs a callback's body; a panic, which the hook has logged, results in `failed`.
fn catch_panic<R>(failed: R, body: impl FnOnce() -> R) -> R {
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(failed)
}

/// The real collectd.
struct Collectd;

impl Daemon for Collectd {
    fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Error => c::LOG_ERR,
            Level::Warning => c::LOG_WARNING,
            Level::Notice => c::LOG_NOTICE,
            Level::Info => c::LOG_INFO,
        };
        let line = c_string(&one_line(&format!("nats plugin: {text}"), LINE_LIMIT));
        // SAFETY: both are C strings; the format takes exactly the one argument.
        unsafe { c::plugin_log(level as c_int, c"%s".as_ptr(), line.as_ptr()) }
    }

    fn dispatch(&self, list: &ValueList<'_>) -> bool {
        let mut values: Vec<c::value_t> = list.values.iter().copied().map(value).collect();
        // SAFETY: plain data, for which all zeros mean "empty" and "default".
        let mut raw: c::value_list_t = unsafe { std::mem::zeroed() };
        raw.values = values.as_mut_ptr();
        raw.values_len = values.len();
        raw.time = since_epoch(list.time);
        fill(&mut raw.host, list.host.unwrap_or_default());
        fill(&mut raw.plugin, list.plugin);
        fill(&mut raw.plugin_instance, list.plugin_instance);
        fill(&mut raw.type_, list.kind);
        fill(&mut raw.type_instance, list.type_instance);
        // SAFETY: collectd copies the list and the values, which live until it returns.
        unsafe { c::plugin_dispatch_values(&raw const raw) == 0 }
    }

    fn notify(&self, notification: &Notification<'_>) {
        // SAFETY: plain data, for which all zeros mean "empty".
        let mut raw: c::notification_t = unsafe { std::mem::zeroed() };
        raw.severity = match notification.severity {
            Severity::Failure => c::NOTIF_FAILURE,
            Severity::Warning => c::NOTIF_WARNING,
            Severity::Okay => c::NOTIF_OKAY,
        } as c_int;
        raw.time = since_epoch(notification.time);
        let host = notification.host.map_or_else(own_host, str::to_owned);
        fill(&mut raw.host, &host);
        fill(&mut raw.plugin, "nats");
        fill(&mut raw.plugin_instance, notification.plugin_instance);
        fill(&mut raw.type_, notification.kind);
        fill(&mut raw.type_instance, notification.type_instance);
        let room = raw.message.len() - 1;
        fill(&mut raw.message, &one_line(notification.message, room));
        for (name, value) in notification.metadata {
            let (name, value) = (c_string(name), c_string(&one_line(value, METADATA_LIMIT)));
            // SAFETY: collectd copies both strings into a list of its own, which begins at `meta`.
            let status = unsafe {
                c::plugin_notification_meta_add_string(&raw mut raw, name.as_ptr(), value.as_ptr())
            };
            if status != 0 {
                self.log(
                    Level::Warning,
                    "collectd has no memory for a notification's metadata",
                );
            }
        }
        // SAFETY: collectd processes the notification before it returns. It returns -1 when
        // no plugin accepts notifications, which is no error.
        unsafe { c::plugin_dispatch_notification(&raw const raw) };
        if !raw.meta.is_null() {
            // SAFETY: the list that collectd made above; nobody else has it.
            unsafe { c::plugin_notification_meta_free(raw.meta) };
        }
    }

    fn interval(&self) -> Duration {
        // SAFETY: it has no arguments; called from collectd's callbacks only.
        let time = unsafe { c::plugin_get_interval() };
        Duration::from_secs_f64(time as f64 / f64::from(1 << 30))
    }
}

/// The host name under which collectd reports; it is not the default of notifications.
fn own_host() -> String {
    // SAFETY: collectd sets the name before it calls init and never changes it.
    let host = unsafe { c::hostname_g };
    if host.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a C string that lives as long as collectd.
    unsafe { CStr::from_ptr(host) }
        .to_string_lossy()
        .into_owned()
}

/// Copies an item of collectd's tree with everything below it.
///
///  # Safety
///
/// `item` is null or points to an item of a tree that does not change meanwhile.
unsafe fn read_item(item: *const c::oconfig_item_t) -> Item {
    // SAFETY: as promised by the caller.
    let Some(item) = (unsafe { item.as_ref() }) else {
        return Item::default();
    };
    // SAFETY: collectd keeps as many values and children as it counts.
    let (values, children) = unsafe {
        (
            array(item.values, item.values_num),
            array(item.children, item.children_num),
        )
    };
    Item {
        // SAFETY: a key is null or a C string of the tree.
        key: unsafe { read_text(item.key) }
            .to_string_lossy()
            .into_owned(),
        values: values
            .iter()
            // SAFETY: part of the same tree.
            .map(|value| unsafe { read_scalar(value) })
            .collect(),
        children: children
            .iter()
            // SAFETY: part of the same tree.
            .map(|child| unsafe { read_item(child) })
            .collect(),
    }
}

/// # Safety
///
/// The type of `value` is that of the member of its union that was written; a string is null or a
/// C string.
unsafe fn read_scalar(value: &c::oconfig_value_t) -> Scalar {
    // SAFETY: as promised by the caller.
    let text = unsafe {
        match value.type_ as u32 {
            c::OCONFIG_TYPE_NUMBER => return Scalar::Number(value.value.number),
            c::OCONFIG_TYPE_BOOLEAN => return Scalar::Boolean(value.value.boolean != 0),
            _ => read_text(value.value.string),
        }
    };
    match text.to_str() {
        Ok(text) => Scalar::Text(text.to_owned()),
        Err(_) => Scalar::NotUtf8,
    }
}

/// # Safety
///
/// `text` is null or a C string that lives as long as `'a`.
unsafe fn read_text<'a>(text: *const c_char) -> &'a CStr {
    match text.is_null() {
        true => c"",
        // SAFETY: as promised by the caller.
        false => unsafe { CStr::from_ptr(text) },
    }
}

/// # Safety
///
/// `first` points to `count` elements, or is null if there are none.
unsafe fn array<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: as promised by the caller.
        Ok(count) if !first.is_null() => unsafe { slice::from_raw_parts(first, count) },
        _ => &[],
    }
}

fn value(value: Value) -> c::value_t {
    match value {
        Value::Counter(counter) => c::value_t { counter },
        Value::Derive(derive) => c::value_t { derive },
        Value::Gauge(gauge) => c::value_t { gauge },
    }
}

/// collectd measures time in 2^-30 seconds.
fn cdtime(time: Duration) -> u64 {
    ((time.as_nanos() << 30) / NANOS) as u64
}

fn since_epoch(time: SystemTime) -> u64 {
    // 0 makes collectd use its own clock.
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, cdtime)
}

/// Copies as much of `text` as fits, with a final NUL.
fn fill(field: &mut [c_char], text: &str) {
    let text = cut(text, field.len() - 1);
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from as c_char;
    }
}

/// Replaces characters that affect the display, above all line breaks, which could forge log lines.
fn one_line(text: &str, limit: usize) -> String {
    cut(text, limit).replace(is_unsafe, " ")
}

fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
