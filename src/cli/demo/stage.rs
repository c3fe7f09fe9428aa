//! Two columns, and time from top to bottom: each line is printed when it happens.

use std::io::{self, Write};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::scenes::Scene;
use crate::cli::paragraph::paragraph;

/// The widths of the two columns.
const LEFT: usize = 29;
const RIGHT: usize = 61;
/// Where running text begins.
const INDENT: &str = "    ";

/// Whose column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The client that talks to the upstream.
    Without,
    /// The client that talks to forebay.
    With,
}

/// Something that a client sees now.
#[derive(Debug)]
pub(super) struct Moment {
    /// Which client.
    pub(super) side: Side,
    /// What.
    pub(super) text: String,
}

/// One scene, while it is played.
pub(super) struct Stage<'a, W> {
    scene: &'a Scene,
    out: &'a mut W,
    moments: UnboundedReceiver<Moment>,
    start: Instant,
    /// What did not fit into its column.
    cut: Vec<String>,
}

impl<'a, W: Write> Stage<'a, W> {
    /// Announces a scene, and starts its clock. Moments are shown by [`follow`](Self::follow).
    pub(super) fn open(number: u32, scene: &'a Scene, out: &'a mut W) -> io::Result<(Self, UnboundedSender<Moment>)> {
        let (sender, moments) = unbounded_channel();
        writeln!(out, "\nScene {number}: {}\n", scene.title)?;
        line(out, "time", "WITHOUT forebay", "WITH forebay")?;
        line(out, "0.0s", "sends the request", "sends the request")?;
        Ok((Self { scene, out, moments, start: Instant::now(), cut: Vec::new() }, sender))
    }

    /// Shows every moment until both clients are done, and then what there is to add.
    pub(super) async fn follow(&mut self) -> io::Result<()> {
        while let Some(Moment { side, text }) = self.moments.recv().await {
            let time = format!("{:.1}s", self.start.elapsed().as_secs_f64());
            match side {
                Side::Without => {
                    let text = self.fitting(text, LEFT - 2);
                    line(self.out, &time, &text, "")?;
                }
                Side::With => {
                    let text = self.fitting(text, RIGHT);
                    line(self.out, &time, "", &text)?;
                }
            }
        }
        for text in &self.cut {
            writeln!(self.out)?;
            paragraph(self.out, INDENT, INDENT, text)?;
        }
        writeln!(self.out)?;
        paragraph(self.out, INDENT, INDENT, self.scene.note)
    }

    /// What there is room for. What was cut is shown in full after the scene.
    fn fitting(&mut self, text: String, width: usize) -> String {
        if text.chars().count() <= width {
            return text;
        }
        let shown: String = text.chars().take(width - 4).chain(" ...".chars()).collect();
        self.cut.push(text);
        shown
    }
}

fn line(out: &mut impl Write, time: &str, left: &str, right: &str) -> io::Result<()> {
    let line = format!("{time:>6}  {left:LEFT$}{right}");
    writeln!(out, "  {}", line.trim_end())?;
    out.flush()
}
