//! Versions that Apache Kafka 4.3 serves and the codec crate does not know, whose schemas are of 4.1.
//!
//! ```text
//! ListOffsets      11   as 10, byte by byte: it only allows one more question
//! DescribeLogDirs   5   asked as 4; the answer says of each directory whether it is cordoned
//! ```
//! Nothing here decides what a request means, and a frame comes here only behind the guard, which
//! knows these versions like any other.

use kafka_protocol::messages as m;

use crate::response::Response;
use crate::wire::{Form, Writer};

const LIST_OFFSETS: i16 = 2;
const DESCRIBE_LOG_DIRS: i16 = 35;

/// The version of the codec that reads and writes the same bytes, where there is one.
pub(crate) const fn codec_version(api_key: i16, version: i16) -> i16 {
    match (api_key, version) {
        (LIST_OFFSETS, 11) => 10,
        // The answer is another matter: see `encode`.
        (DESCRIBE_LOG_DIRS, 5) => 4,
        _ => version,
    }
}

/// The body of a response in a version whose bytes the codec cannot write, with its API key.
pub(crate) fn encode(response: &Response, version: i16) -> Option<(i16, Vec<u8>)> {
    match (response, version) {
        (Response::DescribeLogDirs(message), 5) => {
            Some((DESCRIBE_LOG_DIRS, encode_log_dirs(message)))
        }
        _ => None,
    }
}

fn encode_log_dirs(message: &m::DescribeLogDirsResponse) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    out.i32(message.throttle_time_ms);
    out.i16(message.error_code);
    out.list(&message.results, |out, directory| {
        out.i16(directory.error_code);
        out.string(&directory.log_dir);
        out.list(&directory.topics, |out, topic| {
            out.string(&topic.name);
            out.list(&topic.partitions, |out, partition| {
                out.i32(partition.partition_index);
                out.i64(partition.partition_size);
                out.i64(partition.offset_lag);
                out.bool(partition.is_future_key);
                out.tags(&[]);
            });
            out.tags(&[]);
        });
        out.i64(directory.total_bytes);
        out.i64(directory.usable_bytes);
        // Cordoned directories (KIP-1066) take no new partitions; ours is never one.
        out.bool(false);
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}
