//! The program itself: started with settings on a free port, looked at from outside, ended by its own process id.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, H2Client, Request, Response, get};
use super::upstream::{FakeUpstream, H2Upstream};

/// Short times, so that the tests are quick; the retry budget is out of the way, because one test is a burst of retries.
const DEFAULTS: [(&str, &str); 11] = [
    ("LISTEN_HOST", "127.0.0.1"),
    ("ADMIN_PORT", "off"),
    ("STORE", "off"),
    ("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.6"),
    ("UPSTREAM_MAX_ATTEMPTS", "3"),
    ("RETRY_BACKOFF_SECONDS", "0.05"),
    ("RETRY_BUDGET_PERCENT", "100"),
    ("RETRY_BUDGET_MIN", "1000"),
    ("CONNECT_TIMEOUT_SECONDS", "5"),
    ("WRITE_TIMEOUT_SECONDS", "5"),
    ("POOL_TIMEOUT_SECONDS", "5"),
];

/// How long it may take to start or to end. Only a broken program makes it last that long.
const PATIENCE: Duration = Duration::from_secs(15);

/// EX_CONFIG: a problem in the environment.
pub const EX_CONFIG: i32 = 78;

/// What forebay is started with.
#[derive(Clone)]
pub struct Settings {
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    open_files: Option<u32>,
}

impl Settings {
    /// The defaults of the tests, and this upstream.
    pub fn in_front_of(upstream: &FakeUpstream) -> Self {
        Self::new().set("UPSTREAM_BASE_URL", upstream.url())
    }

    /// The defaults of the tests, and this upstream, spoken to in HTTP/2 from the first byte.
    pub fn in_front_of_h2(upstream: &H2Upstream) -> Self {
        Self::new().set("UPSTREAM_BASE_URL", upstream.url()).set("UPSTREAM_HTTP2", "prior-knowledge")
    }

    /// The defaults of the tests, and no upstream.
    pub fn new() -> Self {
        let environment = DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { environment, arguments: Vec::new(), open_files: None }
    }

    /// Sets a variable.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self = self.unset(name);
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Leaves a variable out.
    pub fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(n, _)| n != name);
        self
    }

    /// With a subcommand.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a low limit of open files, soft and hard.
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Starts it and waits until it accepts connections; one that only executes jobs, until it says so.
    #[track_caller]
    pub fn start(self) -> Forebay {
        if self.environment.iter().any(|(name, value)| name == "ROLES" && value == "worker") {
            let forebay = self.spawn(0);
            forebay.wait_log("the start", |log| log.contains("listens for no clients"));
            return forebay;
        }
        for _ in 0..5 {
            let port = free_port();
            let mut forebay = self.clone().set("LISTEN_PORT", port).spawn(port);
            if forebay.accepts() {
                return forebay;
            }
            forebay.over = true;
            // Between looking for a free port and binding it, somebody else may have come.
            let log = forebay.log().to_lowercase();
            assert!(log.contains("in use"), "forebay did not start ({:?}):\n{}", forebay.child.wait(), forebay.log());
        }
        panic!("no free port");
    }

    /// Starts it and waits for its end: what it wrote, and its exit status.
    #[track_caller]
    pub fn run(self) -> (String, Option<i32>) {
        let port = free_port();
        let with_port =
            if self.environment.iter().any(|(n, _)| n == "LISTEN_PORT") { self } else { self.set("LISTEN_PORT", port) };
        let mut forebay = with_port.spawn(port);
        let status = forebay.wait_for_end();
        (forebay.log(), status.code())
    }

    /// Starts it with `LISTEN_PORT=0`, and reads from its log where it listens.
    #[track_caller]
    pub fn start_on_any_port(self) -> Forebay {
        let mut forebay = self.set("LISTEN_PORT", 0).spawn(0);
        let own_address = |log: &str| {
            let port = log.split("127.0.0.1:").skip(1).map(|rest| {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                rest[..digits].parse::<u16>().unwrap_or(0)
            });
            port.filter(|port| *port != 0).find(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        };
        let log = forebay.wait_log("the chosen address", |log| own_address(log).is_some());
        forebay.port = own_address(&log).unwrap();
        forebay
    }

    fn spawn(self, port: u16) -> Forebay {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let log = fs::File::create(folder.join("log.txt")).unwrap();
        // FOREBAY_BIN: another build of the program, for example the release build.
        let binary = std::env::var("FOREBAY_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_forebay").to_owned());
        let mut command = match self.open_files {
            None => Command::new(binary),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), &binary]);
                shell
            }
        };
        command.args(&self.arguments).env_clear().current_dir(&folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var(name).map(|value| (name, value)));
        }
        command.envs(self.environment).env("RUST_BACKTRACE", "1");
        let child = command.spawn().expect("forebay can be started");
        Forebay { child, port, folder, over: false }
    }
}

