use super::*;
use tokio::net::TcpListener;

fn request(port: u16) -> MigrateRequest {
    MigrateRequest {
        host: "127.0.0.1".into(),
        port,
        db: 3,
        timeout_ms: 20_000,
        copy: false,
        replace: false,
        auth: Some((Some(b"user".to_vec()), b"secret".to_vec())),
        keys: Vec::new(),
    }
}

const NOW: Millis = Millis(1_000_000);

fn keys() -> Vec<Leaving> {
    let key = |name: &str, expires: Option<Millis>| Leaving {
        key: name.into(),
        expires,
        payload: b"pay".to_vec(),
        replace: false,
        gone: false,
    };
    vec![key("a", None), key("b", Some(NOW.after(70))), key("c", None)]
}

/// A target that answers `replies` to the first connection and closes it, and keeps what was said.
async fn target(replies: &'static [u8], expect: usize) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        while said.len() < expect {
            assert!(stream.read_buf(&mut said).await.unwrap() > 0, "it hung up");
        }
        stream.write_all(replies).await.unwrap();
        said
    });
    (port, said)
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

fn script(commands: &[&[&[u8]]]) -> Vec<u8> {
    let mut out = Vec::new();
    commands.iter().for_each(|c| put_command(&mut out, c));
    out
}

#[tokio::test]
async fn every_key_is_sent_and_booked() {
    let expected = script(&[
        &[b"AUTH", b"user", b"secret"],
        &[b"RESTORE-ASKING", b"a", b"0", b"pay"],
        &[b"RESTORE-ASKING", b"b", b"70", b"pay"],
        &[b"RESTORE-ASKING", b"c", b"0", b"pay"],
    ]);
    let replies = b"+OK\r\n+OK\r\n-BUSYKEY Target key name already exists.\r\n+OK\r\n";
    let (port, said) = target(replies, expected.len()).await;
    let mut sent = Sent::new(3);
    send(connect(port).await, &request(port), true, &keys(), &mut sent, NOW).await.unwrap();
    assert_eq!(said.await.unwrap(), expected);
    assert_eq!(sent.acknowledged, [true, false, true]);
    assert_eq!(sent.refused.as_deref(), Some("BUSYKEY Target key name already exists."));
}

#[tokio::test]
async fn without_cluster_mode_it_selects_and_restores() {
    let expected = script(&[
        &[b"AUTH", b"user", b"secret"],
        &[b"SELECT", b"3"],
        &[b"RESTORE", b"a", b"0", b"pay", b"REPLACE"],
    ]);
    let (port, said) = target(b"+OK\r\n+OK\r\n+OK\r\n", expected.len()).await;
    let mut sent = Sent::new(1);
    let request = MigrateRequest { replace: true, ..request(port) };
    send(connect(port).await, &request, false, &keys()[..1], &mut sent, NOW).await.unwrap();
    assert_eq!(said.await.unwrap(), expected);
    assert_eq!((sent.acknowledged, sent.refused), (vec![true], None));
}

#[tokio::test]
async fn what_was_not_answered_is_unclear_and_replaced_the_next_time() {
    let (port, said) = target(b"+OK\r\n+OK\r\n", 1).await;
    let mut sent = Sent::new(3);
    let keys = keys();
    let ended = send(connect(port).await, &request(port), true, &keys, &mut sent, NOW).await;
    assert!(matches!(ended, Err(Unfinished::Reset(_))), "{ended:?}");
    said.await.unwrap();
    assert_eq!((&sent.acknowledged, &sent.unclear), (&vec![true, false, false], &vec![false, true, true]));
    let expected = script(&[
        &[b"AUTH", b"user", b"secret"],
        &[b"RESTORE-ASKING", b"b", b"70", b"pay", b"REPLACE"],
        &[b"RESTORE-ASKING", b"c", b"0", b"pay", b"REPLACE"],
    ]);
    let (port, said) = target(b"+OK\r\n+OK\r\n+OK\r\n", expected.len()).await;
    send(connect(port).await, &request(port), true, &keys, &mut sent, NOW).await.unwrap();
    assert_eq!(said.await.unwrap(), expected);
    assert_eq!(sent.acknowledged, [true; 3]);
}

#[tokio::test]
async fn a_key_that_is_gone_is_deleted_at_the_target() {
    let expected = script(&[
        &[b"AUTH", b"user", b"secret"],
        &[b"RESTORE-ASKING", b"a", b"1", b"pay", b"REPLACE", b"ABSTTL"],
    ]);
    let deleted = Leaving { replace: true, gone: true, ..keys().remove(0) };
    let expired = Leaving { replace: true, expires: Some(NOW), ..keys().remove(0) };
    for gone in [deleted, expired] {
        let (port, said) = target(b"+OK\r\n+OK\r\n", expected.len()).await;
        let mut sent = Sent::new(1);
        send(connect(port).await, &request(port), true, &[gone], &mut sent, NOW).await.unwrap();
        assert_eq!(said.await.unwrap(), expected);
        assert_eq!((sent.fate(0), sent.fate(1)), (Fate::Arrived, Fate::Stayed));
    }
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sent = Sent::new(3);
    let request = MigrateRequest { timeout_ms: 500, ..request(port) };
    let ended = send(connect(port).await, &request, true, &keys(), &mut sent, NOW).await.unwrap_err();
    assert_eq!(ended.reply(), "IOERR error or timeout reading to target instance");
    assert_eq!(sent.acknowledged, [false; 3]);
}

/// Redis too keeps such keys, which may be there as well. Whoever moves the slot settles them.
#[tokio::test]
async fn behind_a_refused_password_nothing_has_arrived() {
    let (port, said) = target(b"-ERR AUTH no\r\n+OK\r\n-NOAUTH no\r\n+OK\r\n", 1).await;
    let mut sent = Sent::new(3);
    send(connect(port).await, &request(port), true, &keys(), &mut sent, NOW).await.unwrap();
    said.await.unwrap();
    assert_eq!([0, 1, 2].map(|n| sent.fate(n)), [Fate::Unclear, Fate::Stayed, Fate::Unclear]);
    assert_eq!(sent.refused.as_deref(), Some("ERR AUTH no"));
}
