//! The tasks that a server lives by. Each has a name; the first that ends unasked is a [`Fault`], because a server without
//! its core, its writer or its keeper would look alive and serve nobody.
//!
//! Input: futures that run as long as the server. Output: the end of the first of them. Dropping the set ends them all;
//! [`Tasks::end`] also waits for the threads that some run on.

use super::fault::Fault;
use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::timeout;

/// A thread whose task was dropped has nothing left to do; one that hangs must not hold up our end.
const THREAD_END_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    handles: HashMap<Id, (&'static str, AbortHandle)>,
    threads: Vec<Thread>,
}

/// A thread that runs one task.
#[derive(Debug)]
struct Thread {
    name: &'static str,
    handle: thread::JoinHandle<()>,
    /// Closed when all is dropped that the thread had.
    gone: oneshot::Receiver<()>,
}

impl Tasks {
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.handles.insert(handle.id(), (name, handle));
    }

    /// A task on a thread and a runtime of its own, for one that is woken so often that being passed from thread to thread
    /// would cost it more than its work. `thread` names the thread to whoever looks at the process.
    pub fn spawn_on_own_thread(
        &mut self,
        name: &'static str,
        thread: &str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fault> {
        let failed = |source| Fault::Thread { name, source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (ended, end) = oneshot::channel();
        let (held, given_up) = oneshot::channel::<()>();
        let (here, gone) = oneshot::channel::<()>();
        let work = move || {
            let _here = here;
            let runs = async {
                tokio::select! {
                    () = task => {}
                    _ = given_up => {}
                }
            };
            let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(runs)));
            drop(runtime);
            let _ = ended.send(result);
        };
        let handle = thread::Builder::new().name(thread.into()).spawn(work).map_err(failed)?;
        self.threads.push(Thread { name, handle, gone });
        self.spawn(name, async move {
            // Dropped with this task, which gives up the one on the thread.
            let _held = held;
            if let Ok(Err(panic)) = end.await {
                resume_unwind(panic);
            }
        });
        Ok(())
    }

    /// Waits for the first task that ends and says which and why.
    pub async fn first_end(&mut self) -> Fault {
        let (id, why) = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, "it returned".to_owned()),
            Some(Err(error)) => (error.id(), reason(error)),
            None => pending().await,
        };
        Fault::TaskEnded { name: self.handles.get(&id).map_or("task", |(name, _)| name), why }
    }

    /// Ends them all, and returns when none runs any more.
    pub async fn end(&mut self) {
        self.set.shutdown().await;
        for Thread { name, handle, gone } in self.threads.drain(..) {
            match timeout(THREAD_END_MAX, gone).await {
                // Its panic, if there was one, was taken by the task that waited for it.
                Ok(_) => drop(handle.join()),
                Err(_) => tracing::warn!(kind = "thread_left", name, "it does not end"),
            }
        }
    }

    /// Ends the tasks of that name, for tests.
    #[cfg(test)]
    pub fn abort(&self, name: &str) {
        self.handles.values().filter(|(of, _)| *of == name).for_each(|(_, handle)| handle.abort());
    }
}

fn reason(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("it panicked: {}", message(&*panic)),
        Err(error) => error.to_string(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_task_that_panics_is_named_with_its_message() {
        let mut tasks = Tasks::default();
        tasks.spawn("keeper", pending());
        tasks.spawn("core", async { panic!("a leg of {} calls", 2) });
        let fault = tasks.first_end().await.to_string();
        assert!(fault.starts_with("the core ended: it panicked: a leg of 2 calls"), "{fault}");
    }

    #[tokio::test]
    async fn panic_on_a_thread_of_its_own_is_named_like_any_other() {
        let mut tasks = Tasks::default();
        tasks.spawn_on_own_thread("relay", "relay", async { panic!("a port of {} calls", 2) }).expect("a thread");
        let fault = tasks.first_end().await.to_string();
        assert!(fault.starts_with("the relay ended: it panicked: a port of 2 calls"), "{fault}");
    }

    #[tokio::test]
    async fn after_the_end_no_thread_runs_any_more() {
        /// Dropped when its task is; says so late, so that only who waits for the thread sees it.
        struct Late(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl Drop for Late {
            fn drop(&mut self) {
                thread::sleep(Duration::from_millis(50));
                self.0.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        let dropped = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let (late, (up, is_up)) = (Late(dropped.clone()), oneshot::channel());
        let mut tasks = Tasks::default();
        let task = async move {
            let _late = late;
            let _ = up.send(());
            pending().await
        };
        tasks.spawn_on_own_thread("relay", "relay", task).expect("a thread");
        is_up.await.expect("it runs");
        tasks.end().await;
        assert!(dropped.load(std::sync::atomic::Ordering::Acquire), "the thread is still at work");
    }
}
