//! The proxy's process: started on its core, waited for, and gone when its value is.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::cores::Cores;

const POLL: Duration = Duration::from_millis(20);

/// A proxy that listens.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    output: PathBuf,
}

impl Process {
    /// Starts a program and waits until its port is open. What it writes goes to a file `output` in the folder.
    ///
    /// # Errors
    ///
    /// It could not be started, ended, or did not listen within `patience`: with the last lines that it wrote.
    pub async fn start(
        mut command: Command,
        cores: Cores,
        port: u16,
        folder: &Path,
        patience: Duration,
    ) -> io::Result<Self> {
        let output = folder.join("output");
        let log = File::create(&output)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = command.get_program().to_owned();
        let child =
            cores.spawn(command).map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
        let mut process = Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), output };
        let until = Instant::now() + patience;
        while TcpStream::connect(process.address).await.is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let how = ended.map_or_else(|| "does not listen".to_owned(), |status| format!("ended: {status}"));
                return Err(io::Error::other(format!("{} {how}\n{}", program.display(), process.said())));
            }
            sleep(POLL).await;
        }
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("does not end\n{}", self.said())));
            }
            sleep(POLL).await;
        }
    }

    /// The last lines of its output.
    pub fn said(&self) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended has been waited for, and is left alone by both.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A folder for the files of one run; it goes with its value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder among the temporary ones.
    pub fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("forebay-benches-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    /// A new folder in it.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
