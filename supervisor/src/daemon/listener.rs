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
use super::desk::Desk;
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
    let desk = Desk::default();
    for connection in 1_u64.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, connection, inputs.clone(), desk.clone()));
            }
            Err(error) => {
                // Out of descriptors or memory: those that wait stay in the backlog.
                tracing::warn!(%error, "cannot accept a gate's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, connection: u64, inputs: UnboundedSender<Input>, desk: Desk) {
    // Before a word is read: nobody but a gate has anything to say, however slowly.
    let seat = match gate_at(&stream).and_then(|unit| desk.seat(unit)) {
        Ok(seat) => seat,
        Err(reason) => return desk.complain(&reason),
    };
    let unit = seat.unit.clone();
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(LINE_MAX, reader);
    let mut line = String::new();
    let mut hello = (&mut reader).take(LINE_MAX as u64);
    let Ok(Ok(_)) = timeout(HELLO_TIMEOUT, hello.read_line(&mut line)).await else {
        return;
    };
    match parse_hello(&line) {
        Some(said) if said == unit => {}
        Some(said) => {
            return desk.complain(&format!(
                "the gate of {unit} says that it is that of {said}"
            ));
        }
        None => {
            return desk.complain(&format!(
                "the gate of {unit} doesn't speak the gates' protocol"
            ));
        }
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

/// The unit at whose gate the peer is: a gate is root's, in the cgroup of its unit's gate.
fn gate_at(stream: &UnixStream) -> Result<String, String> {
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    if peer.uid() != 0 {
        return Err(format!("it runs as uid {}", peer.uid()));
    }
    let pid = peer.pid().ok_or("its pid is unknown")?;
    match cgroup::unit_of_process(pid) {
        Ok(cgroup) => match cgroup.as_deref().and_then(names::unit_of_gate) {
            Some(unit) => Ok(unit.to_owned()),
            None => Err(format!(
                "process {pid} runs in {}",
                cgroup.as_deref().unwrap_or("no cgroup")
            )),
        },
        Err(error) => Err(format!("cannot read the cgroup of process {pid}: {error}")),
    }
}

/// A gate says nothing more: whatever comes, the connection ends with it.
async fn wait_for_end(mut reader: OwnedReadHalf) {
    let mut byte = [0_u8; 1];
    let _ = reader.read(&mut byte).await;
}
