//! The queue between the requests and the writer of lines.

use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Where lines are written.
pub(super) enum Sink {
    Writer(Box<dyn Write + Send>),
    Function(Box<dyn Fn(&str) + Send>),
}

/// A bounded queue, and the thread that empties it. The thread starts with the first line, and ends when the queue is dropped.
pub(super) struct Queue {
    /// In lines.
    length: AtomicUsize,
    lines: OnceLock<Option<SyncSender<Message>>>,
    /// Taken by the thread.
    target: Mutex<Option<Sink>>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

impl Queue {
    pub(super) fn new(target: Sink, length: usize) -> Self {
        Self {
            length: AtomicUsize::new(length),
            lines: OnceLock::new(),
            target: Mutex::new(Some(target)),
            lost: Arc::default(),
        }
    }

    /// Replaces the target. Without effect after the first line.
    pub(super) fn set_target(&self, target: Sink) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Sets how many lines may wait. Without effect after the first line.
    pub(super) fn set_length(&self, lines: usize) {
        self.length.store(lines, Ordering::Relaxed);
    }

    /// Adds a line. If the queue is full, the line is counted as lost.
    pub(super) fn push(&self, line: String) {
        let sent = self.lines().is_some_and(|lines| lines.try_send(Message::Line(line)).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sender. `None` if the system has no further thread.
    fn lines(&self) -> Option<&SyncSender<Message>> {
        self.lines.get_or_init(|| self.start()).as_ref()
    }

    fn start(&self) -> Option<SyncSender<Message>> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (sender, receiver) = sync_channel(self.length.load(Ordering::Relaxed).max(1));
        let writer = LineWriter { target, lost: self.lost.clone() };
        let thread = thread::Builder::new().name("access-log".to_owned());
        thread.spawn(move || writer.run(&receiver)).ok().map(|_| sender)
    }
}

/// The thread's part of a queue.
struct LineWriter {
    target: Sink,
    lost: Arc<AtomicU64>,
}

impl LineWriter {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut reported = 0;
        while let Ok(first) = queue.recv() {
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(Message::Line(line)) => self.write(line),
                    Ok(Message::Flush(done)) => {
                        self.flush();
                        let _ = done.try_send(());
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.flush(),
                }
                next = queue.try_recv();
            }
            self.flush();
            let lost = self.lost.load(Ordering::Relaxed);
            if lost > reported {
                tracing::warn!(lines = lost - reported, "lines of the access log were lost");
                reported = lost;
            }
        }
    }

    fn write(&mut self, mut line: String) {
        self.attempt(|target| match target {
            Sink::Function(write) => {
                write(&line);
                Ok(())
            }
            Sink::Writer(writer) => {
                line.push('\n');
                writer.write_all(line.as_bytes())
            }
        });
    }

    fn flush(&mut self) {
        self.attempt(|target| match target {
            Sink::Writer(writer) => writer.flush(),
            Sink::Function(_) => Ok(()),
        });
    }

    /// Counts a failure. The target may be a function of the program, which may panic.
    fn attempt(&mut self, write: impl FnOnce(&mut Sink) -> io::Result<()>) {
        let attempt = catch_unwind(AssertUnwindSafe(|| write(&mut self.target)));
        if !matches!(attempt, Ok(Ok(()))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What an access log has lost, and a way to wait for it. Returned by [`AccessLog::handle`](super::AccessLog::handle).
#[derive(Clone)]
pub struct AccessLogHandle(Arc<Queue>);

impl AccessLogHandle {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// The number of lines that were not written: the queue was full, or the writer failed.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines of the requests that are over are written, for at most this time. Returns whether they are. It blocks the thread: call it when
    /// the server has stopped.
    pub fn flush(&self, timeout: Duration) -> bool {
        let Some(Some(lines)) = self.0.lines.get() else { return true };
        // A time so long that the clock has no such instant is an hour.
        let now = Instant::now();
        let end = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(3_600));
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Flush(done);
        // The queue may be full.
        while let Err(error) = lines.try_send(message) {
            match error {
                TrySendError::Full(back) if Instant::now() < end => message = back,
                _ => return false,
            }
            thread::sleep(Duration::from_millis(1));
        }
        is_done.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl fmt::Debug for AccessLogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogHandle").field("lost", &self.lost()).finish()
    }
}
