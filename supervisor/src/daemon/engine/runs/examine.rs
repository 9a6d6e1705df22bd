//! Reads what failed runs have written, one after the other, while the engine goes on.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::super::Input;
use super::Conclusion;
use crate::logs;

/// How many of a run's last lines tell its cause.
const LINES: usize = 20;

/// A run that failed.
#[derive(Debug)]
pub(super) struct Failure(pub Conclusion);

/// One whose last lines were read.
#[derive(Debug)]
pub struct Examined {
    pub(super) conclusion: Conclusion,
    pub(super) lines: Vec<String>,
}

/// Starts the reader; it ends with the engine.
pub(super) fn start(inputs: UnboundedSender<Input>) -> UnboundedSender<Failure> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(examine(receiver, inputs));
    sender
}

async fn examine(mut failures: UnboundedReceiver<Failure>, inputs: UnboundedSender<Input>) {
    while let Some(Failure(conclusion)) = failures.recv().await {
        let lines = logs::last_lines(&conclusion.unit, &conclusion.end, LINES).await;
        let examined = Examined { conclusion, lines };
        if inputs.send(Input::Examined(Box::new(examined))).is_err() {
            return;
        }
    }
}
