//! A change log, line by line, with bounded memory and a running hash of what was read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::path::Path;

/// The longest line that is read; a longer one is refused. 16 MiB.
pub const LONGEST_LINE_BYTES: usize = 16 << 20;

/// Where a change log is read from.
pub struct Lines {
    from: Box<dyn BufRead + Send>,
    position: Position,
}

/// How far a log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes read, ends of lines included.
    pub bytes: u64,
    /// The FNV-1a hash of these bytes. It tells apart logs that were mixed up, not forged ones.
    pub hash: u64,
}

impl Position {
    /// The beginning.
    pub const START: Self = Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 };

    fn advance(&mut self, read: &[u8]) {
        self.bytes += read.len() as u64;
        for byte in read {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It is longer than [`LONGEST_LINE_BYTES`].
    TooLong,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Lines {
    /// Reads the file at `path`. Also returns its size in bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<(Self, u64)> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((Self::of(BufReader::with_capacity(1 << 16, file)), size))
    }

    /// Reads a log that is part of the program.
    #[must_use]
    pub fn bundled(bytes: &'static [u8]) -> (Self, u64) {
        (Self::of(Cursor::new(bytes)), bytes.len() as u64)
    }

    fn of(from: impl BufRead + Send + 'static) -> Self {
        Self { from: Box::new(from), position: Position::START }
    }

    /// How far it was read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Reads on to this many bytes from the beginning, or to the end if that comes first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn skip_to(&mut self, bytes: u64) -> io::Result<()> {
        while self.position.bytes < bytes {
            let buffer = self.from.fill_buf()?;
            let left = usize::try_from(bytes - self.position.bytes).unwrap_or(usize::MAX);
            let length = buffer.len().min(left);
            if length == 0 {
                return Ok(());
            }
            self.position.advance(&buffer[..length]);
            self.from.consume(length);
        }
        Ok(())
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let start = self.position.bytes;
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let buffer = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(buffer.len(), |end| end + 1);
            if length == 0 {
                break;
            }
            too_long |= line.len() + length > LONGEST_LINE_BYTES;
            if !too_long {
                line.extend_from_slice(&buffer[..length]);
            }
            self.position.advance(&buffer[..length]);
            self.from.consume(length);
            if end.is_some() {
                break;
            }
        }
        if self.position.bytes == start {
            return Ok(None);
        }
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(Some(Line::Bytes(line)))
    }
}
