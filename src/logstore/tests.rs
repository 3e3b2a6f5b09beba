use super::*;

fn store() -> (tempfile::TempDir, LogStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::new(dir.path().join("logs")).unwrap();
    (dir, store)
}

/// Reads a log as a client does: by offset, in small pieces, waiting for news, until it ends.
async fn follow(store: LogStore, attempt: String, mut offset: u64, piece: usize) -> Vec<u8> {
    let mut news = store.subscribe(&attempt).unwrap();
    let mut seen = Vec::new();
    loop {
        let position = *news.borrow_and_update();
        while offset < position.len {
            let bytes = store.read(&attempt, offset, piece).unwrap();
            offset += bytes.len() as u64;
            seen.extend(bytes);
        }
        if position.final_len == Some(offset) {
            return seen;
        }
        if news.changed().await.is_err() {
            assert_eq!(news.borrow().final_len, Some(offset), "the channel closes only at the end");
            return seen;
        }
    }
}

#[test]
fn a_log_keeps_its_end_over_a_restart() {
    let (dir, store) = store();
    let mut writer = store.writer("a1").unwrap();
    writer.write(b"one\n").unwrap();
    assert_eq!(store.position("a1").unwrap(), LogPosition { len: 4, final_len: None });
    writer.finish().unwrap();
    let again = LogStore::new(dir.path().join("logs")).unwrap();
    assert_eq!(again.position("a1").unwrap(), LogPosition { len: 4, final_len: Some(4) });
    assert_eq!(again.read("a1", 1, 100).unwrap(), b"ne\n");
    assert!(matches!(again.writer("a1"), Err(LogError::Finished(_))));
}

#[test]
fn a_log_cut_off_by_a_crash_is_open_and_can_be_ended() {
    let (dir, store) = store();
    store.writer("a1").unwrap().write(b"half a li").unwrap();
    drop(store);
    let again = LogStore::new(dir.path().join("logs")).unwrap();
    assert_eq!(again.position("a1").unwrap(), LogPosition { len: 9, final_len: None });
    let mut writer = again.writer("a1").unwrap();
    writer.note("the controller restarted").unwrap();
    let end = writer.finish().unwrap();
    assert_eq!(again.read("a1", 0, 100).unwrap(), b"half a li\n==> the controller restarted\n");
    assert_eq!(end.final_len, Some(end.len));
    assert_eq!(again.finish("a1").unwrap(), end, "ending it twice changes nothing");
}

#[test]
fn one_attempt_has_one_writer() {
    let (_dir, store) = store();
    let writer = store.writer("a1").unwrap();
    assert!(matches!(store.writer("a1"), Err(LogError::Busy(_))));
    drop(writer);
    assert!(store.writer("a1").is_ok());
}

#[test]
fn an_attempt_id_cannot_leave_the_directory() {
    let (_dir, store) = store();
    for bad in ["", "../x", "a/b", ".hidden", "a\0b", "ä"] {
        assert!(matches!(store.writer(bad), Err(LogError::BadName(_))), "{bad:?}");
        assert!(store.read(bad, 0, 1).is_err(), "{bad:?}");
    }
}

#[test]
fn at_the_limit_the_head_is_kept_and_the_writer_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::with_limit(dir.path(), 10).unwrap();
    let mut writer = store.writer("a1").unwrap();
    writer.write(b"12345678").unwrap();
    assert!(matches!(writer.write(b"90abc"), Err(LogError::LimitReached { limit: 10 })));
    assert!(matches!(writer.write(b"x"), Err(LogError::LimitReached { .. })));
    writer.note("stopped").unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(store.read("a1", 0, 1000).unwrap()).unwrap();
    assert_eq!(text, "1234567890\n==> the log reached its limit of 10 bytes; the rest is not kept\n==> stopped\n");
}

#[test]
fn a_reader_ahead_of_the_log_gets_nothing_and_a_read_is_bounded() {
    let (_dir, store) = store();
    assert_eq!(store.read("none", 0, 10).unwrap(), b"");
    let mut writer = store.writer("a1").unwrap();
    writer.write(&vec![b'x'; 2 * MAX_READ]).unwrap();
    assert_eq!(store.read("a1", 3 * MAX_READ as u64, 10).unwrap(), b"");
    assert_eq!(store.read("a1", 0, usize::MAX).unwrap().len(), MAX_READ);
}

#[test]
fn nobody_waiting_leaves_nothing_behind() {
    let (_dir, store) = store();
    drop(store.subscribe("never").unwrap());
    drop(store.subscribe("also-never").unwrap());
    store.writer("a1").unwrap().finish().unwrap();
    drop(store.subscribe("a1").unwrap());
    drop(store.subscribe("another").unwrap());
    assert_eq!(store.live().keys().collect::<Vec<_>>(), ["another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_resume_by_offset_lose_and_repeat_nothing() {
    let (_dir, store) = store();
    let readers: Vec<_> = [(0, 1), (0, 7), (3, 4096), (1000, 100_000)]
        .into_iter()
        .map(|(offset, piece)| (offset, tokio::spawn(follow(store.clone(), "a1".into(), offset, piece))))
        .collect();
    let mut writer = store.writer("a1").unwrap();
    let mut all = Vec::new();
    for number in 0..2000 {
        let line = format!("line {number}\n");
        writer.write(line.as_bytes()).unwrap();
        all.extend(line.bytes());
        tokio::task::yield_now().await;
    }
    writer.finish().unwrap();
    for (offset, reader) in readers {
        assert!(reader.await.unwrap() == all[usize::try_from(offset).unwrap()..], "from {offset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_builds_of_ten_megabytes_lose_nothing_and_an_idle_reader_costs_nothing() {
    const PIECE: usize = 64 << 10;
    const PIECES: u64 = 160;
    let (_dir, store) = store();
    let never_reads: Vec<_> = (0..100).map(|build| store.subscribe(&format!("b{build}")).unwrap()).collect();
    let builds = (0..100u8).map(|build| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut writer = store.writer(&format!("b{build}")).unwrap();
            for piece in 0..PIECES {
                let mut bytes = vec![build; PIECE];
                bytes[..8].copy_from_slice(&piece.to_le_bytes());
                writer.write(&bytes).unwrap();
                tokio::task::yield_now().await;
            }
            writer.finish().unwrap()
        })
    });
    let builds: Vec<_> = builds.collect();
    for build in builds {
        assert_eq!(build.await.unwrap().final_len, Some(PIECES * PIECE as u64));
    }
    for build in [0u8, 42, 99] {
        for piece in 0..PIECES {
            let bytes = store.read(&format!("b{build}"), piece * PIECE as u64, PIECE).unwrap();
            assert_eq!(bytes[..8], piece.to_le_bytes());
            assert!(bytes[8..].iter().all(|&byte| byte == build));
        }
    }
    assert!(never_reads.iter().all(|reader| reader.borrow().final_len == Some(PIECES * PIECE as u64)));
    let peak = fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 300 << 10, "1 GB of logs took {kib} KiB of memory");
}

#[test]
fn a_line_of_ours_can_stand_behind_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let logs = LogStore::new(dir.path()).unwrap();
    let mut writer = logs.writer("1-1").unwrap();
    writer.write(b"made\n").unwrap();
    assert!(matches!(logs.amend("1-1", "early"), Err(LogError::Busy(_))));
    writer.finish().unwrap();
    logs.amend("1-1", "not published: it is signed").unwrap();
    assert_eq!(logs.read("1-1", 0, 99).unwrap(), b"made\n==> not published: it is signed\n");
    let len = logs.position("1-1").unwrap().final_len.unwrap();
    assert_eq!(len, 37);
}
