//! The handles of metrics, which are kept: a recorder copies and compares all labels for each registration.
//!
//! Only those of the recorder of the whole process are kept. It exists for as long as the process does, so its address identifies it. A recorder of one
//! thread may be replaced by another one at the same address, whose metrics would then be lost: with such a recorder, each request registers its metrics.
//!
//! A handle is used for a second. Then the metric is registered again, because an exporter with an idle timeout forgets a metric that did not change, and
//! no longer exports what its old handle records.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, LocalKey};
use std::time::{Duration, Instant};

use metrics::Recorder;

/// The values of the attributes of a metric. All of them have few values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series<'a> {
    pub(super) method: &'static str,
    pub(super) scheme: &'static str,
    pub(super) server: Option<(Cow<'a, str>, u16)>,
    /// `None` for requests in flight.
    pub(super) end: Option<SeriesEnd<'a>>,
}

/// The attributes that are known at the end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeriesEnd<'a> {
    pub(super) version: &'static str,
    pub(super) status: Option<u16>,
    pub(super) route: Option<Cow<'a, str>>,
    /// `error.type`, unless it is the status.
    pub(super) error: Option<&'static str>,
}

impl Series<'_> {
    fn into_owned(self) -> Series<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Series {
            method: self.method,
            scheme: self.scheme,
            server: self.server.map(|(address, port)| (owned(address), port)),
            end: self.end.map(|end| SeriesEnd {
                version: end.version,
                status: end.status,
                route: end.route.map(owned),
                error: end.error,
            }),
        }
    }
}

/// Hashes the attributes that differ in most series. None of the others is chosen by clients.
impl Hash for Series<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.end {
            Some(end) => {
                state.write(end.route.as_deref().unwrap_or_default().as_bytes());
                state.write_u16(end.status.unwrap_or_default());
            }
            None => state.write(self.method.as_bytes()),
        }
    }
}

/// The handles of one kind that a thread keeps, for the metrics that it recorded last.
pub(super) struct Handles<T>(RefCell<HashMap<Series<'static>, Handle<T>>>);

struct Handle<T> {
    registered: Instant,
    metric: T,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Handles<T> {
    /// Runs `run` with the handle of these attributes, which is registered first if there is none, or it is too old.
    ///
    /// A recorder may run requests of its own inside of a registration: neither is called while the handles are borrowed for a change.
    fn with<R>(
        &self,
        series: &Series<'_>,
        now: Instant,
        register: impl Fn() -> T,
        run: impl Fn(&T) -> R,
    ) -> R {
        if let Ok(handles) = self.0.try_borrow()
            && let Some(handle) = find(&handles, series)
            && now.saturating_duration_since(handle.registered) < KEPT
        {
            return run(&handle.metric);
        }
        let metric = register();
        let result = run(&metric);
        let handle = Handle { registered: now, metric };
        // What is replaced is dropped after the borrow.
        let replaced = self.0.try_borrow_mut().ok().map(|mut handles| {
            let full = handles.len() >= MAX_HANDLES && find(&handles, series).is_none();
            let old = if full { std::mem::take(&mut *handles) } else { HashMap::new() };
            (old, handles.insert(series.clone().into_owned(), handle))
        });
        drop(replaced);
        result
    }
}

/// Looks up attributes that are borrowed for a shorter time than those that are kept.
fn find<'h, 's, T>(
    handles: &'h HashMap<Series<'s>, Handle<T>>,
    series: &Series<'s>,
) -> Option<&'h Handle<T>> {
    handles.get(series)
}

/// Runs `run` with the handle of these attributes, a kept one if the recorder is that of the process.
pub(super) fn with_handle<T, R>(
    kept: &'static LocalKey<Handles<T>>,
    recorder: &dyn Recorder,
    series: &Series<'_>,
    now: Instant,
    register: impl Fn() -> T,
    run: impl Fn(&T) -> R,
) -> R {
    // While a thread ends, it has no handles any more.
    let result = if is_of_process(recorder, now) {
        kept.try_with(|handles| handles.with(series, now, &register, &run)).ok()
    } else {
        None
    };
    result.unwrap_or_else(|| run(&register()))
}

/// Whether a recorder is installed. The facade has no such question. Its own no-op recorder has no fields, and no state that metrics could be in.
pub(super) fn is_real(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) != 0
}

/// Whether it is the recorder of the whole process, as far as it is known.
fn is_of_process(recorder: &dyn Recorder, now: Instant) -> bool {
    match OF_PROCESS.get() {
        Some(known) => *known == identity(recorder),
        None => {
            find_recorder_of_process(now);
            false
        }
    }
}

