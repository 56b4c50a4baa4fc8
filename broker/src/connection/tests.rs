//! Connections over loopback sockets, with a handler of the test's own.

mod allocations;

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersionsResponse;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use storage::read::FileSlice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::reply::{FramePart, Reply};

pub(crate) const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// What the reading task of an idle connection may take, of which a node has 10,000. A local variable
/// that lives across an await counts for each of them.
const TASK_BYTES_MAX: usize = 7 << 9;

/// What connections share, with a handler of the test's own.
pub(crate) fn shared(
    handle: impl Fn(&RequestContext, Request) -> Work + Send + Sync + 'static,
) -> Arc<Shared> {
    Arc::new(Shared {
        handle: Box::new(handle),
        buffers: ReadBuffers::new(),
        memory: RequestMemory::new(REQUEST_BYTES_MAX),
        metrics: Arc::new(EdgeMetrics::new()),
        limits: Limits { request_bytes_max: REQUEST_BYTES_MAX, idle_max: Duration::from_secs(600) },
        anonymous: Arc::from("User:ANONYMOUS"),
        http_address: "127.0.0.1:9644".to_owned(),
        warnings: Warnings::new(),
    })
}

/// A client whose connection is served by `handle`.
struct Client {
    stream: TcpStream,
    served: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
}

impl Client {
    async fn new(
        handle: impl Fn(&RequestContext, Request) -> Work + Send + Sync + 'static,
    ) -> Self {
        let shared = shared(handle);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let connection = Connection {
            stream: accepted,
            listener: Arc::new(Listener {
                name: "PLAINTEXT".to_owned(),
                advertised_host: "localhost".to_owned(),
                advertised_port: 9092,
            }),
            peer,
            id: 1,
        };
        let stop = watch::Sender::new(false);
        let serving = serve(Arc::clone(&shared), connection, stop.subscribe());
        let task_bytes = size_of_val(&serving);
        assert!(task_bytes <= TASK_BYTES_MAX, "the reading task takes {task_bytes} bytes");
        let served = tokio::spawn(serving);
        Self { stream, served, stop, shared }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn receive_frame(&mut self) -> Bytes {
        let length = self.stream.read_u32().await.unwrap();
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        Bytes::from(frame)
    }

    async fn receive_correlation_id(&mut self) -> i32 {
        let frame = self.receive_frame().await;
        i32::from_be_bytes(frame[..4].try_into().unwrap())
    }

    /// Asserts that the broker closes without another byte.
    async fn expect_closed(mut self) {
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{ended:?}, {} bytes too many", rest.len());
        self.served.await.unwrap();
        assert_eq!(self.shared.memory.reserved_bytes(), 0, "a frame's memory is not given back");
    }
}

/// A frame with a version 1 header and no client id.
pub(crate) fn frame(api_key: i16, api_version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(10 + body.len()).unwrap());
    frame.put_i16(api_key);
    frame.put_i16(api_version);
    frame.put_i32(correlation_id);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame.freeze()
}

fn api_versions(correlation_id: i32) -> Bytes {
    frame(API_VERSIONS, 0, correlation_id, &[])
}

/// Produce version 3 with acks 1, no topics but one whose only partition carries `records_bytes`.
fn produce(correlation_id: i32, records_bytes: usize) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(1);
    body.put_i32(1000);
    body.put_i32(1);
    body.put_i16(1);
    body.put_slice(b"t");
    body.put_i32(1);
    body.put_i32(0);
    body.put_u32(u32::try_from(records_bytes).unwrap());
    body.put_bytes(7, records_bytes);
    frame(PRODUCE, 3, correlation_id, &body)
}

pub(crate) fn answer() -> Work {
    Work::message(Response::ApiVersions(ApiVersionsResponse::default()))
}

