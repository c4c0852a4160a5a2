//! The tasks that a server lives by. Each has a name; the first that ends unasked is a [`Fault`], because a server without
//! its core, its writer or its keeper would look alive and serve nobody.
//!
//! Input: futures that run as long as the server. Output: the end of the first of them. Dropping the set ends them all.

use super::fault::Fault;
use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, pending};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    handles: HashMap<Id, (&'static str, AbortHandle)>,
}

impl Tasks {
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.handles.insert(handle.id(), (name, handle));
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
    }

    /// Ends the tasks of that name, for tests.
    #[cfg(test)]
    pub fn abort(&self, name: &str) {
        self.handles.values().filter(|(of, _)| *of == name).for_each(|(_, handle)| handle.abort());
    }
}

/// Runs a task on a thread and a runtime of its own, for one that is woken so often that being passed from thread to
/// thread would cost it more than its work. It ends with the future that is returned.
pub async fn on_own_thread(task: impl Future<Output = ()> + Send + 'static) {
    let (ended, end) = oneshot::channel::<()>();
    let (dropped, given_up) = oneshot::channel::<()>();
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system gives a runtime to a thread that it gave us");
        runtime.block_on(async {
            tokio::select! {
                () = task => {}
                _ = given_up => {}
            }
        });
        drop(ended);
    };
    let spawned = std::thread::Builder::new().name("relay".into()).spawn(work);
    if spawned.is_ok() {
        let _ = end.await;
    }
    drop(dropped);
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
}
