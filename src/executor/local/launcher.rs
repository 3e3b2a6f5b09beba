//! The thread that starts sandboxes.
//!
//! bubblewrap's `--die-with-parent` means the *thread* that started it. A worker thread of the runtime may
//! go away while a build runs (after `block_in_place`), so builds are started from a thread that stays as
//! long as their executor.

use std::io;
use std::sync::mpsc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::sys::process::{Child, ProcessError, Program};

struct Order {
    program: Program,
    runtime: Handle,
    answer: oneshot::Sender<Result<Child, ProcessError>>,
}

/// Starts programs from a thread of its own.
#[derive(Debug)]
pub struct Launcher {
    orders: mpsc::Sender<Order>,
}

impl Launcher {
    /// Starts the thread. It ends, and with it what it started, when this value is dropped.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("launcher".into()).spawn(move || {
            for Order { program, runtime, answer } in inbox {
                let _entered = runtime.enter();
                // Nobody waiting means that the build was given up; the child is killed as it is dropped.
                let _ = answer.send(program.spawn());
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a program.
    pub async fn spawn(&self, program: Program) -> Result<Child, ProcessError> {
        let (answer, result) = oneshot::channel();
        let order = Order { program, runtime: Handle::current(), answer };
        self.orders.send(order).expect("the thread lives as long as its launcher");
        result.await.expect("the thread answers every order")
    }
}
