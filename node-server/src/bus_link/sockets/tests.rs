use super::*;
use node_server_protocol::bus::HEADER_LEN;
use std::net::Ipv4Addr;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{Receiver, channel};

/// A frame that nothing but its length can be said of.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    frame[..4].copy_from_slice(b"RCmb");
    frame[4..8].copy_from_slice(&(len as u32).to_be_bytes());
    frame
}

async fn listening() -> (Sockets, Receiver<Event>, SocketAddr) {
    let (sender, receiver) = channel(16);
    let sockets = Sockets::new(sender);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    sockets.listen(listener);
    (sockets, receiver, address)
}

async fn next(events: &mut Receiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn frames_are_cut_and_answers_go_back() {
    let (mut sockets, mut events, address) = listening().await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    let Event::Incoming { stream, .. } = next(&mut events).await else { panic!("nobody came") };
    let link = sockets.admit(stream).unwrap();
    assert!(link.is_inbound() && sockets.has(link));
    let (first, second) = (frame(HEADER_LEN), frame(HEADER_LEN + 40_000));
    let stream = [first.as_slice(), &second].concat();
    peer.write_all(&stream[..5]).await.unwrap();
    peer.write_all(&stream[5..]).await.unwrap();
    for expected in [&first, &second] {
        let Event::Frame { bytes, .. } = next(&mut events).await else { panic!("no frame") };
        assert_eq!(&bytes, expected);
    }
    assert!(sockets.send(link, b"answer", LINK_QUEUE_MAX));
    let mut answer = [0; 6];
    peer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
}

#[tokio::test]
async fn nonsense_closes_the_link() {
    let (mut sockets, mut events, address) = listening().await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    let Event::Incoming { stream, .. } = next(&mut events).await else { panic!("nobody came") };
    let link = sockets.admit(stream).unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Closed { link: closed } if closed == link));
}

#[tokio::test]
async fn connecting_succeeds_or_fails() {
    let (mut sockets, mut events, address) = listening().await;
    sockets.connect(LinkId(1), address);
    let mut connected = false;
    for _ in 0..2 {
        match next(&mut events).await {
            Event::Connected { link, local_ip } => {
                assert_eq!((link, local_ip), (LinkId(1), IpAddr::V4(Ipv4Addr::LOCALHOST)));
                connected = true;
            }
            Event::Incoming { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(connected);
    // Bound, so that nobody else listens there meanwhile.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    sockets.connect(LinkId(2), silent.local_addr().unwrap());
    loop {
        match next(&mut events).await {
            Event::ConnectFailed { link } => break assert_eq!(link, LinkId(2)),
            Event::Incoming { .. } | Event::Closed { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let (sender, _events) = channel(16);
    let mut sockets = Sockets::new(sender);
    // Nobody answers there for as long as this test takes, so nothing leaves the queue.
    sockets.connect(LinkId(1), "192.0.2.1:1".parse().unwrap());
    assert!(sockets.send(LinkId(1), &[0; 60], 100));
    assert!(!sockets.send(LinkId(1), &[0; 60], 100));
    sockets.close(LinkId(1));
    assert!(!sockets.send(LinkId(1), &[0; 1], 100) && !sockets.has(LinkId(1)));
}
