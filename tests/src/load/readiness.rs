//! Waiting for the first of many connections, for the scenarios that hold all of theirs on one thread.

use crate::load::link::Link;
use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections that are looked at before the system is asked again.
const EVENTS_MAX: usize = 256;

/// Tells which of many connections can be read, or written.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

impl Readiness {
    /// Of no connection yet.
    ///
    /// # Errors
    /// The system's word.
    pub fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches a connection for something to read, under this number.
    ///
    /// # Errors
    /// The system's word.
    pub fn add(&self, link: &Link, number: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, link, data, epoll::EventFlags::IN)?)
    }

    /// Watches a connection that is being made, under this number.
    ///
    /// # Errors
    /// The system's word.
    pub fn add_writable(&self, stream: &TcpStream, number: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, stream, data, epoll::EventFlags::OUT)?)
    }

    /// Watches a connection that was made for something to read.
    ///
    /// # Errors
    /// The system's word.
    pub fn turn_to_readable(&self, link: &Link, number: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::modify(&self.epoll, link, data, epoll::EventFlags::IN)?)
    }

    /// Waits for a while until connections are ready; the numbers of some that are.
    ///
    /// # Errors
    /// The system's word.
    pub fn wait(&self, at_most: Duration) -> Result<Vec<usize>> {
        let at_most = Timespec::try_from(at_most)?;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        let numbers = events.iter().map(|event| event.data.u64());
        Ok(numbers.map(|number| usize::try_from(number).expect("it was one")).collect())
    }
}
