//! Asks the journal about runs, one after the other, while the engine goes on.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::super::Input;
use super::result::{Meaning, meaning_of};
use super::{Conclusion, Stop};
use crate::logs::{self, Since};

/// How many of a run's last lines tell its cause.
const LINES: usize = 20;

/// What is to be found out.
#[derive(Debug)]
pub(super) enum Work {
    /// How a run ended whose lease began then. If the journal doesn't know, it ended as is said here.
    End(Conclusion, Since, Stop),
    /// What a failed run wrote last.
    LastLines(Conclusion),
}

/// What was found out.
#[derive(Debug)]
pub enum Examined {
    /// How a run ended.
    End(Conclusion),
    /// What a failed run wrote last.
    LastLines(Conclusion, Vec<String>),
}

/// Starts the reader; it ends with the engine.
pub(super) fn start(inputs: UnboundedSender<Input>) -> UnboundedSender<Work> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(examine(receiver, inputs));
    sender
}

async fn examine(mut works: UnboundedReceiver<Work>, inputs: UnboundedSender<Input>) {
    while let Some(work) = works.recv().await {
        let examined = match work {
            Work::LastLines(conclusion) => {
                let lines = logs::last_lines(&conclusion.unit, &conclusion.end, LINES).await;
                Examined::LastLines(conclusion, lines)
            }
            Work::End(mut conclusion, since, stop) => {
                if let Some(mut end) = logs::end_of(&conclusion.unit, since).await {
                    if stop == Stop::Asked && meaning_of(&end.result) == Meaning::Failure {
                        "stopped".clone_into(&mut end.result);
                    }
                    conclusion.end = end;
                }
                Examined::End(conclusion)
            }
        };
        if inputs.send(Input::Examined(Box::new(examined))).is_err() {
            return;
        }
    }
}