/// Looks for the recorder of the whole process, at most once per second. The facade returns it only on a thread without a recorder of its own, as a new
/// thread is. Once it is installed it is never replaced.
#[cold]
fn find_recorder_of_process(now: Instant) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.try_lock() else { return };
    if last.is_some_and(|last| now.saturating_duration_since(last) < KEPT) {
        return;
    }
    *last = Some(now);
    // Without threads, each request registers its metrics.
    let _ = thread::Builder::new().name("metrics-recorder".to_owned()).spawn(|| {
        metrics::with_recorder(|recorder| {
            if is_real(recorder) {
                let _ = OF_PROCESS.set(identity(recorder));
            }
        });
    });
}

/// The address and the size of a recorder: its first field has the same address.
fn identity(recorder: &dyn Recorder) -> (usize, usize) {
    (std::ptr::from_ref(recorder).addr(), size_of_val(recorder))
}

static OF_PROCESS: OnceLock<(usize, usize)> = OnceLock::new();

/// For how long a handle is used.
const KEPT: Duration = Duration::from_secs(1);

/// The most handles of one kind that a thread keeps. With more, all of them are registered again.
const MAX_HANDLES: usize = 512;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn series(route: &str) -> Series<'_> {
        let end =
            SeriesEnd { version: "1.1", status: Some(200), route: Some(route.into()), error: None };
        Series { method: "GET", scheme: "http", server: None, end: Some(end) }
    }

    #[test]
    fn a_metric_is_registered_again_after_a_second() {
        let handles = Handles::default();
        let registered = Cell::new(0);
        let start = Instant::now();
        let at = |millis: u64| {
            let register = || registered.replace(registered.get() + 1);
            handles.with(&series("/a"), start + Duration::from_millis(millis), register, |number| {
                *number
            })
        };
        for (millis, expected) in
            [(0, 0), (1, 0), (999, 0), (1000, 1), (1999, 1), (600_000, 2), (600_999, 2)]
        {
            assert_eq!(at(millis), expected, "{millis} ms");
        }
    }

    #[test]
    fn each_attribute_distinguishes_handles() {
        let handles = Handles::default();
        let registered = Cell::new(0);
        let base = series("/a");
        let end = |change: fn(&mut SeriesEnd<'static>)| {
            let mut series = base.clone().into_owned();
            change(series.end.as_mut().unwrap());
            series
        };
        let all = [
            base.clone().into_owned(),
            Series { method: "PUT", ..base.clone().into_owned() },
            Series { scheme: "https", ..base.clone().into_owned() },
            Series { server: Some(("a".into(), 80)), ..base.clone().into_owned() },
            Series { server: Some(("b".into(), 80)), ..base.clone().into_owned() },
            Series { server: Some(("a".into(), 81)), ..base.clone().into_owned() },
            Series { end: None, ..base.clone().into_owned() },
            Series { method: "PUT", end: None, ..base.clone().into_owned() },
            end(|end| end.version = "2"),
            end(|end| end.status = Some(404)),
            end(|end| end.status = None),
            end(|end| end.route = Some("/b".into())),
            end(|end| end.route = None),
            end(|end| end.error = Some("panic")),
            end(|end| end.error = Some("cancelled")),
        ];
        let now = Instant::now();
        for _ in 0..2 {
            for (expected, series) in all.iter().enumerate() {
                let register = || registered.replace(registered.get() + 1);
                assert_eq!(handles.with(series, now, register, |number| *number), expected);
            }
        }
    }

    #[test]
    fn the_number_of_handles_is_bounded() {
        let handles = Handles::default();
        let now = Instant::now();
        for number in 0..10 * MAX_HANDLES {
            let route = format!("/{number}");
            assert_eq!(handles.with(&series(&route), now, || number, |kept| *kept), number);
            assert!(handles.0.borrow().len() <= MAX_HANDLES);
        }
        // The last ones are kept.
        let last = format!("/{}", 10 * MAX_HANDLES - 1);
        handles.with(&series(&last), now, || panic!("it is registered"), |_| ());
    }

    #[test]
    fn a_recorder_that_records_a_request_of_its_own_does_not_panic() {
        let handles = Handles::default();
        let now = Instant::now();
        let inner = || handles.with(&series("/b"), now, || 1, |number| *number);
        assert_eq!(handles.with(&series("/a"), now, inner, |number| *number + inner()), 2);
        assert_eq!(handles.with(&series("/a"), now, inner, |number| *number + inner()), 2);
        let late = now + KEPT;
        let other = || handles.with(&series("/c"), late, || 1, |number| *number);
        assert_eq!(handles.with(&series("/a"), now, || 7, |number| *number + other()), 2);
    }
}
