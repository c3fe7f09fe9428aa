//! The folder of a store: whose it is, and what is found in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::OpenError;
use super::fixture::Folder;
use crate::store::suite::Limits;
use crate::store::{NewBody, NewJob, Start, Store, Submitted};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn job() -> NewJob {
    NewJob {
        id: crate::ids::JobId::random(),
        title: crate::job::Title::new("default", "POST", "/x"),
        owner: None,
        request: "request".into(),
        body: NewBody::Inline("body".into()),
        idempotency: None,
        start: Start::Queued,
        retention: std::time::Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn a_folder_is_made_and_nobody_else_may_look_into_it() {
    let folder = Folder::new();
    let store = folder.try_open(&Limits::default()).await.unwrap();
    store.submit(job()).await.unwrap();
    assert_eq!(mode(&folder.path()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort_unstable();
    assert_eq!(names, ["lock", "store.db", "store.db-shm", "store.db-wal"]);
}

#[tokio::test]
async fn files_that_others_could_read_are_closed_to_them() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    for name in ["lock", "store.db"] {
        fs::write(folder.path().join(name), "").unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = folder.try_open(&Limits::default()).await.unwrap();
    assert_eq!(store.submit(job()).await, Ok(Submitted::Accepted(None)));
    assert_eq!((mode(&folder.path().join("lock")), mode(&folder.path().join("store.db"))), (0o600, 0o600));
}

#[tokio::test]
async fn a_folder_that_another_has_is_refused_in_words_until_it_is_free() {
    let folder = Folder::new();
    let store = folder.try_open(&Limits::default()).await.unwrap();
    let error = folder.try_open(&Limits::default()).await.unwrap_err();
    assert!(matches!(&error, OpenError::Locked { folder: known } if *known == folder.path()), "{error:?}");
    assert!(error.to_string().contains("in use by another process") && error.to_string().contains("DATA_DIR"));
    store.submit(job()).await.unwrap();
    store.close().await.unwrap();
    // The closed handle is still there.
    let other = folder.try_open(&Limits::default()).await.unwrap();
    assert!(store.submit(job()).await.is_err());
    assert!(store.counts().await.is_err());
    assert_eq!(other.counts().await.unwrap().queued, 1);
}

#[tokio::test]
async fn a_store_that_is_dropped_without_a_word_leaves_its_folder() {
    let folder = Folder::new();
    let store = folder.try_open(&Limits::default()).await.unwrap();
    store.submit(job()).await.unwrap();
    drop(store);
    loop {
        match folder.try_open(&Limits::default()).await {
            Ok(store) => break assert_eq!(store.counts().await.unwrap().queued, 1),
            Err(OpenError::Locked { .. }) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused_in_words() {
    let folder = Folder::new();
    fs::write(folder.path(), "a file").unwrap();
    let error = folder.try_open(&Limits::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error:?}");
    assert!(error.to_string().contains("DATA_DIR"));
    fs::remove_file(folder.path()).unwrap();
}

/// A folder with a database that was made by hand.
fn with_database(sql: &str) -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    Connection::open(folder.path().join("store.db")).unwrap().execute_batch(sql).unwrap();
    folder
}

#[tokio::test]
async fn a_newer_format_is_refused_in_words_and_left_as_it_is() {
    let folder = Folder::new();
    folder.try_open(&Limits::default()).await.unwrap().close().await.unwrap();
    let database = folder.path().join("store.db");
    Connection::open(&database).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let before = fs::read(&database).unwrap();
    let error = folder.try_open(&Limits::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 7, .. }), "{error:?}");
    assert!(error.to_string().contains("format 7, written by a later version"));
    assert!(fs::read(&database).unwrap() == before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_in_words_and_left_as_it_is() {
    for sql in ["CREATE TABLE users (name)", "PRAGMA application_id = 1; CREATE TABLE x (y)", "PRAGMA user_version = 1"]
    {
        let folder = with_database(sql);
        let before = fs::read(folder.path().join("store.db")).unwrap();
        let error = folder.try_open(&Limits::default()).await.unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{sql}: {error:?}");
        assert!(error.to_string().contains("another program"));
        assert!(fs::read(folder.path().join("store.db")).unwrap() == before, "{sql}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_in_words_and_left_as_it_is() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    let text = "this is no database ".repeat(1000);
    fs::write(folder.path().join("store.db"), &text).unwrap();
    let error = folder.try_open(&Limits::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("restore it from a backup"));
    assert!(fs::read(folder.path().join("store.db")).unwrap() == text.as_bytes());
}

#[tokio::test]
async fn a_database_that_was_only_begun_becomes_a_store() {
    // As it is when the process is killed between two steps of its first start.
    let folder = with_database("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");
    let store = folder.try_open(&Limits::default()).await.unwrap();
    assert_eq!(store.submit(job()).await, Ok(Submitted::Accepted(None)));
}
