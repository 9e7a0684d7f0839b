//! Writes JSON log lines without characters that could drive or deceive a terminal.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use crate::text;

/// Makes writers that pass on lines with [`text::printable_json`] applied.
pub(super) struct PrintableJson<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for PrintableJson<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Line(self.0.make_writer_for(meta))
    }
}

/// A writer of one line.
pub(super) struct Line<W>(W);

impl<W: io::Write> io::Write for Line<W> {
    // The subscriber hands over a whole line at a time, so no character is split.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(line) => self.0.write_all(text::printable_json(line).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
