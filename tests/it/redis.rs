//! A real Redis on a free port, in a folder of its own: killed, restarted, made to hang, and gone when the tests are.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::forebay::{Settings, free_port};

/// How long it may take until it answers. Only a broken machine makes it last that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the server as long as somebody holds the other end of its standard input: it ends with the tests, whatever
/// becomes of them.
const KEEPER: &str = r#"
"$@" >>"$0/log" 2>&1 &
echo $!
read -r word
kill -9 $!
"#;

/// A Redis. Dropped, it is ended, and its folder is removed.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    options: &'static [&'static str],
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    pid: Pid,
}

impl Redis {
    /// One that keeps nothing over its end.
    pub fn start() -> Self {
        let mut redis = Self::down();
        redis.run();
        redis
    }

    /// One that loses nothing that it has acknowledged, whenever it is killed.
    pub fn start_durable() -> Self {
        let mut redis = Self::down();
        redis.options = &["--appendonly", "yes", "--appendfsync", "always"];
        redis.run();
        redis
    }

    /// One that is down until [`Self::run`].
    pub fn down() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-redis-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { port: free_port(), folder, options: &[], running: None }
    }

    /// Starts it, again where it was killed. It answers before this returns.
    #[track_caller]
    pub fn run(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&self.folder)
            .args(["redis-server", "--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(&self.folder)
            .args(self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        self.running = Some(Running { keeper, pid: Pid::from_raw(pid).unwrap() });
        // Somebody else's server would answer as well.
        let own = format!("process_id:{pid}\r\n");
        let end = Instant::now() + PATIENCE;
        while !self.says("INFO server").is_some_and(|info| info.contains(&own)) {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "redis-server does not answer:\n{}", log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, as `kill -9` does. What it has in its folder stays.
    pub fn kill(&mut self) {
        let Some(Running { mut keeper, .. }) = self.running.take() else { return };
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// What is sent to it is neither refused nor answered any more.
    pub fn hang(&self) {
        kill_process(self.running.as_ref().unwrap().pid, Signal::STOP).unwrap();
    }

    /// It hangs no more.
    pub fn go_on(&self) {
        kill_process(self.running.as_ref().unwrap().pid, Signal::CONT).unwrap();
    }

    /// Everything in it is gone.
    #[track_caller]
    pub fn flush(&self) {
        assert_eq!(self.says("FLUSHALL").as_deref(), Some("+OK\r\n"));
    }

    /// The store of a process is this one.
    pub fn serves(&self, settings: Settings) -> Settings {
        settings.set("STORE", "redis").set("REDIS_URL", format!("redis://127.0.0.1:{}", self.port))
    }

    /// Its reply to a command; none where it has none.
    fn says(&self, command: &str) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It closes behind the reply to QUIT.
        socket.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut said = String::new();
        socket.read_to_string(&mut said).ok()?;
        said.strip_suffix("+OK\r\n").map(str::to_owned)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
