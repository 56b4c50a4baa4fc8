//! How two nodes find out who is at the other end, before anything else is said.
//!
//! ```text
//! caller                                             answers
//! hello      identity, lane, 32 random bytes   ──>
//!                                              <──   challenge  identity, 32 random bytes, proof
//! proof      HMAC                              ──>
//!                                              <──   welcome
//! identity   ├ 8 bytes "MPPEERS1" ┼ i32 broker ┼ 16 bytes directory ┼ u8 has a cluster (┼ u16 length ┼ id) ┼ u8 has a secret ┤
//! proof      HMAC-SHA256 under the secret of ├ u8 role ┼ hello ┼ challenge without its proof ┤
//! ```
//! Either side may send `refused` with a sentence instead and close. Both prove that they know the
//! secret, over random bytes of both, so that nothing of it can be used again. Two nodes of which one
//! has a secret refuse each other. What follows is neither encrypted nor signed: the secret keeps
//! strangers out, and does not protect from somebody on the way.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, TryGetError};
use hmac::{Hmac, Mac};
use protocol::types::BrokerId;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

use super::Caller;
use super::frame::{FrameError, Kind, Pieces, read_frame};
use crate::types::ReplicaId;

const MAGIC: [u8; 8] = *b"MPPEERS1";
/// The largest frame before the welcome.
const HELLO_BYTES_MAX: usize = 1024;
/// All of it must be over by then.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
const CLUSTER_ID_BYTES_MAX: usize = 255;
const CALLER: u8 = 1;
const ANSWERER: u8 = 2;

/// What all nodes of a cluster know and nobody else. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Small messages that must not wait.
    Control,
    /// Data.
    Bulk,
    /// One call to an address, by somebody whom we may not know.
    Once,
}

impl Purpose {
    fn tag(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Bulk => 2,
            Self::Once => 3,
        }
    }

    fn of(tag: u8) -> Option<Self> {
        [Self::Control, Self::Bulk, Self::Once].into_iter().find(|purpose| purpose.tag() == tag)
    }
}

/// What this node says of itself.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) me: ReplicaId,
    pub(super) cluster_id: Option<String>,
    pub(super) secret: Option<Secret>,
}

/// Why the two do not talk.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The connection, or what came over it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A value within a frame.
    #[error("it sent a greeting that cannot be read: {0}")]
    Unreadable(String),
    /// Too slow.
    #[error("it did not finish its greeting within {HELLO_TIMEOUT:?}")]
    TooSlow,
    /// The other side's word.
    #[error("it refused: {0}")]
    Refused(String),
    /// Ours; the other side was told.
    #[error("{0}")]
    Unwelcome(String),
}

impl From<TryGetError> for HelloError {
    fn from(error: TryGetError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Greets as the caller; returns who answers.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mine: &Identity,
    purpose: Purpose,
) -> Result<Caller, HelloError> {
    let greeting = async {
        let mut hello = mine.encode();
        hello.put_u8(purpose.tag());
        hello.put_slice(&nonce());
        send(stream, Kind::Hello, hello.clone()).await?;
        let challenge = receive(stream, Kind::Challenge).await?;
        let Some((said, proof)) = challenge.split_last_chunk::<PROOF_BYTES>() else {
            return Err(HelloError::Unreadable("its challenge is too short".to_owned()));
        };
        let mut fields = challenge.slice(..said.len());
        let theirs = Stranger::decode(&mut fields)?;
        theirs.check(mine)?;
        if !proves(mine, ANSWERER, &hello, said, proof) {
            return Err(HelloError::Unwelcome(theirs.wrong_secret()));
        }
        send(stream, Kind::Proof, prove(mine, CALLER, &hello, said)).await?;
        receive(stream, Kind::Welcome).await?;
        Ok(theirs.known())
    };
    let greeted = tokio::time::timeout(HELLO_TIMEOUT, greeting).await;
    let greeted = greeted.unwrap_or(Err(HelloError::TooSlow));
    if let Err(error) = &greeted {
        tell(stream, error).await;
    }
    greeted
}

/// Answers a caller's greeting; returns who it is and what it wants.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mine: &Identity,
) -> Result<(Caller, Purpose), HelloError> {
    let answering = async {
        let hello = receive(stream, Kind::Hello).await?;
        let mut fields = hello.clone();
        let theirs = Stranger::decode(&mut fields)?;
        let tag = fields.try_get_u8()?;
        let purpose = Purpose::of(tag)
            .ok_or_else(|| HelloError::Unreadable(format!("it names the unknown purpose {tag}")))?;
        theirs.check(mine)?;
        let mut said = mine.encode();
        said.put_slice(&nonce());
        let mut challenge = said.clone();
        challenge.extend_from_slice(&prove(mine, ANSWERER, &hello, &said));
        send(stream, Kind::Challenge, challenge).await?;
        let proof = receive(stream, Kind::Proof).await?;
        if !proves(mine, CALLER, &hello, &said, &proof) {
            return Err(HelloError::Unwelcome(theirs.wrong_secret()));
        }
        send(stream, Kind::Welcome, Vec::new()).await?;
        Ok((theirs.known(), purpose))
    };
    let answered = tokio::time::timeout(HELLO_TIMEOUT, answering).await;
    let answered = answered.unwrap_or(Err(HelloError::TooSlow));
    if let Err(error) = &answered {
        tell(stream, error).await;
    }
    answered
}

