use std::io;
use std::time::Duration;

use audit::Who;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// A listener that admits root and the users it is told, by the credentials the kernel vouches for.
///
/// The socket's mode says the same; this holds where somebody changed it.
pub(crate) struct Door {
    listener: UnixListener,
    admitted: Vec<u32>,
}

impl Door {
    pub(crate) fn new(listener: UnixListener, admitted: Vec<u32>) -> Self {
        Self { listener, admitted }
    }

    fn admits(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(peer) if is_admitted(peer.uid(), &self.admitted) => true,
            Ok(peer) => {
                tracing::warn!(peer.uid = peer.uid(), "turned away a user at the control socket");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "turned away a connection without credentials");
                false
            }
        }
    }
}

fn is_admitted(uid: u32, admitted: &[u32]) -> bool {
    uid == 0 || admitted.contains(&uid)
}

impl Listener for Door {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) if self.admits(&stream) => return (stream, address),
                Ok(_) => {}
                Err(error) => {
                    // Out of descriptors, most likely: a moment later there may be one.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Who is at the other end of a connection, by the credentials the kernel vouches for.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Option<Who>);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(stream.io().peer_cred().ok().map(|peer| Who::peer(peer.uid(), peer.pid())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_root_and_the_owner_come_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let me = rustix::process::geteuid().as_raw();
        for (owner, expect) in [(me, true), (me + 1, me == 0)] {
            let mut door = Door::new(stack::bind_private(&path).unwrap(), vec![owner]);
            let client = stack::connect(&path);
            let accepted = tokio::time::timeout(Duration::from_millis(300), door.accept());
            let (client, accepted) = tokio::join!(client, accepted);
            client.unwrap();
            assert_eq!(accepted.is_ok(), expect, "owner {owner}");
        }
        let users = [1000, 7110];
        assert!([0, 1000, 7110].iter().all(|uid| is_admitted(*uid, &users)) && !is_admitted(1001, &users));
    }
}
