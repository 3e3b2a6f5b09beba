//! Signals by which people and service managers ask for something.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish what is being done, then end.
    Terminate,
    /// SIGINT (Ctrl-C): the same, from a person at a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Signals as they come in; never ends. While it exists they do not end the program by themselves.
#[derive(Debug)]
pub struct Signals([(Signal, Listener); 3]);

/// Begins to listen to SIGTERM, SIGINT and SIGHUP. Needs a running tokio runtime.
///
/// # Errors
/// What the system says if handlers cannot be set.
pub fn listen() -> io::Result<Signals> {
    Ok(Signals([
        (Signal::Terminate, signal(SignalKind::terminate())?),
        (Signal::Interrupt, signal(SignalKind::interrupt())?),
        (Signal::Reload, signal(SignalKind::hangup())?),
    ]))
}

impl Signals {
    /// Waits for the next signal.
    pub async fn recv(&mut self) -> Signal {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        let ready =
            self.0.iter_mut().find_map(|(kind, listener)| listener.poll_recv(context).is_ready().then_some(*kind));
        ready.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.get_mut().poll(context).map(Some)
    }
}

/// Ends the program as `kill -9` would: nothing is flushed, closed or cleaned up. For tests that stop it
/// between two steps.
#[cfg(feature = "failpoints")]
pub fn die() -> ! {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use nix::sys::signal::{Signal as Raw, raise};

    use super::*;

    #[tokio::test]
    async fn signals_arrive_as_what_they_ask_for() {
        let mut signals = listen().expect("handlers");
        for (raw, asked) in
            [(Raw::SIGHUP, Signal::Reload), (Raw::SIGTERM, Signal::Terminate), (Raw::SIGINT, Signal::Interrupt)]
        {
            raise(raw).expect("raised");
            assert_eq!(signals.recv().await, asked);
        }
        raise(Raw::SIGHUP).expect("raised");
        assert_eq!(signals.next().await, Some(Signal::Reload));
    }
}