/// A running forebay. Dropped, it is ended; it must then still have been running, and must not have panicked.
pub struct Forebay {
    child: Child,
    /// Where it listens.
    pub port: u16,
    folder: PathBuf,
    /// The test ended it, or knows why it ended.
    over: bool,
}

impl Forebay {
    /// In front of this upstream, with the defaults of the tests.
    #[track_caller]
    pub fn in_front_of(upstream: &FakeUpstream) -> Self {
        Settings::in_front_of(upstream).start()
    }

    fn accepts(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                // Somebody else's listener would answer as well: ours is still alive a moment later.
                return self.child.try_wait().unwrap().is_none();
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// A new client connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// A new client connection that speaks HTTP/2 at once.
    pub fn connect_h2(&self) -> H2Client {
        H2Client::connect(self.port)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        self.connect().ask(request)
    }

    /// `GET` on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.ask(&get(target))
    }

    /// Everything it wrote to stdout and stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log.txt")).unwrap_or_default()).into_owned()
    }

    /// Waits until the log fulfils the condition: it is written beside the answers.
    #[track_caller]
    pub fn wait_log(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if condition(&log) {
                return log;
            }
            assert!(Instant::now() < end, "waited in vain for {what} in the log:\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end. The test has to wait for it, or to let it go.
    pub fn terminate(&mut self) {
        self.over = true;
        self.signal(Signal::TERM);
    }

    /// Asks it to end, as a terminal does.
    pub fn interrupt(&mut self) {
        self.over = true;
        self.signal(Signal::INT);
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.over = true;
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// It stands still, whoever waits for it.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// It hangs no more.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it accepts no connections any more.
    #[track_caller]
    pub fn wait_until_it_refuses(&self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(Instant::now() < end, "forebay still accepts connections:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.over = true;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "forebay did not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its open file descriptors.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * 1024
    }
}

impl Drop for Forebay {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            // The second signal cuts what a script still holds up.
            for patience in [100, 2000] {
                self.signal(Signal::TERM);
                let end = Instant::now() + Duration::from_millis(patience);
                while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let log = self.log();
        let _ = fs::remove_dir_all(&self.folder);
        if thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("forebay's log ends with:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
            return;
        }
        assert!(!log.contains("panicked at"), "forebay panicked:\n{log}");
        assert!(self.over || ended.is_none(), "forebay ended during the test ({ended:?}):\n{log}");
    }
}

/// A file with this content for as long as the test runs; shown as its path.
pub struct ScratchFile(PathBuf);

impl ScratchFile {
    /// Writes the file.
    pub fn with(content: &str) -> Self {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-file-{number}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    /// Writes something else into it.
    pub fn overwrite(&self, content: &str) {
        fs::write(&self.0, content).unwrap();
    }

    /// Puts another file into its place.
    pub fn replace(&self, content: &str) {
        let beside = self.0.with_extension("new");
        fs::write(&beside, content).unwrap();
        fs::rename(&beside, &self.0).unwrap();
    }
}

impl std::fmt::Display for ScratchFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A free port below the ephemeral range: no outgoing connection can take it before the program binds it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id().wrapping_mul(7919) % 14_000).unwrap();
    loop {
        let port = 16_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % 14_000) % 14_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
