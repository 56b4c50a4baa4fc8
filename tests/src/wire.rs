//! A connection that speaks Kafka frames, with messages encoded and decoded by the `kafka-protocol`
//! crate, and as raw bytes where a test wants to send what no library would.

use crate::deadline::PATIENCE;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Client id of every request sent here.
const CLIENT_ID: &str = "harness";

/// One connection. Correlation ids count up from 0.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the broker accepts")
    }

    /// Connects, if there is a broker.
    ///
    /// # Errors
    /// The system's word.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next_correlation_id: 0 })
    }

    /// The same connection once more, for a thread that sends while another receives.
    pub fn second_handle(&self) -> Self {
        let stream = self.stream.try_clone().expect("a free descriptor");
        Self { stream, next_correlation_id: self.next_correlation_id }
    }

    /// Sends one request and waits for its response.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).expect("an answer")
    }

    /// The same where the broker may go away.
    ///
    /// # Errors
    /// The connection has ended, or nothing came in time.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let correlation_id = self.try_send(version, request)?;
        self.try_receive::<R>(version, correlation_id)
    }

    /// Sends one request without waiting; its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.try_send(version, request).expect("the broker reads")
    }

    fn try_send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.stream.write_all(&with_size(&encode(version, correlation_id, request)))?;
        Ok(correlation_id)
    }

    /// Waits for the next response, which must be the one to this request.
    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        self.try_receive::<R>(version, correlation_id).expect("an answer")
    }

    fn try_receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> io::Result<R::Response> {
        let mut frame = self.try_receive_frame()?.ok_or(ErrorKind::UnexpectedEof)?;
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).expect("response header");
        assert_eq!(header.correlation_id, correlation_id, "responses leave in request order");
        let response = R::Response::decode(&mut frame, version).expect("response body");
        assert!(!frame.has_remaining(), "{} bytes after the response", frame.remaining());
        Ok(response)
    }

    /// Sends a body with its size before it.
    pub fn send_frame(&mut self, body: &[u8]) {
        self.send_bytes(&with_size(body));
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open connection");
    }

    /// The body of the next frame; none when the broker has closed the connection.
    pub fn receive_frame(&mut self) -> Option<Bytes> {
        self.try_receive_frame().expect("a frame or the end, in time")
    }

    fn try_receive_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut size = [0; 4];
        match self.stream.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let size = usize::try_from(i32::from_be_bytes(size)).expect("a frame's size is positive");
        let mut body = vec![0; size];
        self.stream.read_exact(&mut body)?;
        Ok(Some(body.into()))
    }

    /// Waits until something has come, and leaves it to be received.
    pub fn wait_until_readable(&self) {
        let mut first = [0];
        assert_eq!(self.stream.peek(&mut first).expect("an answer in time"), 1);
    }

    /// All bytes until the broker closes the connection.
    pub fn receive_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if !is_end(&error) => panic!("{error}"),
            _ => bytes,
        }
    }

    /// Fails the test unless the broker closes the connection without sending anything more.
    pub fn expect_closed(&mut self) {
        let rest = self.receive_to_end();
        assert!(rest.is_empty(), "bytes instead of a close: {rest:02x?}");
    }
}

/// Whether the other side has closed the connection, in order or not.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

fn with_size(body: &[u8]) -> BytesMut {
    let size = i32::try_from(body.len()).expect("test frames are small");
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_i32(size);
    frame.put_slice(body);
    frame
}

/// A whole request without its size: header and body.
pub fn encode<R: Request>(version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, R::header_version(version)).expect("a header encodes");
    request.encode(&mut bytes, version).expect("the request has no field this version lacks");
    bytes
}

/// A request header for a version that the crate does not know, in the layout of header v1 or v2.
pub fn header_bytes(api_key: i16, version: i16, correlation_id: i32, flexible: bool) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_i16(api_key);
    bytes.put_i16(version);
    bytes.put_i32(correlation_id);
    bytes.put_i16(i16::try_from(CLIENT_ID.len()).expect("a short name"));
    bytes.put_slice(CLIENT_ID.as_bytes());
    if flexible {
        bytes.put_u8(0); // no tagged fields
    }
    bytes
}

/// A string for the crate's messages.
pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
