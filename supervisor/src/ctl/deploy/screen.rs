//! Where progress goes: a picture on a terminal that is drawn over and over, lines elsewhere, and the status text of
//! a unit.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use interlock_generator::policy;
use interlock_generator::policy::settings::DeployAction;
use libsystemd::daemon::{self, NotifyState};
use terminal_size::{Height, Width, terminal_size_of};

use super::model::Deployment;
use super::progress::{self, Setting};
use crate::ctl::clock::Clock;
use crate::ctl::{output, text};

/// More lines than that tell nobody more.
const MOST_LINES: usize = 15;

type Fallbacks = BTreeMap<String, Option<&'static str>>;

/// Shows how a deployment comes along, on standard error.
pub struct Progress {
    place: Place,
    shown: Option<Deployment>,
    fallbacks: Fallbacks,
}

enum Place {
    /// So many cells and lines, of which so many are drawn.
    Terminal {
        cells: usize,
        lines: usize,
        drawn: usize,
    },
    /// A line for each change.
    Log,
    /// The same, and the status text of the unit.
    Unit,
}

impl Progress {
    /// On standard error.
    pub fn on_stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let size = terminal_size_of(io::stderr());
        let place = match size {
            Some((Width(cells), Height(lines))) if io::stderr().is_terminal() && !dumb => {
                let known = |size: u16, usual: usize| match size {
                    // A serial console tells 0.
                    0 => usual,
                    size => usize::from(size),
                };
                Place::Terminal {
                    // One cell less, so that the cursor doesn't wrap to the next line.
                    cells: known(cells, output::USUAL_WIDTH) - 1,
                    lines: known(lines, 24).saturating_sub(2).clamp(1, MOST_LINES),
                    drawn: 0,
                }
            }
            _ => Place::Log,
        };
        Self::at(place)
    }

    /// For systemd(1), which has started this process as a unit.
    pub fn of_unit() -> Self {
        Self::at(Place::Unit)
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            shown: None,
            fallbacks: fallbacks(),
        }
    }

    fn setting(&self) -> Setting {
        Setting {
            clock: Clock::of_host(),
            fallbacks: self.fallbacks.clone(),
        }
    }

    /// Whether times that go by want it drawn again.
    pub fn is_drawn(&self) -> bool {
        matches!(self.place, Place::Terminal { .. })
    }

    /// What is known already, and needn't be told.
    pub fn knows(&mut self, now: &Deployment) {
        self.shown = Some(now.clone());
    }

    /// Shows a state.
    pub fn show(&mut self, now: &Deployment) {
        let setting = self.setting();
        if !self.is_drawn() {
            for line in progress::changes(self.shown.as_ref(), now, &setting) {
                tell(&line);
            }
        }
        if matches!(self.place, Place::Unit) && !now.is_over() {
            let picture = progress::picture(now, &setting, MOST_LINES);
            // What is waited for says more than how much of it there is.
            let line = picture.get(1).or(picture.first());
            notify(&[NotifyState::Status(text::one_line(
                line.map_or("", |line| line.trim()),
            ))]);
        }
        self.shown = Some(now.clone());
        self.draw();
    }

    /// Draws it again.
    pub fn draw(&mut self) {
        let setting = self.setting();
        let (
            Place::Terminal {
                cells,
                lines,
                drawn,
            },
            Some(now),
        ) = (&mut self.place, &self.shown)
        else {
            return;
        };
        let picture = progress::picture(now, &setting, *lines);
        let picture: Vec<String> = picture
            .iter()
            .map(|line| text::fit(&text::one_line(line), *cells))
            .collect();
        let lines: String = picture.iter().map(|line| format!("{line}\n")).collect();
        write(&format!("{}{lines}", erasing(*drawn)));
        *drawn = picture.len();
    }

    /// Takes the picture away.
    pub fn clear(&mut self) {
        if let Place::Terminal { drawn, .. } = &mut self.place {
            let drawn = std::mem::take(drawn);
            if drawn > 0 {
                write(&erasing(drawn));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What the policy does to tasks that aren't at rest in time. The bus doesn't tell; as it only informs, the policy of
/// this host that interlockd reads too is good enough.
fn fallbacks() -> Fallbacks {
    let loaded = policy::load(Path::new("/"));
    let tasks = loaded.settings.tasks().values();
    let fallback = |task: &policy::settings::Task| {
        let fallback = task.on_deploy.fallback;
        fallback
            .filter(|fallback| *fallback != DeployAction::Protect)
            .map(DeployAction::name)
    };
    tasks
        .map(|task| (task.name.clone(), fallback(task)))
        .collect()
}

/// Up so many lines, and all below it away (console_codes(4): CUU, ED).
fn erasing(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\x1b[{lines}A\r\x1b[J"),
    }
}

/// A line on standard error that stays.
pub fn tell(line: &str) {
    write(&format!("{}\n", text::one_line(line)));
}

/// Tells systemd; without one there is nobody to tell.
pub fn notify(states: &[NotifyState]) {
    let _ = daemon::notify(false, states);
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is nobody to tell that this failed.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}
