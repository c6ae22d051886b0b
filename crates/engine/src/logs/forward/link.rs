//! The connection to a collector: made when there is something to send, and again after it broke.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream},
    time::timeout,
};

use super::address::Address;

/// A collector that does not answer or take anything for so long is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, or none yet.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

impl Link {
    pub(super) fn new(address: Address) -> Self {
        let open = None;
        Self { address, open }
    }

    /// Sends packets: all of them, or it fails and the next try sends all again.
    pub(super) async fn send(&mut self, packets: &[Vec<u8>]) -> io::Result<()> {
        let sent = timeout(PATIENCE, self.try_send(packets)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if sent.is_err() {
            self.open = None;
        }
        sent
    }

    async fn try_send(&mut self, packets: &[Vec<u8>]) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(connect(&self.address).await?);
        }
        let Some(open) = &mut self.open else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        for packet in packets {
            match open {
                Open::Udp(socket) => drop(socket.send(packet).await?),
                Open::Datagram(socket) => drop(socket.send(packet).await?),
                Open::Tcp(stream) => stream.write_all(packet).await?,
                Open::Stream(stream) => stream.write_all(packet).await?,
            }
        }
        Ok(())
    }
}

async fn connect(address: &Address) -> io::Result<Open> {
    match address {
        Address::Tcp(host) => TcpStream::connect(host).await.map(Open::Tcp),
        Address::Stream(path) => UnixStream::connect(path).await.map(Open::Stream),
        Address::Datagram(paths) => datagram(paths).map(Open::Datagram),
        Address::Udp(host) => {
            let mut last = io::ErrorKind::NotFound.into();
            for peer in tokio::net::lookup_host(host).await? {
                let any = match peer.is_ipv4() {
                    true => "0.0.0.0:0",
                    false => "[::]:0",
                };
                let socket = UdpSocket::bind(any).await?;
                match socket.connect(peer).await {
                    Ok(()) => return Ok(Open::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn datagram(paths: &[PathBuf]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let mut last = io::ErrorKind::NotFound.into();
    for path in paths {
        match socket.connect(path) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
