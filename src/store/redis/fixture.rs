//! Real servers for tests: each on a free port, in a folder of its own, and gone when the process of the tests is.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use super::RedisStore;
use crate::ids::JobId;
use crate::job::{Lease, Title};
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::store::suite::Limits;
use crate::store::{Batch, NewBody, NewJob, Settle, Start, Store, StoreKind, StoreSettings, Submitted};

/// How long something that must happen may take, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Runs a server as long as somebody holds the other end of its standard input: whatever becomes of the tests, the server
/// ends with them, and so does its folder – unless it is told to keep that.
const KEEPER: &str = r#"
"$@" >>"$0/log" 2>&1 &
echo $!
read -r word
kill -9 $!
wait
[ "$word" = keep ] || rm -rf -- "$0"
"#;

/// A process of Redis.
pub(super) struct Server {
    options: Vec<String>,
    password: Option<String>,
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
        let mut server = Self::prepare();
        server.option(options);
        server.run();
        server
    }

    /// The one server of all tests that leave it as it is.
    pub(super) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(&[]))
    }

    /// A Sentinel that watches over this server under the name `main`.
    pub(super) fn start_sentinel(master: &Self, more: &str, password: Option<&str>) -> Self {
        let mut sentinel = Self::prepare();
        let (port, watched) = (sentinel.port, master.port);
        // It writes to its own configuration.
        let file = sentinel.file(
            "sentinel.conf",
            &format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {watched} 1\nsentinel down-after-milliseconds \
                 main 1000\nsentinel failover-timeout main 3000\n{more}\n"
            ),
        );
        sentinel.options = vec![file, "--sentinel".into()];
        if let Some(password) = password {
            sentinel.protect(password);
        }
        sentinel.run();
        sentinel
    }

    /// A server that does not run yet.
    pub(super) fn prepare() -> Self {
        let folder = std::env::temp_dir().join(format!("forebay-redis-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let mut server = Self { options: Vec::new(), password: None, port: free_port(), folder, running: None };
        let (port, folder) = (server.port.to_string(), server.folder.to_str().unwrap().to_owned());
        server.option(&["--port", &port, "--dir", &folder, "--bind", "127.0.0.1", "--save", ""]);
        server
    }

    pub(super) fn option(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
    }

    /// Writes a file into its folder. Answers its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// It asks for this password from the next start on.
    pub(super) fn protect(&mut self, password: &str) {
        self.option(&["--requirepass", password]);
        self.password = Some(password.to_owned());
    }

    /// Starts it, as it was told first. It answers before this returns.
    pub(super) fn run(&mut self) {
        assert!(self.running.is_none());
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&self.folder)
            .arg("redis-server")
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

    pub(super) fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.connection()?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port))?;
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

/// A port that nobody has at the moment: below those that the system gives to clients, and no two tests get the same.
pub(super) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes begin apart from each other.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A prefix of its own: many tests share a server.
pub(super) fn new_prefix() -> String {
    format!("{}:", Uuid::new_v4().simple())
}

/// A store as a process has it that was told so. Redis need not be there.
pub(super) fn open(url: &str, prefix: &str, limits: &Limits) -> Arc<RedisStore> {
    Arc::new(RedisStore::open(&Secret::new(url.to_owned()), prefix, settings(url, prefix, limits)).unwrap())
}

pub(super) fn settings(url: &str, prefix: &str, limits: &Limits) -> StoreSettings {
    StoreSettings {
        kind: StoreKind::Redis { url: Secret::new(url.to_owned()), prefix: prefix.to_owned() },
        is_required: true,
        max_bytes: limits.max_bytes,
        queue: limits.queue.to_owned(),
        max_depth: limits.max_depth,
        lease: limits.lease,
    }
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

/// Three servers that share the slots.
pub(super) struct Cluster(pub(super) [Server; 3]);

impl Cluster {
    /// The one cluster of all tests that leave it as it is.
    pub(super) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    pub(super) fn start() -> Self {
        let nodes = [0; 3].map(|_| {
            let bus = free_port().to_string();
            Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
        });
        for (number, (node, slots)) in
            nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]).enumerate()
        {
            let epoch = (number + 1).to_string();
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        }
        for node in &nodes[1..] {
            let bus: Vec<String> = node.ask(&["CONFIG", "GET", "cluster-port"]);
            nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), &bus[1]]);
        }
        for node in &nodes {
            node.until("the cluster is whole", |node| {
                let info: String = node.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        Self(nodes)
    }

    /// The form of its URL that names only some of its nodes.
    pub(super) fn url(&self, named: &[usize]) -> String {
        let hosts: Vec<_> = named.iter().map(|node| format!("127.0.0.1:{}", self.0[*node].port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// A job with a request and a body.
pub(super) fn job() -> NewJob {
    NewJob {
        id: JobId::random(),
        title: Title::new("default", "POST", "/x"),
        owner: None,
        request: "request".into(),
        body: NewBody::Inline("body".into()),
        idempotency: None,
        start: Start::Queued,
        retention: HOUR,
    }
}

/// Stores a job and takes it.
pub(super) async fn leased(store: &RedisStore) -> Lease {
    let job = job();
    assert_eq!(store.submit(job.clone()).await, Ok(Submitted::Accepted(None)));
    let mut claims = store.claim(9).await.unwrap();
    assert_eq!(claims.jobs.len(), 1);
    let lease = claims.jobs.remove(0).lease;
    assert_eq!(lease.job, job.id);
    lease
}

/// A whole recording.
pub(super) fn result() -> Batch {
    Batch {
        head: Some("head".into()),
        at: 0,
        data: vec!["data".into()],
        settle: Some(Settle::Completed { end: "end".into(), retention: HOUR }),
    }
}
