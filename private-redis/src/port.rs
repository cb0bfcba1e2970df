//! A port that stays one server's while it is stopped.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use crate::error::Error;

/// Below the ports that systems give to outgoing connections. Otherwise one of those could take the
/// port of a stopped server; a client that tries to reach it may even connect to itself.
const PORTS: std::ops::Range<u16> = 10_000..32_768;

/// A port of 127.0.0.1 that belongs to nobody else who asks here, in any program.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Redis speaks TCP only. So the UDP port of the same number can say that it is taken, and
    /// the system takes that back when the program ends.
    _taken: UdpSocket,
}

impl Port {
    pub(crate) fn take() -> Result<Self, Error> {
        let mut last = None;
        for _ in 0..1_000 {
            let number = fastrand::u16(PORTS);
            let address = (Ipv4Addr::LOCALHOST, number);
            match UdpSocket::bind(address).and_then(|taken| {
                TcpListener::bind(address)?;
                Ok(taken)
            }) {
                Ok(taken) => return Ok(Self { number, _taken: taken }),
                Err(error) => last = Some(error),
            }
        }
        Err(Error::system("find a free port")(last.expect("there was an attempt")))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
