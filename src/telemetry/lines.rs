//! Where log lines wait for standard error: they are written together, by a thread of their own.
//!
//! A system call for each line would be a tenth of what an exchange costs, and a terminal or a pipe that takes nothing would
//! hold up everybody who has something to say.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines wait for others to be written with. What is lost when the process is killed is not older than this.
const PAUSE: Duration = Duration::from_millis(10);
/// How much waits at most while nobody reads. Beyond it lines are counted, and no longer kept.
const ROOM: usize = 1024 * 1024;
/// How long the last lines of the process have.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The lines of this process. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to write, or there will be nothing more.
    work: Condvar,
    /// All is written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    lost: u64,
    has_ended: bool,
}

impl Lines {
    /// Begins to write them to `out`.
    pub(super) fn write_to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self::default();
        let theirs = lines.clone();
        thread::Builder::new().name("log".into()).spawn(move || theirs.run(out))?;
        Ok(lines)
    }

    /// Waits until everything is written, for a second at most. Lines that come later are written as they come.
    pub(super) fn finish(&self) {
        let mut state = self.0.state();
        state.has_ended = true;
        self.0.work.notify_one();
        let is_busy = |state: &mut State| !state.waiting.is_empty() || state.is_writing;
        drop(self.0.done.wait_timeout_while(state, LAST_LINES, is_busy));
    }

    fn run(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let state = self.0.state();
            let mut state =
                self.0.work.wait_while(state, |state| state.waiting.is_empty()).unwrap_or_else(PoisonError::into_inner);
            if !state.has_ended {
                drop(state);
                thread::sleep(PAUSE);
                state = self.0.state();
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let lost = std::mem::take(&mut state.lost);
            state.is_writing = true;
            drop(state);
            // There is nowhere to tell that standard error is broken.
            let _ = out.write_all(&batch);
            if lost > 0 {
                let _ = writeln!(out, "forebay: {lost} log lines were lost, because standard error took no more");
            }
            let _ = out.flush();
            batch.clear();
            self.0.state().is_writing = false;
            self.0.done.notify_all();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whole lines.
impl Write for &Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.waiting.len() + line.len() > ROOM {
            state.lost += 1;
            return Ok(line.len());
        }
        let is_first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if is_first {
            self.work.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Shared;

    fn make_writer(&'a self) -> Self::Writer {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_once_and_in_order() {
        let (_, never) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::write_to(Stuck(never, Arc::clone(&written))).unwrap();
        let mut expected = Vec::new();
        for round in 0..500 {
            let line = format!("line {round}\n");
            expected.extend_from_slice(line.as_bytes());
            lines.make_writer().write_all(line.as_bytes()).unwrap();
        }
        lines.finish();
        assert_eq!(*written.lock().unwrap(), expected);
        // What is said after the end is written, too.
        lines.make_writer().write_all(b"late\n").unwrap();
        lines.finish();
        assert!(written.lock().unwrap().ends_with(b"late\n"));
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody_and_its_gap_is_told() {
        let (open, gate) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::write_to(Stuck(gate, Arc::clone(&written))).unwrap();
        let line = [b'x'; 1000];
        // Twice the room, because one batch may be in the hands of the writer.
        for _ in 0..2 * ROOM / line.len() + 10 {
            lines.make_writer().write_all(&line).unwrap();
        }
        drop(open);
        lines.finish();
        let written = written.lock().unwrap();
        assert!(written.len() <= 2 * ROOM + 100);
        let told = String::from_utf8_lossy(&written[written.len().saturating_sub(100)..]).into_owned();
        assert!(told.contains("log lines were lost"), "{told}");
    }
}
