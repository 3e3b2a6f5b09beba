//! Cuts a stream into the packets of git's protocol.

use super::advert::{AdvertError, next_packet};

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// One that holds something.
    Line(Vec<u8>),
    /// One that ends a list.
    Flush,
}

/// A reader that is fed with pieces of the stream and holds no more than one packet for long.
#[derive(Debug)]
pub struct Packets {
    pending: Vec<u8>,
    start: usize,
    read: usize,
    limit: usize,
}

impl Packets {
    /// Takes at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { pending: Vec::new(), start: 0, read: 0, limit }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), AdvertError> {
        self.read += piece.len();
        if self.read > self.limit {
            return Err(AdvertError::TooLong { limit: self.limit });
        }
        self.pending.drain(..self.start);
        self.start = 0;
        self.pending.extend_from_slice(piece);
        Ok(())
    }

    /// The next packet that is there as a whole.
    pub fn next(&mut self) -> Result<Option<Packet>, AdvertError> {
        let Some(packet) = next_packet(&self.pending[self.start..])? else { return Ok(None) };
        let begin = self.start + 4;
        let line = packet.payload.map(|length| Packet::Line(self.pending[begin..begin + length].to_vec()));
        self.start += packet.length;
        Ok(Some(line.unwrap_or(Packet::Flush)))
    }
}
