//! Who holds a deployment: whoever has the write end of its FIFO open, as with logind's inhibitors.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use interlock_generator::names;
use nix::sys::stat::Mode;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::super::super::Input;

/// Makes the FIFO, and gives its write end away.
///
/// # Errors
/// Those of making and opening it.
pub(super) fn open(
    id: &str,
    generation: u64,
    inputs: &UnboundedSender<Input>,
) -> io::Result<(AbortHandle, OwnedFd)> {
    fs::create_dir_all(names::HOLDER_DIR)?;
    let path = path(id);
    remove(id);
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let reader = pipe::OpenOptions::new().open_receiver(&path)?;
    let writer = fs::OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)?;
    let watch = watch(reader, id, generation, inputs);
    Ok((watch, OwnedFd::from(writer)))
}

/// After a restart of interlockd.
///
/// # Errors
/// Why there is no holder any more.
pub(super) fn reopen(
    id: &str,
    generation: u64,
    inputs: &UnboundedSender<Input>,
) -> Result<AbortHandle, String> {
    let gone = |error: io::Error| format!("its FIFO can't be opened ({error})");
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path(id))
        .map_err(gone)?;
    // A FIFO without a writer reads as ended, but isn't told to have ended before it has had one.
    if let Ok(0) = file.read(&mut [0; 16]) {
        return Err("it went away while interlockd was not there".to_owned());
    }
    let reader = pipe::Receiver::from_file(file).map_err(gone)?;
    Ok(watch(reader, id, generation, inputs))
}

/// Forgets the FIFO.
pub(super) fn remove(id: &str) {
    let _ = fs::remove_file(path(id));
}

/// A descriptor for callers of deployments that nobody holds.
///
/// # Errors
/// Those of opening it.
pub(super) fn nothing() -> io::Result<OwnedFd> {
    fs::File::open("/dev/null").map(OwnedFd::from)
}

fn path(id: &str) -> PathBuf {
    [names::HOLDER_DIR, id].iter().collect()
}

fn watch(
    reader: pipe::Receiver,
    id: &str,
    generation: u64,
    inputs: &UnboundedSender<Input>,
) -> AbortHandle {
    let (id, inputs) = (id.to_owned(), inputs.clone());
    let task = tokio::spawn(async move {
        let mut ignored = [0; 64];
        loop {
            if reader.readable().await.is_err() {
                break;
            }
            match reader.try_read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
        let _ = inputs.send(Input::HolderGone { id, generation });
    });
    task.abort_handle()
}
