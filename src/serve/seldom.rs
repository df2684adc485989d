//! A future that is polled only after it was woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Decides when a future is polled that shares its task with a busier one.
///
/// A task polls all of its futures whenever one of them is woken. The timer of a connection and the signals of its server would be polled for
/// each request, although they change once in a while.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<(Arc<Signal>, Waker)>);

impl Seldom {
    /// Polls the future if it was woken, or not polled so far.
    pub(super) fn poll<F: Future>(
        &mut self,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let (signal, waker) = match &mut self.0 {
            Some(this) if this.0.task.will_wake(cx.waker()) => this,
            this => {
                let task = cx.waker().clone();
                let signal = Arc::new(Signal { is_woken: AtomicBool::new(true), task });
                this.insert((signal.clone(), signal.into()))
            }
        };
        // The first check is cheaper than the exchange, and is false nearly always.
        if !signal.is_woken.load(Ordering::Relaxed)
            || !signal.is_woken.swap(false, Ordering::AcqRel)
        {
            return Poll::Pending;
        }
        future.poll(&mut Context::from_waker(waker))
    }

    /// Forgets the present future: the next one is polled at once.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

/// Whether the future was woken, and the task that polls it.
#[derive(Debug)]
struct Signal {
    is_woken: AtomicBool,
    task: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use futures_util::task::noop_waker;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_again_once_it_is_woken() {
        let (sender, receiver) = oneshot::channel();
        let mut polled = 0;
        let mut receiver = pin!(receiver);
        let mut future = pin!(poll_fn(|cx| {
            polled += 1;
            receiver.as_mut().poll(cx)
        }));
        let mut seldom = Seldom::default();
        poll_fn(|cx| {
            for _ in 0..10 {
                assert!(seldom.poll(future.as_mut(), cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        sender.send(7).unwrap();
        let received = poll_fn(|cx| seldom.poll(future.as_mut(), cx)).await;
        assert_eq!((received, polled), (Ok(7), 2));
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_polled_it_last() {
        let (sender, mut receiver) = oneshot::channel();
        let mut seldom = Seldom::default();
        let other = noop_waker();
        assert!(
            seldom.poll(Pin::new(&mut receiver), &mut Context::from_waker(&other)).is_pending()
        );
        let waiting =
            tokio::spawn(
                async move { poll_fn(|cx| seldom.poll(Pin::new(&mut receiver), cx)).await },
            );
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn after_a_reset_the_next_future_is_polled_at_once() {
        let mut seldom = Seldom::default();
        poll_fn(|cx| {
            assert!(seldom.poll(pin!(std::future::pending::<()>()), cx).is_pending());
            assert!(seldom.poll(pin!(std::future::ready(())), cx).is_pending());
            seldom.reset();
            assert!(seldom.poll(pin!(std::future::ready(())), cx).is_ready());
            Poll::Ready(())
        })
        .await;
    }
}
