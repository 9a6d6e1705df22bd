//! Child processes with a deadline, whose output is captured.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// What a process left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }

    /// Standard output and error together, for messages and for searching.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A process that runs in a process group of its own; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

impl Running {
    /// Starts `command` with its output captured and no input; `what` names it in messages.
    ///
    /// # Errors
    ///
    /// If it can't be started.
    pub fn start(what: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start: {what}"))?;
        Ok(Self {
            what: what.to_owned(),
            stdout: collect(child.stdout.take()),
            stderr: collect(child.stderr.take()),
            child,
        })
    }

    /// What it was started as.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// If the kernel can't tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// When `deadline` has passed; the process group is killed then.
    pub fn wait(mut self, deadline: Duration) -> Result<Output> {
        let what = format!("the end of: {}", self.what);
        let status = match wait_for(&what, deadline, || Ok(self.child.try_wait()?)) {
            Ok(status) => status,
            Err(error) => {
                self.kill();
                let status = self.child.wait()?;
                let output = self.output(status);
                bail!("{error}\n{}", output.text());
            }
        };
        Ok(self.output(status))
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let text = |reader: Option<JoinHandle<String>>| {
            reader
                .and_then(|reader| reader.join().ok())
                .unwrap_or_default()
        };
        Output {
            status: status.code(),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
        }
    }

    /// Kills its process group.
    pub fn kill(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let group = Pid::from_raw(self.child.id().cast_signed());
            // It may have ended in between.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program on this host.
///
/// # Errors
///
/// If it can't be started, outlasts `deadline` or fails; its output is in the message.
pub fn host(mut command: Command, deadline: Duration) -> Result<String> {
    let what = format!("{command:?}");
    command.env("LC_ALL", "C.UTF-8");
    let output = Running::start(&what, command)?.wait(deadline)?;
    if !output.success() {
        bail!(
            "{what} failed ({:?}):\n{}",
            output.status,
            output.text().trim_end()
        );
    }
    Ok(output.stdout)
}
