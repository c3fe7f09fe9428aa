//! What a client says, and how it listens.

use std::sync::Mutex;
use std::time::Duration;

use forebay::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
    frames, request,
};

const MANY_STEPS: usize = 300;

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<u8>),
    Pause(Duration),
    /// The process drains, or is cut.
    Shutdown {
        at_once: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Client {
    steps: Vec<Step>,
    /// It takes what it is told; if not, nothing until the connection has ended.
    listens: bool,
    /// It leaves when it has said all. If not, it falls silent, but for its answers to PING, if it listens.
    leaves: bool,
    /// It says so many bytes at a time.
    piece: usize,
}

impl Client {
    pub fn read(manner: u8, rest: &[u8]) -> Self {
        let piece = match manner >> 4 & 3 {
            0 => usize::MAX,
            1 => 1,
            2 => 7,
            _ => 100,
        };
        let steps =
            if manner & 1 == 0 { Script { rest, next_stream: 1 }.steps() } else { vec![Step::Say(rest.to_vec())] };
        Self { steps, listens: manner & 2 == 0, leaves: manner & 4 != 0, piece }
    }

    pub fn listens(&self) -> bool {
        self.listens
    }

    /// What the stream to it holds.
    pub fn room(&self) -> usize {
        if self.listens { 1 << 16 } else { 200 }
    }

    pub fn pauses(&self) -> Duration {
        let pauses = self.steps.iter().map(|step| if let Step::Pause(pause) = step { *pause } else { Duration::ZERO });
        pauses.sum()
    }

    /// All that it says if it can.
    pub fn says(&self) -> Vec<u8> {
        self.steps.iter().flat_map(|step| if let Step::Say(bytes) = step { &bytes[..] } else { &[] }).copied().collect()
    }

    /// Says its part, and gives what it heard.
    pub async fn run(self, stream: DuplexStream, shutdown: Shutdown) -> Vec<u8> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        // The sending side, once all has been said.
        let idle = Mutex::new(None);
        let says = async {
            for step in &self.steps {
                match step {
                    Step::Say(bytes) => {
                        for piece in bytes.chunks(self.piece) {
                            if writer.write_all(piece).await.is_err() {
                                return;
                            }
                            tokio::task::yield_now().await;
                        }
                    }
                    Step::Pause(pause) => sleep(*pause).await,
                    Step::Shutdown { at_once: false } => shutdown.drain(),
                    Step::Shutdown { at_once: true } => shutdown.cut(),
                }
            }
            if self.leaves {
                let _ = writer.shutdown().await;
            }
            *idle.lock().expect("one thread") = Some(writer);
        };
        let mut heard = Vec::new();
        if self.listens {
            let hears = async {
                let mut known = 0;
                while matches!(reader.read_buf(&mut heard).await, Ok(read) if read > 0) {
                    let (new, rest) = frames(&heard[known..]);
                    known = heard.len() - rest.len();
                    let writer = idle.lock().expect("one thread").take();
                    let Some(mut writer) = writer.filter(|_| !self.leaves) else { continue };
                    for ping in new.iter().filter(|frame| frame.kind == PING && frame.flags == 0) {
                        let _ = writer.write_all(&frame(PING, 1, 0, &ping.payload)).await;
                    }
                    *idle.lock().expect("one thread") = Some(writer);
                }
            };
            tokio::join!(says, hears);
        } else {
            says.await;
            // As long as it takes to be noticed.
            sleep(super::ALL_CLOCKS).await;
            let _ = reader.read_to_end(&mut heard).await;
        }
        heard
    }
}

/// Makes steps of bytes.
struct Script<'a> {
    rest: &'a [u8],
    next_stream: u32,
}

