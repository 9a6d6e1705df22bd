//! The gates' socket: takes connections, checks who they are, and hands them to the engine.

use std::os::unix::net::UnixListener as StdListener;

use interlock_generator::names;
use listenfd::ListenFd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Duration, timeout};

use super::Input;
use crate::cgroup;
use crate::gate::protocol::{LINE_MAX, parse_hello};

/// A gate speaks at once; whoever doesn't is none.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the socket that interlock.socket passed (sd_listen_fds(3)).
///
/// Never binds one itself: gates must go on waiting on the same socket while interlockd is away.
///
/// # Errors
/// If none was passed, or it isn't a listening Unix socket.
pub fn take_over() -> anyhow::Result<StdListener> {
    let passed = ListenFd::from_env().take_unix_listener(0)?;
    passed.ok_or_else(|| {
        anyhow::anyhow!(
            "none was passed: start interlockd through systemd (interlock.socket, {})",
            names::GATE_SOCKET
        )
    })
}

/// Accepts for ever.
pub async fn accept(listener: StdListener, inputs: UnboundedSender<Input>) {
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| UnixListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot listen on the gates' socket");
            std::process::exit(71);
        }
    };
    for connection in 1_u64.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, connection, inputs.clone()));
            }
            Err(error) => {
                // Out of descriptors or memory: those that wait stay in the backlog.
                tracing::warn!(%error, "cannot accept a gate's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, connection: u64, inputs: UnboundedSender<Input>) {
    let peer = stream.peer_cred();
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let mut hello = (&mut reader).take(LINE_MAX as u64);
    let Ok(Ok(_)) = timeout(HELLO_TIMEOUT, hello.read_line(&mut line)).await else {
        return;
    };
    let Some(unit) = parse_hello(&line).map(str::to_owned) else {
        tracing::warn!("a peer on the gates' socket doesn't speak the gates' protocol");
        return;
    };
    let verdict = match peer {
        Ok(peer) => check_peer(&unit, peer.uid(), peer.pid()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = verdict {
        tracing::warn!(
            unit,
            reason,
            "refused a peer that isn't the gate it says it is"
        );
        return;
    }
    let hello = Input::Hello {
        unit: unit.clone(),
        connection,
        writer,
    };
    if inputs.send(hello).is_err() {
        return;
    }
    wait_for_end(reader.into_inner()).await;
    let _ = inputs.send(Input::Closed { unit, connection });
}

/// A gate of a unit is root's, in the cgroup of that unit's gate.
fn check_peer(unit: &str, uid: u32, pid: Option<i32>) -> Result<(), String> {
    if uid != 0 {
        return Err(format!("it runs as uid {uid}"));
    }
    let pid = pid.ok_or("its pid is unknown")?;
    match cgroup::unit_of_process(pid) {
        Ok(Some(cgroup)) if cgroup == names::gate_of(unit) => Ok(()),
        Ok(cgroup) => Err(format!(
            "process {pid} runs in {}",
            cgroup.as_deref().unwrap_or("no cgroup")
        )),
        Err(error) => Err(format!("cannot read the cgroup of process {pid}: {error}")),
    }
}

/// A gate says nothing more: whatever comes, the connection ends with it.
async fn wait_for_end(mut reader: OwnedReadHalf) {
    let mut byte = [0_u8; 1];
    let _ = reader.read(&mut byte).await;
}
