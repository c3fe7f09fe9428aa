//! Every way that `REDIS_URL` can name: the server is found, greeted, and found again when it is another.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::RedisStore;
use super::fixture::*;
use super::keys::Keys;
use crate::secret::Secret;
use crate::store::{Standing, Store, StoreError};

/// A job from end to end.
async fn works(store: &RedisStore) {
    answering(store).await;
    let lease = leased(store).await;
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Held));
    assert_eq!(store.read(lease.job, 0, 99).await.unwrap().unwrap().data.concat(), b"data");
}

/// Why it does not answer.
async fn why_not(store: &RedisStore) -> String {
    match store.ping().await {
        Err(StoreError::Unavailable(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_socket_of_this_machine_is_found() {
    let mut server = Server::prepare();
    let socket = server.folder.join("s").to_str().unwrap().to_owned();
    server.option(&["--unixsocket", &socket]);
    server.run();
    works(&open(&format!("unix://{socket}"), "p:", &no_limits())).await;
    let other = open(&format!("unix://{socket}?db=3"), "p:", &no_limits());
    works(&other).await;
    let keys: Vec<i64> = [0, 3]
        .map(|number| {
            let info: String = server.ask(&["INFO", "keyspace"]);
            i64::from(info.contains(&format!("db{number}:")))
        })
        .to_vec();
    assert_eq!(keys, [1, 1]);
}

#[tokio::test]
async fn a_password_is_told_and_never_shown() {
    let mut server = Server::prepare();
    server.protect("right");
    server.run();
    server.ask::<()>(&["ACL", "SETUSER", "worker", "on", ">its:own", "~p:*", "&p:*", "+@all"]);
    for (credentials, is_right) in [
        (":right@", true),
        ("default:right@", true),
        ("worker:its%3Aown@", true),
        (":wrong@", false),
        ("worker:wrong@", false),
        ("", false),
    ] {
        let store = open(&format!("redis://{credentials}127.0.0.1:{}", server.port), "p:", &no_limits());
        if is_right {
            works(&store).await;
        } else {
            let words = why_not(&store).await;
            assert!(words.contains("WRONGPASS") || words.contains("NOAUTH") || words.contains("uthentic"), "{words}");
            assert!(!words.contains("wrong@") && !words.contains("right"), "{words}");
        }
        assert!(!format!("{store:?}").contains("right"));
    }
}

#[tokio::test]
async fn who_may_not_ask_about_the_server_nor_publish_is_served_all_the_same() {
    let server = Server::start(&[]);
    server.ask::<()>(&[
        "ACL",
        "SETUSER",
        "worker",
        "on",
        ">pass",
        "~p:*",
        "resetchannels",
        "+@all",
        "-info",
        "-config",
    ]);
    let store = open(&format!("redis://worker:pass@127.0.0.1:{}", server.port), "p:", &no_limits());
    works(&store).await;
    assert!(store.warnings().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_operator_is_told_what_the_server_may_lose() {
    let about = async |options: &[&str]| {
        let server = Server::start(options);
        let store = open(&server.url(), "p:", &no_limits());
        answering(&store).await;
        store.warnings().await.unwrap().join(" ")
    };
    let careless = about(&["--maxmemory-policy", "allkeys-lru"]).await;
    assert!(careless.contains("appendonly yes") && careless.contains("allkeys-lru"), "{careless}");
    assert_eq!(about(&["--appendonly", "yes", "--maxmemory-policy", "noeviction"]).await, "");
}

/// A server that speaks TLS for `localhost` and 127.0.0.1, and its certificate.
fn over_tls(options: &[&str]) -> (Server, u16, CertificateDer<'static>) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let (mut server, port) = (Server::prepare(), free_port());
    let certificate = server.file("cert.pem", &cert.pem());
    let key = server.file("key.pem", &signing_key.serialize_pem());
    server.option(&["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
    server.option(&["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate]);
    server.option(options);
    server.run();
    (server, port, cert.der().clone())
}

fn open_trusting(root: Option<&CertificateDer<'static>>, url: &str) -> Arc<RedisStore> {
    let roots = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(root.cloned());
        roots
    };
    let settings = settings(url, "p:", &no_limits());
    Arc::new(RedisStore::open_trusting(roots, &Secret::new(url.to_owned()), "p:", settings).unwrap())
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted() {
    let (server, port, root) = over_tls(&[]);
    for host in ["localhost", "127.0.0.1"] {
        works(&open_trusting(Some(&root), &format!("rediss://{host}:{port}"))).await;
    }
    let untrusted = open_trusting(None, &format!("rediss://localhost:{port}"));
    assert!(why_not(&untrusted).await.contains("certificate"));
    let in_clear = open_trusting(Some(&root), &format!("rediss://localhost:{}", server.port));
    why_not(&in_clear).await;
}

#[tokio::test]
async fn tls_is_spoken_with_the_nodes_of_a_cluster() {
    let bus = free_port().to_string();
    let (server, port, root) = over_tls(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--tls-cluster", "yes"]);
    server.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.until("the cluster is whole", |server| {
        let info: String = server.ask(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok")
    });
    works(&open_trusting(Some(&root), &format!("rediss+cluster://localhost:{port}"))).await;
}

/// How much of what was written a server has, as it says itself.
fn offset(info: &str, name: &str) -> u64 {
    info.lines().find_map(|line| line.strip_prefix(name)).and_then(|offset| offset.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_master_is_found_by_its_sentinels_and_the_next_one_after_it() {
    let mut master = Server::start(&[]);
    let replica =
        Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string(), "--repl-diskless-sync-delay", "0"]);
    replica.until("the replica follows", |replica| {
        let info: String = replica.ask(&["INFO", "replication"]);
        info.contains("master_link_status:up")
    });
    let sentinel = Server::start_sentinel(&master, "", None);
    sentinel.until("the Sentinel knows the replica", |sentinel| {
        let replicas: Vec<redis::Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]);
        replicas.len() == 1
    });
    // One of them is not there.
    let url = |service| format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/{service}", free_port(), sentinel.port);
    let store = open(&url("main"), "p:", &no_limits());
    works(&store).await;
    assert!(why_not(&open(&url("other"), "p:", &no_limits())).await.contains("no service named other"));

    let lease = leased(&store).await;
    // WAIT would wait for what was written over its own connection alone.
    let written = offset(&master.ask::<String>(&["INFO", "replication"]), "master_repl_offset:");
    replica.until("the replica has the lease", |replica| {
        offset(&replica.ask::<String>(&["INFO", "replication"]), "slave_repl_offset:") >= written
    });
    master.kill();
    replica.until("there is a new master", |replica| {
        let info: String = replica.ask(&["INFO", "replication"]);
        info.contains("role:master")
    });
    answering(&store).await;
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Held));
    let jobs: i64 = replica.ask(&["ZCARD", "p:{default}:completed"]);
    assert_eq!(jobs, 2);
}

#[tokio::test]
async fn a_sentinel_is_told_the_password_if_it_asks_for_one() {
    let mut master = Server::prepare();
    master.protect("secret");
    master.run();
    for own_password in [None, Some("secret")] {
        let sentinel = Server::start_sentinel(&master, "sentinel auth-pass main secret", own_password);
        let url = format!("redis+sentinel://:secret@127.0.0.1:{}/main", sentinel.port);
        works(&open(&url, &new_prefix(), &no_limits())).await;
    }
}

#[tokio::test]
async fn the_node_that_has_the_slot_is_found_from_any_other_and_again_when_the_slot_moves() {
    let cluster = Cluster::shared();
    let prefix = format!("{{{}}}", new_prefix());
    let store = open(&cluster.url(&[1]), &prefix, &no_limits());
    answering(&store).await;
    let base = Keys::new(&prefix, "default").unwrap().base().to_owned();
    let slot: i64 = cluster.0[0].ask(&["CLUSTER", "KEYSLOT", &base]);
    let slot = slot.to_string();
    let has_it = |node: &&Server| {
        let shard: Result<i64, _> = node.try_ask(&["EXISTS", &base]);
        shard.is_ok()
    };
    let (from, to) = (cluster.0.iter().find(has_it).unwrap(), cluster.0.iter().find(|node| !has_it(node)).unwrap());
    let id: String = to.ask(&["CLUSTER", "MYID"]);
    // There is nothing in it yet, so that nothing has to be copied.
    let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "99"]);
    assert_eq!(keys, Vec::<String>::new());
    for node in [to, from] {
        node.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
    }
    works(&store).await;
    let keys: Vec<String> = to.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "99"]);
    assert!(keys.len() > 3, "{keys:?}");
}

#[tokio::test]
async fn a_cluster_is_known_beyond_the_nodes_that_were_named() {
    let mut cluster = Cluster::start();
    // A prefix whose slot is on the first node, while the second is named.
    let prefix = (0..u32::MAX)
        .map(|number| format!("{{{number}}}"))
        .find(|prefix| {
            let base = Keys::new(prefix, "default").unwrap().base().to_owned();
            let slot: i64 = cluster.0[0].ask(&["CLUSTER", "KEYSLOT", &base]);
            slot <= 5460
        })
        .unwrap();
    for node in &cluster.0 {
        node.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = open(&cluster.url(&[1]), &prefix, &no_limits());
    works(&store).await;
    cluster.0[1].kill();
    // Who has the slot goes on…
    works(&store).await;
    // …and is found again by those who are left.
    cluster.0[0].ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    works(&store).await;
}