impl Script<'_> {
    fn steps(mut self) -> Vec<Step> {
        let mut steps = vec![Step::Say([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())];
        while !self.rest.is_empty() && steps.len() < MANY_STEPS {
            let step = self.step();
            steps.push(step);
        }
        steps
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    fn bytes(&mut self, length: u8) -> Vec<u8> {
        let (bytes, rest) = self.rest.split_at(self.rest.len().min(length.into()));
        self.rest = rest;
        bytes.to_vec()
    }

    /// Mostly one that was opened.
    fn stream(&mut self) -> u32 {
        match self.byte() {
            255 => 0,
            254 => 2,
            253 => u32::MAX,
            back => self.next_stream.saturating_sub(2 + 2 * u32::from(back % 8)),
        }
    }

    fn step(&mut self) -> Step {
        let what = self.byte();
        Step::Say(match what % 16 {
            0..=3 => {
                let flags = self.byte();
                // Mostly complete; the fourth kind as the byte says.
                let flags = if what.is_multiple_of(4) { flags } else { END_HEADERS | flags & 1 };
                let block = self.block();
                let stream = self.next_stream;
                self.next_stream += 2;
                frame(HEADERS, flags, stream, &block)
            }
            4 | 5 => {
                let (stream, flags, length) = (self.stream(), self.byte(), usize::from(self.byte()) * 8);
                frame(DATA, flags & 1, stream, &vec![b'{'; length])
            }
            6 => {
                let (stream, increment) = (self.stream(), u32::from(self.byte()) << (what >> 4));
                frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
            }
            7 => {
                // The window of a stream, mostly.
                let (id, value) =
                    (if what < 128 { 4 } else { what & 7 }, u32::from(self.byte()) << ((what >> 5 & 3) * 8));
                frame(SETTINGS, 0, 0, &[&[0, id], &value.to_be_bytes()[..]].concat())
            }
            8 => frame(SETTINGS, 1, 0, &[]),
            9 => frame(PING, what >> 4 & 1, 0, &[what; 8]),
            10 => {
                let stream = self.stream();
                frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
            }
            11 => {
                let (stream, flags, length) = (self.next_stream.saturating_sub(2), self.byte(), self.byte());
                let block = self.bytes(length);
                frame(CONTINUATION, flags & END_HEADERS, stream, &block)
            }
            12 => {
                // Anything, in a frame.
                let (kind, flags, stream, length) = (self.byte(), self.byte(), self.stream(), self.byte());
                let payload = self.bytes(length);
                frame(kind, flags, stream, &payload)
            }
            13 => {
                // Anything, in no frame.
                let length = self.byte();
                self.bytes(length)
            }
            14 if what < 240 => return Step::Pause(Duration::from_millis(u64::from(self.byte()) * 400)),
            14 => return Step::Shutdown { at_once: self.byte() == 255 },
            _ => frame(GOAWAY, 0, 0, &[0; 8]),
        })
    }

    fn block(&mut self) -> Vec<u8> {
        let path = |path: &'static str| path.as_bytes();
        match self.byte() % 12 {
            0 | 1 => request(b"GET", path("/healthz"), b"a", &[]),
            2 => request(b"GET", path("/x"), b"a", &[(b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"te", b"trailers")]),
            3 => request(b"POST", path("/x"), b"a", &[]),
            4 => request(b"POST", path("/x"), b"a", &[(b"content-length", b"800")]),
            5 => request(b"POST", path("/s"), b"a", &[(b"expect", b"100-continue")]),
            6 => request(b"GET", path("/r?q"), b"a", &[]),
            7 => request(b"HEAD", path("/healthz"), b"a", &[]),
            8 => request(b"GET", path("/../x"), b"a", &[(b"connection", b"close"), (b"transfer-encoding", b"chunked")]),
            9 => request(b"GET", path("/x"), b"a", &[(b"x", &vec![b'x'; 100 * usize::from(self.byte())])]),
            10 => {
                let (length, value) = (self.byte(), self.byte());
                let (name, value) = (self.bytes(length % 32), self.bytes(value % 32));
                request(b"GET", path("/x"), b"a", &[(&name, &value)])
            }
            _ => {
                let length = self.byte();
                self.bytes(length)
            }
        }
    }
}