#[tokio::test]
async fn responses_leave_in_request_order_whatever_finishes_first() {
    // Behaviour 7. The first request finishes only after the last has.
    let last_done = Arc::new(Notify::new());
    let mut client = Client::new(move |context, _| match context.correlation_id {
        0 => {
            let last_done = Arc::clone(&last_done);
            Work::later(async move {
                last_done.notified().await;
                Reply::Message(Response::ApiVersions(ApiVersionsResponse::default()))
            })
        }
        4 => {
            let last_done = Arc::clone(&last_done);
            Work::later(async move {
                last_done.notify_one();
                Reply::Message(Response::ApiVersions(ApiVersionsResponse::default()))
            })
        }
        _ => answer(),
    })
    .await;
    let burst: Vec<u8> = (0..5).flat_map(api_versions).collect();
    client.send(&burst).await;
    for correlation_id in 0..5 {
        assert_eq!(client.receive_correlation_id().await, correlation_id);
    }
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_whole_however_they_are_cut() {
    let mut client = Client::new(|_, request| {
        let Request::Produce(request) = request else { panic!("only Produce is sent") };
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        assert!(records.iter().all(|byte| *byte == 7));
        Work::Done(Reply::Frame(vec![FramePart::Bytes(Bytes::from(
            [4u32.to_be_bytes(), u32::try_from(records.len()).unwrap().to_be_bytes()].concat(),
        ))]))
    })
    .await;
    let sizes = [0, 1, 100, 8 << 10, 16 << 10, 64 << 10, 200 << 10, 256 << 10, 3 << 20, 5];
    let bytes: Vec<u8> = sizes.iter().flat_map(|size| produce(1, *size)).collect();
    for cut in [bytes.len(), 1 << 20, 100_003, 4093] {
        for piece in bytes.chunks(cut) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        for size in sizes {
            let frame = client.receive_frame().await;
            assert_eq!(frame, u32::try_from(size).unwrap().to_be_bytes().as_slice());
        }
    }
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer_and_no_memory() {
    let mut client = Client::new(|_, _| answer()).await;
    client.send(&api_versions(1)).await;
    client.receive_frame().await;
    // Half a frame, too: it waits in a buffer of its own size.
    client.send(&produce(2, 1000)[..500]).await;
    client.send(&[]).await;
    while client.shared.memory.reserved_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    while client.shared.buffers.lent_count() > 0 {
        tokio::task::yield_now().await;
    }
    client.stream.shutdown().await.unwrap();
    client.expect_closed().await;
}

#[tokio::test]
async fn a_newer_api_versions_is_answered_in_version_0() {
    // Behaviour 1: the connection stays open and the retry succeeds.
    let mut client = Client::new(|_, _| answer()).await;
    // Version 99 has a flexible header: no client id, no tagged fields, then an unknown body.
    client.send(&frame(API_VERSIONS, 99, 7, &[0, 1, 1, 0])).await;
    let response = client.receive_frame().await;
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    assert_eq!(response[..4], 7i32.to_be_bytes());
    assert_eq!(response[4..6], unsupported);
    assert_eq!(response[6..10], 1i32.to_be_bytes());
    assert_eq!(response[10..12], API_VERSIONS.to_be_bytes());
    client.send(&api_versions(8)).await;
    assert_eq!(client.receive_correlation_id().await, 8);
}

#[tokio::test]
async fn what_is_no_request_closes_the_connection() {
    let too_long = u32::try_from(REQUEST_BYTES_MAX + 1).unwrap().to_be_bytes();
    let cases: [(&str, Vec<u8>); 6] = [
        ("too long, before anything else has come", too_long.to_vec()),
        ("an unknown API", frame(999, 0, 1, &[]).to_vec()),
        ("an unknown version", frame(METADATA, 99, 1, &[]).to_vec()),
        ("too long", [too_long.as_slice(), &[0; 8]].concat()),
        ("a negative length", vec![0xff; 12]),
        ("shorter than a header", [3u32.to_be_bytes().as_slice(), &[0; 8]].concat()),
    ];
    for (what, bytes) in cases {
        let mut client = Client::new(|_, _| answer()).await;
        // What was asked before is still answered.
        client.send(&[&api_versions(1), bytes.as_slice()].concat()).await;
        assert_eq!(client.receive_correlation_id().await, 1, "{what}");
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn http_on_a_kafka_port_is_told_where_to_go() {
    let mut client = Client::new(|_, _| answer()).await;
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut text = String::new();
    client.stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(text.contains("http://127.0.0.1:9644/"), "{text}");
}

#[tokio::test]
async fn tls_on_a_kafka_port_is_closed() {
    let mut client = Client::new(|_, _| answer()).await;
    client.send(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3]).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_panic_costs_only_its_connection() {
    for stage in [1, 2] {
        let mut client = Client::new(move |context, _| match (context.correlation_id, stage) {
            (1, _) => answer(),
            (_, 1) => panic!("the first stage of the test's handler"),
            _ => Work::later(async { panic!("the second stage of the test's handler") }),
        })
        .await;
        client.send(&[api_versions(1), api_versions(2), api_versions(3)].concat()).await;
        assert_eq!(client.receive_correlation_id().await, 1);
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn a_handler_can_stay_silent_and_can_close() {
    let mut client = Client::new(|context, _| match context.correlation_id {
        1 => Work::Done(Reply::Nothing),
        2 => answer(),
        _ => Work::Done(Reply::Close("the test wants it".to_owned())),
    })
    .await;
    client.send(&[api_versions(1), api_versions(2)].concat()).await;
    assert_eq!(client.receive_correlation_id().await, 2);
    client.send(&api_versions(3)).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn records_leave_from_the_file_between_the_fields_around_them() {
    const RECORDS_BYTES: usize = 3 << 20;
    let mut file = tempfile::tempfile().unwrap();
    let records: Vec<u8> = (0..RECORDS_BYTES).map(|at| (at % 251).try_into().unwrap()).collect();
    file.write_all(b"before").unwrap();
    file.write_all(&records).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let file = Arc::new(file);
    let shared_file = Arc::clone(&file);
    let mut client = Client::new(move |_, _| {
        let slice = FileSlice { file: Arc::clone(&file), position: 6, len: RECORDS_BYTES };
        let length = u32::try_from(RECORDS_BYTES + 8).unwrap();
        Work::Done(Reply::Frame(vec![
            FramePart::Bytes(Bytes::copy_from_slice(&length.to_be_bytes())),
            FramePart::Bytes(Bytes::from_static(b"head")),
            FramePart::File(slice),
            FramePart::Bytes(Bytes::from_static(b"tail")),
        ]))
    })
    .await;
    client.send(&[api_versions(1), api_versions(2)].concat()).await;
    for _ in 0..2 {
        let frame = client.receive_frame().await;
        assert_eq!(frame[..4], *b"head");
        assert!(frame[4..4 + RECORDS_BYTES] == records[..], "the records differ");
        assert_eq!(frame[4 + RECORDS_BYTES..], *b"tail");
    }
    // Reading through the shared handle must not have moved its position.
    let mut first = [0; 6];
    (&*shared_file).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"before");
}

#[tokio::test]
async fn a_client_that_takes_no_responses_is_not_read_any_further() {
    let handled = Arc::new(AtomicU64::new(0));
    let mut client = Client::new({
        let handled = Arc::clone(&handled);
        move |_, _| {
            handled.fetch_add(1, Ordering::Relaxed);
            // Never answered: the slots stay taken.
            Work::later(std::future::pending())
        }
    })
    .await;
    let requests: Vec<u8> = (0..2000).flat_map(api_versions).collect();
    client.send(&requests).await;
    let limit = u64::try_from(REQUESTS_IN_FLIGHT_MAX).unwrap();
    while handled.load(Ordering::Relaxed) < limit {
        tokio::task::yield_now().await;
    }
    // It gives back its buffer while it waits.
    while client.shared.buffers.lent_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(handled.load(Ordering::Relaxed), limit);
    client.served.abort();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_long_is_disconnected() {
    let mut client = Client::new(|_, _| {
        // More than the socket's buffers hold.
        Work::Done(Reply::Frame(vec![FramePart::Bytes(Bytes::from(vec![0; 64 << 20]))]))
    })
    .await;
    let before = Instant::now();
    client.send(&api_versions(1)).await;
    client.served.await.unwrap();
    assert_eq!(before.elapsed().as_secs(), outbox::STALL_MAX.as_secs());
    assert_eq!(client.shared.memory.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_unless_it_is_owed_a_response() {
    let answer_now = Arc::new(Notify::new());
    let mut client = Client::new({
        let answer_now = Arc::clone(&answer_now);
        move |_, _| {
            let answer_now = Arc::clone(&answer_now);
            Work::later(async move {
                answer_now.notified().await;
                Reply::Message(Response::ApiVersions(ApiVersionsResponse::default()))
            })
        }
    })
    .await;
    client.send(&api_versions(1)).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    answer_now.notify_one();
    assert_eq!(client.receive_correlation_id().await, 1);
    let before = Instant::now();
    client.expect_closed().await;
    assert!(before.elapsed() >= Duration::from_secs(600), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_and_silence_is_closed() {
    for half in [2, 9, 100] {
        let mut client = Client::new(|_, _| answer()).await;
        client.send(&produce(1, 1000)[..half]).await;
        let before = Instant::now();
        client.expect_closed().await;
        assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_stopping_broker_answers_what_is_in_flight_and_reads_nothing_more() {
    let finish = Arc::new(Notify::new());
    let mut client = Client::new({
        let finish = Arc::clone(&finish);
        move |_, _| {
            let finish = Arc::clone(&finish);
            Work::later(async move {
                finish.notified().await;
                Reply::Message(Response::ApiVersions(ApiVersionsResponse::default()))
            })
        }
    })
    .await;
    client.send(&api_versions(1)).await;
    while client.shared.memory.reserved_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    client.stop.send_replace(true);
    tokio::task::yield_now().await;
    client.send(&api_versions(2)).await;
    finish.notify_one();
    assert_eq!(client.receive_correlation_id().await, 1);
    finish.notify_one();
    let mut rest = Vec::new();
    // The unread second request makes the kernel reset the connection, which is as good as an end.
    drop(client.stream.read_to_end(&mut rest).await);
    assert!(rest.is_empty());
    client.served.await.unwrap();
}
