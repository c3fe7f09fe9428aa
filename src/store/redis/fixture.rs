//! Real servers for tests: each on a free port, in a folder of its own, and gone when the process of the tests is.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use super::RedisStore;
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::store::suite::Limits;
use crate::store::{Store, StoreKind, StoreSettings};

/// How long something that must happen may take, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a server as long as somebody holds the other end of its standard input: whatever becomes of the tests, the server
/// ends with them, and so does its folder – unless it is told to keep that.
const KEEPER: &str = r#"
"$@" >>"$0/log" 2>&1 &
echo $!
read -r word
kill -9 $!
[ "$word" = keep ] || rm -rf -- "$0"
"#;

/// A process of Redis.
pub(super) struct Server {
    program: &'static str,
    options: Vec<String>,
    pub(super) port: u16,
    pub(super) folder: PathBuf,
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    pid: Pid,
}

impl Server {
    /// A server with these options besides its port and folder.
    pub(super) fn start(options: &[&str]) -> Self {
        Self::start_program("redis-server", options)
    }

    /// A Sentinel that watches over this server under the name `main`.
    pub(super) fn start_sentinel(master: &Self) -> Self {
        let mut sentinel = Self::prepared("redis-sentinel", &["--sentinel", "deny-scripts-reconfig", "yes"]);
        let (port, watched) = (sentinel.port, master.port);
        // It writes to its own configuration.
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {watched} 1\nsentinel down-after-milliseconds main \
             1000\nsentinel failover-timeout main 3000\n"
        );
        let file = sentinel.folder.join("sentinel.conf");
        fs::write(&file, text).unwrap();
        sentinel.options = vec![file.to_str().unwrap().to_owned()];
        sentinel.run();
        sentinel
    }

    fn start_program(program: &'static str, options: &[&str]) -> Self {
        let mut server = Self::prepared(program, options);
        let folder = server.folder.to_str().unwrap().to_owned();
        let port = server.port.to_string();
        for (name, value) in [("--port", &*port), ("--dir", &*folder), ("--bind", "127.0.0.1"), ("--save", "")] {
            server.options.extend([name.to_owned(), value.to_owned()]);
        }
        server.run();
        server
    }

    fn prepared(program: &'static str, options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("forebay-redis-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { program, options, port: free_port(), folder, running: None }
    }

    /// Starts it, as it was told first. It answers before this returns.
    pub(super) fn run(&mut self) {
        assert!(self.running.is_none());
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&self.folder)
            .arg(self.program)
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        self.running = Some(Running { keeper, pid: Pid::from_raw(pid).unwrap() });
        let expected = format!("process_id:{pid}");
        // Not until it is ready, and really this one.
        self.until("the server answers", |server| {
            let info: Result<String, _> = server.try_ask(&["INFO", "server"]);
            info.is_ok_and(|info| info.lines().any(|line| line == expected))
        });
    }

    /// Kills it. Its folder stays.
    pub(super) fn kill(&mut self) {
        self.end("keep");
    }

    fn end(&mut self, word: &str) {
        let Some(Running { mut keeper, .. }) = self.running.take() else { return };
        writeln!(keeper.stdin.take().unwrap(), "{word}").unwrap();
        keeper.wait().unwrap();
    }

    /// It hangs: what is sent to it is neither refused nor answered.
    pub(super) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// It hangs no more.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.running.as_ref().unwrap().pid, signal).unwrap();
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says something to it, beside the store.
    pub(super) fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap()
    }

    fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.connection()?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        let client = redis::Client::open(self.url())?;
        let connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    /// Waits until something is so.
    pub(super) fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "it never came to pass that {what}; the log:\n{}", log());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("remove");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that nobody has at the moment.
pub(super) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A prefix of its own: many tests share a server.
pub(super) fn new_prefix() -> String {
    format!("{}:", Uuid::new_v4().simple())
}

/// A store as a process has it that was told so. Redis need not be there.
pub(super) fn open(url: &str, prefix: &str, limits: &Limits) -> Arc<RedisStore> {
    let url = Secret::new(url.to_owned());
    let settings = StoreSettings {
        kind: StoreKind::Redis { url: url.clone(), prefix: prefix.to_owned() },
        is_required: true,
        max_bytes: limits.max_bytes,
        queue: limits.queue.to_owned(),
        max_depth: limits.max_depth,
        lease: limits.lease,
    };
    Arc::new(RedisStore::open(&url, prefix, settings).unwrap())
}

/// Waits until the store answers.
pub(super) async fn answering(store: &RedisStore) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = store.ping().await {
        assert!(tokio::time::Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Room for everything.
pub(super) fn no_limits() -> Limits {
    Limits { max_bytes: ByteSize::new(1 << 40), ..Limits::default() }
}

/// A file of a test, made in this folder.
pub(super) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