/// Tells the other side why it is not welcome, if it still listens; the connection is closed anyway.
async fn tell<S: AsyncWrite + Unpin>(stream: &mut S, error: &HelloError) {
    if let HelloError::Unwelcome(why) = error {
        let telling = send(stream, Kind::Refused, why.clone().into_bytes());
        drop(tokio::time::timeout(HELLO_TIMEOUT, telling).await);
    }
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_i32(self.me.broker_id.get());
        out.put_slice(self.me.directory_id.as_bytes());
        out.put_u8(u8::from(self.cluster_id.is_some()));
        if let Some(cluster_id) = &self.cluster_id {
            let bytes = cluster_id.len().min(CLUSTER_ID_BYTES_MAX);
            out.put_u16(u16::try_from(bytes).expect("the limit fits"));
            out.put_slice(&cluster_id.as_bytes()[..bytes]);
        }
        out.put_u8(u8::from(self.secret.is_some()));
        out
    }
}

/// What the other side says of itself.
struct Stranger {
    replica: ReplicaId,
    cluster_id: Option<String>,
    has_secret: bool,
}

impl Stranger {
    fn decode(bytes: &mut Bytes) -> Result<Self, HelloError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HelloError::Unreadable("it is none of ours".to_owned()));
        }
        bytes.advance(MAGIC.len());
        let broker_id = BrokerId::new(bytes.try_get_i32()?);
        let directory_id = Uuid::from_u128(bytes.try_get_u128()?);
        let cluster_id = if bytes.try_get_u8()? == 0 { None } else { Some(get_string(bytes)?) };
        let has_secret = bytes.try_get_u8()? != 0;
        Ok(Self { replica: ReplicaId { broker_id, directory_id }, cluster_id, has_secret })
    }

    /// Refuses whoever cannot belong to us.
    fn check(&self, mine: &Identity) -> Result<(), HelloError> {
        let (me, you) = (mine.me, self.replica);
        if let (Some(ours), Some(theirs)) = (&mine.cluster_id, &self.cluster_id)
            && ours != theirs
        {
            return Err(HelloError::Unwelcome(other_cluster(me, ours, you, theirs)));
        }
        let (with, without) = match (mine.secret.is_some(), self.has_secret) {
            (true, false) => (me, you),
            (false, true) => (you, me),
            (true, true) | (false, false) => return Ok(()),
        };
        Err(HelloError::Unwelcome(format!("{with} wants a secret and {without} has none")))
    }

    fn wrong_secret(&self) -> String {
        format!("{} has another secret", self.replica)
    }

    fn known(self) -> Caller {
        Caller { replica: self.replica, cluster_id: self.cluster_id }
    }
}

/// The sentence for two nodes of two clusters.
pub(super) fn other_cluster(me: ReplicaId, ours: &str, you: ReplicaId, theirs: &str) -> String {
    format!("{me} belongs to cluster {ours}, and {you} to cluster {theirs}")
}

fn get_string(bytes: &mut Bytes) -> Result<String, HelloError> {
    let length = usize::from(bytes.try_get_u16()?);
    if length > bytes.len() || length > CLUSTER_ID_BYTES_MAX {
        return Err(HelloError::Unreadable("its cluster id is too long".to_owned()));
    }
    String::from_utf8(bytes.split_to(length).to_vec())
        .map_err(|error| HelloError::Unreadable(error.to_string()))
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    nonce[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    nonce
}

fn proof(mine: &Identity, role: u8, hello: &[u8], challenge: &[u8]) -> Hmac<Sha256> {
    let secret = mine.secret.as_ref().map_or(&[][..], |secret| &secret.0);
    let mut proof = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for part in [&[role][..], hello, challenge] {
        proof.update(part);
    }
    proof
}

fn prove(mine: &Identity, role: u8, hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    proof(mine, role, hello, challenge).finalize().into_bytes().to_vec()
}

fn proves(mine: &Identity, role: u8, hello: &[u8], challenge: &[u8], given: &[u8]) -> bool {
    proof(mine, role, hello, challenge).verify_slice(given).is_ok()
}

async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    kind: Kind,
    payload: Vec<u8>,
) -> Result<(), HelloError> {
    let mut pieces = Pieces::default();
    pieces.push(kind, 0, 0, vec![payload.into()]);
    Ok(pieces.write(stream).await.map_err(FrameError::from)?)
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S, want: Kind) -> Result<Bytes, HelloError> {
    let frame = read_frame(stream, HELLO_BYTES_MAX, HELLO_TIMEOUT).await?;
    if frame.kind == want {
        return Ok(frame.payload);
    }
    if frame.kind == Kind::Refused {
        let why = String::from_utf8_lossy(&frame.payload).replace(char::is_control, " ");
        return Err(HelloError::Refused(why));
    }
    Err(HelloError::Unreadable(format!("{:?} came where {want:?} was due", frame.kind)))
}
